"""The parts of a collection: columns, customers, verdicts, copies, the order of the queue, reviews, and files that grow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hallmark.base.key import pseudonym
from hallmark.base.params import Data
from hallmark.base.records import columns_of, fill
from hallmark.data.recording import Recorder
from hallmark.params.loader import load_params
from hallmark.service.collecting.collection import learned, without_copies
from hallmark.service.collecting.columns import Habits, columns, split_prompt
from hallmark.service.collecting.existing_records import Customers, Known
from hallmark.service.collecting.logged import LeftOutError, Logged
from hallmark.service.collecting.queue import Reviewed, lines_of, queue, read_reviewed
from hallmark.service.collecting.rows import Row, Rows
from hallmark.service.collecting.writing import add, destination
from hallmark.task.task import Task
from tests.rows import refused
from tests.workspace import ROOT

PARAMS = load_params(ROOT / "params.yaml")
KEY = bytes(range(32))
TEXT = st.text(st.sampled_from("ab \n{}:"), max_size=8)
TARGET = {"intent": "refund", "urgency": "normal", "product": None, "amount": None, "date": None, "issues": []}


def logged(number: int = 0, **changes: Any) -> Logged:
    whole: dict[str, Any] = {
        "name": f"log {number}", "time": "2026-01-01", "own": True, "masked": True,
        "group": "C-1", "route": "prod", "outcome": "answered", "reason": "sure", "version": "v1.0.0",
        "messages": [{"role": "user", "content": "a"}], "tools": None, "answer": "{}", "fallback": None, "verdict": None,
        "target": None, "score": None, "probability": None,
    }  # fmt: skip
    return Logged(**(whole | changes))


def data(**changes: Any) -> Data:
    return PARAMS.data.model_copy(update=changes)


@given(
    st.sampled_from(["{a}", "a", "{a}\n{b}", "Subject: {a}\n\n{b}", "{a} ({b}): {a}", "{a}{b}", "x{a}", "{a}\n{b}\n{c}", "[{a}]"]),
    st.dictionaries(st.sampled_from("abc"), TEXT),
)  # fmt: skip
def test_what_a_template_filled_is_split_so_that_it_fills_to_the_same(template: str, row: dict[str, str]) -> None:
    text = fill(template, row)
    assume("".join(row.get(name, "") for name in columns_of(template)).strip())  # else no row may have it
    found = columns(template, text)
    if found is None:  # one column stands twice, and its value has what stands after it
        assert template == "{a} ({b}): {a}"
    else:
        assert fill(template, found) == text


def test_a_long_hostile_text_is_split_at_once() -> None:
    assert columns("{a}x{b}y{c}z{d}!", "x" * 300_000 + "y" * 300_000) is None


def habits(*rows: tuple[str | None, str]) -> Habits:
    made = Habits()
    for context, text in rows:
        made.note(context, text)
    return made


@pytest.mark.parametrize(
    ("known", "prompt", "due"),
    [
        ([("c", "q")], "one\n\ntwo", ("one", "two")),
        ([("c", "q")], "one\n\ntwo\n\nthree", "template"),  # neither has blank lines, so this is another form
        ([("c\n\nd", "q")], "one\n\ntwo\n\nthree", ("one\n\ntwo", "three")),
        ([("c", "q\n\nr")], "one\n\ntwo\n\nthree", ("one", "two\n\nthree")),
        ([("c\n\nd", "q\n\nr")], "one\n\ntwo\n\nthree", "ambiguous"),
        ([(None, "q"), ("c", "q")], "one", (None, "one")),
        ([(None, "q\n\nr"), ("c", "q")], "one\n\ntwo", "ambiguous"),
        ([("c", "q")], "one", "template"),  # a context is missing
    ],
)
def test_context_and_input_are_parted_as_the_rows_have_them(
    known: list[tuple[str | None, str]], prompt: str, due: Any
) -> None:
    both = data(context="context", input="text")
    if isinstance(due, str):
        with pytest.raises(LeftOutError, match=due):
            split_prompt(prompt, both, habits(*known))
    else:
        assert split_prompt(prompt, both, habits(*known)) == {"context": due[0], "text": due[1]}


def test_a_known_customer_has_his_raw_name_and_a_new_one_a_lasting_one() -> None:
    known = pseudonym(KEY, "group", "C-1")
    first = Customers(["C-1"], KEY)
    assert first.raw_name(known, own=True) == "C-1"
    assert first.raw_name("C-1", own=False) == "C-1"
    new = pseudonym(KEY, "group", "C-2")
    assert first.raw_name(new, own=True) == first.raw_name("C-2", own=False) == new
    later = Customers(["C-1", new], KEY)  # after a collection
    assert later.raw_name(new, own=True) == later.raw_name("C-2", own=False) == new
    assert later.renamed() == {}
    known_now = Customers(["C-1", new, "C-2"], KEY)  # the data has got the customer's own name
    assert known_now.raw_name(new, own=True) == "C-2"
    assert known_now.renamed() == {new: "C-2"}
    plain = Customers(["C-1"], None)
    assert (plain.raw_name("C-9", own=True), plain.renamed()) == ("C-9", {})
    assert not plain.may_be_named("rosa.miller@mail-box.net")


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


def test_collected_rows_are_written_in_the_markup_that_is_read_again() -> None:
    mask = PARAMS.mask.model_copy(update={"ner": PARAMS.mask.ner.model_copy(update={"engine": "none", "model": None})})
    task = PARAMS.task.model_copy(update={"schema_file": str(ROOT / "data/schema.json")})
    changed = {"data": data(input="text", markup="html"), "mask": mask, "task": task}
    params = PARAMS.model_copy(update=changed)
    rows = Rows(params, Known(), Recorder(params.data, params.task, mask, None, None), None)
    said = "Is <b> bold & fine?\n<EMAIL_1>"
    own = logged(messages=[{"role": "user", "content": said}])
    made = rows.row(own, "C-1", json.dumps(TARGET), None)
    assert (made.text, made.content["text"]) == (said, "Is &lt;b&gt; bold &amp; fine?\n&lt;EMAIL_1&gt;")
    other = logged(own=False, messages=[{"role": "user", "content": "<p>Is &lt;b&gt; fine?</p>"}])
    assert rows.asked(rows.masked(other)[0]) == "Is <b> fine?"


def row(number: int, text: str, target: str = "{}", online: bool = False) -> Row:
    return Row({"id": number}, f"trace:{number}", text, target, online, pair=False)


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
    assert ([one.id for one in stay], copies) == (["trace:2", "trace:3", "trace:5", "trace:6"], 2)
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


NAMES = ("id", "customer")


@pytest.mark.parametrize("end", ["", "\n"])
def test_rows_are_added_at_the_end_of_a_file_or_as_a_file_of_a_folder(tmp_path: Path, end: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"id": "é"}' + end, encoding="utf-8")
    add(file, [{"id": "trace:1"}], {}, NAMES)
    assert file.read_text(encoding="utf-8") == '{"id": "é"}\n{"id": "trace:1"}\n'
    with refused(field="data.path"):
        destination(tmp_path / "rows.csv")
    for rows in ([{"id": "trace:2"}], [{"id": "trace:3"}], []):
        add(tmp_path, rows, {}, NAMES)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["collected-1.jsonl", "collected-2.jsonl", "rows.jsonl"]


@pytest.mark.parametrize("folder", [True, False])
def test_a_customer_who_is_known_now_gets_his_name_in_collected_rows_only(tmp_path: Path, folder: bool) -> None:
    rows = [
        {"id": "trace:1", "customer": "group-b"},
        {"id": "T-1", "customer": "group-b"},
        {"id": "trace:2", "customer": "c"},
    ]
    text = "".join(json.dumps(one) + "\n" for one in rows)
    file = tmp_path / "collected-1.jsonl"
    file.write_text(text, encoding="utf-8")
    path = tmp_path if folder else file
    assert add(path, [], {"group-b": "C-1"}, NAMES) == 1
    assert add(path, [], {"group-b": "C-1"}, NAMES) == 0
    found = [json.loads(line)["customer"] for line in file.read_text(encoding="utf-8").splitlines()]
    assert found == ["C-1", "group-b", "c"]
