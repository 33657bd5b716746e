"""Read what someone else wrote: only regular files, strict JSON, and each fault one `HallmarkError`."""

from __future__ import annotations

import json
import math
import signal
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hallmark.base.errors import HallmarkError

DEPTH = 100  # deepest nesting of a JSON document: all code that walks one recursively stays far from Python's limit
LARGEST = 2**28  # bytes of a JSON document or of one line: far over any real one, and far below any memory
REMADE = "run `dvc repro`, which makes it"


class NotJsonError(ValueError):
    """Text that is not one unambiguous JSON document; the message quotes none of its values. `line` counts from 1."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(problem)
        self.line = line


class RepeatedKeyError(NotJsonError):
    """An object with the same key twice."""


def strict_json(text: str) -> Any:
    """The value of a JSON document. NotJsonError if two keys are equal, a number is not finite, or it is nested too deep.

    RFC 8259 leaves equal keys to the reader: one program takes the first, another the last, so a document with two says
    two things.
    """
    try:
        value = STRICT.decode(text)
    except json.JSONDecodeError as error:
        raise NotJsonError(error.msg, error.lineno) from None
    except RecursionError:
        raise NotJsonError("nested too deep") from None
    except NotJsonError:
        raise
    except ValueError:
        raise NotJsonError("a number is too long") from None
    # Few texts have that many brackets, and counting them takes a tenth of the time.
    if text.count("[") + text.count("{") > DEPTH and depth_of(value) > DEPTH:
        raise NotJsonError(f"nested deeper than {DEPTH} levels")
    return value


def depth_of(value: Any, most: float = math.inf) -> int:
    """Levels of lists and objects in a document, 0 for a scalar, but not over `most`. Not recursive."""
    depth, level = 0, [value]
    while depth < most:
        # By identity: YAML can name the same list many times, even in itself.
        containers = list({id(item): item for item in level if isinstance(item, dict | list)}.values())
        if not containers:
            break
        depth += 1
        level = [inner for item in containers for inner in (item.values() if isinstance(item, dict) else item)]
    return depth


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise RepeatedKeyError("an object has the same key twice")
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise NotJsonError("a number is not finite")
    return value


def _no_constant(name: str) -> Any:
    raise NotJsonError(f"{name} is not JSON")


# As strict as `strict_json` but for depth; its errors are those of Python's `json`, or NotJsonError.
STRICT = json.JSONDecoder(object_pairs_hook=_unambiguous, parse_float=_finite, parse_constant=_no_constant)


def check_regular(path: Path, remedy: str) -> None:
    """A HallmarkError unless `path` is a file that has an end: not a folder, a device, a socket or a FIFO."""
    try:
        found = path.stat()
    except FileNotFoundError:
        raise HallmarkError("no such file", file=path, remedy=remedy) from None
    except (OSError, ValueError) as error:  # a link to itself, a name too long, a NUL in it
        reason = getattr(error, "strerror", None) or "not a path"
        raise HallmarkError(f"can't be read ({reason})", file=path, remedy=remedy) from None
    if not stat.S_ISREG(found.st_mode):
        raise HallmarkError("not a regular file", file=path, remedy=remedy)
    if not found.st_size:  # a file of the system, as in /proc, says so and has content all the same, or can't be read
        try:
            with path.open("rb") as file:
                first = file.read(1)
        except OSError as error:
            raise HallmarkError(f"can't be read ({error.strerror})", file=path, remedy=remedy) from None
        if first:
            raise HallmarkError("not a regular file, but one that the system makes up", file=path, remedy=remedy)


def is_folder(path: Path) -> bool:
    """Whether `path` is a folder; not an error if it can't be a path at all, which `check_regular` says better."""
    try:
        return path.is_dir()
    except (OSError, ValueError):  # a name too long
        return False


def read_text(path: Path, remedy: str = REMADE, most: float = LARGEST) -> str:
    """The text of a regular file in UTF-8, of at most that many bytes."""
    check_regular(path, remedy)
    if path.stat().st_size > most:
        raise HallmarkError(f"over {int(most) >> 20} MiB", file=path, remedy=remedy)
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise HallmarkError(f"byte {error.start + 1} is not UTF-8", file=path, remedy=remedy) from None


def read_json_lines(path: Path, remedy: str = REMADE) -> Iterator[dict[str, Any]]:
    """The objects of a file with a JSON object in every line that is not empty."""
    check_regular(path, remedy)
    with path.open("rb") as file:
        for row, line in enumerate(iter(lambda: file.readline(LARGEST), b""), 1):
            if line == b"\n":
                continue
            try:
                value = strict_json(line.decode())
            except ValueError:
                value = None
            if not isinstance(value, dict):
                raise HallmarkError("not a JSON object", file=path, row=row, remedy=remedy)
            yield value


def read_json(path: Path, remedy: str = REMADE) -> Any:
    """The value of a JSON file, as strict as `strict_json`."""
    try:
        return strict_json(read_text(path, remedy))
    except NotJsonError as error:
        raise HallmarkError(f"not JSON ({error})", file=path, row=error.line, remedy=remedy) from None


def read_object(path: Path, remedy: str = REMADE) -> dict[str, Any]:
    value = read_json(path, remedy)
    if not isinstance(value, dict):
        raise HallmarkError(f"not a JSON object but {type(value).__name__}", file=path, remedy=remedy)
    return value


@contextmanager
def time_limit(seconds: float, error: HallmarkError) -> Iterator[None]:
    """Raise `error` if the block takes longer than `seconds`, on the main thread; elsewhere there is no limit.

    It can stop Python code only between two of its instructions, so not one long call into a library in C.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: Any) -> None:
        raise error

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
