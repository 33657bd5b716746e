"""One model server, asked over HTTP: bounded in size and time, and strict about what comes back.

Requests are greedy. A connection that breaks before an answer came is tried once more: asking twice does no harm,
unless it is paid for. So is a server that says when to come back (429 or 503 with `Retry-After`), as far as the caller's
time allows. What a server says in an error is never repeated: it may quote the request.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal

from hallmark.answer.answers import Answer
from hallmark.answer.endpoint import FRAME, MALFORMED, PER_LOG, PER_TOKEN, UnreadableError, answer_of
from hallmark.base.reading import strict_json
from hallmark.model.tool_form import ToolForm
from hallmark.service.gateway.proxy import Proxy, proxy_of
from hallmark.task.answers import compact_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp import ClientSession

IDLE_SECONDS = 2.0  # a connection that is idle longer is not used again: servers close theirs after about 5
CLOSE_SECONDS = 2.0  # for connections that are being closed
LEAST_WAIT = 0.2  # seconds before a server that was busy is asked again, also if it says 0
REFUSES = (400, 413, 422)  # the request can't be answered by this server: too long, say
Problem = Literal["down", "late", "busy", "refused", "status", "malformed", "too_large"]


class UpstreamError(Exception):
    """A model server gave no answer. `problem`: the kind, for metrics; `charged`: whether it may have computed one."""

    def __init__(self, problem: Problem, words: str, *, charged: bool) -> None:
        super().__init__(words)
        self.problem, self.charged = problem, charged


class _StatusError(Exception):
    """A response without success. `after`: when it says to come back."""

    def __init__(self, status: int, after: str) -> None:
        super().__init__(status)
        self.status, self.after = status, after


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: masked messages and tools, and how long the answer may be.

    `extra`: what makes it another question than the greedy one. `logs`: log-probabilities are asked for.
    """

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None
    max_tokens: int
    logs: bool = False
    extra: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer of a server. `answer`: as it is scored, with calls written as trained; `text` and `tool_calls`: as sent."""

    answer: Answer
    text: str
    tool_calls: list[dict[str, Any]] | None
    finish: str
    prompt_tokens: int | None
    answer_tokens: int | None
    seconds: float


class Upstream:
    """A client of one server's `model`. `fields`: what each request to it has in addition. aiohttp takes half of httpx's time.

    `own`: a server on this machine that was started here, which is asked past any proxy of the environment. `paid`: what
    may have been charged is not sent a second time.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        key: str | None = None,
        own: bool = False,
        paid: bool = False,
        fields: Mapping[str, Any] | None = None,
        form: ToolForm | None = None,
    ) -> None:
        self.url, self.model, self._paid = url, model, paid
        self._fields, self._form = dict(fields or {}), form
        self._proxy = Proxy() if own else proxy_of(url)
        self._headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._headers |= self._proxy.headers
        self._session: ClientSession | None = None  # made in the loop that asks
        self._closed = False

    async def ask(self, question: Question, seconds: float) -> Reply:
        """The answer within that time; UpstreamError if there is none. Cancelling hangs up on the server."""
        start = time.monotonic()
        body, largest = self._body(question), FRAME + (PER_TOKEN + question.logs * PER_LOG) * question.max_tokens
        try:
            async with asyncio.timeout(max(seconds, 0.0)):
                text = await self._text(body, largest, start + seconds)
        except TimeoutError:
            raise UpstreamError("late", "no answer in time", charged=True) from None
        try:
            return self._read(strict_json(text), time.monotonic() - start)
        except MALFORMED as error:
            raise UpstreamError("malformed", f"no chat completion ({type(error).__name__})", charged=True) from None

    async def close(self) -> None:
        """Close its connections."""
        self._closed = True
        if self._session is not None:
            with suppress(TimeoutError):  # one to a server that reads no more would be waited for
                async with asyncio.timeout(CLOSE_SECONDS):
                    await self._session.close()

    def _body(self, question: Question) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self.model, "messages": question.messages, "max_tokens": question.max_tokens}
        body |= {"temperature": 0, "stream": False} | ({"tools": question.tools} if question.tools else {})
        return body | ({"logprobs": True} if question.logs else {}) | self._fields | dict(question.extra or {})

    async def _text(self, body: dict[str, Any], largest: int, deadline: float) -> str:
        import aiohttp

        broken = False
        while True:
            if self._closed:  # the server was stopped, and another has taken over
                raise UpstreamError("down", "stopped", charged=False)
            try:
                return await self._response_text(body, largest)
            except _StatusError as error:
                wait = retry_after(error.status, error.after)
                if wait is None or time.monotonic() + wait >= deadline:
                    raise _of_status(error.status) from None
                await asyncio.sleep(wait)
            except UnreadableError as error:
                raise UpstreamError("too_large", str(error), charged=True) from None
            except UnicodeDecodeError:
                raise UpstreamError("malformed", "not UTF-8", charged=True) from None
            except (aiohttp.ClientError, OSError) as error:
                unsent = isinstance(
                    error, aiohttp.ClientConnectorError | aiohttp.InvalidURL | aiohttp.ClientHttpProxyError
                )
                if broken or (self._paid and not unsent):
                    raise UpstreamError("down", type(error).__name__, charged=not unsent) from None
                broken = True

    async def _response_text(self, body: dict[str, Any], largest: int) -> str:
        """The text of a response; _StatusError if it is no success.

        UnreadableError if it has more bytes than `largest`, or is compressed, which nobody asked for: a megabyte can unpack to
        gigabytes.
        """
        self._session = self._session or self._connected()
        # The headers are the request's, not the session's, whose headers aiohttp sends to a proxy too.
        asked = self._session.post(
            f"{self.url}/chat/completions", json=body, headers=self._headers, allow_redirects=False,
            proxy=self._proxy.url, proxy_headers=self._proxy.tunnel,
        )  # fmt: skip
        async with asked as response:
            if not 200 <= response.status < 300:
                raise _StatusError(response.status, response.headers.get("retry-after", ""))
            if response.headers.get("content-encoding", "identity") != "identity":
                raise UnreadableError("a compressed response, though none was asked for")
            content = bytearray()
            async for piece in response.content.iter_any():
                content += piece
                if len(content) > largest:
                    raise UnreadableError(f"a response of over {largest} bytes, more than the longest answer has")
        return content.decode()

    def _connected(self) -> ClientSession:
        import aiohttp
        import httpx

        tls = httpx.create_ssl_context() if self.url.startswith("https:") else True  # with certifi's authorities
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=IDLE_SECONDS, ssl=tls),
            timeout=aiohttp.ClientTimeout(total=None),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            json_serialize=_json,
        )

    def _read(self, response: Any, seconds: float) -> Reply:
        """The reply in a response; one of MALFORMED if it is none."""
        answer = answer_of(response, self._form)
        choice = response["choices"][0]
        text = choice["message"].get("content") or ""
        calls = [_call(call, place) for place, call in enumerate(choice["message"].get("tool_calls") or [])]
        reason = choice.get("finish_reason")
        finish = reason if reason in ("stop", "length", "tool_calls", "content_filter") else answer.finish
        usage = response.get("usage") or {}
        prompt, written = (_count(usage.get(name)) for name in ("prompt_tokens", "completion_tokens"))
        return Reply(answer, text, calls or None, finish, prompt, written, seconds)


