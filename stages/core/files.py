"""Where every file goes, and how to write it so that a killed run leaves nothing a rerun could mistake for a result."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from stages.core.errors import UnwritableError, unwritable

BASE = Path("models/base")
SFT_ADAPTER = Path("models/sft")
ADAPTER = Path("models/adapter")  # what ships: the adapter from `sft`, or the one `dpo` trained further
RELEASE = Path("models/release")
MASKED = Path("data/masked.parquet")
DEDUPED = Path("data/deduped.parquet")
SPLIT = Path("data/split")
TRAIN, VALIDATION, HOLDOUT = SPLIT / "train.parquet", SPLIT / "validation.parquet", SPLIT / "holdout.parquet"
HOLDOUT_LOCK = Path("data/holdout.lock.json")
REPORTS = Path("reports")


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path next to `path` (same suffix) that replaces it when the block ends without an error."""
    with _named(path):
        _clear_remains(path)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o644)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A temporary folder next to `path` that replaces all of it when the block ends without an error."""
    with _named(path):
        _clear_remains(path)
        temporary, old = (
            Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)) for _ in range(2)
        )
        try:
            yield temporary
            for file in temporary.rglob("*"):
                file.chmod(0o755 if file.is_dir() else 0o644)
            temporary.chmod(0o755)
            if path.exists():  # move it away first: a run killed now leaves no half-deleted folder behind
                path.replace(old)
            temporary.replace(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """If the disk is full, the error names the file being written, whichever library was writing it."""
    try:
        yield
    except Exception as error:
        number = unwritable(error)
        if number is None or isinstance(error, UnwritableError):
            raise
        raise UnwritableError(number, os.strerror(number), str(path)) from error


def _clear_remains(path: Path) -> None:
    """Make the parent folder, and remove what a killed write of `path` left there (DVC runs one writer at a time)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for remains in sorted(path.parent.glob(f".{path.stem}-????????{path.suffix}")):
        if remains.is_dir():
            shutil.rmtree(remains)
        else:
            remains.unlink()


def write_all(outputs: dict[Path, bytes | memoryview]) -> None:
    """Write several files: all of them, or none if one can't be written. They are moved into place in the order given."""
    with ExitStack() as stack:
        for path, content in reversed(outputs.items()):  # the last one entered is moved into place first
            stack.enter_context(atomic(path)).write_bytes(content)


def canonical_json(value: Any) -> str:
    """JSON with sorted keys, two-space indent and a final newline: the same value always makes the same bytes."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, indent=2, allow_nan=False) + "\n"


def json_bytes(value: Any) -> bytes:
    """The bytes of a JSON file."""
    return canonical_json(value).encode()


def write_json(path: Path, value: Any) -> None:
    """Write `value` as canonical JSON, atomically."""
    write_text(path, canonical_json(value))


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 with `\\n` line ends, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as lower-case hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_folder(path: Path) -> dict[str, str]:
    """SHA-256 of every file below `path`, by its POSIX path relative to it, sorted."""
    return {file.relative_to(path).as_posix(): sha256_file(file) for file in sorted(path.rglob("*")) if file.is_file()}
