"""Masks live requests in processes of their own, so that the event loop never waits for a rule or an NER model.

Each process answers one request at a time; what they can't take at once waits, in order. A process that
dies is replaced, and its request asked once more. What the stand-ins stand for is in memory only, with the request. The
processes are anyio's, which end with the event loop or with the gateway, whichever dies first.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pickle
import signal
import traceback
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anyio import BrokenWorkerProcess, CapacityLimiter, to_process

from hallmark.base.errors import HallmarkError
from hallmark.base.refusal import Refusal
from hallmark.mask.params import Mask
from hallmark.mask.restoring import Masked
from hallmark.task.params import Task

if TYPE_CHECKING:
    from hallmark.data.live_record import LiveMasker

SECONDS = 10.0  # that a request may take a process; where most of a long text is private, time grows with its square
ABANDONED = 2.0  # seconds that a process may go on with a request whose caller has gone
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")  # parallel by process, not by thread
LOADING = 60.0  # seconds more, in which a process that is new loads its models
to_process.WORKER_MAX_IDLE_TIME = (
    10**9
)  # seconds: a process that ended for want of requests would load its models again
log = logging.getLogger("masking")


class MaskPool:
    """Masks for a gateway, as many requests at once as there are `processes`.

    `start` loads the models, and raises the `HallmarkError` of what can't be loaded; else the first request does.
    A request may take a process for `seconds`. How many wait is bounded by the requests under way.
    """

    def __init__(
        self, task: Task, mask: Mask, key: bytes | None, *, processes: int = 1, seconds: float = SECONDS
    ) -> None:
        self.seconds = seconds
        self._plan, self._processes = pickle.dumps((task, mask, key)), processes
        self._turns, self._limiter = asyncio.Semaphore(processes), CapacityLimiter(processes)

    async def start(self) -> None:
        """Start all processes and load their models."""
        try:
            await asyncio.gather(*(self._run(load, self._plan) for _ in range(self._processes)))
        except BrokenWorkerProcess:
            raise HallmarkError(
                "a process that masks requests ended while it loaded its models",
                param="serve.maskers",
                remedy="each process needs memory for the NER model: set fewer",
            ) from None

    async def mask(
        self, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None, also: Sequence[str] = ()
    ) -> tuple[Masked, list[str]]:
        """The request masked, and the texts in `also` with it. A `Refusal` if that can't be done."""
        await self._turns.acquire()
        work = asyncio.create_task(self._ask(messages, tools, list(also)))
        work.add_done_callback(lambda _: self._turns.release())
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            # Its process is free when it is done with the text, or is killed if that takes long.
            asyncio.get_running_loop().call_later(ABANDONED, work.cancel)
            raise

    async def _ask(self, *question: Any) -> tuple[Masked, list[str]]:
        for _ in range(2):  # it may be the request that ends them
            try:
                # The process ends itself in time, unless code in C keeps its signal from it.
                async with asyncio.timeout(self.seconds + LOADING):
                    return _said(await self._run(answer, self._plan, self.seconds, *question))
            except (SystemExit, TimeoutError):
                problem = f"to mask the request takes longer than {self.seconds:g} s: send less text at once"
                raise Refusal(413, "request_too_large", problem, "messages") from None
            except (BrokenWorkerProcess, OSError):  # OSError: the system has no more files, processes or memory for now
                log.warning("a masking process died; another one is started")
        problem = "the request could not be masked, so it was not passed on; try again"
        raise Refusal(503, "masking_unavailable", problem, headers={"retry-after": "1"})

    async def _run(self, work: Any, *given: Any) -> Any:
        return await to_process.run_sync(work, *given, cancellable=True, limiter=self._limiter)


def _said(answered: tuple[Masked, list[str]] | dict[str, Any]) -> tuple[Masked, list[str]]:
    """What a process answered; a Refusal if it refuses or failed, which is logged."""
    if not isinstance(answered, dict):
        return answered
    if failed := answered.pop("failed", None):
        log.error("masking failed: %s", failed)
    raise Refusal(**answered)


# --- in the process ----------------------------------------------------------------------------------------------


def load(plan: bytes) -> None:
    """Load the models of this process, unless that was done."""
    _masker(plan)


@cache
def _masker(plan: bytes) -> LiveMasker:
    import gc

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the gateway, which finishes what is under way
    signal.signal(signal.SIGALRM, _too_long)
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    from hallmark.data.live_record import LiveMasker

    masker = LiveMasker(*pickle.loads(plan))  # noqa: S301 (of the gateway)
    masker.load()
    gc.collect()
    gc.freeze()  # what is loaded now stays: no collection looks at it again
    return masker


def _too_long(*_: object) -> None:
    """End the process, with this for its last answer: what was interrupted is not used again."""
    raise SystemExit


def answer(plan: bytes, seconds: float, *asked: Any) -> tuple[Masked, list[str]] | dict[str, Any]:
    """A request masked, or the parts of a Refusal. `failed`: an error's type and place, as its message may quote the text."""
    masker = _masker(plan)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return masker(*asked)
    except Refusal as refusal:
        return {name: getattr(refusal, name) for name in ("status", "code", "message", "param")}
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        failed = f"{type(error).__name__} at {Path(place.filename).name}, line {place.lineno}"
        problem = "the request could not be masked, so it was not passed on"
        return {"status": 500, "code": "masking_failed", "message": problem, "failed": failed}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
