"""What goes back to a caller, in the forms of OpenAI's chat API: an answer whole or as a stream, or an error.

Whatever goes wrong becomes an error that is counted, and quotes nothing.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from hallmark.base.refusal import Refusal
from hallmark.mask.restoring import Masked
from hallmark.serve import front
from hallmark.serve.chat_request import ChatRequest, unsupported
from hallmark.service.gateway.exchange import Answered
from hallmark.service.gateway.metrics import Metrics
from hallmark.service.gateway.upstream import OPTIONAL

log = logging.getLogger("gateway")
GONE = 499  # what web servers write down of a caller who hung up
RETRY = {"retry-after": "1"}
Result = TypeVar("Result")
Handle = Callable[["Request"], Awaitable[Response]]
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
    message, finish = _message(answered, masked, chat)
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
        return front.json_response(head | {"choices": [choice], "usage": usage}, headers=headers)
    head["object"] = "chat.completion.chunk"
    calls = [{"index": at} | call for at, call in enumerate(message.get("tool_calls", []))]
    delta = message | ({"tool_calls": calls} if calls else {})
    chunks = [head | {"choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}]
    if chat.stream_options and chat.stream_options.include_usage:
        chunks.append(head | {"choices": [], "usage": usage})
    lines = [*map(json.dumps, chunks), "[DONE]"]
    text = "".join(f"data: {line}\n\n" for line in lines)
    return Response(text, headers=headers | {"cache-control": "no-cache"}, media_type="text/event-stream")


def _message(answered: Answered, masked: Masked, chat: ChatRequest) -> tuple[dict[str, Any], str]:
    if answered.outcome == "handed_over":
        refusal = f"A person must look at this: {REVIEWS.get(answered.reason, 'there is no answer that may go out')}."
        return {"role": "assistant", "content": None, "refusal": refusal}, HANDED_OVER
    text, calls = answered.restored(masked)
    message: dict[str, Any] = {"role": "assistant", "content": text, "refusal": None}
    if calls:
        message["tool_calls"] = calls[: 1 if chat.parallel_tool_calls is False else None]
    return message, answered.finish or "stop"


def refused(answered: Answered, chat: ChatRequest, headers: dict[str, str]) -> Refusal:
    """The error for a request that the model server refused, about the field that it named."""
    code, field = answered.refused
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


def headers_of(answered: Answered) -> dict[str, str]:
    """What the headers say of it: the trace, who answered, and whether a person must look."""
    headers = {TRACE: answered.trace, VERSION: answered.version, ROUTE: answered.route}
    return headers | ({REVIEW: answered.reason} if answered.outcome == "handed_over" else {})


def endpoint(name: str, handle: Handle, metrics: Metrics) -> Handle:
    """`handle` in its frame."""

    async def framed(request: Request) -> Response:
        start = time.monotonic()
        try:
            response = await handle(request)
        except Refusal as refusal:
            response = _refused(name, refusal, metrics)
            if refusal.__cause__ is not None:
                front.note(refusal.__cause__, log)
        except ClientDisconnect:
            response = Response(status_code=GONE)  # which nobody reads
        except asyncio.CancelledError:  # the time to stop in is over
            stopping = Refusal(503, "stopping", "this gateway is stopping; ask again", headers=RETRY)
            response = _refused(name, stopping, metrics)
        except Exception as error:
            front.note(error, log)
            response = _refused(name, Refusal(500, "server_error", "the gateway failed"), metrics)
        metrics.count("hallmark_requests_total", endpoint=name, status=response.status_code)
        metrics.observe("hallmark_request_seconds", time.monotonic() - start, endpoint=name)
        return response

    return framed


async def unless_gone(
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]], work: Coroutine[Any, Any, Result]
) -> Result:
    """What `work` gives; ClientDisconnect if the caller hangs up first, and then `work` is cancelled.

    The body must have been read: what `receive` gives after it is that the caller has hung up.
    """
    task, gone = asyncio.create_task(work), asyncio.create_task(_hung_up(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        gone.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _hung_up(receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _refused(name: str, refusal: Refusal, metrics: Metrics) -> Response:
    metrics.count("hallmark_errors_total", endpoint=name, code=refusal.code)
    return front.refused(refusal)
