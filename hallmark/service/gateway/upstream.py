"""A model server, or several of one release, asked over HTTP: bounded in size and time, and strict about what comes back.

Requests are greedy. A connection that breaks before an answer came is tried once more: asking twice does no harm,
unless it is paid for. So is a server that says when to come back (429 or 503 with `Retry-After`), as far as the caller's
time allows. Where there are other servers, each of them is asked first, and each twice before there is an error.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hallmark.answer.answers import Answer
from hallmark.answer.bought import is_model
from hallmark.answer.endpoint import FRAME, MALFORMED, PER_LOG, PER_TOKEN, answer_of
from hallmark.base.reading import strict_json
from hallmark.model.tool_form import ToolForm
from hallmark.serve.several import Several
from hallmark.service.gateway.client import Client, wait_of
from hallmark.task.answers import compact_json

log = logging.getLogger("serve")

REFUSES = (400, 413, 422)  # the request can't be answered by this server: too long, say
CODES = ("context_length_exceeded", "invalid_messages")
OPTIONAL = ("tools", "stop", "tool_choice", "response_format")  # fields of a request that not every server takes
FIELDS = ("messages", "max_tokens", *OPTIONAL)
LIST_SECONDS, LIST_BYTES = 5.0, 2**20  # for a server's list of its models
Problem = Literal["down", "late", "busy", "refused", "status", "malformed", "too_large"]


class UpstreamError(Exception):
    """A model server gave no answer. `problem`: the kind, for metrics; `charged`: whether it may have computed one.

    `field`: what of the request the server refused, if it said so; `code`: why, in OpenAI's words, if they are known.
    """

    def __init__(
        self, problem: Problem, words: str, *, charged: bool, code: str | None = None, field: str | None = None
    ) -> None:
        super().__init__(words)
        self.problem, self.charged, self.code, self.field = problem, charged, code, field


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
    """An answer of a server. `answer`: as it is scored, with calls written as trained; `text` and `tool_calls`: as sent.

    `another`: it is said to be of another model than was asked for. An alias of that is told from another only by its owner.
    """

    answer: Answer
    text: str
    tool_calls: list[dict[str, Any]] | None
    finish: str
    prompt_tokens: int | None
    answer_tokens: int | None
    another: bool


async def listed(url: str, key: str | None) -> list[str] | None:
    """The models that a server says it has; None if it is down, or doesn't say."""
    import aiohttp

    client = Client(f"{url}/models", bearer(key))
    try:
        async with asyncio.timeout(LIST_SECONDS):
            content = (await client.ask(None, LIST_BYTES)).content
        return [str(model["id"]) for model in strict_json((content or b"").decode())["data"]]
    except (aiohttp.ClientError, OSError, *MALFORMED):
        return None
    finally:
        await client.close()


