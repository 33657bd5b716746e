"""Logs of other systems are read as their tools write them, and errors say where."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.base.errors import HallmarkError
from hallmark.params.loader import load_params
from hallmark.service.collecting.logged import Logged
from hallmark.service.collecting.logs import judged, read_log
from hallmark.service.traces.trace import Feedback
from tests.rows import write_lines
from tests.workspace import ROOT

EXPORTS = ROOT / "tests/exports"
SCORES = load_params(ROOT / "params.yaml").collect.model_copy(update={"score": "user-feedback"})
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
    assert [logged.id for logged in logs] == [logged.id for logged in read(name)[1]]
    if name == "langfuse_blob":
        assert json.loads(logs[1].target or "")["intent"] == "exchange"


@pytest.mark.parametrize("value", [0, "0", [1, 0], False])
def test_a_score_of_nothing_rejects_wherever_it_stands(tmp_path: Path, value: object) -> None:
    call = {"id": "a", "input": "x", "output": "y", "userId": "\ud800"}
    score = {"id": "b", "trace_id": "a", "data_type": "NUMERIC", "name": "user-feedback", "value": value}
    for rows in ([call | {"user-feedback": value}], [call | {"scores": {"user-feedback": value}}], [call, score]):
        (logged,) = read_log(write_lines(tmp_path / "log.jsonl", rows), None, None, SCORES, Counter())[1]
        assert logged.verdict == "rejected"


@pytest.mark.parametrize(
    ("text", "form", "where"),
    [
        ('{"request": {"messages": []}, "response": null}\n{"request": 3}\n', "openai", (2, "request")),
        ('{"request": {}, "response": {}}\n', None, (1, "messages")),
        ('{"request": {"messages": "a", "tools": 3}}\n', None, (1, "tools")),
        ('{"id": 3, "input": "b", "output": "c"}\n', None, (1, "id")),
        ('{"resourceSpans": 3}\n', None, (1, "resourceSpans")),
        ('{"a": 1}\n', None, (1, None)),
        ("", None, (None, None)),
        ("nothing\n", None, (1, None)),
    ],
)
def test_a_bad_row_is_an_error_that_says_where(tmp_path: Path, text: str, form: str | None, where: object) -> None:
    file = tmp_path / "log.jsonl"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(HallmarkError) as caught:
        read_log(file, form, None, SCORES, Counter())
    assert (caught.value.file, (caught.value.row, caught.value.field)) == (file, where)


def test_a_path_in_params_names_the_customer(tmp_path: Path) -> None:
    row = json.loads((EXPORTS / "openai.jsonl").read_text(encoding="utf-8").splitlines()[0])
    row["request"]["metadata"]["account"] = 4711
    scores = SCORES.model_copy(update={"score": None, "customer": "request.metadata.account"})
    (logged,) = read_log(write_lines(tmp_path / "log.jsonl", [row]), None, None, scores, Counter())[1]
    assert (logged.group, logged.verdict) == ("4711", None)


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


def span(attributes: dict[str, object]) -> dict[str, object]:
    """A call as OTLP has it; the values of the attributes are OTLP's."""
    listed = [{"key": f"gen_ai.{key}", "value": value} for key, value in attributes.items()]
    listed.append({"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}})
    return {"resourceSpans": [{"scopeSpans": [{"spans": [{"attributes": listed}]}]}]}


TEXTS = {"stringValue": '[{"role": "user", "parts": [{"type": "text", "content": "a"}]}]'}
KINDS = st.sampled_from(["stringValue", "intValue", "arrayValue", "kvlistValue", "bytesValue"])
VALUES = st.just(TEXTS) | st.dictionaries(KINDS, st.sampled_from(["null", "[]", "--5"]) | JSON, max_size=1)
PARTS = {f"{name}.messages": VALUES for name in ("input", "output")} | {"system_instructions": VALUES}


@given(
    st.lists(
        st.dictionaries(st.text(max_size=3), JSON, max_size=2)
        | JSON
        | st.fixed_dictionaries({}, optional=PARTS).map(span),
        max_size=3,
    ),
    st.sampled_from(["openai", "langfuse", "otel"]),
)
def test_hostile_rows_end_in_no_other_error(
    tmp_path_factory: pytest.TempPathFactory, rows: list[object], form: str
) -> None:
    file = write_lines(tmp_path_factory.mktemp("log") / "log.jsonl", rows)
    try:
        _, logs = read_log(file, form, None, SCORES, Counter())
    except HallmarkError as error:
        assert error.file == file
    else:
        assert all(isinstance(message["content"], str) for logged in logs for message in logged.messages)
        assert all(logged.id.startswith("trace:") for logged in logs)


def evaluated(*scores: dict[str, object]) -> dict[str, object]:
    """A call with an answer, and what was said of it."""
    call = span({"input.messages": TEXTS, "output.messages": TEXTS})
    name = {"key": "gen_ai.evaluation.name", "value": {"stringValue": "user-feedback"}}
    call["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["events"] = [  # type: ignore[index]
        {
            "name": "gen_ai.evaluation.result",
            "attributes": [name, *({"key": f"gen_ai.evaluation.score.{key}", "value": score[key]} for key in score)],
        }
        for score in scores
    ]
    return call


ASK = {"messages": [{"role": "user", "content": "a"}]}


@pytest.mark.parametrize(
    ("row", "read"),
    [
        (span({"input.messages": TEXTS, "system_instructions": {}}), (None, None)),
        (span({"input.messages": TEXTS, "system_instructions": {"stringValue": "null"}}), (None, None)),
        (span({"input.messages": TEXTS, "response.id": {"intValue": "--5"}}), (None, None)),
        (evaluated({"value": {}, "label": {"stringValue": "false"}}), ("a", "rejected")),
        (evaluated({"value": {"stringValue": "bad"}, "label": {"stringValue": "0"}}), ("a", "rejected")),
        (evaluated({"value": {}}, {"value": {"doubleValue": 0}}, {"value": {"doubleValue": 1}}), ("a", "rejected")),
        ({"id": "a", "input": "x", "output": {"choices": [{"text": "yo"}]}}, "not_text"),
        ({"id": "a", "input": "x", "output": [{"role": "assistant", "content": "yo"}]}, ("yo", None)),
        ({"id": "a", "input": "x", "output": "yo", "scores": {"user-feedback": 10**400}}, ("yo", None)),
        ({"request": ASK, "response": {"choices": [{"message": {"content": "yo", "refusal": None}}]}}, ("yo", None)),
        ({"request": ASK, "response": {"choices": [{"message": {}}]}}, "not_text"),
    ],
)  # fmt: skip
def test_only_what_the_model_said_is_an_answer(tmp_path: Path, row: dict[str, object], read: object) -> None:
    left: Counter[str] = Counter()
    logs = read_log(write_lines(tmp_path / "log.jsonl", [row]), None, None, SCORES, left)[1]
    assert [(logged.answer, logged.verdict) for logged in logs] == ([read] if isinstance(read, tuple) else [])
    assert left == ({read: 1} if isinstance(read, str) else {})


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
