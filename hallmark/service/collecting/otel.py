"""Spans and events of OpenTelemetry's GenAI conventions, as its file exporter writes them: OTLP as JSON, one object a line.

The texts are in the attributes `gen_ai.input.messages` and `gen_ai.output.messages`, of the span or of its event
`gen_ai.client.inference.operation.details`; what was said of them is in events `gen_ai.evaluation.result`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hallmark.base.errors import HallmarkError
from hallmark.base.reading import NotJsonError, strict_json
from hallmark.base.rows import files_of, read_rows
from hallmark.data.conversations import ROLES
from hallmark.service.collecting.logged import LeftOutError, Logged, Message, name_of
from hallmark.service.collecting.scored import Scores, day_of
from hallmark.task.answers import compact_json

CUSTOMER = ("user.id", "enduser.id", "gen_ai.user.id")
DETAILS, EVALUATION = "gen_ai.client.inference.operation.details", "gen_ai.evaluation.result"
ASKED, ANSWERED, SYSTEM = "gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions"
OPERATIONS = ("chat", "generate_content", "text_completion")
LISTS = {"resourceSpans": ("scopeSpans", "spans"), "resourceLogs": ("scopeLogs", "logRecords")}
REMEDY = "write the file with the collector's `file` exporter, in JSON"
Attributes = dict[str, Any]


def is_otel(row: dict[str, Any]) -> bool:
    """Whether a row looks like one of these."""
    return not LISTS.keys().isdisjoint(row)


def otel(path: Path, scores: Scores, left: Counter[str]) -> Iterator[Logged]:
    """The model calls in a file or a folder. A span and the event that has its texts are one call."""
    calls: dict[tuple[str, str], tuple[Attributes, Path, int, Any]] = {}
    said: dict[tuple[str, str], list[Attributes]] = defaultdict(list)
    for file in files_of(path):
        for number, row in read_rows(file):
            for place, name, attributes, time in _entries(row, file, number):
                if name == EVALUATION:
                    said[place].append(attributes)
                elif attributes.get("gen_ai.operation.name") in OPERATIONS:
                    before = calls.get(place, ({}, file, number, time))
                    calls[place] = (before[0] | attributes, *before[1:])
    for place, (attributes, file, number, time) in calls.items():
        try:
            yield _logged(place, attributes, file, number, time, scores, said.get(place, []))
        except LeftOutError as error:
            left[error.reason] += 1


def _entries(row: dict[str, Any], file: Path, number: int) -> Iterator[tuple[tuple[str, str], str, Attributes, Any]]:
    """(trace and span, name of the event or "", attributes, time) of each span, of its events, and of each log record."""
    if not is_otel(row):
        raise HallmarkError("neither resourceSpans nor resourceLogs", file=file, row=number, remedy=REMEDY)
    for top, (scopes, entries) in LISTS.items():
        for resource in _objects(row.get(top), file, number, top):
            for scope in _objects(resource.get(scopes), file, number, scopes):
                for entry in _objects(scope.get(entries), file, number, entries):
                    place = (str(entry.get("traceId", "")), str(entry.get("spanId", "")))
                    attributes = _attributes(entry.get("attributes"), file, number)
                    time = entry.get("startTimeUnixNano", entry.get("timeUnixNano"))
                    name = entry.get("eventName") or attributes.get("event.name") or ""
                    yield place, str(name) if top == "resourceLogs" else "", attributes, time
                    for event in _objects(entry.get("events"), file, number, "events"):
                        inner = _attributes(event.get("attributes"), file, number)
                        if event.get("name") == DETAILS:
                            inner = attributes | inner
                        yield place, str(event.get("name", "")), inner, time


def _objects(value: Any, file: Path, number: int, field: str) -> list[dict[str, Any]]:
    items = [] if value is None else value
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise HallmarkError("not a list of objects", file=file, row=number, field=field, remedy=REMEDY)
    return items


def _attributes(value: Any, file: Path, number: int) -> Attributes:
    return {
        str(item.get("key")): _any(item.get("value"))
        for item in _objects(value, file, number, "attributes")
        if isinstance(item.get("value"), dict)
    }


def _any(value: Any) -> Any:
    """A value in OTLP's JSON, which names its type: `{"stringValue": "..."}`."""
    if not isinstance(value, dict) or len(value) != 1:
        return None
    [(kind, content)] = value.items()
    if kind == "arrayValue":
        return [_any(item) for item in content.get("values", [])] if isinstance(content, dict) else None
    if kind == "kvlistValue":
        items = content.get("values", []) if isinstance(content, dict) else []
        return {str(item.get("key")): _any(item.get("value")) for item in items if isinstance(item, dict)}
    if kind == "intValue":  # 64 bits, so a text in JSON
        return int(content) if str(content).lstrip("-").isdigit() else None
    return content if kind in ("stringValue", "boolValue", "doubleValue") else None


