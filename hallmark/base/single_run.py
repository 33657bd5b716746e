"""Only one run of a command at a time: `with alone(FOLDER, "another search runs", remedy):`, for `tune`, `ask` and `collect`."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hallmark.base.errors import HallmarkError


@contextmanager
def alone(folder: Path, problem: str, remedy: str) -> Iterator[None]:
    """Hold the folder, made if it is missing, during the block; a HallmarkError if another process does."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HallmarkError(problem, file=folder, remedy=remedy) from None
        yield
    finally:
        os.close(handle)
