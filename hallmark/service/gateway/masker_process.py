"""A process that masks requests, and the end of it that the gateway holds.

They talk over a pair of sockets, which the event loop reads itself: a thread between them would wait for its turn to run.
When the gateway dies, its socket closes, and the process ends.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import traceback
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallmark.base.errors import HallmarkError
from hallmark.base.refusal import Refusal
from hallmark.mask.params import Mask
from hallmark.mask.restoring import Masked
from hallmark.task.params import Task

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

    from hallmark.data.live_record import LiveMasker

log = logging.getLogger("masking")
LENGTH = 8  # bytes of a message's length
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")  # parallel by process, not by thread


class DeadError(Exception):
    """The process has ended; `asked`: while it had the request."""

    def __init__(self, *, asked: bool) -> None:
        super().__init__()
        self.asked = asked


class MaskerProcess:
    """Starts the process and asks it, one request at a time, from an event loop."""

    def __init__(self, task: Task, mask: Mask, key: bytes | None) -> None:
        self._plan = task, mask, key
        self._process: SpawnProcess | None = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._stopped = False

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self._process.is_alive() else None

    @property
    def exit_code(self) -> int | None:
        return self._process.exitcode if self._process is not None else None

    async def start(self) -> None:
        """Start the process, or another one if it has died, and wait until it has loaded its models."""
        await self._end()
        ours, theirs = socket.socketpair()
        process = get_context("spawn").Process(target=serve, args=(theirs, *self._plan), name="masker", daemon=True)
        spawned = asyncio.create_task(asyncio.to_thread(process.start))
        try:
            await asyncio.shield(spawned)
            self._process = process  # and not before: one that never ran can be neither killed nor joined
            self._reader, self._writer = await asyncio.open_connection(sock=ours)
        except BaseException:
            ours.close()
            await asyncio.wait([spawned])  # until then, `theirs` must stay what the other process is given
            if process.pid is not None:
                process.kill()
            raise
        finally:
            theirs.close()  # so that reading ends when the process does
        if self._stopped:
            self.kill()
        if problem := await self._receive():
            raise HallmarkError(**problem)

    async def ask(self, *question: Any) -> tuple[Masked, list[str]]:
        """What `LiveMasker` makes of a request; a Refusal if it refuses or fails, DeadError if the process has died."""
        if self._reader is None or self._writer is None or self._reader.at_eof():
            raise DeadError(asked=False)
        self._writer.write(_message(question))  # all of it goes before the answer comes, so there is no need to drain
        said = await self._receive()
        if "refused" in said:
            raise Refusal(**said["refused"])
        if "failed" in said:
            log.error("masking failed: %s", said["failed"])
            raise Refusal(500, "masking_failed", "the request could not be masked, so it was not passed on")
        messages, tools, values, also = said["masked"]
        return Masked(messages=messages, tools=tools, values=values, day_first=self._plan[1].day_first), also

    def kill(self) -> None:
        """End the process at once, whatever it is doing."""
        if self._process is not None:
            self._process.kill()

    async def stop(self) -> None:
        """End the process for good."""
        self._stopped = True
        await self._end()

    async def _receive(self) -> Any:
        assert self._reader is not None
        try:
            size = int.from_bytes(await self._reader.readexactly(LENGTH))
            return json.loads(await self._reader.readexactly(size))
        except (EOFError, OSError):  # asyncio's IncompleteReadError is an EOFError
            await self._join()
            raise DeadError(asked=True) from None

    async def _join(self) -> None:
        if self._process is not None:
            await asyncio.to_thread(self._process.join, 5)

    async def _end(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self.kill()
        await self._join()


def _message(value: Any) -> bytes:
    """A value between the two: the length of its JSON, and that."""
    content = json.dumps(value).encode()
    return len(content).to_bytes(LENGTH) + content


def serve(ours: socket.socket, task: Task, mask: Mask, key: bytes | None) -> None:
    """The process: load the models once, then answer until the gateway hangs up."""
    import gc
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the gateway, which finishes what is under way
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    from hallmark.data.live_record import LiveMasker

    requests = ours.makefile("rb")
    with suppress(OSError):  # the gateway has gone
        try:
            masker = LiveMasker(task, mask, key)
            masker.load()
        except HallmarkError as error:
            file = None if error.file is None else str(error.file)
            parts = {name: getattr(error, name) for name in ("problem", "row", "field", "remedy")}
            ours.sendall(_message(parts | {"file": file}))
            return
        gc.collect()
        gc.freeze()  # what is loaded now stays: no collection looks at it again
        ours.sendall(_message(None))
        while len(head := requests.read(LENGTH)) == LENGTH:
            size = int.from_bytes(head)
            if len(content := requests.read(size)) < size:
                return
            ours.sendall(_message(_answered(masker, *json.loads(content))))


def _answered(masker: LiveMasker, *asked: Any) -> dict[str, Any]:
    """What became of a request: masked, refused, or an error's type and place, as its message may quote the text."""
    try:
        masked, also = masker(*asked)
        return {"masked": [masked.messages, masked.tools, dict(masked.values), also]}
    except Refusal as refusal:
        return {"refused": {name: getattr(refusal, name) for name in ("status", "code", "message", "param")}}
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return {"failed": f"{type(error).__name__} at {Path(place.filename).name}, line {place.lineno}"}