def _logged(
    place: tuple[str, str],
    attributes: Attributes,
    file: Path,
    number: int,
    time: Any,
    scores: Scores,
    said: list[Attributes],
) -> Logged:
    if ASKED not in attributes:
        raise LeftOutError("no_content")
    system = _structured(attributes.get(SYSTEM), file, number, SYSTEM)
    messages = [{"role": "system", "content": _text(system)}] if system else []
    messages += [_message(one) for one in _structured(attributes[ASKED], file, number, ASKED)]
    answers = _structured(attributes.get(ANSWERED), file, number, ANSWERED)
    answer = _message(answers[0])["content"] if answers else None
    values = [one.get("gen_ai.evaluation.score.value") for one in said if _names(one, scores)]
    labels = [one.get("gen_ai.evaluation.score.label") for one in said if _names(one, scores)]
    customer = [scores.customer] if scores.customer else CUSTOMER
    name = "".join(place) or str(attributes.get("gen_ai.response.id") or name_of(compact_json(messages), answer or ""))
    return Logged(
        name=f"otel {name}",
        file=str(file),
        row=number,
        time=day_of(time),
        own=False,
        masked=False,
        group=next((str(attributes[key]).strip() for key in customer if attributes.get(key)), None),
        route="log",
        outcome="failed" if answer is None else "answered",
        reason="",
        version=str(attributes.get("gen_ai.response.model") or attributes.get("gen_ai.request.model") or ""),
        messages=messages,
        tools=None,
        answer=answer,
        fallback=None,
        verdict=next((v for value in (*values, *labels) if (v := scores.verdict(value)) is not None), None),
        target=None,
        score=None,
        probability=None,
    )


def _names(evaluation: Attributes, scores: Scores) -> bool:
    return scores.name is not None and evaluation.get("gen_ai.evaluation.name") == scores.name


def _structured(value: Any, file: Path, number: int, field: str) -> list[Any]:
    """Messages or parts: a list, or the JSON of one, as spans have it."""
    if isinstance(value, str):
        try:
            value = strict_json(value)
        except NotJsonError as error:
            remedy = "messages are a JSON list; a limit on the length of attributes cuts them off: raise it"
            raise HallmarkError(
                f"not valid JSON ({error})", file=file, row=number, field=field, remedy=remedy
            ) from None
    if value is None:
        return []
    if not isinstance(value, list):
        raise HallmarkError("not a list", file=file, row=number, field=field, remedy=REMEDY)
    return value


def _message(message: Any) -> Message:
    role = ROLES.get(str(message.get("role"))) if isinstance(message, dict) else None
    if role is None or not isinstance(message.get("parts"), list):
        raise LeftOutError("not_text")
    return {"role": role, "content": _text(message["parts"])}


def _text(parts: list[Any]) -> str:
    """The text of a message's parts; what the model thought is left out, and calls of tools are a JSON list."""
    texts, calls = [], []
    for part in parts:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(part.get("content"), str):
            texts.append(part["content"])
        elif kind == "tool_call" and isinstance(part.get("name"), str):
            arguments = part.get("arguments") or {}
            if isinstance(arguments, str):
                try:
                    arguments = strict_json(arguments)
                except NotJsonError:
                    raise LeftOutError("not_text") from None
            calls.append({"name": part["name"], "arguments": arguments})
        elif kind == "tool_call_response":
            result = part.get("response", part.get("result"))
            texts.append(result if isinstance(result, str) else compact_json(result))
        elif kind != "reasoning":
            raise LeftOutError("not_text")
    return compact_json(calls) if calls else "\n".join(texts)
