"""Spans and log records of OpenTelemetry's GenAI conventions: OTLP as JSON, one object a line.

The texts are in the attributes `gen_ai.input.messages` and `gen_ai.output.messages`, of the span or of its event
`gen_ai.client.inference.operation.details`; what was said of them is in events `gen_ai.evaluation.result`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hallmark.base.errors import HallmarkError
from hallmark.base.reading import NotJsonError, strict_json
from hallmark.data.conversations import calls
from hallmark.service.collecting.logged import rows_below
from hallmark.task.answers import compact_json

DETAILS, EVALUATION = "gen_ai.client.inference.operation.details", "gen_ai.evaluation.result"
ASKED, ANSWERED, SYSTEM = "gen_ai.input.messages", "gen_ai.output.messages", "gen_ai.system_instructions"
OPERATIONS = ("chat", "generate_content", "text_completion")
LISTS = {"resourceSpans": ("scopeSpans", "spans"), "resourceLogs": ("scopeLogs", "logRecords")}
REMEDY = "write the file with the collector's `file` exporter, in JSON"
Row = dict[str, Any]


def is_otel(row: Row) -> bool:
    return not LISTS.keys().isdisjoint(row)


def otel(path: Path) -> Iterator[Row]:
    """The model calls as flat attributes. A span and the event that has its texts are one call."""
    found: dict[tuple[str, str], Row] = {}
    judged: dict[tuple[str, str], dict[str, Row]] = defaultdict(lambda: {"value": {}, "label": {}})
    for file, number, row in rows_below(path):
        read = _Otlp(file, number)
        for place, name, attributes in read.entries(row):
            if name == EVALUATION:
                for kind, said in judged[place].items():
                    if (score := attributes.get(f"gen_ai.evaluation.score.{kind}")) is not None:
                        said.setdefault(str(attributes.get("gen_ai.evaluation.name")), score)
            elif attributes.get("gen_ai.operation.name") in OPERATIONS:
                call = found.get(place, {"time": attributes["time"]})
                found[place] = call | read.decoded(attributes) | {"time": call["time"]}
    for place, entry in found.items():
        asked = [*entry.get(SYSTEM, []), *entry[ASKED]] if entry.get(ASKED) else None
        known = "".join(place) or entry.get("gen_ai.response.id")
        yield entry | {"id": known, ASKED: asked, "judged": judged.get(place, {})}


@dataclass(frozen=True)
class _Otlp:
    """A row in OTLP's JSON, and where it is."""

    file: Path
    row: int

    def fail(self, problem: str, field: str | None, remedy: str) -> HallmarkError:
        return HallmarkError(problem, file=self.file, row=self.row, field=field, remedy=remedy)

    def entries(self, row: Row) -> Iterator[tuple[tuple[str, str], str, Row]]:
        """(trace and span, name of the event or "", attributes) of each span, of its events, and of each log record."""
        if not is_otel(row):
            raise self.fail("neither resourceSpans nor resourceLogs", None, REMEDY)
        for top, (scopes, entries) in LISTS.items():
            for resource in self.objects(row, top):
                for scope in self.objects(resource, scopes):
                    for entry in self.objects(scope, entries):
                        place = (str(entry.get("traceId", "")), str(entry.get("spanId", "")))
                        time = {"time": entry.get("startTimeUnixNano", entry.get("timeUnixNano"))}
                        attributes = self.attributes(entry) | time
                        name = entry.get("eventName") or attributes.get("event.name") or ""
                        yield place, str(name) if top == "resourceLogs" else "", attributes
                        for event in self.objects(entry, "events"):
                            inner = self.attributes(event) | time
                            name = str(event.get("name", ""))
                            yield place, name, attributes | inner if name == DETAILS else inner

    def objects(self, holder: Row, field: str) -> list[Row]:
        items = holder.get(field) or []
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise self.fail("not a list of objects", field, REMEDY)
        return items

    def attributes(self, entry: Row) -> Row:
        return {str(item.get("key")): _any_value(item.get("value")) for item in self.objects(entry, "attributes")}

    def decoded(self, attributes: Row) -> Row:
        """The attributes, with messages in OpenAI's form."""
        messages: Row = {}
        for name in [name for name in (SYSTEM, ASKED, ANSWERED) if name in attributes]:
            value = attributes[name]
            if isinstance(value, str):
                try:
                    value = strict_json(value)
                except NotJsonError as error:
                    remedy = "messages are a JSON list; a limit on the length of attributes cuts them off: raise it"
                    raise self.fail(f"not valid JSON ({error})", name, remedy) from None
            if value is None:  # an empty value, or one of a type that has no text
                value = []
            if not isinstance(value, list):
                raise self.fail("not a list", name, REMEDY)
            if name == SYSTEM:  # parts, not messages
                value = [{"role": "system", "parts": value}] if value else []
            messages[name] = [
                {"role": one.get("role"), "content": _text(one.get("parts"))} if isinstance(one, dict) else {}
                for one in value
            ]
        return attributes | messages


def _any_value(value: Any) -> Any:
    """A value in OTLP's JSON, which names its type: `{"stringValue": "..."}`."""
    if not isinstance(value, dict) or len(value) != 1:
        return None
    [(kind, content)] = value.items()
    if kind in ("arrayValue", "kvlistValue"):
        items = content.get("values", []) if isinstance(content, dict) else None
        if not isinstance(items, list):
            return None
        if kind == "arrayValue":
            return [_any_value(item) for item in items]
        return {str(item.get("key")): _any_value(item.get("value")) for item in items if isinstance(item, dict)}
    if kind == "intValue":  # 64 bits, so a text in JSON
        with suppress(ValueError):
            return int(str(content))
        return None
    return content if kind in ("stringValue", "boolValue", "doubleValue") else None


def _text(parts: Any) -> str | None:
    """The text of a message's parts; what the model thought is left out, and calls of tools are a JSON list."""
    texts, called = [], []
    for item in parts if isinstance(parts, list) else [None]:
        part = item if isinstance(item, dict) else {}
        kind = part.get("type")
        if kind == "text":
            texts.append(part.get("content"))
        elif kind == "tool_call":
            called.append({"function": part | {"arguments": part.get("arguments") or {}}})
        elif kind == "tool_call_response":
            result = part.get("response", part.get("result"))
            texts.append(result if isinstance(result, str) else compact_json(result))
        elif kind != "reasoning":
            return None
    if called:
        return calls(called)
    known = [text for text in texts if isinstance(text, str)]
    return "\n".join(known) if len(known) == len(texts) else None
