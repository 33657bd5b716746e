"""A model server, or several of one release, asked through OpenAI's client: bounded in size and time, and strict about what comes back.

Requests are greedy. A connection that breaks before an answer came is tried once more: asking twice does no harm,
unless it is paid for. So is a server that says when to come back (429 or 503 with `Retry-After`), as far as the caller's
time allows. Where there are other servers, each of them is asked first, and each twice before there is an error. What a
server says in an error is never repeated: it may quote the request.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from hallmark.answer.answers import Answer
from hallmark.answer.bought import is_model
from hallmark.answer.comparators.endpoint import is_near
from hallmark.answer.endpoint import FRAME, MALFORMED, PER_LOG, PER_TOKEN, answer_of
from hallmark.base.errors import HallmarkError
from hallmark.base.reading import strict_json
from hallmark.commands.completions import retry_after
from hallmark.model.tool_form import ToolForm
from hallmark.params.service import Fallback
from hallmark.params.service import Upstream as Settings
from hallmark.serve.several import Several
from hallmark.service.traces.trace import Trace

if TYPE_CHECKING:
    from openai import APIConnectionError, APIStatusError, AsyncOpenAI

log = logging.getLogger("serve")
for library in ("httpx2", "openai"):  # they would write down every request
    logging.getLogger(library).setLevel(logging.WARNING)

REFUSES = (400, 413, 422)  # the request can't be answered by this server: too long, say
CODES = ("context_length_exceeded", "invalid_messages")
OPTIONAL = ("tools", "stop", "tool_choice", "response_format")  # fields of a request that not every server takes
FIELDS = ("messages", "max_tokens", *OPTIONAL)
LIST_SECONDS = 5.0  # for a server's list of its models
IDLE_SECONDS = 2.0  # a connection that is idle longer is not used again: servers close theirs after about 5
LEAST_WAIT = 0.2  # seconds before a server that was busy is asked again, also if it says 0
Problem = Literal["down", "late", "busy", "refused", "status", "malformed", "too_large", "budget"]


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


def body_of(
    trace: Trace, tokens: int, *, logs: bool = False, is_json: bool = False, extra: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What is asked for a request: greedily, whatever temperature or seed a caller names; how an answer is to end and look
    is theirs. `logs`: with log-probabilities. `is_json`: all answers are, so that nobody need ask for it. `extra`: what makes
    it another question than the greedy one."""
    chat, prompt = trace.chat, trace.prompt
    usual = ("text", "json_object") if is_json else ("text",)
    body = {
        "messages": prompt.messages, "max_tokens": tokens, "temperature": 0, "stream": False, "tools": prompt.tools or None,
        "logprobs": True if logs else None, "stop": chat.stop,
        "tool_choice": None if chat.tool_choice == "auto" else chat.tool_choice,  # which is how it was trained
        "response_format": None if (chat.response_format or {}).get("type") in usual else chat.response_format,
    }  # fmt: skip
    return {name: value for name, value in body.items() if value is not None} | dict(extra or {})


class Upstream:
    """A client of the `model` of the servers at `urls`. `fields`: what each request to them has in addition.

    `own`: it was started here, and is asked past any proxy. `paid`: what may have been charged is not sent a second time.
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
        self.model, self._key, self._own, self._paid, self._form = model, key, own, paid, form
        self._several, self._fields, self._warned = Several(urls), dict(fields or {}), False
        self._clients: dict[str, AsyncOpenAI] = {}  # made in the loop that asks
        self._closed = False

    async def ask(self, body: dict[str, Any], seconds: float) -> Reply:
        """The answer within that time; UpstreamError if there is none. Cancelling hangs up on the server."""
        deadline = time.monotonic() + seconds
        try:
            async with asyncio.timeout(max(seconds, 0.0)):
                content = await self._content(body, deadline)
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

    async def _content(self, body: dict[str, Any], deadline: float) -> bytes:
        """The content of a success, asked for again where that may help; else an UpstreamError."""
        from openai import APIConnectionError, APIStatusError

        tried: Counter[str] = Counter()
        while True:
            if self._closed:  # the server was stopped, and another has taken over
                raise UpstreamError("down", "stopped", charged=False)
            try:
                with self._several.asked(tried) as url:
                    return await self._once(url, body)
            except APIConnectionError as error:
                charged = not _unsent(error)
                if self._several.failed(url, tried) > 1 or (self._paid and charged):
                    raise UpstreamError("down", type(error.__cause__ or error).__name__, charged=charged) from None
            except APIStatusError as error:
                problem, wait = self._of_status(error), wait_of(error)
                if (error.status_code >= 500 or error.status_code == 429) and not (self._paid and problem.charged):
                    twice = wait is None and len(self._several.urls) > 1
                    if self._several.failed(url, tried) < 1 + twice:
                        continue
                if wait is None or time.monotonic() + wait >= deadline:
                    raise problem from None
                await asyncio.sleep(wait)
                tried.clear()

    async def _once(self, url: str, body: dict[str, Any]) -> bytes:
        """What one server sends, no more than the longest answer has; what openai raises if that is no success."""
        import httpx2
        from openai import APIConnectionError

        client = self._clients.get(url) or self._clients.setdefault(url, connected(url, self._key, own=self._own))
        per_token = PER_TOKEN + (PER_LOG if body.get("logprobs") else 0)
        largest = FRAME + per_token * body["max_tokens"]
        content = bytearray()
        try:
            # as an extra body, so that nothing is left out or changed on the way
            async with client.chat.completions.with_streaming_response.create(
                model=self.model, messages=[], extra_body=self._fields | body, extra_headers=headers_for(self._key)
            ) as response:
                async for piece in response.iter_bytes():
                    content += piece
                    if len(content) > largest:
                        raise UpstreamError("too_large", f"a response of over {largest} bytes", charged=True)
        except httpx2.DecodingError:
            raise UpstreamError("malformed", "a response that is not what it says", charged=True) from None
        except httpx2.HTTPError as error:
            raise APIConnectionError(request=error.request) from error
        return bytes(content)

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

    def _of_status(self, error: APIStatusError) -> UpstreamError:
        """What a status means. Of the server's own words, only code and field are taken, and only those that are known here."""
        status, code, field = error.status_code, None, None
        problem: Problem = "busy" if status == 429 else "refused" if status in REFUSES else "status"
        if problem == "refused" and isinstance(error.body, dict):
            said, param = error.body.get("code"), error.body.get("param")
            name = re.match(r"\w*", param) if isinstance(param, str) else None
            code = said if said in CODES else None
            field = name[0] if name and name[0] in FIELDS else None
        between = status in (502, 504)  # said by what stands in front of the server, which may have answered
        words = f"HTTP {status}" + (f": it has no model '{self.model}', or its url is wrong" if status == 404 else "")
        return UpstreamError(problem, words, charged=between, code=code, field=field)


