"""A trace as a span of OpenTelemetry, with the attributes of its GenAI conventions, in OTLP's protobuf.

Protobuf is what every receiver of OTLP takes; some take no JSON. Messages are a JSON text, as in most SDKs, since some
receivers show no others. The conventions have no names for how a release is routed, judged and paid for: those attributes
are called `hallmark.` and the trace's field. Where the fallback answered, the answer and its model are the fallback's, and
what the release said is under `hallmark.`, its tokens too.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from hallmark.service.traces.trace import Trace

SERVICE, PROVIDER = "hallmark-gateway", "hallmark"
# The conventions' span is that of a model's client, and CLIENT by them; they have none for a server. The gateway is one: it
# asks the model server, and its own work on the request (masking, a second answer, the fallback) is part of that operation.
CLIENT = 3
ERROR = 2  # a status; others leave it unset
OWN = (
    "id", "request", "caller", "route", "version", "digest", "outcome", "reason", "schema_valid", "score", "probability",
    "masking_s", "model_s", "fallback_s", "price", "masked",
)  # fmt: skip
USAGE = ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DIGITS = re.compile(r"[a-z]+-([0-9a-f]{32})")


@dataclass(frozen=True, slots=True)
class Span:
    """What is sent of a trace. Ids are hexadecimal digits; times are nanoseconds since 1970."""

    trace_id: str
    span_id: str
    name: str
    start: int
    end: int
    failed: bool
    attributes: dict[str, Any]


def body_of(spans: list[Span], instance: str) -> bytes:
    """The body of a request to a collector. `instance`: tells this process from other gateways."""
    resource = _attributes({"service.name": SERVICE, "service.instance.id": instance}, 1)
    scoped = _part(1, _part(1, SERVICE)) + b"".join(_part(2, _written(span)) for span in spans)
    return _part(1, _part(1, resource) + _part(2, scoped))


def span_of(trace: Trace, model: str, fallback: str | None, *, texts: bool) -> Span:
    """The span of a trace. `model`: as callers name it, "" if nobody answers; `fallback`: the name of that model.

    The traces of one request (of prod and of the shadow) share its trace id.
    """
    start = (trace.time - EPOCH) // timedelta(microseconds=1) * 1000
    values = _known(trace, model, fallback) | {f"hallmark.{name}": getattr(trace, name) for name in OWN}
    if texts:
        values |= _texts(trace)
    return Span(
        trace_id=hex_of(trace.request, 32),
        span_id=hex_of(trace.id, 16),
        name=f"chat {model}".rstrip(),
        start=start,
        end=start + round(max(trace.total_s, 0.0) * 1e9),
        failed=trace.outcome == "failed",
        attributes={key: value for key, value in values.items() if value not in (None, "")},
    )


def hex_of(name: str, digits: int) -> str:
    """An id of that length for one of ours: its last digits, or those of its SHA-256 if it has none. Never only zeros."""
    match = _DIGITS.fullmatch(name)
    found = match[1][-digits:] if match else ""
    return found if found.strip("0") else hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:digits]


def _known(trace: Trace, model: str, fallback: str | None) -> dict[str, Any]:
    """What the conventions have a name for, except for texts."""
    failed, by_fallback = trace.outcome == "failed", trace.fallback is not None
    release = f"{model}-{trace.version}" if model and trace.version else model
    values = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": PROVIDER,
        "gen_ai.request.model": model,
        "error.type": trace.reason if failed else None,
        "gen_ai.response.id": None if failed else trace.id.replace("tr-", "chatcmpl-", 1),
        "gen_ai.response.model": None if failed else fallback if by_fallback else release,
        "gen_ai.response.finish_reasons": [trace.finish] if trace.finish else ["error"] if failed else None,
        "user.id": trace.group,
    }
    names = ("hallmark.prompt_tokens", "hallmark.answer_tokens") if by_fallback else USAGE
    return values | dict(zip(names, (trace.prompt_tokens, trace.answer_tokens), strict=True))


def _texts(trace: Trace) -> dict[str, Any]:
    answer = trace.answer if trace.fallback is None else trace.fallback
    said = {"role": "assistant", "parts": [_text(answer)], "finish_reason": trace.finish or ""}
    return {
        "gen_ai.input.messages": _json([_message(message) for message in json.loads(trace.messages)]),
        "gen_ai.output.messages": None if answer is None else _json([said]),
        "gen_ai.tool.definitions": trace.tools,
        "hallmark.answer": None if trace.fallback is None else trace.answer,
    }


def _message(message: dict[str, Any]) -> dict[str, Any]:
    """A message of OpenAI's chat API as the conventions have it. Arguments of calls stay the text that they are there."""
    role, content = message["role"], message.get("content")
    if role == "tool":
        parts = [{"type": "tool_call_response", "id": message.get("tool_call_id"), "response": content}]
    else:
        parts = [] if content is None else [_text(content)]
    for call in message.get("tool_calls") or []:
        function = call["function"]
        parts.append(
            {"type": "tool_call", "id": call.get("id"), "name": function["name"], "arguments": function["arguments"]}
        )
    return {"role": role, "parts": parts} | ({"name": message["name"]} if message.get("name") else {})


def _text(content: str | None) -> dict[str, Any]:
    return {"type": "text", "content": content}


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


# Protobuf: a message is a row of fields, each with its number and kind, by opentelemetry/proto/trace/v1/trace.proto.


def _written(span: Span) -> bytes:
    return b"".join(
        [
            _part(1, bytes.fromhex(span.trace_id)),
            _part(2, bytes.fromhex(span.span_id)),
            _part(5, span.name),
            _number(6, CLIENT),
            _fixed(7, "<Q", span.start),
            _fixed(8, "<Q", span.end),
            _attributes(span.attributes, 9),
            _part(15, _number(3, ERROR)) if span.failed else b"",
        ]
    )


def _attributes(values: dict[str, Any], number: int) -> bytes:
    return b"".join(_part(number, _part(1, key) + _part(2, _any(value))) for key, value in values.items())


def _any(value: Any) -> bytes:
    if isinstance(value, str):
        return _part(1, value)
    if isinstance(value, bool):
        return _number(2, value)
    if isinstance(value, int):
        return _number(3, value)
    if isinstance(value, float):
        return _fixed(4, "<d", value)
    return _part(5, b"".join(_part(1, _any(item)) for item in value))


def _varint(value: int) -> bytes:
    value, found = value % 2**64, bytearray()  # a negative one is its two's complement
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _fixed(field: int, form: str, value: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack(form, value)


def _part(field: int, content: bytes | str) -> bytes:
    """Bytes, a text or a message. Half of a surrogate pair, which UTF-8 can't hold, becomes a question mark."""
    content = content.encode("utf-8", "replace") if isinstance(content, str) else content
    return _varint(field << 3 | 2) + _varint(len(content)) + content