class Upstream:
    """A client of the `model` of the servers at `urls`. `fields`: what each request to them has in addition.

    `own`: it was started here, on this machine. `paid`: what may have been charged is not sent a second time.
    """

    def __init__(
        self,
        urls: str | Sequence[str],
        model: str,
        *,
        key: str | None = None,
        own: bool = False,
        paid: bool = False,
        fields: Mapping[str, Any] | None = None,
        form: ToolForm | None = None,
    ) -> None:
        self.model, self._paid, self._own, self._warned = model, paid, own, False
        self._fields, self._form = dict(fields or {}), form
        self._several = Several(urls)
        self._clients = {url: Client(f"{url}/chat/completions", bearer(key), own=own) for url in self._several.urls}
        self._closed = False

    async def ask(self, question: Question, seconds: float) -> Reply:
        """The answer within that time; UpstreamError if there is none. Cancelling hangs up on the server."""
        deadline = time.monotonic() + seconds
        body, largest = _json(self._body(question)), FRAME + (PER_TOKEN + question.logs * PER_LOG) * question.max_tokens
        try:
            async with asyncio.timeout(max(seconds, 0.0)):
                content = await self._content(body, largest, deadline)
        except TimeoutError:
            raise UpstreamError("late", "no answer in time", charged=True) from None
        try:
            return self._read(strict_json(content.decode()))
        except MALFORMED as error:
            raise UpstreamError("malformed", f"no chat completion ({type(error).__name__})", charged=True) from None

    async def close(self) -> None:
        self._closed = True
        for client in self._clients.values():
            await client.close()

    def _body(self, question: Question) -> dict[str, Any]:
        body: dict[str, Any] = {"model": self.model, "messages": question.messages, "max_tokens": question.max_tokens}
        body |= {"temperature": 0, "stream": False} | ({"tools": question.tools} if question.tools else {})
        return body | ({"logprobs": True} if question.logs else {}) | self._fields | dict(question.extra or {})

    async def _content(self, body: bytes, largest: int, deadline: float) -> bytes:
        """The content of a success, asked for again where that may help; else an UpstreamError."""
        import aiohttp

        tried: Counter[str] = Counter()
        while True:
            if self._closed:  # the server was stopped, and another has taken over
                raise UpstreamError("down", "stopped", charged=False)
            try:
                with self._several.asked(tried) as url:
                    response = await self._clients[url].ask(body, largest)
            except (aiohttp.ClientError, OSError) as error:
                unsent = isinstance(
                    error, aiohttp.ClientConnectorError | aiohttp.InvalidURL | aiohttp.ClientHttpProxyError
                )
                if self._several.failed(url, tried) > 1 or (self._paid and not unsent):
                    raise UpstreamError("down", type(error).__name__, charged=not unsent) from None
                continue
            if response.success:
                if response.content is None:
                    words = f"a response that is compressed, or over {largest} bytes, as no answer is"
                    raise UpstreamError("too_large", words, charged=True)
                return response.content
            problem, wait = _of_status(response.status, response.content, self.model), wait_of(response)
            if (response.status >= 500 or response.status == 429) and not (self._paid and problem.charged):
                twice = wait is None and len(self._several.urls) > 1
                if self._several.failed(url, tried) < 1 + twice:
                    continue
            if wait is None or time.monotonic() + wait >= deadline:
                raise problem
            await asyncio.sleep(wait)
            tried.clear()

    def _read(self, response: Any) -> Reply:
        """The reply in a response; one of MALFORMED if it is none."""
        answer = answer_of(response, self._form)
        said = response.get("model")  # some servers name none
        another = not self._own and said is not None and not is_model(str(said), self.model, None)
        if another and not self._warned:
            log.warning("the upstream for '%s' says that it is another model: see that `model` is right", self.model)
            self._warned = True  # hallmark_other_models_total counts all
        choice = response["choices"][0]
        text = choice["message"].get("content") or ""
        calls = [_call(call, place) for place, call in enumerate(choice["message"].get("tool_calls") or [])]
        reason = choice.get("finish_reason")
        finish = reason if reason in ("stop", "length", "tool_calls", "content_filter") else answer.finish
        usage = response.get("usage") or {}
        prompt, written = (_count(usage.get(name)) for name in ("prompt_tokens", "completion_tokens"))
        return Reply(answer, text, calls or None, finish, prompt, written, another)


def bearer(key: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


def _json(value: Any) -> bytes:
    """The shortest JSON; half of a surrogate pair, which UTF-8 does not have, is escaped."""
    try:
        return compact_json(value).encode()
    except UnicodeEncodeError:
        return json.dumps(value).encode()


def _call(call: Any, place: int) -> dict[str, Any]:
    """A tool call with the fields that callers know, and no others."""
    function, name = call["function"], call.get("id")
    if not isinstance(function["name"], str) or not isinstance(function["arguments"], str):
        raise TypeError("not a tool call")
    kept = {"name": function["name"], "arguments": function["arguments"]}
    return {"id": name if isinstance(name, str) else f"call_{place}", "type": "function", "function": kept}


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 2**31 else None


def _of_status(status: int, content: bytes | None, model: str) -> UpstreamError:
    problem: Problem = "busy" if status == 429 else "refused" if status in REFUSES else "status"
    between = status in (502, 504)  # said by what stands in front of the server, which may have answered
    code, field = _refused(content) if problem == "refused" else (None, None)
    words = f"HTTP {status}" + (f": it has no model '{model}', or its url is wrong" if status == 404 else "")
    return UpstreamError(problem, words, charged=between, code=code, field=field)


def _refused(content: bytes | None) -> tuple[str | None, str | None]:
    """Code and field in an error of OpenAI's form, as far as they are words known here: others may quote the request."""
    try:
        error = strict_json((content or b"").decode())["error"]
        code, field = error.get("code"), re.match(r"\w*", error.get("param") or "")
    except MALFORMED:
        return None, None
    name = field[0] if field else None
    return code if code in CODES else None, name if name in FIELDS else None
