"""What `nox -s fresh` says of stages in a clone that has nothing but git's files, with real git and real DVC."""

from __future__ import annotations

import hashlib
import shutil
from contextlib import chdir
from pathlib import Path

import pytest

from hallmark.base.errors import HallmarkError
from hallmark.base.files import BOUGHT
from hallmark.commands import stale
from tests.small_pipeline import dvc, shell
from tests.workspace import append, change_params, run_here, written

COMPARATORS = """
  comparators: {cmd: mkdir -p reports/comparators && cp data/bought/big.jsonl reports/comparators/, params: [eval],
    deps: [data/bought, data/split, make.py], outs: [reports/comparators: {persist: true}]}
"""


@pytest.fixture(scope="module")
def bought(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small pipeline with a stage that reads bought answers, kept as `nox -s ask` keeps them; it ran."""
    repo = shutil.copytree(small_run, tmp_path_factory.mktemp("bought") / "repo")
    append(repo / "dvc.yaml", COMPARATORS)
    note = "outs:\n- path: big.jsonl\n  push: false\n"
    written(repo / BOUGHT, {"README.md": "bought\n", "big.jsonl": "{}\n", "big.jsonl.dvc": note})
    append(repo / ".gitignore", "/data/bought/*.jsonl\n")
    with chdir(repo), dvc() as known:
        known.add("data/bought/big.jsonl")
        known.reproduce("comparators")
    shell("git add -A && git commit -qm bought", repo)
    return repo


@pytest.fixture
def clone(bought: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shell(f"git clone -q '{bought}' clone", tmp_path)
    monkeypatch.chdir(tmp_path / "clone")
    assert not (BOUGHT / "big.jsonl").exists() and not Path("data/split").exists()
    return tmp_path / "clone"


def test_a_clone_without_the_answers_is_fresh(clone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stale.run()
    said = "all stages ran since the last change; data/bought lacks big.jsonl here, taken for what its .dvc file says\n"
    assert capsys.readouterr().out == said
    (BOUGHT / "big.jsonl").write_text("{}\n", encoding="utf-8")
    stale.run()
    assert capsys.readouterr().out == "all stages ran since the last change\n"


def test_no_change_is_hidden_by_answers_that_are_not_here(clone: Path) -> None:
    code = Path("make.py").read_text(encoding="utf-8")
    Path("make.py").write_text(f"{code}# changed\n", encoding="utf-8")
    others = ["base", "split", "quantize", "sft", "eval", "gate"]
    assert stale.stale_stages() == [*others, "comparators"]
    Path("make.py").write_text(code, encoding="utf-8")
    assert stale.stale_stages() == []
    change_params(clone, {"eval.batch_size": 3})
    assert stale.stale_stages() == ["certify", "comparators"]
    done = run_here(clone, "hallmark.commands.stale")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == [
        "stale: error: dvc.lock: certify, comparators: not run since a change",
        "  remedy: run `nox -s repro`, commit dvc.lock, code/ and reports/",
    ]


def test_other_answers_than_the_stage_read_make_it_stale(clone: Path) -> None:
    note = BOUGHT / "big.jsonl.dvc"
    text = note.read_text(encoding="utf-8")
    other = hashlib.md5(b"more", usedforsecurity=False).hexdigest()
    note.write_text(text.replace(text.partition("md5: ")[2][:32], other), encoding="utf-8")
    assert stale.stale_stages() == ["comparators"]
    note.write_text(text, encoding="utf-8")
    (BOUGHT / "big.jsonl").write_text("{ }\n", encoding="utf-8")  # it is here, and is another one
    assert stale.stale_stages() == ["comparators"]
    (BOUGHT / "big.jsonl").unlink()
    (BOUGHT / "more.jsonl.dvc").write_text(text.replace("big", "more"), encoding="utf-8")
    assert stale.stale_stages() == ["comparators"]


def test_a_stage_whose_input_was_made_again_is_stale(clone: Path) -> None:
    lock = Path("dvc.lock")
    text = lock.read_text(encoding="utf-8")
    assert text.count("path: models/quantized") == 2  # what quantize made, and what sft read
    made = text.index("path: models/quantized")
    at = text.index("md5: ", text.index("hash: md5", made)) + len("md5: ")
    lock.write_text(text[:at] + "0" * 32 + text[at + 32 :], encoding="utf-8")
    assert stale.stale_stages() == ["sft"]


def test_what_dvc_can_not_read_is_one_error(clone: Path) -> None:
    Path("dvc.yaml").write_text("stages: [", encoding="utf-8")
    with pytest.raises(HallmarkError, match=r"^dvc\.yaml: DVC can't tell what is stale"):
        stale.run()


def test_a_stage_that_never_ran_is_stale_and_before_a_run_there_is_nothing_to_say(
    clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    append(Path("dvc.yaml"), "  more: {cmd: ls, deps: [data/split], outs: [models/more]}\n")
    assert stale.stale_stages() == ["more"]
    Path("dvc.lock").unlink()
    stale.run()
    assert "nothing has run yet" in capsys.readouterr().out
