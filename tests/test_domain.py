"""The domain of this repo, whatever it is: its parameters, records, schema and generator fit together, and all of it runs."""

from __future__ import annotations

import json
import shutil
import sys
from contextlib import chdir
from pathlib import Path

import pytest

from hallmark.answer.scoring import Scorer
from hallmark.base.document import strings
from hallmark.base.errors import HallmarkError
from hallmark.params.loader import load_params
from hallmark.records import Record
from hallmark.records.recipe import load
from hallmark.task.task import Task
from tests.workspace import ROOT, git_init, make_tiny_workspace, report, run

PARAMS = load_params(ROOT / "params.yaml")


@pytest.fixture(scope="module")
def records() -> list[Record]:
    """All records. Raw data is not in git: a CI machine that needs it gets it with `dvc pull`, and skips without it."""
    with chdir(ROOT):
        try:
            return list(load().run(PARAMS.records, task=Task(PARAMS.task)))
        except HallmarkError as error:
            if error.file and not Path(error.file).exists():
                pytest.skip(f"{error.file} is not on this machine")
            raise


def test_every_label_is_used(records: list[Record]) -> None:
    task = Task(PARAMS.task)
    assert len({record.group for record in records}) >= PARAMS.gate.min_groups
    assert len(records) >= PARAMS.gate.min_records
    if task.labels:
        used = {task.render(record.target) for record in records}
        assert set(task.labels) <= used, "labels of data/schema.json that no record has"


@pytest.mark.skipif(not PARAMS.eval.facts, reason="no facts are named: answers are not replies in words")
def test_no_reply_teaches_to_make_a_fact_up(records: list[Record]) -> None:
    task = Task(PARAMS.task)
    scorer, seen = Scorer(task, facts=PARAMS.eval.facts), set()
    for record in records:
        reply, asked = task.render(record.target), " ".join(strings(record.prompt))
        score = scorer.score(input=asked, context=record.context or "", target=reply, prediction=reply)
        assert score.retrieved in (True, None), f"{record.source}: a fact of the reply stands nowhere"
        seen |= {field.path for field in score.fields}
    assert seen == set(PARAMS.eval.facts), "facts of eval.facts that no reply has"


@pytest.mark.skipif(not (ROOT / "data/generate.py").exists(), reason="the data is no longer the sample")
def test_the_generator_writes_the_sample_data_to_the_byte(tmp_path: Path) -> None:
    """Its gold labels too, whatever the hash seed, the time zone and the locale."""
    shutil.copytree(
        ROOT / "data", tmp_path / "data", ignore=shutil.ignore_patterns("*.parquet", "split", "raw", "gold")
    )
    run(tmp_path, sys.executable, "data/generate.py", PYTHONHASHSEED="7", TZ="Asia/Tokyo", LC_ALL="C")
    made = sorted((tmp_path / "data").rglob("*.jsonl"))
    assert made
    for file in [*made, tmp_path / "data/schema.json"]:
        assert file.read_bytes() == (ROOT / file.relative_to(tmp_path)).read_bytes(), file.name


@pytest.mark.usefixtures("records")
@pytest.mark.skipif((ROOT / "template").is_dir(), reason="here tests/test_pipeline.py runs it")
def test_the_whole_pipeline_runs_on_a_tiny_model(tmp_path: Path) -> None:
    """From the raw rows to the verdict and the release; the model knows nothing, so the verdict is no."""
    folder = make_tiny_workspace(tmp_path / "repo", {"mask.workers": 1})
    git_init(folder)
    run(folder, "dvc", "repro")
    assert report(folder, "gate")["verdict"] in ("fail", "too_little_data")
    assert report(folder, "split")["leaks"] == 0
    assert json.loads((folder / "models/release/provenance.json").read_text(encoding="utf-8"))
