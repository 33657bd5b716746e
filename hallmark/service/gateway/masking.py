"""Masks live requests in processes of their own, so that the event loop never waits for a rule or an NER model.

Each process answers one request at a time; what they can't take at once waits, in order. A process that
dies is replaced, and its request asked once more. What the stand-ins stand for is in memory only, with the request.
Messages are lines of JSON over a socket, the standard input of the process: it ends when the gateway does.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallmark.base.errors import HallmarkError
from hallmark.base.refusal import Refusal
from hallmark.mask.params import Mask
from hallmark.mask.restoring import Masked
from hallmark.task.params import Task

if TYPE_CHECKING:
    from hallmark.mask.live import LiveMasker

SECONDS = 10.0  # that a request may take a process; where most of a long text is private, time grows with its square
LOADING = 300.0  # that a process may take to load its models
ABANDONED = 2.0  # seconds that a process may go on with a request whose caller has gone
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")  # parallel by process, not by thread
log = logging.getLogger("masking")


class MaskPool:
    """Masks for a gateway, as many requests at once as there are `processes`, until it is closed.

    `start` loads the models, and raises the `HallmarkError` of what can't be loaded; else the first request does.
    A request may take a process for `seconds`. How many wait is bounded by the requests under way.
    """

    def __init__(
        self, task: Task, mask: Mask, key: bytes | None, *, processes: int = 1, seconds: float = SECONDS
    ) -> None:
        self.seconds = seconds
        plan = _line([task.model_dump(by_alias=True), mask.model_dump(), key and key.hex(), 2 * seconds])
        self._free, self._turns = [_Process(plan) for _ in range(processes)], asyncio.Semaphore(processes)
        self._works = set[asyncio.Task[tuple[Masked, list[str]]]]()

    async def start(self) -> None:
        """Start all processes and load their models."""
        for problem in await asyncio.gather(*(process.start() for process in self._free), return_exceptions=True):
            if isinstance(problem, OSError):
                raise HallmarkError(
                    f"a process that masks requests ended while it loaded its models, or did not load them in {LOADING:g} s",
                    param="serve.maskers",
                    remedy="each process needs memory for the NER model: set fewer",
                )
            if problem is not None:
                raise problem

    async def close(self) -> None:
        """End all processes, whatever they are doing."""
        for work in self._works:
            work.cancel()
        await asyncio.gather(*self._works, return_exceptions=True)
        await asyncio.gather(*(process.end() for process in self._free))

    async def mask(
        self, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None, also: Sequence[str] = ()
    ) -> tuple[Masked, list[str]]:
        """The request masked, and the texts in `also` with it. A `Refusal` if that can't be done."""
        line = _line([messages, tools, list(also)])
        await self._turns.acquire()
        work = asyncio.create_task(self._ask(line))
        self._works.add(work)
        work.add_done_callback(self._works.discard)
        work.add_done_callback(lambda _: self._turns.release())
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            # Its process is free when it is done with the text, or is killed if that takes long.
            asyncio.get_running_loop().call_later(ABANDONED, work.cancel)
            raise

    async def _ask(self, line: bytes) -> tuple[Masked, list[str]]:
        process = self._free.pop()
        try:
            for _ in range(2):  # it may be the request that ends them
                try:
                    await process.start()
                    return _said(await process.ask(line, self.seconds))
                except TimeoutError:
                    problem = f"to mask the request takes longer than {self.seconds:g} s: send less text at once"
                    raise Refusal(413, "request_too_large", problem, "messages") from None
                except OSError:  # also the system's: no more files, processes or memory for now
                    log.warning("a masking process died; another one is started")
        finally:
            self._free.append(process)
        problem = "the request could not be masked, so it was not passed on; try again"
        raise Refusal(503, "masking_unavailable", problem, headers={"retry-after": "1"})


@contextmanager
def or_nowhere() -> Iterator[None]:
    """If masking fails, nothing goes on: a text that is not masked must not reach a model."""
    try:
        yield
    except (Refusal, TimeoutError):
        raise
    except Exception as error:
        message = "this request could not be masked, so it went nowhere; try again"
        raise Refusal(503, "masking_failed", message, headers={"retry-after": "1"}) from error