def _json(value: Any) -> str:
    """The shortest JSON; half of a surrogate pair, which UTF-8 does not have, is escaped."""
    text = compact_json(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value)
    return text


def _call(call: Any, place: int) -> dict[str, Any]:
    """A tool call with the fields that callers know, and no others."""
    function, name = call["function"], call.get("id")
    if not isinstance(function["name"], str) or not isinstance(function["arguments"], str):
        raise TypeError("not a tool call")
    kept = {"name": function["name"], "arguments": function["arguments"]}
    return {"id": name if isinstance(name, str) else f"call_{place}", "type": "function", "function": kept}


def _count(value: Any) -> int | None:
    """A number of tokens; None if it is none."""
    return value if type(value) is int and 0 <= value < 2**31 else None


def _of_status(status: int) -> UpstreamError:
    problem: Problem = "busy" if status == 429 else "refused" if status in REFUSES else "status"
    between = status in (502, 504)  # said by what stands in front of the server, which may have answered
    return UpstreamError(problem, f"HTTP {status}", charged=between)


def retry_after(status: int, after: str) -> float | None:
    """Seconds after which a busy server wants to be asked again; None if it is not busy, or doesn't say.

    `after`: the value of the header `Retry-After`, empty without one (RFC 9110, 10.2.3: seconds, or a date).
    """
    if status not in (429, 503):
        return None
    said = after.strip()
    try:
        if said.isdecimal() and said.isascii():
            wait = float(said)
        else:
            when = parsedate_to_datetime(said)
            wait = ((when if when.tzinfo else when.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return max(wait, LEAST_WAIT) if math.isfinite(wait) else None
