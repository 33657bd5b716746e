"""Sending the requests of a comparator to its API: what fails for the moment is sent again, and no answer is lost.

Each answer is on the disk before the next step, whatever ends the run. Once a request fails in a way that others would too,
no new one is sent, but those on the way are waited for: they will be paid for.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, BinaryIO

from stages.core.errors import HallmarkError
from stages.core.progress import Progress
from stages.core.reading import strict_json
from stages.evaluation.bought import Bought, is_bytes, is_model
from stages.evaluation.comparators.endpoint import EndpointSettings, Request
from stages.evaluation.endpoint import FRAME, MALFORMED, PER_TOKEN, answer_of, response_text

if TYPE_CHECKING:
    from httpx import AsyncClient, Response

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds before a request is sent again: doubled each time, up to the longest
PER_LOG = 1024  # bytes of a token's log-probability in a response
LONGEST_WAIT = 120.0  # seconds that a server may ask to wait (Retry-After); with more, the run ends
FAILURES = 5  # requests in a row that fail for good: then the others would too
AGAIN = (408, 409, 429)  # and all from 500 on
EMPTY = ("length", "content_filter")  # reasons to end with no text that are an answer, not a fault of the server


class WrongAnswerError(ValueError):
    """A response of the right shape that is no answer."""


@dataclass
class Outcome:
    """What came of the requests: `problems` counts those without an answer, by what was wrong."""

    answers: int = 0
    cost: float = 0.0
    problems: Counter[str] = field(default_factory=Counter)
    stopped: str | None = None  # why no more were sent


def buy(name: str, settings: EndpointSettings, requests: Sequence[Request], file: BinaryIO) -> Outcome:
    """Send the requests; append the line of each answer to `file`, and flush it to the disk."""
    return asyncio.run(Buyer(name, settings, file).all_of(requests))


class Buyer:
    """One run over the requests of one comparator."""

    def __init__(self, name: str, settings: EndpointSettings, file: BinaryIO) -> None:
        self._name, self._settings, self._file = name, settings, file
        self._outcome, self._in_a_row, self._reserved = Outcome(), 0, 0.0
        self._headers = {"Accept-Encoding": "identity"} | authorization(settings)
        self._largest = FRAME + (PER_TOKEN + PER_LOG) * settings.longest

    async def all_of(self, requests: Sequence[Request]) -> Outcome:
        """Send all of them, as many at once as the settings allow."""
        import httpx

        settings, slots = self._settings, asyncio.Semaphore(self._settings.concurrency)
        limits = httpx.Limits(max_connections=settings.concurrency, max_keepalive_connections=settings.concurrency)
        async with httpx.AsyncClient(
            base_url=settings.url, timeout=settings.timeout, headers=self._headers, limits=limits
        ) as client:
            with Progress("ask", len(requests), f"requests answered for {self._name}") as progress:

                async def one(request: Request) -> None:
                    async with slots:
                        if self._outcome.stopped is None and self._affordable(request):
                            await self._one(client, request)
                            progress.add()

                await asyncio.gather(*map(one, requests))
        return self._outcome

    def _affordable(self, request: Request) -> bool:
        """Whether `max_cost` allows the request after what was spent and what is on the way; if not, the run ends."""
        most = request.most(self._settings)
        limit = self._settings.max_cost
        if limit is not None and self._outcome.cost + self._reserved + most > limit * (1 + 1e-9):
            self._outcome.stopped = "the answers cost more than was estimated, and the next could exceed max_cost"
            return False
        return True

    async def _one(self, client: AsyncClient, request: Request) -> None:
        most = request.most(self._settings)
        self._reserved += most
        try:
            answer = await self._asked(client, request)
        finally:
            self._reserved -= most
        if answer is None:
            return
        self._file.write(answer.line())
        self._file.flush()
        os.fsync(self._file.fileno())
        self._outcome.answers += 1
        self._outcome.cost += answer.cost or 0.0
        self._in_a_row = 0
        if not is_model(answer.model, self._settings.model, self._settings.accept_model):
            self._outcome.stopped = "another model answered"

    async def _asked(self, client: AsyncClient, request: Request) -> Bought | None:
        """The answer to a request; None if there is none, which is then counted."""
        import httpx

        for attempt in range(self._settings.retries + 1):
            start, wait = time.perf_counter(), None
            try:
                async with asyncio.timeout(self._settings.timeout):  # of the whole: httpx counts each read separately
                    text = await response_text(client, request.body, self._largest)
                seconds = time.perf_counter() - start
                return bought_of(strict_json(text), request.key, seconds, self._settings)
            except httpx.HTTPStatusError as error:
                status = error.response.status_code
                problem = f"HTTP {status}{reason_of(error.response)}"
                if status < 500 and status not in AGAIN:
                    self._stop(problem)
                    return None
                wait = retry_after(error.response)
                if wait is not None and wait > LONGEST_WAIT:
                    self._stop(f"{problem}, and asks to wait {wait:.0f} s")
                    return None
            except WrongAnswerError as error:
                problem = str(error)
            except (httpx.HTTPError, httpx.StreamError, TimeoutError) as error:
                problem = type(error).__name__
            except MALFORMED:
                problem = "a response that is not the JSON of a chat completion"
            if attempt == self._settings.retries or self._outcome.stopped is not None:
                break
            await asyncio.sleep(pause(attempt) if wait is None else wait)
        self._outcome.problems[problem] += 1
        self._in_a_row += 1
        if self._in_a_row >= FAILURES:
            self._outcome.stopped = self._outcome.stopped or f"{FAILURES} requests in a row failed"
        return None

    def _stop(self, problem: str) -> None:
        self._outcome.problems[problem] += 1
        self._outcome.stopped = self._outcome.stopped or problem


def authorization(settings: EndpointSettings) -> dict[str, str]:
    """The header with the API key, which the environment holds."""
    if settings.key is None:
        return {}
    value = os.environ.get(settings.key, "")
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        raise HallmarkError(
            f"the environment has no variable {settings.key} that holds a key",
            param="eval.comparators",
            remedy=f"export {settings.key}, or set the comparator's key to null",
        )
    return {"Authorization": f"Bearer {value}"}


def bought_of(response: Any, key: str, seconds: float, settings: EndpointSettings) -> Bought:
    """The answer in a chat completion; a WrongAnswerError, or one of `MALFORMED`, if there is none."""
    choices = response["choices"]
    if choices == []:
        raise WrongAnswerError("no choice in the response")
    message, reason = choices[0]["message"], choices[0].get("finish_reason")
    text, made = message.get("content"), message.get("tool_calls")
    if text is None:
        text = message.get("refusal")  # of an API that tells a refusal from an answer
    if text is None and not made and reason not in EMPTY:
        raise WrongAnswerError("no text in the response")
    calls = [{part: call["function"][part] for part in ("name", "arguments")} for call in made or ()]
    if not all(isinstance(value, str) for call in calls for value in call.values()):
        raise TypeError("calls of another form")
    model = response.get("model")
    usage = response.get("usage")
    read, written = (count_in(usage, part) for part in ("prompt_tokens", "completion_tokens"))
    known = settings.price is not None and read is not None and written is not None
    answer = Bought(
        key=key,
        model=model if isinstance(model, str) else None,
        text=text or "",
        calls=calls or None,
        finish="length" if reason == "length" else "stop",
        read=read,
        written=written,
        logprobs=logprobs_of(choices[0].get("logprobs")),
        seconds=round(seconds, 3),
        cost=round(settings.price.of(read, written), 9) if known else None,  # type: ignore[union-attr, arg-type]
    )
    answer_of({"choices": [{"message": message | {"content": text}}]})  # as the stage will read it
    return answer


def count_in(usage: Any, part: str) -> int | None:
    """A number of tokens in the stated usage; None if it states none."""
    value = usage.get(part) if isinstance(usage, dict) else None
    return value if type(value) is int and 0 <= value < 2**31 else None


def logprobs_of(value: Any) -> list[list[Any]] | None:
    """[token, log-probability, bytes] of each token of the answer; None if the response has none, or other ones.

    Bytes are left out where they are those of the token's text: they differ where a token is part of a character.
    """
    content = value.get("content") if isinstance(value, dict) else None
    if not isinstance(content, list) or not all(isinstance(one, dict) for one in content):
        return None
    found: list[list[Any]] = []
    for one in content:
        token, of, exact = (one.get(part) for part in ("token", "logprob", "bytes"))
        if not isinstance(token, str) or type(of) not in (int, float) or of > 1e-6 or not is_bytes(exact):
            return None
        same = exact is None or bytes(exact) == token.encode(errors="surrogatepass")
        found.append([token, min(of, 0), None if same else exact])
    return found


def reason_of(response: Response) -> str:
    """Why the request was refused, by the codes in the response; its message, which may quote the request, is left out."""
    try:
        error = strict_json(response.content.decode())["error"]
        words = [error.get(name) for name in ("type", "code", "param")]
    except MALFORMED:
        return ""
    return "".join(f", {word}" for word in words if isinstance(word, str) and re.fullmatch(r"[\w.\[\]-]{1,60}", word))


def retry_after(response: Response) -> float | None:
    """The seconds that the server asks to wait: a number, or until a date."""
    stated = response.headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(?:\.\d{1,9})?", stated):
        return float(stated)
    try:
        until = parsedate_to_datetime(stated)
    except (ValueError, IndexError):
        return None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (until - datetime.now(UTC)).total_seconds())


def pause(attempt: int) -> float:
    """Seconds before a request is sent again: doubled each time, and of chance, so that not all come back at once."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0**attempt) * random.uniform(0.5, 1.0)  # noqa: S311
