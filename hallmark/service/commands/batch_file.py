"""The two files of `nox -s batch`: the requests, one a line, and their answers, one a line in the same order.

The answers are only ever appended to, whole lines at a time. So whatever ends a run, the next one reads how far it came, drops
what may be half of a last line, and goes on. Each answer holds the SHA-256 of its request's line, so that a run can't go on
with answers to something else.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from hallmark.base.errors import HallmarkError
from hallmark.base.markup import Markup
from hallmark.base.reading import check_regular, strict_json
from hallmark.base.refusal import Refusal
from hallmark.commands.appending import append_line
from hallmark.serve.chat_request import ChatRequest, Strict, read_as, read_request

LINE_BYTES = 2**24  # most of one request
MOST_NAME = 1_000  # characters of an id or a group
FORM = (
    'make it {"messages": [...]} or {"input": "...", "context": "..."}, each with "id", "group" and "tools" if you like'
)


@dataclass(frozen=True, slots=True)
class Line:
    """A request. `digest`: SHA-256 of its line, the line end left out."""

    row: int
    id: str | int
    group: str | None
    chat: ChatRequest
    digest: str


def requests_in(file: Path, system_prompt: str, markup: Markup = "none") -> Iterator[Line]:
    """The requests of a file; a HallmarkError about the first that is none."""
    check_regular(file, "name a file with one request a line")
    with file.open("rb") as opened:
        for row, raw in enumerate(iter(lambda: opened.readline(LINE_BYTES + 1), b""), 1):
            if len(raw) > LINE_BYTES:
                raise _wrong(file, row, None, f"longer than {LINE_BYTES >> 20} MiB")
            yield _request(file, row, raw.rstrip(b"\r\n"), system_prompt, markup)


class Entry(Strict):
    """What a line of the file may hold."""

    id: Annotated[str, Field(max_length=MOST_NAME)] | int | None = None
    group: Annotated[str, Field(min_length=1, max_length=MOST_NAME)] | None = None
    messages: list[Any] | None = None
    tools: list[Any] | None = None
    input: Annotated[str, Field(min_length=1)] | None = None
    context: str | None = None

    @model_validator(mode="after")
    def _one_question(self) -> Entry:
        if (self.messages is None) == (self.input is None) or (self.context is not None and self.input is None):
            raise ValueError("must have either messages, or input and maybe context")
        return self


def _request(file: Path, row: int, raw: bytes, system_prompt: str, markup: Markup) -> Line:
    try:
        entry = read_as(Entry, raw)
        messages = entry.messages
        if messages is None:
            user = "\n\n".join(part for part in (entry.context, entry.input) if part)  # as a record is made
            messages = [{"role": "system", "content": system_prompt}, {"role": "user", "content": user}]
        body = {"model": "batch", "messages": messages, "tools": entry.tools}
        chat = read_request(json.dumps(body).encode(), markup)
    except Refusal as refusal:
        raise _wrong(file, row, refusal.param, refusal.message) from None
    return Line(row, row if entry.id is None else entry.id, entry.group, chat, hashlib.sha256(raw).hexdigest())


def _wrong(file: Path, row: int, field: str | None, problem: str) -> HallmarkError:
    return HallmarkError(problem, file=file, row=row, field=field, remedy=FORM)


class Answers:
    """The file of answers while this process has it. `done`: how many requests it answers."""

    def __init__(self, path: Path, handle: int) -> None:
        self.path, self._handle = path, handle
        self.digests: list[str] = []
        self._read()

    @property
    def done(self) -> int:
        return len(self.digests)

    def check(self, line: Line) -> None:
        """A HallmarkError unless the answer that is there is to this request."""
        if self.digests[line.row - 1] != line.digest:
            raise HallmarkError(
                "the answer to another request than the one in that line now",
                file=self.path,
                row=line.row,
                remedy="name another file with --out, or remove this one to answer all again",
            )

    def append(self, answer: dict[str, Any]) -> None:
        append_line(self._handle, (json.dumps(answer, ensure_ascii=False) + "\n").encode("utf-8", "replace"))
        self.digests.append(answer["request"])

    def _read(self) -> None:
        """Read what is there, and drop what may be half of a last line."""
        size = os.fstat(self._handle).st_size
        with os.fdopen(os.dup(self._handle), "rb") as file:
            file.seek(0)
            whole = 0
            for row, raw in enumerate(file, 1):
                if not raw.endswith(b"\n"):
                    break
                try:
                    value = strict_json(raw.decode())
                    line, digest = value["line"], value["request"]
                except (ValueError, LookupError, TypeError):
                    line, digest = None, ""
                if line != row:
                    remedy = "name another file with --out"
                    raise HallmarkError("not a line that this command wrote", file=self.path, row=row, remedy=remedy)
                self.digests.append(digest)
                whole += len(raw)
        if whole < size:
            os.ftruncate(self._handle, whole)
        os.lseek(self._handle, 0, os.SEEK_END)


@contextmanager
def answers_in(path: Path) -> Iterator[Answers]:
    """The file of answers, made if it isn't there, readable by nobody else: it holds what callers wrote. One process at a time.

    It is gone after a run that wrote nothing into it.
    """
    if path.exists():
        check_regular(path, "name another file with --out")
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    try:
        handle = os.open(path, flags, 0o600)
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise HallmarkError(f"can't be written ({reason})", file=path, remedy="name another file with --out") from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HallmarkError(
                "another run is writing it", file=path, remedy="wait for it, or name another file with --out"
            ) from None
        if not os.fstat(handle).st_nlink:  # another run has just removed it
            raise HallmarkError("removed by another run", file=path, remedy="run the same command again")
        try:
            yield Answers(path, handle)
            os.fsync(handle)
        finally:
            if not os.fstat(handle).st_size:
                path.unlink(missing_ok=True)
    finally:
        os.close(handle)
