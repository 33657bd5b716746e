"""How one starts: the environment that nox makes, what a command says without it, and the line that a stage starts with."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import hallmark
import noxfile
from tests.workspace import ROOT, append, git, git_commit, program, written

MISSING = (
    "hallmark: the packages aren't installed here; run `python -m nox -s setup`, then `source .venv/bin/activate`\n"
)


def python(*options: str, folder: Path = ROOT, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python with only these variables and the PATH."""
    environment = {"PATH": os.environ["PATH"], **variables}
    return subprocess.run([sys.executable, *options], cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("module", ["stages.sft", "hallmark.model.launch"])
def test_a_command_without_its_packages_says_so_in_one_line(module: str) -> None:
    done = python("-S", "-m", module)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", MISSING)


def test_stages_can_be_imported_without_the_packages() -> None:
    assert python("-S", "-c", "import stages").returncode == 0


def test_a_failed_install_is_tried_again_next_time(tmp_path: Path) -> None:
    (tmp_path / "noxfile.py").write_bytes((ROOT / "noxfile.py").read_bytes())
    (tmp_path / "requirements.lock").write_text("nothing==1\n", encoding="utf-8")
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "x"\nversion = "1"\ndependencies = []\n'
        f'[tool.hallmark]\nhashed = ["nothing==1 --hash=sha256:{"0" * 64}"]\n',
        encoding="utf-8",
    )
    program(tmp_path / ".venv/bin/pip", "")
    program(tmp_path / ".venv/bin/python", f'exec "{sys.executable}" "$@"')
    done = python("-m", "nox", "-s", "setup", folder=tmp_path, PIP_NO_INDEX="1")
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert "installing what requirements.lock names into .venv" in said
    assert "ERROR: No matching distribution found for nothing==1" in said
    assert not (tmp_path / ".venv/installed-run").exists()


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A stamped repo with an environment that is up to date, whose programs only print their options."""
    for name in ("noxfile.py", "pyproject.toml", "requirements.lock"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    for name in ("dvc", "mypy", "pip", "python", "ruff"):
        program(tmp_path / ".venv/bin" / name, 'echo "ran ${0##*/} $*"; case "$*" in *fail*) exit 3;; esac')
    for group in ("run", "dev"):
        asked = [noxfile.PROJECT["project"]["dependencies"], noxfile.HASHED, [], noxfile.PROJECT["dependency-groups"]]
        wanted = hashlib.sha256(repr(asked).encode() + (ROOT / "requirements.lock").read_bytes())
        (tmp_path / f".venv/installed-{group}").write_text(wanted.hexdigest(), encoding="utf-8")
    return tmp_path


SPREAD = f"--numprocesses {min(4, os.cpu_count() or 1)} --dist loadfile --no-loadscope-reorder"


@pytest.mark.parametrize(
    ("command", "ran"),
    [
        ("release -- --help", ["python -m hallmark.service.commands.release --help"]),
        ("choose -- --dry", ["dvc repro dedupe", "python -m hallmark.commands.choose --dry"]),
        ("lint -- --fix", ["ruff format .", "ruff check --fix .", "mypy"]),
        ("tests -- -n 8", [f"python -m pytest {SPREAD} -n 8"]),  # the last of them counts
    ],
)
def test_a_session_runs_its_steps_with_options_to_the_last(installed: Path, command: str, ran: list[str]) -> None:
    done = python("-m", "nox", "-s", *command.split(), folder=installed)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line[4:].rstrip() for line in done.stdout.splitlines() if line.startswith("ran ")] == ran


def test_the_tests_see_what_git_has_and_edits_but_nothing_that_a_run_left(
    installed: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """In a folder of a repository, as where one holds several models; `.ci/run` lets all tests run over such outputs."""
    folder = shutil.copytree(installed, tmp_path_factory.mktemp("several") / "one of them")
    git(folder.parent, "init", "--quiet")
    kept = {"data/raw/README.md": "", "hallmark/old.py": "old", "hallmark/gone.py": "", "reports/gate.json": "kept\n"}
    written(folder, kept | {".gitignore": (ROOT / ".gitignore").read_bytes()})
    git_commit(folder, "start")
    (folder / "hallmark/gone.py").unlink()
    edits = {"hallmark/old.py": "edited", "hallmark/a new.py": ""}
    left = ["data/split/train.parquet", "models/base/x", "reports/new.json", "reports/eval/tuned/predictions.jsonl"]
    written(folder, edits | dict.fromkeys(["dvc.lock", "reports/gate.json", *left], "") | {"data/raw/my.csv": ""})
    program(folder / ".venv/bin/python", "cat hallmark/old.py reports/gate.json; find * -type f -o -type l")
    done = python("-m", "nox", "-s", "tests", folder=folder)
    seen = {"data/raw/README.md", "data/raw/my.csv", "hallmark/a new.py", "hallmark/old.py", "reports/gate.json"}
    seen |= {"editedkept", "noxfile.py", "pyproject.toml", "requirements.lock"}
    assert {*done.stdout.splitlines()} == seen, done.stderr
    assert [*(folder / ".nox").iterdir()] == []


def test_stamping_installs_only_what_it_needs(installed: Path) -> None:
    (installed / "template").mkdir()
    (installed / ".venv/installed-run").unlink()
    said = python("-m", "nox", "-s", "stamp", "--", "..", "kind=text", folder=installed).stdout.splitlines()
    packages, command = (line for line in said if line.startswith("ran "))
    wanted = ["cookiecutter>=2.7", *(name.replace("_", "-") for name in hallmark.NEEDED)]
    assert packages.split("-c requirements.lock ")[1].split() == wanted, "without these, no command starts"
    assert command == "ran python -m hallmark.commands.stamp .. kind=text"


def test_only_a_verdict_of_the_canary_is_no_failure(installed: Path) -> None:
    codes = {
        name: python("-m", "nox", "-s", name, "--", "fail", folder=installed).returncode for name in ("canary", "plan")
    }
    assert codes == {"canary": 0, "plan": 1}


def test_packages_are_looked_at_again_only_if_the_interpreter_or_what_is_asked_for_changed(installed: Path) -> None:
    def installs() -> int:
        return python("-m", "nox", "-s", "plan", folder=installed).stdout.count("ran python -m pip install")

    counts = [installs()]
    for file in (".venv/pyvenv.cfg", "requirements.lock"):
        append(installed / file, "# another\n")
        counts += [installs(), installs()]
    append(installed / "pyproject.toml", "# another repo, which shares the environment\n")
    assert [bool(count) for count in [*counts, installs()]] == [False, True, False, True, False, False]
