"""Where every file goes, and how to write it so that a killed run leaves nothing a rerun could mistake for a result."""

from __future__ import annotations

import errno
import fcntl
import glob
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from hallmark.base.errors import HallmarkError, UnwritableError, unwritable

BASE = Path("models/base")
QUANTIZED = Path(
    "models/quantized"
)  # what an adapter is trained over, and what every merged or served model is made of
SFT_ADAPTER = Path("models/sft")
ADAPTER = Path("models/adapter")  # what ships: the adapter from `sft`, or the one `dpo` trained further
RELEASE = Path("models/release")
RAW = Path("data/raw")  # the files that stages/records.py reads
MASKED = Path("data/masked.parquet")
DEDUPED = Path("data/deduped.parquet")
SPLIT = Path("data/split")
TRAIN, VALIDATION, HOLDOUT = SPLIT / "train.parquet", SPLIT / "validation.parquet", SPLIT / "holdout.parquet"
CALIBRATION = SPLIT / "calibration.parquet"  # may have no rows
ONLINE = SPLIT / "online.parquet"  # what came of held-out groups after the freeze; may have no rows
HOLDOUT_LOCK = Path("data/holdout.lock.json")
BOUGHT = Path("data/bought")  # answers of paid servers, by comparator: what `nox -s ask` fetched, never a stage
REPORTS = Path("reports")

_TEMPORARY = re.compile(r"\..+-[a-z0-9_]{8}(\.\w+)?")  # as `tempfile` names them


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path next to `path` (same suffix) that replaces it when the block ends without an error."""
    with _named(path):
        _prepare(path)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
        temporary = Path(name)
        with _in_use(handle):
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
    with _named(path), ExitStack() as stack:
        _prepare(path)
        temporary, old = (
            Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)) for _ in range(2)
        )
        for folder in (temporary, old):
            stack.enter_context(_in_use(os.open(folder, os.O_RDONLY)))
        try:
            yield temporary
            for file in temporary.rglob("*"):
                file.chmod(0o755 if file.is_dir() else 0o644)
            temporary.chmod(0o755)
            with _one_at_a_time(path.parent):
                if path.exists():  # move it away first: a run killed now leaves no half-deleted folder behind
                    path.replace(old)
                temporary.replace(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _in_use(handle: int) -> Iterator[None]:
    """Lock an open temporary file or folder, so that other writers see that this process is alive; close it at the end."""
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    """Let no other process swap a folder in `folder` during the block."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _is_in_use(path: Path) -> bool:
    """Whether a living process holds the lock of a temporary file or folder."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(handle)
    return False


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


def _prepare(path: Path) -> None:
    """Make the parent folder, and remove what killed writers of `path` left there."""
    if os.path.isdir(path) and path.suffix:  # noqa: PTH112 (Path.is_dir raises OSError if a name is too long)
        raise HallmarkError("a folder where a file is to be written", file=path, remedy="move it away")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.exists()
    except OSError as error:
        if error.errno not in (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EEXIST, errno.ELOOP):
            raise
        reason = os.strerror(error.errno)
        raise HallmarkError(f"can't be written there ({reason})", file=path, remedy="name another place") from None
    pattern = f".{glob.escape(path.stem)}-????????{glob.escape(path.suffix)}"
    _remove_remains(sorted(path.parent.glob(pattern)))


def clear_remains(*folders: Path) -> None:
    """Remove what killed writers left anywhere below the folders."""
    for folder in folders:
        _remove_remains(file for file in sorted(folder.rglob(".*")) if _TEMPORARY.fullmatch(file.name))


def _remove_remains(paths: Iterable[Path]) -> None:
    for path in paths:
        with suppress(FileNotFoundError):  # another process was faster
            if path.is_symlink() or _is_in_use(path):  # no writer makes a link
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def write_all(outputs: dict[Path, bytes | memoryview]) -> None:
    """Write several files: all of them, or none if one can't be written. They are moved into place in the order given."""
    with ExitStack() as stack:
        for path, content in reversed(outputs.items()):  # the last one entered is moved into place first
            stack.enter_context(atomic(path)).write_bytes(content)


def canonical_json(value: Any) -> str:
    """JSON with sorted keys, two-space indent and a final newline: the same value always makes the same bytes."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, indent=2, allow_nan=False) + "\n"


def json_bytes(value: Any) -> bytes:
    return canonical_json(value).encode()


def write_json(path: Path, value: Any) -> None:
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
