"""What callers get: the holdout's raw rows masked as live requests, answered, their values put back, and what is said of it."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from hallmark.answer.callers import received
from hallmark.answer.parity import Live
from hallmark.answer.predictions import prediction, readable
from hallmark.answer.scoring import Scorer
from hallmark.base.files import HOLDOUT, MASKED
from hallmark.base.key import read_key
from hallmark.base.records import schema, write_records
from hallmark.judge import tables
from hallmark.mask import callers
from hallmark.mask.live import LiveMasker
from hallmark.mask.restoring import Masked
from hallmark.mask.rows import RowMaker, write_groups
from hallmark.mask.two_runs import Runs
from hallmark.params.loader import load_params
from hallmark.task.task import Task
from stages import benchmark
from tests.rows import refused, write_lines
from tests.workspace import change_params, make_workspace

TICKETS = "data/raw/tickets.jsonl"
RULES = {"mask.gold": None, "mask.ner": {"engine": "none", "model": None}}
# `contact_name` alone says that these words are a name, and no live request has that column.
SAID = [
    ("Violet Plum", "A violet plum is on the lid.", "violet plum is on the lid"),
    (None, "The lid is bent. Mail me: ann@example.org", "lid is bent"),
    (None, "Tell ann@example.org that the lid is bent.", "ann@example.org"),
    (None, "The hinge squeaks.", "hinge squeaks"),
    (None, "The lamp flickers.", "lamp flickers"),
]
TARGET = {"intent": "refund", "urgency": "normal", "product": None, "amount": None, "date": None}
EMPTY = {"contact_email": None, "contact_phone": None, "subject": "Refund", "tags": []}
ROWS = [
    {
        "id": f"R-{i}",
        "customer": f"C-{i % 5}",
        "contact_name": name,
        "body": body,
        "target": TARGET | {"issues": [issue]},
    }
    | EMPTY
    for i, (name, body, issue) in enumerate(SAID * 2)
]


def write_rows(folder: Path) -> None:
    """These rows as the raw data, and the records that `mask` makes of them as the holdout."""
    params = load_params()
    write_lines(folder / TICKETS, ROWS)
    maker = RowMaker(params.data, params.task, params.mask, None, read_key(params.data))
    maker.masker.load()
    records = list(Runs(params, Task(params.task)).records())
    known = [tuple((kind, value) for kind, values in one.private.items() for value in values) for one in records]
    rows, _ = maker.rows(list(zip(records, known, strict=True)))
    write_groups(MASKED, rows)
    write_records(HOLDOUT, pl.read_parquet(MASKED).select(*schema()))


@pytest.fixture
def here(tmp_path, monkeypatch):
    make_workspace(tmp_path, RULES | {"data.pseudonyms": "keyed"}, rows=1)
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path)
    return tmp_path


def records_here():
    return pl.read_parquet(HOLDOUT).rows(named=True)


def test_raw_rows_are_sent_again_and_only_what_the_data_alone_tells_makes_another_prompt(here):
    params, records = load_params(), records_here()
    sent = callers.sent(records, params)
    alike = [one.asks_as(record) for one, record in zip(sent, records, strict=True)]
    assert alike == [False, *[True] * 4] * 2
    assert "violet plum" in sent[0].masked.messages[1]["content"]
    assert "violet plum" not in records[0]["prompt"][1]["content"]
    assert sent[2].raw["target"] == json.dumps(ROWS[2]["target"], separators=(",", ":"))
    assert "ann@example.org" not in str(records)
    shuffled = callers.sent(records[::-1], params)
    assert [one.raw for one in shuffled] == [one.raw for one in sent[::-1]]


def test_dates_that_move_take_no_key(tmp_path, monkeypatch):
    settings = {"data.pseudonyms": "none", "mask.actions": {"DATE_TIME": "surrogate"}}
    make_workspace(tmp_path, RULES | settings, rows=1)
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path)
    params = load_params()
    assert params.data.key is None
    assert len(callers.sent(records_here(), params)) == len(ROWS)


@pytest.mark.parametrize("change", ["gone", "another text", "another target"])
def test_rows_that_the_records_were_not_made_of_are_an_error_without_a_word_of_them(here, change):
    params, records = load_params(), records_here()
    rows = [dict(row) for row in ROWS]
    if change == "gone":
        rows.pop()
    elif change == "another text":
        rows[-1] |= {"body": "Mary Jones rang."}
    else:
        rows[-1] |= {"target": rows[-1]["target"] | {"product": "Mary Jones"}}
    write_lines(Path(TICKETS), rows)
    with refused("dvc repro") as error:
        callers.sent(records, params)
    assert "Mary" not in str(error.value)


def test_a_masker_that_fails_names_the_row_and_quotes_nothing(here, monkeypatch):
    def broken(self, messages, *rest):
        raise KeyError(messages[1]["content"])

    monkeypatch.setattr(LiveMasker, "__call__", broken)
    params = load_params()
    with refused(row=1) as error:
        callers.sent(records_here(), params)
    assert "lid" not in str(error.value)
    assert error.value.__context__ is None


def test_what_is_the_same_counts_as_evaluated_and_the_rest_is_asked_and_compared_with_the_raw_target(here):
    params, records = load_params(), records_here()
    sent = callers.sent(records, params)
    sent[9] = callers.Sent(None, "private_data_left", sent[9].raw)
    scorer = Scorer(Task(params.task))

    def answered(record, text):
        score = scorer.score(**readable(record), prediction=text)
        return prediction(record, text, score, finish="stop", tokens=9)

    perfect = [record["completion"][0]["content"] for record in records]
    perfect[3] = perfect[3].replace("hinge squeaks", "<PERSON_1")  # wrong before, and not handed out
    perfect[4] = perfect[4].replace("lamp", "lump")
    evaluated = [answered(*pair) for pair in zip(records, perfect, strict=True)]
    assert [row.exact_match for row in evaluated] == [True, True, True, False, False, *[True] * 5]
    asked = []

    def answer(prompts):
        asked.extend(prompts)
        return [sent[0].raw["target"], sent[5].raw["target"].replace("plum", "<PERSON_2")]

    found = received(sent, records, evaluated, answer, scorer, None, params)
    assert [(prompt.row, prompt.messages) for prompt in asked] == [
        (1, sent[0].masked.messages),
        (6, sent[5].masked.messages),
    ]
    assert (found.records, found.groups, found.same, found.refused) == (10, 5, 7, {"private_data_left": 1})
    assert (found.leftover, found.evaluated.value, found.exact_match.value) == (2, 0.8, 0.6)
    assert (found.changes.texts, found.changes.lost, found.changes.won) == (3, 2, 0)
    assert found.changes.behind.value == 0.2
    assert found.worst.value == 0.8
    assert "(private_data_left)" in tables.callers(Live(None, found))


def test_a_value_that_does_not_come_back_is_a_loss(here):
    """The evaluated answer is right among masked records; what the caller gets is not what he wrote."""
    params, records = load_params(), records_here()
    sent = callers.sent(records, params)
    other = Masked(messages=sent[2].masked.messages, tools=None, values={"<EMAIL_1>": "bo@example.org"})
    sent[2] = callers.Sent(other, None, sent[2].raw)
    scorer = Scorer(Task(params.task))
    evaluated = [
        prediction(r, text, scorer.score(**readable(r), prediction=text), finish="stop", tokens=9)
        for r in records
        for text in [r["completion"][0]["content"]]
    ]
    found = received(
        sent, records, evaluated, lambda _: [sent[row].raw["target"] for row in (0, 5)], scorer, None, params
    )
    assert (found.same, found.changes.texts, found.changes.lost) == (8, 2, 1)


def test_the_benchmark_says_where_raw_rows_are_missing_and_asks_nothing_if_no_caller_is_masked(here):
    Path(TICKETS).unlink()
    asked = benchmark.callers_of(load_params(), records_here())
    assert isinstance(asked, Live)
    assert "data/raw" in asked.reason and asked.reason in tables.callers(asked)
    change_params(here, {"serve.mask": False})
    assert benchmark.callers_of(load_params(), records_here()) is None
