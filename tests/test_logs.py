"""Logs of others are read as their tools write them, and errors say where."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.base.errors import HallmarkError
from hallmark.service.collecting.formats import read_log
from hallmark.service.collecting.gateway_log import judged
from hallmark.service.collecting.logged import LeftOutError, Logged, messages_of
from hallmark.service.collecting.scored import Scores, day_of
from hallmark.service.traces.trace import Feedback
from tests.workspace import ROOT

EXPORTS = ROOT / "tests/exports"
SCORES = Scores("user-feedback", 1.0, None)
ASKED = ["Broken kettle\nMy name is Rosa Miller", "Parcel\nThe garden hose", "Invoice\nThe invoice for"]


def read(name: str, form: str | None = None) -> tuple[str, list[Logged], Counter[str]]:
    left: Counter[str] = Counter()
    form, logs = read_log(EXPORTS / name, form, None, SCORES, left)
    return form, logs, left


@pytest.mark.parametrize(
    ("name", "form", "verdicts", "groups", "left"),
    [
        ("openai.jsonl", "openai", ["accepted", "rejected", "accepted", None], [0, 1, 0, 1], {"not_text": 1}),
        ("openai_stored.jsonl", "openai", ["accepted"] * 3, [0, 1, 2], {}),
        ("langfuse_traces.json", "langfuse", ["accepted", "rejected", "accepted"], [0, 1, 2], {}),
        ("langfuse_observations.csv", "langfuse", ["accepted", "rejected", "accepted"], [0, 1, 2], {}),
        ("langfuse_blob", "langfuse", ["accepted", "corrected", None], [0, 1, 2], {}),
        ("otel_spans.jsonl", "otel", ["accepted", "rejected", "accepted"], [0, 1, 2], {"no_content": 1}),
        ("otel_events.jsonl", "otel", [None] * 3, [0, 1, 2], {}),
    ],
)
def test_each_export_is_known_and_read(
    name: str, form: str, verdicts: list[str | None], groups: list[int], left: dict[str, int]
) -> None:
    found, logs, gone = read(name)
    assert found == form
    assert [logged.verdict for logged in logs] == verdicts
    assert [logged.group for logged in logs] == [f"cust-{number}" for number in groups]
    assert gone == left
    assert len({logged.name for logged in logs}) == len(logs)
    for logged, start in zip(logs, ASKED, strict=False):
        assert logged.messages[-1]["content"].startswith(start)
        assert logged.messages[-1]["role"] == "user"
        assert json.loads(logged.answer or "")["urgency"] == "normal"
        assert logged.time == "2025-11-19"
        assert not logged.own


def test_half_a_surrogate_pair_is_no_trouble(tmp_path: Path) -> None:
    row = {"request": {"messages": "a\ud800", "user": "\ud800"}, "response": {"choices": []}}
    (tmp_path / "log.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    (logged,) = read_log(tmp_path / "log.jsonl", None, None, SCORES, Counter())[1]
    assert logged.id.startswith("trace:")


def test_a_correction_is_the_target_and_an_error_no_answer() -> None:
    blob = read("langfuse_blob")[1]
    assert json.loads(blob[1].target or "")["intent"] == "exchange"
    assert [logged.outcome for logged in read("openai.jsonl")[1]] == ["answered"] * 3 + ["failed"]


def test_reading_twice_gives_the_same_names() -> None:
    for name in ("openai.jsonl", "otel_events.jsonl", "langfuse_blob"):
        assert [logged.id for logged in read(name)[1]] == [logged.id for logged in read(name)[1]]


def test_a_path_in_params_names_the_customer(tmp_path: Path) -> None:
    row = json.loads((EXPORTS / "openai.jsonl").read_text(encoding="utf-8").splitlines()[0])
    row["request"]["metadata"]["account"] = 4711
    (tmp_path / "log.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    scores = Scores(None, 1.0, "request.metadata.account")
    (logged,) = read_log(tmp_path / "log.jsonl", None, None, scores, Counter())[1]
    assert (logged.group, logged.verdict) == ("4711", None)


@pytest.mark.parametrize(
    ("text", "form", "problem"),
    [
        ('{"request": {"messages": []}, "response": null}\n{"request": 3}\n', "openai", "row 2, field 'request': not an object"),
        ('{"request": {}, "response": {}}\n', None, "row 1, field 'request.messages': no messages"),
        ('{"request": {"messages": "a"}, "response": {"choices": 3}}\n', None, "row 1, field 'choices': not a list"),
        ('{"id": "a", "input": "b"}\n', "langfuse", "row 1: neither a trace, nor an observation, nor a score"),
        ('{"resourceSpans": 3}\n', None, "row 1, field 'resourceSpans': not a list of objects"),
        ('{"a": 1}\n', None, "row 1: not a row of a log that is known here"),
        ('{"a": 1}\n', "otel", "row 1: neither resourceSpans nor resourceLogs"),
        ("", None, "has no rows"),
        ("nothing\n", None, "row 1: the row is not JSON"),
    ],
)  # fmt: skip
def test_a_bad_row_is_an_error_that_says_where(tmp_path: Path, text: str, form: str | None, problem: str) -> None:
    file = tmp_path / "log.jsonl"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(HallmarkError) as caught:
        read_log(file, form, None, SCORES, Counter())
    assert problem in str(caught.value)
    assert str(file) in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["request", "response", "messages", "choices", "message", "role", "content", "input", "output", "id", "type",
             "scores", "data_type", "name", "resourceSpans", "scopeSpans", "spans", "attributes", "key", "value", "stringValue",
             "arrayValue", "values", "kvlistValue", "intValue", "events", "metadata", "user", "created", "tools", "x"]
        ),
        inner,
        max_size=5,
    ),
    max_leaves=25,
)  # fmt: skip


@given(
    st.lists(st.dictionaries(st.text(max_size=3), JSON, max_size=2) | JSON, max_size=3),
    st.sampled_from(["openai", "langfuse", "otel"]),
)
def test_hostile_rows_end_in_no_other_error(
    tmp_path_factory: pytest.TempPathFactory, rows: list[object], form: str
) -> None:
    file = tmp_path_factory.mktemp("log") / "log.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    try:
        _, logs = read_log(file, form, None, SCORES, Counter())
    except HallmarkError as error:
        assert error.file == file
    else:
        assert all(isinstance(message["content"], str) for logged in logs for message in logged.messages)


@pytest.mark.parametrize(
    "value", [None, [], 3, [3], [{"role": "wizard", "content": "a"}], [{"role": "user", "content": 3}]]
)
def test_messages_without_text_are_left_out(value: object) -> None:
    with pytest.raises(LeftOutError):
        messages_of(value)


@pytest.mark.parametrize(
    ("value", "day"),
    [
        (1763548800, "2025-11-19"),
        (1763548800123, "2025-11-19"),
        ("1763548800000000000", "2025-11-19"),
        ("2025-11-19T23:30:00-02:00", "2025-11-20"),
        ("2025-11-19 10:40:00.463000", "2025-11-19"),
        ("soon", ""),
        (None, ""),
        (True, ""),
        (1e300, ""),
    ],
)
def test_days(value: object, day: str) -> None:
    assert day_of(value) == day


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(1, "accepted"), ("0", "rejected"), ([0, 1], "accepted"), ("True", "accepted"), ("nan", None), ("good", None), ([], None)],
)  # fmt: skip
def test_scores(value: object, verdict: str | None) -> None:
    assert SCORES.verdict(value) == verdict


def test_callers_who_contradict_each_other_have_not_judged() -> None:
    from datetime import UTC, datetime

    def said(verdict: str, target: str | None = None, caller: str = "") -> Feedback:
        time = datetime(2026, 1, 1, tzinfo=UTC)
        return Feedback(trace="t", time=time, caller=caller, verdict=verdict, target=target)  # type: ignore[arg-type]

    assert judged([]) == (None, None)
    assert judged([said("accepted"), said("accepted", caller="b")]) == ("accepted", None)
    assert judged([said("accepted"), said("rejected", caller="b")]) == ("contradicted", None)
    assert judged([said("corrected", '{"a":1}'), said("corrected", '{"a": 1.0}', "b")]) == ("corrected", '{"a": 1.0}')
    assert judged([said("corrected", '{"a":1}'), said("corrected", '{"a":2}', "b")]) == ("contradicted", None)
