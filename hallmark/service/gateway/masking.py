"""Masks live requests in processes of their own, so that the event loop never waits for a rule or an NER model.

Each process answers one request at a time. What it can't take at once waits, in order and up to a bound. A process that
dies is replaced, and its request asked once more. What the stand-ins stand for is in memory only, with the request.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import Any

from hallmark.base.errors import HallmarkError
from hallmark.base.refusal import Refusal
from hallmark.mask.params import Mask
from hallmark.mask.restoring import Masked
from hallmark.service.gateway.masker_process import DeadError, MaskerProcess
from hallmark.task.params import Task

WAITING = 256  # requests that wait for a process; one more is refused
SECONDS = 10.0  # that a request may take a process; where most of a long text is private, time grows with its square
ABANDONED = 2.0  # seconds that a process may go on with a request whose caller has gone
LONGEST_PAUSE = 30.0  # seconds between attempts to start a process
log = logging.getLogger("masking")


class MaskPool:
    """Masks for a gateway, as many requests at once as there are `processes`.

    `start` loads the models, and raises the `HallmarkError` of what can't be loaded; else the first request does.
    A request may wait behind `waiting` others and take a process for `seconds`.
    """

    def __init__(
        self,
        task: Task,
        mask: Mask,
        key: bytes | None,
        *,
        processes: int = 1,
        waiting: int = WAITING,
        seconds: float = SECONDS,
    ) -> None:
        self.most_waiting, self.seconds = waiting, seconds
        self.replaced = 0  # processes that died
        self._processes = [MaskerProcess(task, mask, key) for _ in range(processes)]
        self._free: list[MaskerProcess] = []
        self._queue: deque[asyncio.Future[MaskerProcess]] = deque()
        self._down: set[MaskerProcess] = set()  # those that could not be started again, so far
        self._replacing: set[asyncio.Task[None]] = set()
        self._starting: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def waiting(self) -> int:
        return len(self._queue)

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes if process.pid is not None]

    async def start(self) -> None:
        """Start all processes and load their models; does nothing if that was done."""
        if self._starting is None:
            self._starting = asyncio.create_task(self._start())
        await asyncio.shield(self._starting)

    async def mask(
        self, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None, also: Sequence[str] = ()
    ) -> tuple[Masked, list[str]]:
        """The request masked, and the texts in `also` with it. A `Refusal` if that can't be done."""
        await self.start()
        process = await self._take()
        died = 0
        while True:
            try:
                return await self._ask(process, messages, tools, list(also))
            except DeadError as dead:
                died += dead.asked
            if died > 1:  # it may be the request that ends them
                raise self._unavailable()
            process = await self._take(first=True)

    async def close(self) -> None:
        """End all processes; what waits is refused."""
        self._closed = True
        self._refuse_waiting()
        for task in self._replacing:
            task.cancel()
        await self._stop()

    # --- requests

    async def _take(self, *, first: bool = False) -> MaskerProcess:
        """A process that is free, once there is one; `first`: before all that wait."""
        if self._closed or len(self._down) == len(self._processes):
            raise self._unavailable()
        if self._free:
            return self._free.pop()
        if len(self._queue) >= self.most_waiting and not first:
            problem = f"{self.most_waiting} requests wait to be masked, which is the limit"
            raise Refusal(429, "too_many_requests", problem, headers={"retry-after": "1"})
        turn: asyncio.Future[MaskerProcess] = asyncio.get_running_loop().create_future()
        (self._queue.appendleft if first else self._queue.append)(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._give(turn.result())  # it came in the same moment
            elif turn in self._queue:
                self._queue.remove(turn)
            raise

    def _give(self, process: MaskerProcess) -> None:
        """Hand a free process to the request that has waited longest."""
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(process)
                return
        self._free.append(process)

    async def _ask(self, process: MaskerProcess, *question: Any) -> tuple[Masked, list[str]]:
        asked = asyncio.create_task(process.ask(*question))
        asked.add_done_callback(lambda task: self._finished(process, task))
        try:
            await asyncio.wait([asked], timeout=self.seconds)
        except asyncio.CancelledError:
            # Its process is free when it is done with the text, or is replaced if that takes long.
            asyncio.get_running_loop().call_later(ABANDONED, lambda: None if asked.done() else process.kill())
            raise
        if asked.done():
            return asked.result()
        process.kill()
        problem = f"to mask the request takes longer than {self.seconds:g} s: send less text at once"
        raise Refusal(413, "request_too_large", problem, "messages")

    def _finished(self, process: MaskerProcess, asked: asyncio.Task[Any]) -> None:
        if asked.cancelled():  # the loop ends; half of an answer may be left in the socket
            process.kill()
            return
        ended = asked.exception()
        if self._closed:
            return
        if ended is None or isinstance(ended, Refusal):
            self._give(process)
            return
        self.replaced += 1
        log.warning("a masking process died (exit code %s); another one is started", process.exit_code)
        task = asyncio.create_task(self._replace(process))
        self._replacing.add(task)
        task.add_done_callback(self._replacing.discard)

    # --- processes

    async def _start(self) -> None:
        results = await asyncio.gather(*(process.start() for process in self._processes), return_exceptions=True)
        if problem := next((result for result in results if isinstance(result, BaseException)), None):
            await self._stop()
            if self._closed:
                raise self._unavailable()
            if isinstance(problem, DeadError):
                raise HallmarkError(
                    "a process that masks requests ended while it loaded its models",
                    param="serve.maskers",
                    remedy="look at its message above; each process needs memory for the NER model",
                ) from None
            raise problem
        for process in self._processes:
            self._give(process)

    async def _replace(self, process: MaskerProcess) -> None:
        pause = 0.25
        while not self._closed:
            try:
                await process.start()
            except Exception as error:  # also the system's: no more files, processes or memory for now
                log.error("a masking process can't be started (%s); next attempt in %g s", type(error).__name__, pause)
                self._down.add(process)
                if len(self._down) == len(self._processes):
                    self._refuse_waiting()
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                self._down.discard(process)
                self._give(process)
                return

    def _refuse_waiting(self) -> None:
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_exception(self._unavailable())

    async def _stop(self) -> None:
        await asyncio.gather(*(process.stop() for process in self._processes))

    def _unavailable(self) -> Refusal:
        problem = "the request could not be masked, so it was not passed on; try again"
        return Refusal(503, "masking_unavailable", problem, headers={"retry-after": "1"})
