"""The one kind of error a user sees, and the command-line frame every stage runs in."""

from __future__ import annotations

import argparse
import errno
import logging
import os
import re
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TextIO

TRACEBACK_VARIABLE = "HALLMARK_TRACEBACK"
_ADDRESS = re.compile(r"(:/+)(\S+)")  # with one slash, if it was taken for a path
_PAGE = re.compile(r"\bdocs/(?=[\w-]+\.md)")
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)


def printable(text: str, keep: str = "") -> str:
    """The text with control and direction codes escaped, so that what it quotes can't steer a terminal or hide anything.

    `keep` lists the characters to leave as they are.
    """
    return "".join(one if one.isprintable() or one in keep else one.encode("unicode_escape").decode() for one in text)


def without_secrets(text: str) -> str:
    """The text, its addresses without user and password, and without a query, where a token may be.

    A password may hold any sign, so with a colon before it, the last @ of an address ends one.
    """

    def public(address: re.Match[str]) -> str:
        before, at, rest = address[2].rpartition("@")
        host, slash, path = address[2].partition("/")
        shown = rest if at and ":" in before else host.rpartition("@")[2] + slash + path
        return address[1] + shown.partition("?")[0]

    return _ADDRESS.sub(public, text)


def with_pages(text: str) -> str:
    """The text, its pages of the manual (docs/x.md) by their path: in a stamped repo, they come with the library."""
    folder = Path(__file__).parents[1] / "docs"
    return _PAGE.sub(lambda _: f"{os.path.relpath(folder)}/", text) if folder.is_dir() else text


def in_red(text: str, stream: TextIO) -> str:
    """The text in red if the stream is a terminal and NO_COLOR is not set, else as it is."""
    return f"\x1b[31m{text}\x1b[0m" if stream.isatty() and not os.environ.get("NO_COLOR") else text


class _Shown(logging.Formatter):
    """Escapes what a line of the log quotes of data or of a model; only `in_red` may colour it."""

    def format(self, record: logging.LogRecord) -> str:
        line = printable(super().format(record), keep="\n")
        return re.sub(r"\\x1b\[(31|0)m", "\x1b[\\1m", line)


class HallmarkError(Exception):
    """A problem the user can fix: names the file, the row, the field, and the remedy.

    `row` counts from 1, as an editor does. `param` is a key of params.yaml, instead of file and field. The message must
    never hold the value of a private field; see `without_secrets`.
    """

    def __init__(
        self,
        problem: str,
        *,
        file: str | Path | None = None,
        row: int | None = None,
        field: str | None = None,
        param: str | None = None,
        remedy: str,
    ) -> None:
        if param is not None:
            file, field = "params.yaml", param
        self.problem, self.file, self.row, self.field, self.remedy = problem, file, row, field, remedy
        places = (file, None if row is None else f"row {row}", None if field is None else f"field '{field}'")
        location = ", ".join(printable(str(place)) for place in places if place is not None)
        message = f"{location + ': ' if location else ''}{problem}\n  remedy: {remedy}"
        super().__init__(printable(without_secrets(with_pages(message)), keep="\n"))

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle all of it, so that a worker process can raise it."""
        keys: dict[str, Any] = {"file": self.file, "row": self.row, "field": self.field, "remedy": self.remedy}
        return partial(HallmarkError, self.problem, **keys), ()


def run_stage(
    name: str,
    doc: str | None,
    main: Callable[[argparse.Namespace], None],
    parser: argparse.ArgumentParser | None = None,
) -> None:
    """Parse the command line and run `main`; whatever goes wrong ends in one clear message and exit code 1 (Ctrl-C: 130).

    The message of an exception that nobody foresaw may quote a record, so only its type and place are printed; with the
    environment variable HALLMARK_TRACEBACK, the whole traceback. `parser` holds the stage's own options; every stage also has `--params FILE`.
    """
    spec = sys.modules["__main__"].__spec__  # a tool is one folder deeper than a stage
    module = spec.name if spec else f"stages.{name}"
    parser = parser or argparse.ArgumentParser(prog=f"python -m {module}", description=doc)
    parser.description = with_pages(parser.description or "")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="params file (default: %(default)s)")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, handlers=[handler := logging.StreamHandler(sys.stderr)])
    handler.setFormatter(_Shown(f"{name}: %(message)s"))
    for chatty in ("httpx", "datasets", "presidio-analyzer", "urllib3", "transformers"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    if threading.current_thread() is threading.main_thread():  # a stage that must stop leaves no half-written files
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    start = time.monotonic()
    with suppress(Exception):  # it is there to be read, and stops no stage
        from hallmark.base.progress import heading, record

        if line := heading():
            print(printable(line), file=sys.stderr)
    try:
        if os.environ.get("DVC_STAGE") and module.startswith("stages.") and module != "stages.code":
            from hallmark.base.loaded_code import check_current

            check_current(module.removeprefix("stages."))
        main(arguments)
        sys.stdout.flush()
        with suppress(Exception):
            record(time.monotonic() - start)
    except BrokenPipeError:  # the reader has seen enough: `... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python fails again, on its way out
        sys.exit(128 + signal.SIGPIPE)
    except KeyboardInterrupt:
        print(f"{name}: interrupted; earlier outputs are untouched", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        print(f"{name}: error: {_told(error)}", file=sys.stderr)
        sys.exit(1)


def _told(error: Exception) -> HallmarkError:
    """What a user is told of any error."""
    if isinstance(error, HallmarkError):
        return error
    if (number := unwritable(error)) is not None:
        path = getattr(error, "filename", None) or Path.cwd()
        remedy = "free space on that file system, or get permission to read and write there, and run `dvc repro` again"
        return HallmarkError(os.strerror(number), file=path, remedy=f"{remedy}; earlier outputs are untouched")
    if os.environ.get(TRACEBACK_VARIABLE):
        traceback.print_exception(error)
    frames = traceback.extract_tb(error.__traceback__)
    frame = ([one for one in frames if {"stages", "hallmark"} & {*Path(one.filename).parts}] or frames)[-1]
    place = f"{'/'.join(Path(frame.filename).parts[-2:])}, line {frame.lineno}"
    remedy = f"this is a bug, please report it; {TRACEBACK_VARIABLE}=1 shows the traceback, which may quote your data"
    return HallmarkError(f"unforeseen {type(error).__name__} at {place}", remedy=remedy)


class UnwritableError(OSError):
    """An output can't be written; `filename` is the output, not the temporary file next to it."""


def unwritable(error: BaseException) -> int | None:
    """The system's error number if it means that a file can't be written there (disk full, read-only), else None."""
    number = error.errno if isinstance(error, OSError) else None
    # Rust libraries (polars, safetensors) and shutil.copytree raise their own errors, with the system's in the text.
    if number is None and (match := re.search(r"(?:\(os error |\[Errno )(\d+)[)\]]", str(error))):
        number = int(match[1])
    return number if number in UNWRITABLE else None
