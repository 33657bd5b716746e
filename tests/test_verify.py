"""A rebuild in a fresh clone: what it compares, what it says, and its exit code. With real git and real DVC."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import chdir, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from dvc.exceptions import DvcException

from hallmark.base.errors import HallmarkError
from hallmark.base.files import write_json
from hallmark.base.key import VARIABLE
from hallmark.base.reading import read_json
from hallmark.commands import verify
from hallmark.params.loader import load_params
from tests.small_pipeline import copied, dvc, shell
from tests.workspace import KEY, change_params, give_key


@pytest.fixture
def repo(small_run: Path, tmp_path: Path) -> Path:
    """A copy of it to break, in a folder with a name that has to be quoted."""
    return copied(small_run, tmp_path / "our repo, #1")


@dataclass
class Done:
    code: int
    out: str
    error: str


@pytest.fixture
def rebuild(repo: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """`verify.run` in the repository; `noise` makes its stages write different bytes."""
    monkeypatch.chdir(repo)
    monkeypatch.setattr(verify, "dvc", dvc_here)

    def call(*, noise: str = "", **arguments: Any) -> Done:
        if noise:
            monkeypatch.setenv("NOISE", noise)
        try:
            code, message = verify.run(**arguments), ""
        except HallmarkError as error:
            code, message = 1, str(error)
        out, error_output = capfd.readouterr()
        print(out, error_output)  # shown where a test fails
        return Done(code, out, error_output + message)

    return call


def dvc_here(command: str, *options: str, at: Path, variables: Mapping[str, str] | None = None) -> None:
    """What `verify` asks of DVC, in this process; a process of its own is in the test of one stage."""
    targets = [option for option in options if not option.startswith("--")]
    with chdir(at), pytest.MonkeyPatch.context() as patch, dvc() as clone:
        for name, value in (variables or {}).items():
            patch.setenv(name, value)
        try:
            if command == "checkout":
                clone.checkout(targets)
            else:
                clone.reproduce(targets or None, force=True, single_item="--single-item" in options)
        except DvcException as error:
            raise HallmarkError(f"{error}: {error.__cause__}", file="dvc", remedy="x") from None


def elsewhere(repo: Path) -> None:
    """Make the committed results look as if they came from another processor."""
    file = repo / "reports/measured/environment.json"
    values = read_json(file)
    values["fingerprint"]["processor"] = "another"
    write_json(file, values)
    shell("git commit -qam elsewhere", repo)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the rebuild, which stays."""
    folder = tmp_path / "what is kept, #1"
    folder.mkdir()
    monkeypatch.setattr(verify, "TemporaryDirectory", lambda prefix: nullcontext(str(folder)))
    return folder


def test_the_whole_pipeline_gives_the_same_bytes(repo: Path, rebuild: Callable[..., Done]) -> None:
    done = rebuild()
    assert done.code == 0
    due = {"same      models/adapter", "measured  reports/gate.json"}
    assert due | {"environment: the same as recorded", "the rebuild gave the same bytes"} <= {*done.out.splitlines()}
    assert shell("git status --porcelain", repo) == ""


