"""Sending the requests of a comparator to its API: what fails for the moment is sent again, and no answer is lost.

Each answer is on the disk before the next step, whatever ends the run. Once a request fails in a way that others would too,
no new one is sent, but those on the way are waited for: they will be paid for. So it is with an error that nobody foresaw,
a full disk and Ctrl-C; only a second Ctrl-C ends the run at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

from hallmark.answer.bought import Bought, is_model
from hallmark.answer.comparators.endpoint import EndpointSettings, Request
from hallmark.answer.endpoint import FRAME, MALFORMED, PER_TOKEN, UnreadableError, response_text
from hallmark.base.errors import HallmarkError
from hallmark.base.progress import Progress
from hallmark.base.reading import strict_json
from hallmark.commands.appending import append_line
from hallmark.commands.completions import WrongAnswerError, bought_of, cost_of, reason_of, retry_after

if TYPE_CHECKING:
    from httpx import AsyncClient

log = logging.getLogger("ask")

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds before a request is sent again: doubled each time, up to the longest
PER_LOG = 1024  # bytes of a token's log-probability in a response
LONGEST_WAIT = 120.0  # seconds that a server may ask to wait (Retry-After); with more, the run ends
ROUNDING = 1 + 1e-9  # of sums
FAILURES = 5  # requests in a row that fail for good: then the others would too
AGAIN = (408, 409, 429)  # and all from 500 on


@dataclass
class Outcome:
    """What came of the requests: `problems` counts those without an answer, by what was wrong.

    `cost`: by the usage that was stated; `guessed`: for attempts that may have been charged and stated none. `error`: the
    first that nobody foresaw, to be raised once all that was paid for is kept.
    """

    answers: int = 0
    cost: float = 0.0
    guessed: float = 0.0
    problems: Counter[str] = field(default_factory=Counter)
    stopped: str | None = None  # why no more were sent
    error: BaseException | None = None


@dataclass(frozen=True)
class Failure:
    """An attempt without an answer. `final`: another one, or another request, would fail too; `wait`: seconds before it."""

    problem: str
    final: bool = False
    wait: float | None = None


def buy(name: str, settings: EndpointSettings, requests: Sequence[Request], file: BinaryIO) -> Outcome:
    """Send the requests; append the line of each answer to `file`, which has no buffer, and flush it to the disk."""
    try:
        return asyncio.run(Buyer(name, settings, file).all_of(requests))
    except asyncio.CancelledError:  # by a second Ctrl-C
        raise KeyboardInterrupt from None


class Budget:
    """The limit `max_cost` of one run. A guess, here, is the most that a request costs by its size (`Request.most`).

    A request on the way counts by its guess; an attempt that may have been charged, by the usage that the API states, or else
    by its guess. So only an API that charges more than the guess can pass the limit, by what is on the way then.
    """

    def __init__(self, limit: float | None) -> None:
        self.stated, self.guessed = 0.0, 0.0  # of what was charged: by usage, and by guess
        self._limit, self._on_the_way = limit, 0.0

    def hold(self, guess: float) -> bool:
        """Count a request as on the way; False if the limit doesn't allow it."""
        spent = self.stated + self.guessed + self._on_the_way
        if self._limit is not None and spent + guess > self._limit * ROUNDING:
            return False
        self._on_the_way += guess
        return True

    def settle(self, guess: float, cost: float | None, charged: bool) -> None:
        """Take a request from those on the way. `cost`: by the stated usage; `charged`: whether it may have cost something."""
        self._on_the_way -= guess
        if charged and cost is None:
            self.guessed += guess
        elif charged and cost is not None:
            self.stated += cost


