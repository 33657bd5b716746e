"""One model server, asked over HTTP: bounded in size and time, and strict about what comes back.

Requests are greedy. A connection that breaks before an answer came is tried once more: asking twice does no harm,
unless it is paid for. So is a server that says when to come back (429 or 503 with `Retry-After`), as far as the caller's
time allows. What a server says in an error is never repeated: it may quote the request.
"""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal

from stages.core.reading import strict_json
from stages.evaluation.answers import Answer
from stages.evaluation.endpoint import (
    FRAME,
    MALFORMED,
    PER_LOG,
    PER_TOKEN,
    UnreadableError,
    answer_of,
    response_text,
)
from stages.models.tool_form import ToolForm

if TYPE_CHECKING:
    from collections.abc import Mapping

    from httpx import Response

IDLE_SECONDS = 2.0  # a connection that is idle longer is not used again: servers close theirs after about 5
LEAST_WAIT = 0.2  # seconds before a server that was busy is asked again, also if it says 0
REFUSES = (400, 413, 422)  # the request can't be answered by this server: too long, say
Problem = Literal["down", "late", "busy", "refused", "status", "malformed", "too_large"]


class UpstreamError(Exception):
    """A model server gave no answer. `problem`: the kind, for metrics; `charged`: whether it may have computed one."""

    def __init__(self, problem: Problem, words: str, *, charged: bool) -> None:
        super().__init__(words)
        self.problem, self.charged = problem, charged


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
    """A client of one server's `model`. `fields`: what each request to it has in addition.

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
        import httpx

        self.url, self.model, self._paid = url, model, paid
        self._fields, self._form = dict(fields or {}), form
        headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {key}"} if key else {})
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=IDLE_SECONDS)
        self._client = httpx.AsyncClient(
            base_url=url,
            headers=headers,
            timeout=httpx.Timeout(None),
            limits=limits,
            trust_env=not own,
            follow_redirects=False,
        )

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
        await self._client.aclose()

    def _body(self, question: Question) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self.model, "messages": question.messages, "max_tokens": question.max_tokens}
        body |= {"temperature": 0, "stream": False} | ({"tools": question.tools} if question.tools else {})
        return body | ({"logprobs": True} if question.logs else {}) | self._fields | dict(question.extra or {})

    async def _text(self, body: dict[str, Any], largest: int, deadline: float) -> str:
        import httpx

        broken = False
        while True:
            if self._client.is_closed:  # the server was stopped, and another has taken over
                raise UpstreamError("down", "stopped", charged=False)
            try:
                return await response_text(self._client, body, largest)
            except httpx.HTTPStatusError as error:
                wait = retry_after(error.response)
                if wait is None or time.monotonic() + wait >= deadline:
                    raise _of_status(error.response.status_code) from None
                await asyncio.sleep(wait)
            except UnreadableError as error:
                raise UpstreamError("too_large", str(error), charged=True) from None
            except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
                unsent = isinstance(error, httpx.ConnectError | httpx.InvalidURL | httpx.UnsupportedProtocol)
                if broken or (self._paid and not unsent):
                    raise UpstreamError("down", type(error).__name__, charged=not unsent) from None
                broken = True
            except UnicodeDecodeError:
                raise UpstreamError("malformed", "not UTF-8", charged=True) from None

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


def retry_after(response: Response) -> float | None:
    """Seconds after which a busy server wants to be asked again; None if it is not busy, or doesn't say."""
    if response.status_code not in (429, 503):
        return None
    said = response.headers.get("retry-after", "").strip()
    try:
        if said.isdecimal() and said.isascii():
            wait = float(said)
        else:
            when = parsedate_to_datetime(said)
            wait = ((when if when.tzinfo else when.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return max(wait, LEAST_WAIT) if math.isfinite(wait) else None
