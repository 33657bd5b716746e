"""A trace as a span of OpenTelemetry, with the attributes of its GenAI conventions, in OTLP's JSON.

OTLP writes ids in hexadecimal digits, 64-bit integers as texts, and enums as numbers. The conventions have no names for how
a release is routed, judged and paid for: those attributes are called `hallmark.` and the trace's field. Where the fallback
answered, the answer and its model are the fallback's, and what the release said is under `hallmark.`, its tokens too.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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


def body_of(spans: list[dict[str, Any]], instance: str) -> bytes:
    """The body of a request to a collector. `instance`: tells this process from other gateways."""
    resource = {"service.name": SERVICE, "service.instance.id": instance}
    scoped = {"scope": {"name": SERVICE}, "spans": spans}
    whole = {"resourceSpans": [{"resource": {"attributes": _attributes(resource)}, "scopeSpans": [scoped]}]}
    # Half of a surrogate pair, which UTF-8 can't hold, becomes a question mark.
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8", "replace")


def span_of(trace: Trace, model: str, fallback: str | None, *, texts: bool) -> dict[str, Any]:
    """The span of a trace. `model`: as callers name it, "" if nobody answers; `fallback`: the name of that model.

    The traces of one request (of prod and of the shadow) share its trace id.
    """
    start = (trace.time - EPOCH) // timedelta(microseconds=1) * 1000
    span: dict[str, Any] = {
        "traceId": hex_of(trace.request, 32),
        "spanId": hex_of(trace.id, 16),
        "name": f"chat {model}".rstrip(),
        "kind": CLIENT,
        "startTimeUnixNano": str(start),
        "endTimeUnixNano": str(start + round(max(trace.total_s, 0.0) * 1e9)),
    }
    values = _known(trace, model, fallback) | {f"hallmark.{name}": getattr(trace, name) for name in OWN}
    if texts:
        values |= _texts(trace)
    span["attributes"] = _attributes(values)
    return span | ({"status": {"code": ERROR}} if trace.outcome == "failed" else {})


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
    """What was asked and answered."""
    answer = trace.answer if trace.fallback is None else trace.fallback
    said = {"role": "assistant", "parts": [_text(answer)], "finish_reason": trace.finish or ""}
    return {
        "gen_ai.input.messages": [_message(message) for message in json.loads(trace.messages)],
        "gen_ai.output.messages": None if answer is None else [said],
        # As a text, which the conventions allow: a schema in it may be nested deeper than readers of protobuf go.
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
    return {"role": role, "parts": parts, "name": message.get("name")}


def _text(content: str | None) -> dict[str, Any]:
    return {"type": "text", "content": content}


def _attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    """Attributes with a value: None and "" say that there is none."""
    return [{"key": key, "value": _any(value)} for key, value in values.items() if value not in (None, "")]


def _any(value: Any) -> dict[str, Any]:
    """A value with its type."""
    if isinstance(value, str):
        return {"stringValue": value}
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value if math.isfinite(value) else _unbounded(value)}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_any(item) for item in value]}}
    items = [{"key": key, "value": _any(item)} for key, item in value.items() if item is not None]
    return {"kvlistValue": {"values": items}}


def _unbounded(value: float) -> str:
    """What JSON has no number for, as protobuf's JSON writes it."""
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
