"""Run against run: the other run comes from git and DVC's cache, and every record is told what became of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from hallmark.base.errors import HallmarkError
from hallmark.base.provenance import dvc_md5
from hallmark.commands import changes
from hallmark.task.predictions import predictions_of
from tests.made_up import ROOT, prediction, typed, write_predictions
from tests.workspace import run, run_here, spell_out

THEN = ["pass", "pass", "wrong_value", "wrong_value", "omission"]
NOW = ["pass", "wrong_value", "pass", "omission", "omission"]
PATH = predictions_of("tuned").as_posix()


def write(root: Path, outcomes: list[str]) -> None:
    """Predictions, and a dvc.lock and a params.yaml as they are after a run."""
    rows = [prediction(number, "Only", outcome) for number, outcome in enumerate(outcomes)]
    write_predictions(root, "tuned", rows)
    md5 = dvc_md5(root / PATH)
    lock = f"schema: '2.0'\nstages:\n  eval@tuned:\n    cmd: a\n    outs:\n    - {{path: {PATH}, md5: {md5}}}\n"
    (root / "dvc.lock").write_text(lock, encoding="utf-8")
    cached = root / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    cached.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(root / PATH, cached)


def git(root: Path, *arguments: str) -> str:
    environment = os.environ | {
        f"GIT_{who}_{what}": "a@b.c" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    command = ["git", *arguments]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was committed, one that is an experiment, and in the working directory a third."""
    root = tmp_path_factory.mktemp("repo")
    shutil.copyfile(ROOT / "params.yaml", root / "params.yaml")
    spell_out(root)
    (root / ".gitignore").write_text("/reports/\n", encoding="utf-8")
    git(root, "init", "--quiet", "--initial-branch", "main")
    run(root, "dvc", "init", "--quiet")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "-m", "nothing has run")
    for message, outcomes in (("<b>first</b>", THEN), ("second", NOW)):
        write(root, outcomes)
        git(root, "add", "--all")
        git(root, "commit", "--quiet", "-m", message)
    git(root, "update-ref", f"refs/exps/{'ab'}/{'c' * 38}/rank-8", "HEAD")
    params = (root / "params.yaml").read_text(encoding="utf-8")
    (root / "params.yaml").write_text(params.replace("seed: 7 ", "seed: 8 "), encoding="utf-8")
    return root


@pytest.fixture(autouse=True)
def here(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repo)


def test_the_command_prints_what_changed_and_writes_the_page(repo: Path) -> None:
    done = run_here(repo, "hallmark.commands.changes", "--against", "main~1")
    assert done.returncode == 0, done.stderr
    assert "1 won, 1 lost, 1 answered differently." in done.stdout
    page = (repo / "reports/against.html").read_text(encoding="utf-8")
    assert git(repo, "rev-parse", "main~1")[:12] in page
    assert "&lt;b&gt;first&lt;/b&gt;" in page and "<b>first" not in page
    assert re.search(r"seed</bdi></th><td><bdi>7</bdi></td><td><bdi>8</bdi>", page)
    lost = page.split('id="lost"')[1].split('id="won"')[0]
    assert lost.count("<details") == 1 and "T-00001" in lost
    assert "<del>refund</del><mark>delivery</mark>" in lost


def test_an_experiment_is_found_by_its_name(repo: Path, tmp_path: Path) -> None:
    other = changes.read_run("rank-8", "tuned", tmp_path)
    assert other.commit == git(repo, "rev-parse", "HEAD")
    assert changes.compare(other.rows, other.rows).headline == "No answer changed."
    git(repo, "update-ref", f"refs/exps/{'ba'}/{'c' * 38}/rank-8", "HEAD~1")
    with pytest.raises(HallmarkError, match="2 experiments have that name"):
        changes.find("rank-8")


@pytest.mark.parametrize("name", ["nowhere", "--help", "rank-*"])
def test_a_name_that_is_none_is_an_error(name: str) -> None:
    with pytest.raises(HallmarkError, match=r"there is no commit or experiment of that name\n.*dvc exp show"):
        changes.find(name)


def test_a_commit_without_a_run_and_a_file_that_no_cache_has_are_errors(repo: Path, tmp_path: Path) -> None:
    with pytest.raises(HallmarkError, match=r"dvc\.lock: commit \w{12} has none"):
        changes.read_run("main~2", "tuned", tmp_path)
    with pytest.raises(HallmarkError, match=r"has no reports/eval/base/predictions\.jsonl"):
        changes.read_run("main", "base", tmp_path)
    cache = repo / ".dvc/cache/files"
    cache.rename(cache.with_name("away"))
    try:
        with pytest.raises(
            HallmarkError, match=r"is not in DVC's cache\n.*`dvc fetch --all-commits reports/eval/tuned"
        ):
            changes.read_run("main~1", "tuned", tmp_path)
    finally:
        cache.with_name("away").rename(cache)


def test_records_are_paired_by_id_and_only_if_they_are_the_same() -> None:
    then = [typed(prediction(number, "Only", outcome)) for number, outcome in enumerate(THEN)]
    now = [typed(prediction(number, "Only", outcome)) for number, outcome in enumerate(NOW)]
    rewritten = typed(prediction(0, "Only", "pass", target="{}"))
    found = changes.compare([*then, typed(prediction(8, "Only", "pass"))], [rewritten, *now[:0:-1]])
    assert found.unpaired == "Not compared: 1 only then, 1 in both, with another input or target."
    assert [after.id for _, after in found.lost] == ["T-00001"]
    assert [after.id for _, after in found.won] == ["T-00002"]
    assert [after.id for _, after in found.other] == ["T-00003"]
    assert (found.same, found.paired, found.p) == (1, 4, 1.0)
