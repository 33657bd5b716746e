"""The parts of a collection: verdicts, copies, the order of the queue, reviews, and the files of live records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hallmark.mask.two_runs import live_records
from hallmark.params.loader import load_params
from hallmark.records import Record
from hallmark.service.collecting.collection import learned, without_copies
from hallmark.service.collecting.existing_records import Known
from hallmark.service.collecting.live import New, write_live
from hallmark.service.collecting.logged import LeftOutError, Logged
from hallmark.service.collecting.queue import Reviewed, lines_of, queue, read_reviewed
from hallmark.task.task import Task
from tests.rows import refused
from tests.workspace import ROOT

PARAMS = load_params(ROOT / "params.yaml")
TARGET = {"intent": "refund", "urgency": "normal", "product": None, "amount": None, "date": None, "issues": []}


def logged(number: int = 0, **changes: Any) -> Logged:
    whole: dict[str, Any] = {
        "name": f"log {number}", "time": "2026-01-01",
        "group": "C-1", "route": "prod", "outcome": "answered", "reason": "sure", "version": "v1.0.0",
        "messages": [{"role": "user", "content": "a"}], "tools": None, "answer": "{}", "fallback": None, "verdict": None,
        "target": None, "score": None, "probability": None,
    }  # fmt: skip
    return Logged(**(whole | changes))


@pytest.mark.parametrize(
    ("changes", "kind", "due"),
    [
        ({}, "extraction", None),
        ({"verdict": "rejected"}, "extraction", None),
        ({"verdict": "accepted"}, "extraction", ("{}", None)),
        ({"verdict": "accepted", "fallback": '{"a":1}'}, "extraction", ('{"a":1}', None)),
        ({"verdict": "corrected", "target": '{"a":1}'}, "extraction", ('{"a":1}', "{}")),
        ({"verdict": "corrected", "target": "{ }"}, "extraction", ("{ }", None)),
        ({"verdict": "corrected", "target": "Yes.", "answer": "Aye.", "fallback": "No."}, "text", ("Yes.", None)),
    ],
)
def test_what_a_verdict_teaches(changes: dict[str, Any], kind: Any, due: Any) -> None:
    task = Task(PARAMS.task.model_copy(update={"kind": kind}))
    assert learned(logged(**changes), task) == due
    with pytest.raises(LeftOutError, match="no_answer"):  # nobody got it, so nobody accepted it
        learned(logged(verdict="accepted", answer=None), task)


def row(number: int, text: str, target: str = "{}", online: bool = False) -> New:
    record = Record(id=f"trace:{number}", group="C-1", prompt=text, target=target, source="live.jsonl:1")
    return New(record, text, target, online)


KETTLE = "The glass kettle that I bought last week leaks at the base, and the lid does not close."


def test_copies_of_records_and_of_each_other_are_left_out() -> None:
    known = Known(texts=[KETTLE], targets=["{}"])
    rows = [
        row(1, KETTLE.upper()),  # the same, in the form in which texts are compared
        row(2, KETTLE + " Thanks!"),  # which `dedupe` sees
        row(3, KETTLE, '{"a":1}'),  # a correction
        row(4, KETTLE, '{"a":1}'),
        row(5, "<PERSON_1>"),
        row(6, "<PERSON_1>", '{"a":1}'),
    ]
    stay, copies = without_copies(rows, known)
    assert ([one.record.id for one in stay], copies) == (["trace:2", "trace:3", "trace:5", "trace:6"], 2)
    held = row(2, KETTLE, online=True)  # does not get into training under another customer's name
    assert without_copies([row(1, KETTLE), held], Known())[0] == [held]


def test_the_most_useful_comes_first() -> None:
    texts = [
        "The glass kettle leaks at the base, I want my money back please.",
        "My garden hose has not come, where is the parcel now?",
        "My garden hose has not come, where is the parcel now??",
        "The oak shelf wobbles and the screws are missing from the box.",
    ]
    waiting = [(logged(number, probability=[0.9, 0.2, 0.8, None][number]), text) for number, text in enumerate(texts)]

    opened = queue(waiting, texts[:1], PARAMS.dedupe)
    assert [(one.logged.name, one.count) for one in opened] == [("log 3", 1), ("log 1", 2), ("log 0", 1)]
    assert queue([], texts, PARAMS.dedupe) == []


@pytest.fixture
def task() -> Task:
    schema = str(ROOT / "data/schema.json")
    return Task(PARAMS.task.model_copy(update={"schema_file": schema}))


def test_a_review_is_read_and_kept_and_the_last_word_counts(tmp_path: Path, task: Task) -> None:
    right = Reviewed(trace="trace:b", verdict="corrected", target=json.dumps(TARGET))
    said = {one.trace: one for one in (Reviewed(trace="trace:a", verdict="accepted"), right)}
    file = tmp_path / "reviewed.jsonl"
    file.write_bytes(lines_of(said) + b'{"trace": "trace:a", "verdict": "dropped"}\n')
    assert list(read_reviewed(file, task, 10_000).values()) == [Reviewed(trace="trace:a", verdict="dropped"), right]


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ('{"trace": "a", "verdict": "accepted"}', "trace"),
        ('{"trace": "trace:a", "verdict": "maybe"}', "verdict"),
        ('{"trace": "trace:a", "verdict": "accepted", "target": "{}"}', "target"),
        ('{"trace": "trace:a", "verdict": "corrected", "target": "{}"}', "target"),
        (json.dumps({"trace": "trace:a", "verdict": "corrected", "target": "x" * 11_000}), "target"),
        ('{"trace": "trace:a", "verdict": "accepted", "route": "prod"}', None),
        ('{"trace": "trace:a", "trace": "trace:b"}', None),
    ],
)
def test_a_hostile_review_is_an_error_that_says_where(tmp_path: Path, task: Task, line: str, field: str | None) -> None:
    file = tmp_path / "reviewed.jsonl"
    file.write_text('{"trace": "trace:z", "verdict": "accepted"}\n' + line + "\n", encoding="utf-8")
    with refused(file=file, row=2, field=field):
        read_reviewed(file, task, 10_000)


def test_records_are_written_as_a_file_of_their_own_and_read_as_they_were(tmp_path: Path) -> None:
    folder = tmp_path / "live"
    turns = [
        {"role": "user", "content": "é"},
        {"role": "assistant", "content": None, "tool_calls": [{"name": "a", "arguments": {}}]},
    ]
    given = {"prompt": turns, "target": TARGET, "rejected": {}, "tags": ["collected"]}
    records = [Record(id="trace:1", group="g", source="x:1", **given), row(2, "a").record]
    assert write_live([], folder) is None and not folder.exists()
    assert [write_live([one], folder) for one in records] == [folder / f"collected-{number}.jsonl" for number in (1, 2)]
    read = list(live_records(folder))
    assert [one.model_dump(exclude={"source"}) for one in read] == [
        one.model_dump(exclude={"source"}) for one in records
    ]
    assert read[1].source == f"{folder}/collected-2.jsonl:1"