def test_one_stage_runs_on_what_the_cache_has(repo: Path) -> None:
    shell("rm -r models data/split && echo '# changed' >> params.yaml", repo)
    command = [sys.executable, "-m", "hallmark.commands.verify", "--stage", "sft"]
    done = subprocess.run(command, cwd=repo, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    same = {line.split()[1] for line in done.stdout.splitlines() if line.startswith("same")}
    assert same == {"models/adapter", "reports/sft.json"}
    assert "uncommitted changes are ignored" in done.stderr


def test_other_bytes_are_2_and_what_differs_here_is_said(repo: Path, rebuild: Callable[..., Done]) -> None:
    elsewhere(repo)
    done = rebuild(stage="sft", noise="0.25")
    assert done.code == 2
    lines = done.out.splitlines()
    assert {"differs   models/adapter", "differs   reports/sft.json"} <= {*lines}
    assert "environment: different: processor another -> " in done.out
    assert lines[-1] == "the rebuild differs"


@pytest.mark.full
def test_an_output_that_is_no_longer_written_is_missing(repo: Path, rebuild: Callable[..., Done]) -> None:
    """Git brings the reports into the clone, so a stage that stopped writing one must not pass for it."""
    shell("""sed -i 's/write_json(Path("reports.sft.json").*/pass/' make.py""", repo)
    shell("dvc commit -q -f && git commit -qam silent", repo)
    done = rebuild(stage="sft")
    assert done.code == 1
    assert "reports/sft.json" in done.error


def test_a_damaged_cache_is_not_rebuilt_from(repo: Path, rebuild: Callable[..., Done]) -> None:
    shell("dvc gc -q -w -f", repo)
    weights = next(
        file for file in (repo / ".dvc/cache").rglob("*") if file.is_file() and b"weight" in file.read_bytes()[:60]
    )
    weights.chmod(0o644)
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    done = rebuild(stage="sft")
    assert done.code == 1
    assert "missing from this repository's cache or damaged" in done.error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stage": "training"}, "has no stage 'training'"),
        ({"commit": "no-such"}, "no commit 'no-such'"),
        ({"commit": "HEAD~"}, "dvc.lock: not in that commit"),
    ],
)
def test_what_can_not_be_verified_is_1_with_a_remedy(
    rebuild: Callable[..., Done], arguments: dict[str, Any], message: str
) -> None:
    done = rebuild(**arguments)
    assert done.code == 1
    assert message in done.error
    assert "remedy" in done.error


RAW = Path("data/raw/tickets.jsonl")


def test_raw_data_that_is_not_in_git_is_brought_from_this_folder(repo: Path, rebuild: Callable[..., Done]) -> None:
    shell(f"git rm -q --cached {RAW} && git commit -qm private", repo)
    done = rebuild(stage="split")
    assert done.code == 0, done.error
    (repo / RAW).write_text((repo / RAW).read_text(encoding="utf-8") + "{}\n", encoding="utf-8")
    assert f"{RAW.parent}: not in git as the run read it" in rebuild(stage="split").error
    shutil.rmtree(repo / RAW.parent)
    assert f"{RAW.parent}: not in git as the run read it" in rebuild(stage="split").error


def test_the_key_reaches_the_rebuild_and_no_file_of_it(
    repo: Path, rebuild: Callable[..., Done], kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_params(repo, {"data.pseudonyms": "keyed"})
    give_key(repo)
    (repo / ".gitignore").write_text("__pycache__/\n/data/pseudonyms.key\n")
    shell("git add -A && git commit -qm keyed", repo)
    given: list[tuple[str, dict[str, str]]] = []
    really = verify.dvc

    def noting(*command: str, at: Path, variables: Mapping[str, str] | None = None) -> None:
        given.append((" ".join(command), dict(variables or {})))
        really(*command, at=at, variables=variables)

    monkeypatch.setattr(verify, "dvc", noting)
    assert "same      data/split\n" in rebuild(stage="split").out
    assert [variables for command, variables in given if "repro" in command] == [{VARIABLE: KEY}]
    assert not [command for command, variables in given if KEY in command or (variables and "repro" not in command)]
    assert not list((kept / "clone/.dvc").glob("cache/*"))
    assert list((kept / "cache").rglob("*")), "the rebuild's own cache, which began empty"
    files = [file for file in kept.rglob("*") if file.is_file()]
    assert not [file for file in files if file.name == "pseudonyms.key" or KEY.encode() in file.read_bytes()]
    (repo / "data/pseudonyms.key").unlink()
    given.clear()
    for stage in (None, "mask"):
        for place in kept.iterdir():
            shutil.rmtree(place)
        done = rebuild(stage=stage)
        assert "data/pseudonyms.key: the key is missing" in done.error or "has no stage 'mask'" in done.error
    assert not [command for command, _ in given if "repro" in command]
    assert verify._key(load_params(repo / "params.yaml"), "sft") == {}, "which reads no raw names"
