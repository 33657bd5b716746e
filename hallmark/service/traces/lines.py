"""Traces and feedback as lines of JSON: each is in a file whole or not at all, and is read as if a stranger had written it."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from hallmark.base.errors import HallmarkError
from hallmark.service.traces.trace import Feedback, Trace

LINE_BYTES = 2**23  # of the longest line that is read
Kind = TypeVar("Kind", Trace, Feedback)


def line_of(entry: Trace | Feedback) -> bytes:
    """One line, with its line break. Half a surrogate pair, which UTF-8 can't hold, stays an escape."""
    content = asdict(entry) | {"time": entry.time.isoformat(timespec="milliseconds")}
    return json.dumps(content, sort_keys=True).encode() + b"\n"


class LineFile:
    """A new file that this process alone writes."""

    def __init__(self, folder: Path, start: str) -> None:
        self.path = folder / f"{start}-{secrets.token_hex(8)}.jsonl"
        self.handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._size = 0

    def append(self, line: bytes, *, sync: bool = False) -> None:
        """Write one line, all of it or nothing; with `sync`, it is on the disk then."""
        try:
            done = 0
            while done < len(line):
                done += os.pwrite(self.handle, line[done:], self._size + done)
            if sync:
                os.fsync(self.handle)
        except OSError:
            with suppress(OSError):  # else the next line is written over what is there of this one
                os.ftruncate(self.handle, self._size)
            raise
        self._size += len(line)

    def close(self) -> None:
        """Close the file."""
        os.close(self.handle)


@cache
def _reader(kind: Any) -> Any:
    from pydantic import ConfigDict, TypeAdapter, with_config

    return TypeAdapter(with_config(ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))(kind))


def read_lines(path: Path, kind: type[Kind]) -> Iterator[Kind]:
    """The entries in a file. A line without its end is one that is being written, or was when its writer died: it is left out.

    Any other line that is no entry is a HallmarkError, which quotes nothing of it.
    """
    from pydantic import ValidationError

    number, hashable = 0, cast("Any", kind)  # mypy takes a dataclass for one that has no hash
    reader = _reader(hashable)
    with path.open("rb") as file:
        while line := file.readline(LINE_BYTES + 1):
            number += 1
            if not line.endswith(b"\n"):
                if len(line) <= LINE_BYTES:
                    return
                raise HallmarkError(
                    f"a line of over {LINE_BYTES} bytes", file=path, row=number, remedy="remove the line"
                )
            try:
                entry: Kind = reader.validate_json(line)
            except ValidationError as error:
                first = error.errors(include_url=False, include_context=False, include_input=False)[0]
                field = ".".join(map(str, first["loc"])) or None
                raise HallmarkError(
                    first["msg"].lower(), file=path, row=number, field=field, remedy="remove the line, or the file"
                ) from None
            yield entry