class Buyer:
    def __init__(self, name: str, settings: EndpointSettings, file: BinaryIO) -> None:
        self._name, self._settings, self._file = name, settings, file
        self._outcome, self._in_a_row, self._unwritten = Outcome(), 0, list[bytes]()
        self._headers = {"Accept-Encoding": "identity"} | authorization(settings)
        self._largest = FRAME + (PER_TOKEN + PER_LOG) * settings.longest

    async def all_of(self, requests: Sequence[Request]) -> Outcome:
        """Send all of them, as many at once as the settings allow."""
        slots = asyncio.Semaphore(self._settings.concurrency)
        self._budget, self._end = Budget(self._settings.max_cost), asyncio.Event()
        async with self._client() as client:
            bar = Progress("ask", len(requests), f"requests answered for {self._name}")
            with self._waiting_at_ctrl_c(), bar as progress:

                async def one(request: Request) -> None:
                    async with slots:
                        if self._outcome.stopped is None:
                            try:
                                await self._one(client, request)
                            except Exception as error:  # of one request: those on the way must not be lost with it
                                self._fail(error)
                            progress.add()

                await asyncio.gather(*map(one, requests))
        try:
            self._write()  # what could not be: the disk may have room again
        except OSError as error:
            self._fail(error)
        self._outcome.cost, self._outcome.guessed = self._budget.stated, self._budget.guessed
        return self._outcome

    def _client(self) -> AsyncClient:
        import httpx

        settings = self._settings
        limits = httpx.Limits(max_connections=settings.concurrency, max_keepalive_connections=settings.concurrency)
        try:
            return httpx.AsyncClient(
                base_url=settings.url, timeout=settings.timeout, headers=self._headers, limits=limits
            )
        except (ImportError, ValueError, httpx.InvalidURL):  # its message may quote the proxy's password
            raise HallmarkError(
                "the proxy that the environment names can't be used: it is neither http nor https, or no address",
                param=f"eval.comparators.{self._name}.url",
                remedy="unset or correct ALL_PROXY, HTTPS_PROXY and HTTP_PROXY, or name the API's host in NO_PROXY "
                "(SOCKS needs the package socksio)",
            ) from None

    @contextmanager
    def _waiting_at_ctrl_c(self) -> Iterator[None]:
        """Let the first Ctrl-C during the block wait for the requests on the way, and the second cancel them."""
        loop, whole, before = asyncio.get_running_loop(), asyncio.current_task(), False

        def interrupted() -> None:
            nonlocal before
            if before and whole is not None:
                whole.cancel()
                return
            before = True
            log.warning("interrupted: waiting for requests under way, which are paid for; Ctrl-C again stops")
            self._outcome.error = self._outcome.error or KeyboardInterrupt()
            self._stop("interrupted")

        if threading.current_thread() is not threading.main_thread():  # no signal comes here
            yield
            return
        loop.add_signal_handler(signal.SIGINT, interrupted)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGINT)

    async def _one(self, client: AsyncClient, request: Request) -> None:
        answer = await self._asked(client, request)
        if answer is None:
            return
        self._unwritten.append(answer.line())
        self._write()
        self._in_a_row = 0
        if not is_model(answer.model, self._settings.model, self._settings.accept_model):
            self._stop("another model answered")

    def _write(self) -> None:
        """Append what is not on the disk yet. A line that fails to get there is kept for another try."""
        while self._unwritten:
            try:
                append_line(self._file.fileno(), self._unwritten[0], sync=True)
            except OSError as error:
                error.filename = self._file.name
                raise
            del self._unwritten[0]
            self._outcome.answers += 1

    async def _asked(self, client: AsyncClient, request: Request) -> Bought | None:
        """The answer to a request; None if there is none, which is then counted."""
        guess = request.most(self._settings)
        failure: Failure | None = None
        for attempt in range(self._settings.retries + 1):
            if self._outcome.stopped is not None:
                break
            if not self._budget.hold(guess):
                self._stop("the next request could exceed max_cost, by what this run has cost so far")
                break
            came = await self._attempt(client, request, guess)
            if isinstance(came, Bought):
                return came
            failure = came
            if failure.final:
                self._stop(failure.problem)
            if self._end.is_set() or attempt == self._settings.retries:
                break
            with suppress(TimeoutError):  # the pause; if the run ends, so does it
                await asyncio.wait_for(self._end.wait(), pause(attempt) if failure.wait is None else failure.wait)
        if failure is None:  # nothing was sent
            return None
        self._outcome.problems[failure.problem] += 1
        self._in_a_row += 1
        if self._in_a_row >= FAILURES:
            self._stop(f"{FAILURES} requests in a row failed")
        return None

    async def _attempt(self, client: AsyncClient, request: Request, guess: float) -> Bought | Failure:
        """What came of sending a request once. What it cost, or may have cost, is counted."""
        import httpx

        start, cost, charged = time.perf_counter(), None, True
        came: Bought | Failure = Failure("no answer")
        try:
            async with asyncio.timeout(self._settings.timeout):  # of the whole: httpx counts each read separately
                text = await response_text(client, request.body, self._largest)
            seconds, response = time.perf_counter() - start, strict_json(text)
            cost = cost_of(response, self._settings)
            came = bought_of(response, request.key, seconds, self._settings)
        except httpx.HTTPStatusError as error:
            charged, wait = False, retry_after(error.response.headers.get("retry-after", ""))
            came = refused(error.response.status_code, reason_of(error.response), wait)
        except WrongAnswerError as error:
            charged = error.status is None or cost is not None
            came = Failure(str(error)) if error.status is None else refused(error.status, f", {error}", None)
        except UnreadableError as error:
            came = Failure(str(error), final=True)
        except (httpx.HTTPError, httpx.StreamError, TimeoutError) as error:
            charged = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout)  # not sent
            came = Failure(type(error).__name__)
        except MALFORMED:
            came = Failure("a response that is not the JSON of a chat completion")
        finally:
            self._budget.settle(guess, cost, charged)
        return came

    def _fail(self, error: Exception) -> None:
        """Keep the first error that nobody foresaw, to be raised at the end."""
        self._outcome.error = self._outcome.error or error
        self._stop(f"an unforeseen {type(error).__name__}")

    def _stop(self, why: str) -> None:
        """Send no more; what is on the way is waited for."""
        self._outcome.stopped = self._outcome.stopped or why
        self._end.set()


def authorization(settings: EndpointSettings) -> dict[str, str]:
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


def refused(status: int, words: str, wait: float | None) -> Failure:
    problem = f"HTTP {status}{words}"
    if status < 500 and status not in AGAIN:
        return Failure(problem, final=True)
    if wait is not None and wait > LONGEST_WAIT:
        return Failure(f"{problem}, and asks to wait {wait:.0f} s", final=True)
    return Failure(problem, wait=wait)


def pause(attempt: int) -> float:
    """Seconds before a request is sent again: doubled each time, and of chance, so that not all come back at once."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0**attempt) * random.uniform(0.5, 1.0)  # noqa: S311
