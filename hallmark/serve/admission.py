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
import time
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hallmark.base.refusal import Refusal
from hallmark.serve.chat_request import ChatRequest, read_request, unsupported

CHAT, MODELS, HEALTH = "/v1/chat/completions", "/v1/models", "/health"
MODELS_VARIABLE = "HALLMARK_MODELS"  # the names that a server answers to, as a JSON list
METHODS = {CHAT: "POST", MODELS: "GET", HEALTH: "GET"}
BODY_BYTES = 2**20
BODY_SECONDS = 10.0
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
    body_seconds: float = BODY_SECONDS
    under_way: int = UNDER_WAY


class Admission:
    """Lets a request through to `app`, or answers it with an error in OpenAI's form.

    `count` gives the tokens of a prompt (messages and tools); it runs in one thread, so it need not be safe in several.
    """

    def __init__(self, app: App, limits: Limits, count: Count | None = None) -> None:
        self.app, self.limits, self.count = app, limits, count
        self.under_way = self.buffered = 0
        self._started = int(time.time())
        self._thread = ThreadPoolExecutor(1, "admission")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the start and end of the server."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "http":
            try:
                await self._handle(scope, receive, send)
            except Refusal as refusal:
                await _answer(send, refusal.status, refusal.body(), refusal.headers)
            except _GoneError:
                pass
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._check_sender(scope)
        method = METHODS.get(scope["path"])
        if method is None:
            raise Refusal(404, "unknown_url", f"there are only {', '.join(f'{m} {p}' for p, m in METHODS.items())}")
        if scope["method"] != method:
            raise Refusal(405, "method_not_allowed", f"{scope['path']} is asked by {method}", headers={"allow": method})
        if scope["path"] == MODELS and self.limits.models is not None:
            entry = {"object": "model", "created": self._started, "owned_by": "hallmark"}
            listed = {"object": "list", "data": [{"id": name} | entry for name in self.limits.models]}
            await _answer(send, 200, json.dumps(listed).encode())
        elif scope["path"] == CHAT:
            await self._chat(scope, receive, send)
        else:
            await self._pass_on(scope, b"", receive, send)

    def _check_sender(self, scope: Scope) -> None:
        """Refuse what a page in a browser could send: by its origin, or by a name that it has made lead here."""
        allowed = _hosts(scope)
        hosts = [value.lower() for value in _values(scope, b"host")]
        if len(hosts) != 1 or hosts[0] not in allowed:
            raise Refusal(421, "wrong_host", f"this server answers only as {allowed[0].decode()}")
        if _values(scope, b"origin"):
            raise Refusal(403, "origin_not_allowed", "pages in a browser may not use this server")

    async def _chat(self, scope: Scope, receive: Receive, send: Send) -> None:
        kinds = [value.split(b";")[0].strip().lower() for value in _values(scope, b"content-type")]
        if kinds != [b"application/json"] or _values(scope, b"content-encoding"):
            raise Refusal(415, "unsupported_media_type", "the body must be application/json, not compressed")
        body = bytearray()
        try:
            await self._read(body, scope, receive)
            if self.under_way >= self.limits.under_way:
                message = f"{self.limits.under_way} requests are under way, which is the limit"
                raise Refusal(429, "too_many_requests", message, headers={"retry-after": "1"})
            self.under_way += 1
            try:
                judged = asyncio.get_running_loop().run_in_executor(self._thread, self._judge, bytes(body))
                await self._pass_on(scope, await judged, receive, send)
            finally:
                self.under_way -= 1
        finally:
            self.buffered -= len(body)

    async def _read(self, body: bytearray, scope: Scope, receive: Receive) -> None:
        """Read the body into `body`, as far as its size and the time allow."""
        too_large = Refusal(413, "request_too_large", f"the body is larger than {BODY_BYTES} bytes")
        if any(int(value) > BODY_BYTES for value in _values(scope, b"content-length") if value.isdigit()):
            raise too_large
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise _GoneError
                    chunk, more = message.get("body", b""), message.get("more_body", False)
                    if len(body) + len(chunk) > BODY_BYTES:
                        raise too_large
                    if self.buffered + len(chunk) > BUFFER_BYTES:
                        headers = {"retry-after": "1"}
                        raise Refusal(429, "too_many_requests", "too many bodies are being read", headers=headers)
                    body += chunk
                    self.buffered += len(chunk)
        except TimeoutError:
            late = f"the body did not come within {self.limits.body_seconds:g} s"
            raise Refusal(408, "request_timeout", late, headers={"connection": "close"}) from None

    def _judge(self, body: bytes) -> bytes:
        """What is passed on of a body: the request as it was understood, written again, so that nobody reads it otherwise."""
        request = read_request(body)
        if self.limits.models is not None and request.model not in self.limits.models:
            known = ", ".join(f"'{name}'" for name in self.limits.models)
            raise Refusal(404, "model_not_found", f"there is no such model; the models here: {known}", "model")
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

    async def _pass_on(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        """Ask the server behind: with this body, the path, and no header of the caller's."""
        headers = [(b"host", _hosts(scope)[0]), (b"content-length", str(len(body)).encode())]
        if body:
            headers.append((b"content-type", b"application/json"))
        inner = {**scope, "headers": headers, "query_string": b"", "raw_path": scope["path"].encode(), "root_path": ""}
        unread, state = [body], ""

        async def receive_checked() -> MutableMapping[str, Any]:
            return {"type": "http.request", "body": unread.pop(), "more_body": False} if unread else await receive()

        async def send_noted(message: MutableMapping[str, Any]) -> None:
            nonlocal state
            state = "started" if message["type"] == "http.response.start" or message.get("more_body") else "whole"
            await send(message)

        try:
            await self.app(inner, receive_checked, send_noted)
        except Exception as error:  # its message may quote the request, so it is not logged
            place = traceback.extract_tb(error.__traceback__)[-1]
            log.error("%s at %s, line %s", type(error).__name__, Path(place.filename).name, place.lineno)
            if state == "started":
                raise ConnectionAbortedError("the model server failed in the middle of an answer") from None
            if not state:
                raise Refusal(500, "server_error", "the model server failed at this request") from None


class _GoneError(Exception):
    """The caller has hung up before the request was whole."""


class ForVllm(Admission):
    """As vLLM's option --middleware makes it: the app is all it gets. vLLM counts tokens itself.

    The names of the models come in an environment variable; without it, vLLM checks them too, and lists none.
    """

    def __init__(self, app: App) -> None:
        names = json.loads(os.environ.get(MODELS_VARIABLE, "null"))
        super().__init__(app, Limits(models=tuple(names) if names else None))


def _hosts(scope: Scope) -> list[bytes]:
    """The names that a caller may use, with the port that it has reached; clients leave out port 80."""
    port = scope["server"][1]
    ends = (f":{port}", "") if port == 80 else (f":{port}",)
    return [f"{name}{end}".encode() for end in ends for name in ("127.0.0.1", "localhost")]


def _values(scope: Scope, name: bytes) -> list[bytes]:
    return [value for key, value in scope["headers"] if key == name]


async def _answer(send: Send, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
    sent = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
    pairs = [(name.encode(), value.encode()) for name, value in sent.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
