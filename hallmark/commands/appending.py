"""Lines added to the end of a file: each is in it whole, or not at all."""

from __future__ import annotations

import os
from contextlib import suppress


def append_line(handle: int, line: bytes, *, sync: bool = False) -> None:
    """Write a line to a file that is open for appending; with `sync`, it is on the disk then. An OSError leaves nothing of it."""
    size = os.fstat(handle).st_size
    try:
        rest = memoryview(line)
        while rest:
            rest = rest[os.write(handle, rest) :]
        if sync:
            os.fsync(handle)
    except OSError:
        with suppress(OSError):
            os.ftruncate(handle, size)
        raise
