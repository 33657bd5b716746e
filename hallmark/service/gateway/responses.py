"""What goes back to a caller, in the forms of OpenAI's chat API: an answer whole or as a stream, or an error."""

from __future__ import annotations

import json
import time
from typing import Any

from starlette.responses import Response

from hallmark.base.refusal import Refusal
from hallmark.serve import front
from hallmark.serve.chat_request import unsupported
from hallmark.service.gateway.limits import RETRY
from hallmark.service.gateway.upstream import OPTIONAL
from hallmark.service.traces.trace import Trace

HANDED_OVER = "handed_over"  # none of OpenAI's own, so that nobody takes it for an answer
REVIEWS = {  # what a caller is told of why there is no answer
    "unsure": "the model is not sure enough of its answer",
    "no_score": "how sure the model is of its answer is not known",
    "schema": "the model's answers break the schema",
    "placeholder": "the model's answer holds a placeholder that stands for nothing in the request",
}


def headers_of(trace: Trace) -> dict[str, str]:
    """What the headers say: the trace, who answered, and whether a person must look."""
    headers = {"x-hallmark-trace": trace.id, "x-hallmark-version": trace.version, "x-hallmark-route": trace.route}
    return headers | ({"x-hallmark-review": trace.reason} if trace.outcome == "handed_over" else {})


def answer(trace: Trace) -> Response:
    """What came of a request that did not fail, with the caller's own values in it again."""
    usage = None
    if trace.prompt_tokens is not None and trace.answer_tokens is not None:
        total = trace.prompt_tokens + trace.answer_tokens
        usage = {
            "prompt_tokens": trace.prompt_tokens, "completion_tokens": trace.answer_tokens, "total_tokens": total,
        }  # fmt: skip
    message, finish = _message(trace)
    head = {
        "id": trace.id.replace("tr-", "chatcmpl-", 1),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": trace.model,
        "system_fingerprint": trace.version,
    }
    headers, options = headers_of(trace), trace.chat.stream_options
    if not trace.chat.stream:
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
        return front.json_response(head | {"choices": [choice], "usage": usage}, headers=headers)
    head["object"] = "chat.completion.chunk"
    calls = [{"index": at} | call for at, call in enumerate(message.get("tool_calls", []))]
    delta = message | ({"tool_calls": calls} if calls else {})
    chunks = [head | {"choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}]
    if options and options.include_usage:
        chunks.append(head | {"choices": [], "usage": usage})
    lines = [*map(json.dumps, chunks), "[DONE]"]
    text = "".join(f"data: {line}\n\n" for line in lines)
    return Response(text, headers=headers | {"cache-control": "no-cache"}, media_type="text/event-stream")


def _message(trace: Trace) -> tuple[dict[str, Any], str]:
    if trace.outcome == "handed_over":
        refusal = f"A person must look at this: {REVIEWS.get(trace.reason, 'there is no answer that may go out')}."
        return {"role": "assistant", "content": None, "refusal": refusal}, HANDED_OVER
    message: dict[str, Any] = {"role": "assistant", "content": trace.text, "refusal": None}
    if trace.tool_calls:
        message["tool_calls"] = trace.tool_calls[: 1 if trace.chat.parallel_tool_calls is False else None]
    return message, trace.finish or "stop"


def failure(trace: Trace) -> Refusal:
    """The error for a request that nobody answered; if the model server refused it, about the field that it named."""
    (code, field), chat, headers = trace.refused, trace.chat, headers_of(trace)
    if trace.reason != "refused":
        return Refusal(502, "no_answer", "the model server gave no answer", headers=headers | RETRY)
    if code == "invalid_messages":
        return Refusal(400, code, "messages: the model's chat template can't write them", "messages", headers)
    if code is not None or field in ("messages", "max_tokens"):
        field = chat.limit_field if field == "max_tokens" and chat.answer_tokens else "messages"
        message = f"{field}: prompt and answer are longer than the model holds"
        return Refusal(400, "context_length_exceeded", message, field, headers)
    if field is not None:
        return unsupported(field, "the model server does not take it", headers)
    message = "the model server refused it, and does not say why: prompt and answer may be longer than it holds"
    if names := [name for name in OPTIONAL if getattr(chat, name) is not None]:
        message += f", or it does not take {' or '.join(names)}"
    return Refusal(400, "refused_by_model", message, headers=headers)
