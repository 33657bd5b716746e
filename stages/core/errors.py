"""The one kind of error a user sees, and the command-line frame every stage runs in."""

from __future__ import annotations

import argparse
import errno
import logging
import os
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)


class HallmarkError(Exception):
    """A problem the user can fix: names the file, the row, the field, and the remedy.

    `row` counts from 1, as an editor does. `param` is a key of params.yaml, instead of file and field. The message must
    never hold the value of a private field.
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
        parts = [str(file)] if file is not None else []
        if row is not None:
            parts.append(f"row {row}")
        if field is not None:
            parts.append(f"field '{field}'")
        location = ", ".join(parts)
        super().__init__(f"{location + ': ' if location else ''}{problem}\n  remedy: {remedy}")

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
    """Parse the command line and run `main`; a `HallmarkError` or a full disk ends in one clear message and exit code 1.

    `parser` holds the stage's own options; every stage also has `--params FILE`.
    """
    spec = sys.modules["__main__"].__spec__  # a tool is one folder deeper than a stage
    module = spec.name if spec else f"stages.{name}"
    parser = parser or argparse.ArgumentParser(prog=f"python -m {module}", description=doc)
    parser.add_argument(
        "--params", type=Path, default=Path("params.yaml"), help="parameter file (default: %(default)s)"
    )
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format=f"{name}: %(message)s", stream=sys.stderr)
    for chatty in ("httpx", "datasets", "presidio-analyzer", "presidio-anonymizer", "urllib3", "transformers"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        main(arguments)
    except HallmarkError as error:
        print(f"{name}: error: {error}", file=sys.stderr)
        sys.exit(1)
    except Exception as error:
        number = unwritable(error)
        if number is None:
            raise
        path = getattr(error, "filename", None) or Path.cwd()
        print(
            f"{name}: error: {path}: {os.strerror(number)}\n"
            "  remedy: free space on that file system, or get permission to read and write there, and run `dvc repro` "
            "again; earlier outputs are untouched",
            file=sys.stderr,
        )
        sys.exit(1)


class UnwritableError(OSError):
    """An output can't be written; `filename` is the output, not the temporary file next to it."""


def unwritable(error: BaseException) -> int | None:
    """The system's error number if it means that a file can't be written there (disk full, read-only), else None."""
    number = error.errno if isinstance(error, OSError) else None
    # Rust libraries (polars, safetensors) and shutil.copytree raise their own errors, with the system's in the text.
    if number is None and (match := re.search(r"(?:\(os error |\[Errno )(\d+)[)\]]", str(error))):
        number = int(match[1])
    return number if number in UNWRITABLE else None
