"""ASGI middleware in front of a model server: only chat requests that the server can answer reach it.

It knows three routes, checks who asks (no other host name, no page in a browser), bounds the size and the time of a body,
reads it strictly, counts its tokens, bounds the number of requests under way, and passes on nothing of a request but what
it has checked. It has no state but counters, so it can stand in front of any server, in its process.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from starlette.requests import ClientDisconnect, Request

from hallmark.base.refusal import Refusal
from hallmark.serve import front
from hallmark.serve.chat_request import ChatRequest, read_request, unsupported

CHAT, MODELS, HEALTH = "/v1/chat/completions", "/v1/models", "/health"
MODELS_VARIABLE = "HALLMARK_MODELS"  # the names that a server answers to, as a JSON list
METHODS = {CHAT: "POST", MODELS: "GET", HEALTH: "GET"}
BODY_BYTES = 2**20
BUFFER_BYTES = 2**26  # of all bodies that are being read
UNDER_WAY = 256
ANSWER_TOKENS = 1024  # of an answer whose request names no limit, if there is room
log = logging.getLogger("admission")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Count = Callable[[list[dict[str, Any]], list[Any] | None], int]


@dataclass(frozen=True)
class Limits:
    """What the server behind can do.

    `models`: the names that it serves, and `tokens`: how many of prompt and answer together it holds, asked at each
    request; None: it checks that itself. `greedy`: it ignores what would make an answer other than the likeliest one, so
    that is refused. `logs`: it gives the log-probabilities of an answer's tokens, of a greedy server not while it streams.
    """

    models: tuple[str, ...] | None = None
    tokens: Callable[[], int] | None = None
    greedy: bool = False
    logs: bool = False
    body_seconds: float = front.BODY_SECONDS
    under_way: int = UNDER_WAY


class Admission:
    """Lets a request through to `app`, or answers it with an error in OpenAI's form.

    `count` gives the tokens of a prompt (messages and tools); it runs in one thread, so it need not be safe in several.
    """

    def __init__(self, app: App, limits: Limits, count: Count | None = None) -> None:
        self.app, self.limits, self.count = app, limits, count
        self.slots, self.buffered = front.Slots(limits.under_way), 0
        self._thread = ThreadPoolExecutor(1, "admission")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the start and end of the server."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            try:
                await self._handle(Request(scope, receive), send)
            except Refusal as refusal:
                await front.refused(refusal)(scope, receive, send)
            except ClientDisconnect:  # before the request was whole
                pass
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _handle(self, request: Request, send: Send) -> None:
        front.check_sender(request, _hosts(request.scope), "this server")
        path = request.scope["path"]
        if request.method != METHODS.get(path):
            raise front.elsewhere(path, METHODS)
        if path == MODELS and self.limits.models is not None:
            await front.models_listed(self.limits.models)(request.scope, request.receive, send)
        elif path == CHAT:
            await self._chat(request, send)
        else:
            await self._pass_on(request, b"", send)

    async def _chat(self, request: Request, send: Send) -> None:
        kept = 0

        def keep(size: int) -> None:
            nonlocal kept
            if self.buffered + size > BUFFER_BYTES:
                raise front.too_many("too many bodies are being read")
            kept, self.buffered = kept + size, self.buffered + size

        try:
            body = await front.read_body(request, BODY_BYTES, self.limits.body_seconds, keep)
            with self.slots.taken():
                judged = asyncio.get_running_loop().run_in_executor(self._thread, self._judge, body)
                await self._pass_on(request, await judged, send)
        finally:
            self.buffered -= kept

    def _judge(self, body: bytes) -> bytes:
        """What is passed on of a body: the request as it was understood, written again, so that nobody reads it otherwise."""
        request = read_request(body)
        if self.limits.models is not None and request.model not in self.limits.models:
            raise front.unknown_model(self.limits.models)
        if self.limits.greedy and (field := request.ignored_by_greedy(self.limits.logs)):
            raise unsupported(field, "this server decodes greedily and would ignore it")
        value: dict[str, Any] = request.model_dump(
            exclude_none=True, exclude={"messages", "max_tokens", "max_completion_tokens"}
        )
        value["messages"] = request.prompt()
        if (tokens := self._answer_tokens(request)) is not None:
            value["max_tokens"] = tokens
        return json.dumps(value).encode()

    def _answer_tokens(self, request: ChatRequest) -> int | None:
        """The longest answer, in tokens; a Refusal if the server can't hold it after the prompt."""
        asked = request.answer_tokens
        if self.count is None or self.limits.tokens is None:
            return asked
        try:
            prompt = self.count(request.prompt(), request.tools)
        except Exception as error:  # a template is a program that raises what it likes about messages
            log.warning("%s in the chat template", type(error).__name__)
            message = "the model's chat template can't write these messages (are the roles in an order that it knows?)"
            raise Refusal(400, "invalid_messages", message, "messages") from None
        limit = self.limits.tokens()
        if prompt + (asked or 1) > limit:
            message = f"this server holds {limit} tokens of prompt and answer together; the prompt has {prompt}"
            message += f", {request.limit_field} asks for {asked}" if asked else ""
            field = "messages" if prompt >= limit else request.limit_field
            raise Refusal(400, "context_length_exceeded", message, field)
        return asked or min(ANSWER_TOKENS, limit - prompt)

    async def _pass_on(self, request: Request, body: bytes, send: Send) -> None:
        """Ask the server behind: with this body, the path, and no header of the caller's."""
        scope = request.scope
        headers = [(b"host", _hosts(scope)[0].encode()), (b"content-length", str(len(body)).encode())]
        if body:
            headers.append((b"content-type", b"application/json"))
        inner = {**scope, "headers": headers, "query_string": b"", "raw_path": scope["path"].encode(), "root_path": ""}
        unread, state = [body], ""

        async def receive_checked() -> MutableMapping[str, Any]:
            return (
                {"type": "http.request", "body": unread.pop(), "more_body": False}
                if unread
                else await request.receive()
            )

        async def send_noted(message: MutableMapping[str, Any]) -> None:
            nonlocal state
            state = "started" if message["type"] == "http.response.start" or message.get("more_body") else "whole"
            await send(message)

        try:
            await self.app(inner, receive_checked, send_noted)
        except Exception as error:
            front.note(error, log)
            if state == "started":
                raise ConnectionAbortedError("the model server failed in the middle of an answer") from None
            if not state:
                raise Refusal(500, "server_error", "the model server failed at this request") from None


class ForVllm(Admission):
    """As vLLM's option --middleware makes it: the app is all it gets. vLLM counts tokens itself.

    The names of the models come in an environment variable; without it, vLLM checks them too, and lists none.
    """

    def __init__(self, app: App) -> None:
        names = json.loads(os.environ.get(MODELS_VARIABLE, "null"))
        super().__init__(app, Limits(models=tuple(names) if names else None))


def _hosts(scope: Scope) -> list[str]:
    return front.hosts(("127.0.0.1", "localhost"), scope["server"][1])