def connected(url: str, key: str | None, *, own: bool = False) -> AsyncOpenAI:
    """A client that follows no redirect and asks for nothing compressed. A private address is asked past any proxy: what
    goes there as clear text, a key too, is for nobody else."""
    import httpx2
    import openai

    address = urlsplit(url)
    direct = own or (address.scheme == "http" and is_near(address.hostname or ""))
    pool = httpx2.Limits(keepalive_expiry=IDLE_SECONDS)
    # No limit on a read: `ask` limits the whole.
    http = openai.DefaultAsyncHttpxClient(limits=pool, timeout=None, trust_env=not direct, follow_redirects=False)
    return openai.AsyncOpenAI(
        base_url=url, api_key=key or "none", max_retries=0, timeout=None, http_client=http,
        default_headers={"Accept-Encoding": "identity"},
    )  # fmt: skip


def headers_for(key: str | None) -> dict[str, Any]:
    """Without a key, a request has no word of one."""
    import openai

    return {} if key else {"Authorization": openai.Omit()}


async def listed(url: str, key: str | None) -> list[str] | None:
    """The models that a server says it has; None if it is down, or doesn't say."""
    import openai

    async with connected(url, key) as client:
        try:
            async with asyncio.timeout(LIST_SECONDS):
                return [str(model.id) for model in (await client.models.list(extra_headers=headers_for(key))).data]
        except (openai.OpenAIError, OSError, *MALFORMED):
            return None


def key_of(settings: Settings | Fallback, param: str) -> str | None:
    """The API key of a server, which `param` names; None if it needs none. A HallmarkError if it can't be sent."""
    if settings.key is None:
        return None
    *_, key = (secret_of(settings.key, url, param, "key") for url in Several(settings.url).urls)
    return key


def secret_of(variable: str, url: str, param: str, name: str) -> str:
    """What goes to a URL from an environment variable, which `param` has under `name`.

    A HallmarkError if it is not there, or would go over the network as clear text.
    """
    if not (secret := os.environ.get(variable, "").strip()):
        problem = f"the environment has no variable {variable}"
        raise HallmarkError(problem, param=f"{param}.{name}", remedy=f"export it, or set the {name} to null")
    address = urlsplit(url)
    if address.scheme != "https" and not is_near(address.hostname or ""):
        remedy = "begin it with https://; only localhost and the number of a private address go without"
        raise HallmarkError(f"its {name} would be sent as clear text", param=f"{param}.url", remedy=remedy)
    return secret


def wait_of(error: APIStatusError) -> float | None:
    """Seconds after which a busy server wants to be asked again; None if it is not busy, or doesn't say."""
    after = error.response.headers.get("retry-after", "")
    wait = retry_after(after) if error.status_code in (429, 503) else None
    return None if wait is None else max(wait, LEAST_WAIT)


def _unsent(error: APIConnectionError) -> bool:
    """Whether the request reached nobody."""
    import httpx2

    never = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError, httpx2.UnsupportedProtocol)
    return isinstance(error.__cause__, never)


def _call(call: Any, place: int) -> dict[str, Any]:
    """A tool call with the fields that callers know, and no others."""
    function, name = call["function"], call.get("id")
    if not isinstance(function["name"], str) or not isinstance(function["arguments"], str):
        raise TypeError("not a tool call")
    kept = {"name": function["name"], "arguments": function["arguments"]}
    return {"id": name if isinstance(name, str) else f"call_{place}", "type": "function", "function": kept}


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 2**31 else None