class _Process:
    """A masking process, and the gateway's end of the socket to it."""

    def __init__(self, plan: bytes) -> None:
        self._plan = plan
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    async def start(self) -> None:
        """Start it and let it load its models, unless it runs. The HallmarkError of what can't be loaded."""
        if self._socket is not None and self._process is not None and self._process.poll() is None:
            return
        await self.end()
        self._socket, theirs = socket.socketpair()
        self._socket.setblocking(False)
        with theirs:  # closed here, so that reading ends when the process does
            self._process = subprocess.Popen(
                [sys.executable, "-m", "hallmark.service.gateway.masking"],
                env=os.environ | dict.fromkeys(ONE_THREAD, "1"),
                stdin=theirs.fileno(),
                stdout=2,  # what it prints is no answer, and is seen
                process_group=0,  # Ctrl-C goes to the gateway, which finishes what is under way
            )
        try:
            problem = await self.ask(self._plan, LOADING)
        except TimeoutError:
            raise ConnectionError from None
        if problem:
            await self.end()
            raise HallmarkError(**problem)

    async def ask(self, line: bytes, seconds: float) -> Any:
        """Its answer. An OSError if it ends first, a TimeoutError if it takes longer; any error ends it."""
        assert self._socket is not None
        loop, said = asyncio.get_running_loop(), bytearray()
        try:
            async with asyncio.timeout(seconds):
                await loop.sock_sendall(self._socket, line)
                while not said.endswith(b"\n"):
                    said += (piece := await loop.sock_recv(self._socket, 2**16))
                    if not piece:
                        raise ConnectionError
        except BaseException:
            await self.end()
            raise
        return json.loads(said)

    async def end(self) -> None:
        """End it, and wait until it has ended: that may take as long as 0.1 s."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            self._process.kill()
            while self._process.poll() is None:
                await asyncio.sleep(0.01)


def _line(message: Any) -> bytes:
    return json.dumps(message).encode() + b"\n"


def _said(answered: dict[str, Any]) -> tuple[Masked, list[str]]:
    """What a process answered; a Refusal if it refuses or failed, which is logged."""
    if "masked" in answered:
        return Masked(**answered["masked"]), answered["also"]
    if failed := answered.pop("failed", None):
        log.error("masking failed: %s", failed)
    raise Refusal(**answered)


# --- in the process ----------------------------------------------------------------------------------------------


def main() -> None:
    """Load the models, say so (or the parts of a HallmarkError), and answer until the gateway hangs up or dies."""
    from hallmark.mask.live import LiveMasker

    with suppress(ConnectionError), socket.socket(fileno=0) as gateway:
        lines = gateway.makefile("rb")
        task, mask, key, seconds = json.loads(lines.readline())
        try:
            masker = LiveMasker(Task.model_validate(task), Mask.model_validate(mask), key and bytes.fromhex(key))
            masker.load()
        except HallmarkError as error:
            parts = {name: getattr(error, name) for name in ("problem", "row", "field", "remedy")}
            gateway.sendall(_line(parts | {"file": error.file and str(error.file)}))
            return
        gc.collect()
        gc.freeze()  # what is loaded now stays: no collection looks at it again
        gateway.sendall(_line(None))
        for line in lines:
            signal.setitimer(signal.ITIMER_REAL, seconds)  # which ends this process, if the gateway died meanwhile
            gateway.sendall(_line(answer(masker, line)))
            signal.setitimer(signal.ITIMER_REAL, 0)


def answer(masker: LiveMasker, line: bytes) -> dict[str, Any]:
    """A request masked, or the parts of a Refusal. `failed`: an error's type and place, as its message may quote the text."""
    try:
        masked, also = masker(*json.loads(line))
    except Refusal as refusal:
        return {name: getattr(refusal, name) for name in ("status", "code", "message", "param")}
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        failed = f"{type(error).__name__} at {Path(place.filename).name}, line {place.lineno}"
        problem = "the request could not be masked, so it was not passed on"
        return {"status": 500, "code": "masking_failed", "message": problem, "failed": failed}
    parts = {name: getattr(masked, name) for name in ("messages", "tools", "values", "day_first")}
    return {"masked": parts, "also": also}


if __name__ == "__main__":
    main()
