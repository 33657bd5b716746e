"""How one starts: the environment that nox makes, what a command says without it, and the line that a stage starts with."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

import noxfile
from hallmark.base.errors import run_stage
from hallmark.base.heading import heading
from tests.workspace import ROOT

MISSING = (
    "hallmark: the packages aren't installed here; run `python -m nox -s setup`, then `source .venv/bin/activate`\n"
)
WINDOWS = "Hallmark runs on Linux, macOS and WSL\n"


def python(*options: str, folder: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python with only these variables and the PATH."""
    environment = {"PATH": os.environ["PATH"], **variables}
    return subprocess.run([sys.executable, *options], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("module", ["stages.sft", "hallmark.commands.propose", "hallmark.model.launch"])
def test_a_command_without_its_packages_says_so_in_one_line(module: str) -> None:
    done = python("-S", "-m", module)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", MISSING)


def test_stages_can_be_imported_without_the_packages() -> None:
    assert python("-S", "-c", "import stages").returncode == 0


@pytest.mark.parametrize("module", ["stages.sft", "hallmark.commands.propose", "noxfile"])
def test_on_windows_there_is_one_clear_error(module: str) -> None:
    done = python("-c", f"import sys, nox; sys.platform = 'win32'; import {module}")
    assert (done.returncode, done.stderr) == (1, WINDOWS)


def test_a_failed_install_shows_the_end_of_what_pip_said_and_names_its_log(tmp_path: Path) -> None:
    (tmp_path / "noxfile.py").write_bytes((ROOT / "noxfile.py").read_bytes())
    (tmp_path / "requirements.lock").write_text("nothing==1\n", encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "x"\nversion = "1"\ndependencies = []\n'
        f'[tool.hallmark]\nhashed = ["nothing==1 --hash=sha256:{"0" * 64}"]\n',
        encoding="utf-8",
    )
    programs = tmp_path / ".venv/bin"
    programs.mkdir(parents=True)
    (programs / "pip").touch()
    (programs / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    (programs / "python").chmod(0o755)
    done = python("-m", "nox", "-s", "setup", folder=tmp_path, PIP_NO_INDEX="1")
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert "installing 1 packages into .venv" in said
    assert "ERROR: No matching distribution found for nothing==1" in said
    assert "all of it: .venv/install.log" in said
    assert len(said.splitlines()) < 12
    assert "nothing==1" in (tmp_path / ".venv/install.log").read_text(encoding="utf-8")
    assert not (tmp_path / ".venv/installed-run").exists()


# In place of Python: says where temporary files go, and writes an empty report of coverage to the file after --out.
TESTS = """#!/bin/sh
echo "temporary files: $TMPDIR"
until [ "$1" = --out ]; do shift; done
echo '{"files": {}, "summary": {"percent_covered": 0, "covered_lines": 0, "missing_lines": 0}}' > "$2"
"""


def test_the_tests_take_the_temporary_folder_of_who_runs_them(tmp_path: Path) -> None:
    """Not one below this one, whose path may be too long for a Unix socket."""
    for name in ("noxfile.py", "pyproject.toml", "requirements.lock"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / "template").mkdir()
    (tmp_path / ".venv/bin").mkdir(parents=True)
    wanted = hashlib.sha256(b"".join((ROOT / name).read_bytes() for name in ("pyproject.toml", "requirements.lock")))
    for group in ("run", "dev"):
        (tmp_path / f".venv/installed-{group}").write_text(wanted.hexdigest(), encoding="utf-8")
    for program in ("pip", "python"):
        (tmp_path / ".venv/bin" / program).write_text(TESTS, encoding="utf-8")
        (tmp_path / ".venv/bin" / program).chmod(0o755)
    done = python("-m", "nox", "-s", "tests", folder=tmp_path, TMPDIR=str(tmp_path / "of the user"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"temporary files: {tmp_path}/of the user\n" in done.stdout
    assert "coverage: 0.0 %, 0 of 0 lines" in done.stdout + done.stderr


def test_a_long_install_shows_where_it_is(tmp_path: Path) -> None:
    log, done, lines = tmp_path / "install.log", threading.Event(), list[str]()
    log.write_text(f"Collecting torch\n  Downloading torch-{'1' * 100}.whl\n\n", encoding="utf-8")

    def note(line: str) -> None:
        lines.append(line)
        done.set()

    noxfile.tell(SimpleNamespace(log=note), log, done, every=0.01)  # type: ignore[arg-type]
    assert lines == [f"0 min  0 s: Downloading torch-{'1' * 62}..."]


def test_a_python_without_builds_is_refused_before_anything_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    session = SimpleNamespace(error=said.append, run=lambda *command, **_: said.append(command[0]))
    for version in ((3, 10, 9), (3, 11, 0), (3, 14, 1), (3, 15, 0)):
        monkeypatch.setattr(noxfile, "sys", SimpleNamespace(version_info=version, executable="python"))
        said.clear()
        noxfile.make(session, Path(".venv"))  # type: ignore[arg-type]
        refused = f"some packages have no build for Python {version[0]}.{version[1]} "
        assert said[0].startswith("python" if version[1] in (11, 14) else refused)


STAGES = """
stages:
  mask:
    cmd: python -m stages.mask
  sft:
    cmd: python -m stages.sft
  eval:
    foreach: {base: {}, tuned: {}}
    do:
      cmd: python -m stages.eval --model ${key}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "reports/measured").mkdir(parents=True)
    (tmp_path / "dvc.yaml").write_text(STAGES, encoding="utf-8")
    for name, report in {
        "sft": {"seconds": 190.4, "fingerprint": {"processor": "AMD EPYC (AuthenticAMD family 25 model 17)"}},
        "eval_tuned": {"seconds": 0.2, "measured": {"machine": {"processor": "an EPYC", "gpu": "a GPU"}}},
    }.items():
        (tmp_path / f"reports/measured/{name}.json").write_text(json.dumps(report), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("-m stages.mask", "stage 1 of 4: mask"),
        ("-m stages.sft", "stage 2 of 4: sft (took 3 min 10 s last time, on AMD EPYC)"),
        ("-m stages.eval --model tuned", "stage 4 of 4: eval@tuned (took 0.2 s last time, on a GPU)"),
        ("-m stages.sft --params other.yaml", None),
        ("-m hallmark.commands.summary", None),
    ],
)
def test_a_stage_knows_its_place_and_how_long_it_took(project: Path, command: str, line: str | None) -> None:
    assert heading(command.split()) == line


@pytest.mark.parametrize(
    ("pipeline", "measured", "said"),
    [
        (STAGES, None, "stage 2 of 4: sft (took 3 min 10 s last time, on AMD EPYC)\n"),
        (STAGES, "{", ""),
        ("# python -m stages.sft\nstages: [", None, ""),
        (None, None, ""),
    ],
)
def test_a_stage_runs_whatever_its_heading_finds(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    pipeline: str | None,
    measured: str | None,
    said: str,
) -> None:
    (project / "dvc.yaml").unlink()
    for file, text in (("dvc.yaml", pipeline), ("reports/measured/sft.json", measured)):
        if text is not None:
            (project / file).write_text(text, encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["stages/sft.py"])
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "stages.sft"])
    ran: list[object] = []
    run_stage("sft", None, ran.append)
    assert len(ran) == 1
    assert capsys.readouterr().err == said


def test_the_stages_of_the_pipeline_have_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert (heading(["-m", "stages.base"]) or "").startswith("stage 2 of 21: base")
    assert (heading(["-m", "stages.certify"]) or "").startswith("stage 21 of 21: certify")
