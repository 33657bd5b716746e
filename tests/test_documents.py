"""The sample of answers from documents: each answer stands in the passage it names, and where it is null, none says it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from hallmark.answer.scoring import Scorer
from hallmark.params.edit import changed
from hallmark.params.loader import load_params
from hallmark.task.task import Task
from tests.workspace import ROOT

SAMPLE = ROOT / "template/choices/kinds/documents"
ABSTAIN = {"answer": None, "source": None}


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (SAMPLE / "raw/questions.jsonl").read_text(encoding="utf-8").splitlines()]


def test_an_answer_stands_in_the_passage_that_it_names(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        passages = dict(re.findall(r"^\[(\w+)\] (.+)$", row["passages"], re.MULTILINE))
        assert len(passages) == len(row["passages"].splitlines())
        assert ("empty" in row["tags"]) == (not passages)
        if "answerable" in row["tags"]:
            assert row["answer"]["answer"] in passages[row["answer"]["source"]].partition(": ")[2]
        else:
            assert row["answer"] == ABSTAIN


def test_abstaining_is_the_tasks_refusal_and_every_answer_has_its_evidence(
    rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    text = changed(
        (ROOT / "params.yaml").read_text(encoding="utf-8"), (SAMPLE / "params.yaml").read_text(encoding="utf-8")
    )
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "data").symlink_to(SAMPLE)
    monkeypatch.chdir(tmp_path)
    params = load_params(tmp_path / "params.yaml")
    scorer = Scorer(Task(params.task))
    for row in rows:
        target = scorer.task.render(row["answer"])
        score = scorer.score(input=row["question"], context=row["passages"] or None, target=target, prediction=target)
        assert score.exact_match
        assert score.refusal_expected == (row["answer"] == ABSTAIN)
        assert score.retrieved == (True if "answerable" in row["tags"] else None)
