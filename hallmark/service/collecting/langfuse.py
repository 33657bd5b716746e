"""Exports of Langfuse: tables of traces or observations from its UI, or files of its blob storage, with their scores.

Keys are `userId` in exports of the UI and of its API, and `user_id` in blob storage. What a model was asked is a trace, or
an observation of the type GENERATION. Scores are in the row (`scores`, or a column by the score's name), or are rows of
their own in the same folder; a corrected output is a score of the type CORRECTION.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hallmark.base.errors import HallmarkError
from hallmark.base.reading import NotJsonError, strict_json
from hallmark.base.rows import files_of, read_rows
from hallmark.service.collecting.logged import LeftOutError, Logged, Message, message_of, messages_of
from hallmark.service.collecting.scored import Scores, day_of, named_customer
from hallmark.task.answers import compact_json

CUSTOMER = ("userId", "user_id", "metadata.langfuse_user_id")
CORRECTION = "CORRECTION"
Judged = dict[str, dict[str, Any]]  # by the id of a trace or an observation: the scores, and the correction


def is_langfuse(row: dict[str, Any]) -> bool:
    """Whether a row looks like one of these."""
    return "id" in row and ({"input", "output"} <= row.keys() or _is_score(row))


def langfuse(path: Path, scores: Scores, left: Counter[str]) -> Iterator[Logged]:
    """The model calls in a file or a folder of exports; the first row that is neither a call nor a score is an error."""
    judged: Judged = defaultdict(dict)
    for file in files_of(path):
        for number, row in read_rows(file):
            if _is_score(row):
                _judge(judged, row)
            elif not is_langfuse(row):
                raise HallmarkError(
                    "neither a trace, nor an observation, nor a score of Langfuse",
                    file=file, row=number, remedy="export traces or observations with their input and output",
                )  # fmt: skip
    for file in files_of(path):
        for number, row in read_rows(file):
            if _is_score(row) or row.get("type") not in (None, "GENERATION"):
                continue
            try:
                yield _logged(row, file, number, scores, judged)
            except LeftOutError as error:
                left[error.reason] += 1


def _is_score(row: dict[str, Any]) -> bool:
    return not row.keys().isdisjoint(("data_type", "dataType")) and "name" in row and "input" not in row


def _judge(judged: Judged, row: dict[str, Any]) -> None:
    """Note a score for the observation it is of, else for the trace."""
    place = next((row[key] for key in ("observation_id", "observationId", "trace_id", "traceId") if row.get(key)), None)
    kind = row.get("data_type", row.get("dataType"))
    text = next((row[key] for key in ("string_value", "stringValue", "value") if isinstance(row.get(key), str)), None)
    if isinstance(place, str):
        judged[place][CORRECTION if kind == CORRECTION else str(row["name"])] = (
            text if kind == CORRECTION else row.get("value")
        )


def _logged(row: dict[str, Any], file: Path, number: int, scores: Scores, judged: Judged) -> Logged:
    if not isinstance(row["id"], str):
        raise HallmarkError("not a text", file=file, row=number, field="id", remedy="export the table again")
    asked, given = _value(row["input"]), _value(row["output"])
    if asked is None:
        raise LeftOutError("no_content")
    messages = messages_of(asked.get("messages") if isinstance(asked, dict) else asked)
    tools = asked.get("tools") if isinstance(asked, dict) else None
    answer = None if given is None else _answer(given)["content"]
    trace = row.get("traceId", row.get("trace_id"))
    said = judged.get(row["id"]) or judged.get(str(trace)) or {}
    in_row = _value(row.get("scores"))
    target = said.get(CORRECTION)
    verdict = None
    if scores.name:
        places = (said, in_row if isinstance(in_row, dict) else {}, row)
        value = next((place[scores.name] for place in places if place.get(scores.name) is not None), None)
        verdict = scores.verdict(_value(value))
    return Logged(
        name=f"langfuse {row['id']}",
        file=str(file),
        row=number,
        time=day_of(row.get("startTime", row.get("start_time", row.get("timestamp")))),
        own=False,
        masked=False,
        group=named_customer(row, scores.customer, CUSTOMER),
        route="log",
        outcome="failed" if answer is None else "answered",
        reason="",
        version=str(row.get("model") or row.get("version") or ""),
        messages=messages,
        tools=tools if isinstance(tools, list) and tools else None,
        answer=answer,
        fallback=None,
        verdict="corrected" if isinstance(target, str) else verdict,
        target=target if isinstance(target, str) else None,
        score=None,
        probability=None,
    )


def _value(value: Any) -> Any:
    """A value of an export: tables and blob storage have objects and lists as JSON texts."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "[", '"'):
        try:
            return strict_json(value)
        except NotJsonError:
            return value
    return value or None


def _answer(value: Any) -> Message:
    """What the model said: a text, a message, or a list of one message. Another JSON value is an answer in JSON."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict) and "role" in value[0]:
        value = value[0]
    if isinstance(value, dict) and isinstance(value.get("choices"), list) and value["choices"]:
        value = value["choices"][0].get("message") if isinstance(value["choices"][0], dict) else None
    if isinstance(value, dict) and ("role" in value or value.keys() == {"content"}):
        return message_of({"role": "assistant"} | value)
    if value is None:
        raise LeftOutError("not_text")
    return {"role": "assistant", "content": value if isinstance(value, str) else compact_json(value)}
