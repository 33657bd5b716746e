"""What goes back to a caller, in the forms of OpenAI's chat API: an answer whole or as a stream, and errors."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hallmark.base.refusal import Refusal
    from hallmark.mask.restoring import Masked
    from hallmark.serve.chat_request import ChatRequest
    from hallmark.service.gateway.exchange import Answered

TRACE, VERSION, ROUTE, REVIEW = "x-hallmark-trace", "x-hallmark-version", "x-hallmark-route", "x-hallmark-review"
HANDED_OVER = "handed_over"  # none of OpenAI's own, so that nobody takes it for an answer
REVIEWS = {  # what a caller is told of why there is no answer
    "unsure": "the model is not sure enough of its answer",
    "no_score": "how sure the model is of its answer is not known",
    "schema": "the model's answers break the schema",
    "placeholder": "the model's answer holds a placeholder that stands for nothing in the request",
}


def answer(answered: Answered, masked: Masked, chat: ChatRequest) -> Response:
    """What came of a request that did not fail, with the caller's own values in it again."""
    usage = None
    if answered.prompt_tokens is not None and answered.answer_tokens is not None:
        total = answered.prompt_tokens + answered.answer_tokens
        usage = {
            "prompt_tokens": answered.prompt_tokens, "completion_tokens": answered.answer_tokens, "total_tokens": total,
        }  # fmt: skip
    message, finish = _message(answered, masked)
    head = {
        "id": answered.trace.replace("tr-", "chatcmpl-", 1),
        "object": "chat.completion",
        "created": int(time.time()),
        "model": answered.model,
        "system_fingerprint": answered.version,
    }
    headers = headers_of(answered)
    if not chat.stream:
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
        return json_response(head | {"choices": [choice], "usage": usage}, headers=headers)
    head["object"] = "chat.completion.chunk"
    calls = [{"index": at} | call for at, call in enumerate(message.get("tool_calls", []))]
    delta = message | ({"tool_calls": calls} if calls else {})
    chunks = [head | {"choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}]
    if chat.stream_options and chat.stream_options.include_usage:
        chunks.append(head | {"choices": [], "usage": usage})
    lines = [*map(json.dumps, chunks), "[DONE]"]
    text = "".join(f"data: {line}\n\n" for line in lines)
    return Response(text, headers=headers | {"cache-control": "no-cache"}, media_type="text/event-stream")


def _message(answered: Answered, masked: Masked) -> tuple[dict[str, Any], str]:
    if answered.outcome == "handed_over":
        refusal = f"A person must look at this: {REVIEWS.get(answered.reason, 'there is no answer that may go out')}."
        return {"role": "assistant", "content": None, "refusal": refusal}, HANDED_OVER
    message: dict[str, Any] = {"role": "assistant", "content": _restored(answered.text, masked), "refusal": None}
    if answered.tool_calls:
        message["tool_calls"] = [
            call | {"function": {name: _restored(text, masked) for name, text in call["function"].items()}}
            for call in answered.tool_calls
        ]
    return message, answered.finish or "stop"


def _restored(text: str | None, masked: Masked) -> str | None:
    return text if text is None or not masked.values else masked.restored(text)


def headers_of(answered: Answered) -> dict[str, str]:
    """What the headers say of it: the trace, who answered, and whether a person must look."""
    headers = {TRACE: answered.trace, VERSION: answered.version, ROUTE: answered.route}
    return headers | ({REVIEW: answered.reason} if answered.outcome == "handed_over" else {})


def refused(refusal: Refusal) -> Response:
    """An error in OpenAI's form."""
    return Response(refusal.body(), refusal.status, refusal.headers, media_type="application/json")


def json_response(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON document in ASCII, so that half of a surrogate pair, which a model server may send, can't break it."""
    return Response(json.dumps(value), status, headers, media_type="application/json")
