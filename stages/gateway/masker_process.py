"""A process that masks requests, and the end of it that the gateway holds.

They talk over a pipe. When the gateway dies, the pipe ends, and so does the process.
"""

from __future__ import annotations

import os
import traceback
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.errors import HallmarkError
from stages.gateway.exchange import Masked
from stages.privacy.params import Mask
from stages.serving.chat_request import Refusal
from stages.tasks.params import Task

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.context import SpawnProcess

    from stages.gateway.live_record import LiveMasker

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")  # parallel by process, not by thread


class DeadError(Exception):
    """The process has ended; `asked`: while it had the request."""

    def __init__(self, *, asked: bool) -> None:
        super().__init__()
        self.asked = asked


@dataclass(frozen=True, slots=True)
class Question:
    """A request as it came, and the texts that are masked with it."""

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None
    also: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """One of three: the masked request, the parts of a `Refusal`, or where the masker failed."""

    masked: tuple[Masked, list[str]] | None = None
    refused: dict[str, Any] | None = None
    failed: str | None = None


class MaskerProcess:
    """Starts the process and asks it. Its methods wait, so each runs in a thread; `kill` may come from any other."""

    def __init__(self, task: Task, mask: Mask, key: bytes | None) -> None:
        self._plan = task, mask, key
        self._process: SpawnProcess | None = None
        self._pipe: Connection | None = None
        self._stopped = False

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self._process.is_alive() else None

    @property
    def exit_code(self) -> int | None:
        return self._process.exitcode if self._process is not None else None

    def start(self) -> None:
        """Start the process, or another one if it has died, and wait until it has loaded its models."""
        self._end()
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, *self._plan), name="masker", daemon=True)
        self._process.start()
        theirs.close()  # so that reading ends when the process does
        if self._stopped:
            self.kill()
        problem = self._receive()
        if isinstance(problem, HallmarkError):
            raise problem

    def ask(self, question: Question) -> Answer:
        """The answer to one request; DeadError if the process has died."""
        if self._pipe is None or self.pid is None:
            raise DeadError(asked=False)
        try:
            self._pipe.send(question)
        except OSError:
            self._join()
            raise DeadError(asked=True) from None
        answer: Answer = self._receive()
        return answer

    def kill(self) -> None:
        """End the process at once, whatever it is doing."""
        if self._process is not None:
            self._process.kill()

    def stop(self) -> None:
        """End the process for good."""
        self._stopped = True
        self.kill()
        self._join()

    def _receive(self) -> Any:
        assert self._pipe is not None
        try:
            return self._pipe.recv()
        except (EOFError, OSError):
            self._join()
            raise DeadError(asked=True) from None

    def _join(self) -> None:
        if self._process is not None:
            self._process.join(5)

    def _end(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
        self.kill()
        self._join()


def serve(pipe: Connection, task: Task, mask: Mask, key: bytes | None) -> None:
    """The process: load the models once, then answer until the pipe ends."""
    import gc
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the gateway, which finishes what is under way
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    from stages.gateway.live_record import LiveMasker

    try:
        try:
            masker = LiveMasker(task, mask, key)
            masker.load()
        except HallmarkError as error:
            pipe.send(error)
            return
        gc.collect()
        gc.freeze()  # what is loaded now stays: no collection looks at it again
        pipe.send(None)
        while True:
            pipe.send(_answered(masker, pipe.recv()))
    except (EOFError, OSError):
        return  # the gateway has gone


def _answered(masker: LiveMasker, question: Question) -> Answer:
    try:
        return Answer(masked=masker(question.messages, question.tools, question.also))
    except Refusal as refusal:
        return Answer(refused={name: getattr(refusal, name) for name in ("status", "code", "message", "param")})
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return Answer(failed=f"{type(error).__name__} at {Path(place.filename).name}, line {place.lineno}")
