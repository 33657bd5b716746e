"""What a script reads: only files below data/raw, and the stage remembers them, to compare the records with their rows."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from hallmark.base.errors import HallmarkError
from hallmark.base.files import RAW
from hallmark.base.reading import check_regular

CACHE = Path(".dvc/cache")  # where DVC's links of data/raw lead, if it is set to make links
SOURCE, OWN_SOURCE = "source", "own_source"
Rows = Iterator[tuple[int, dict[str, Any]]]


@dataclass
class ReadFile:
    """A file that the script read: its columns, which of them the script looked at, and how to read its rows again."""

    name: str
    again: Callable[[], Rows]
    rows: int = 0
    columns: dict[str, None] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    notes: list[tuple[str, str, int]] = field(default_factory=list)  # what was odd: code, words, row to look at
    text: bool = False  # whether its cells are all text, as those of CSV


@dataclass
class Seen:
    """What one run of a script read, left out and expects."""

    root: Path = Path()
    files: dict[str, ReadFile] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    skipped_rows: dict[str, set[int]] = field(default_factory=dict)  # by file
    expected: dict[str, int] = field(default_factory=dict)

    def begin(self, file: ReadFile) -> ReadFile:
        """Note a file; if it is read a second time, what was used of it before counts too."""
        if earlier := self.files.get(file.name):
            file.used |= earlier.used
        self.files[file.name] = file
        return file


_seen: ContextVar[Seen | None] = ContextVar("seen", default=None)


def seen() -> Seen:
    """What the script that runs now has read; one that runs by itself, as in a notebook, starts where it stands."""
    return _seen.get() or Seen()


@contextmanager
def reading(into: Seen) -> Iterator[None]:
    """Note what the helpers read in the block."""
    token = _seen.set(into)
    try:
        yield
    finally:
        _seen.reset(token)


class NoColumnError(HallmarkError, KeyError):
    """A row has no such column."""

    __str__ = Exception.__str__  # that of KeyError quotes


class Row(dict[str, Any]):
    """A row by column, which remembers for its file what was looked at."""

    __slots__ = ("_file",)

    def __init__(self, values: Mapping[str, Any], file: ReadFile) -> None:
        super().__init__(values)
        self._file = file

    def __getitem__(self, key: str) -> Any:
        self._file.used.add(key)
        return super().__getitem__(key)

    def __missing__(self, key: str) -> Any:
        name, _, number = super().__getitem__(SOURCE).rpartition(":")
        near = difflib.get_close_matches(str(key), map(str, self), n=1)
        remedy = f"it has {listed(self)}" + (f"; perhaps '{near[0]}' is meant" if near else "")
        raise NoColumnError("no such column", file=name, row=int(number), remedy=f"{remedy}; or read it with `.get`")

    def __iter__(self) -> Iterator[str]:
        self._file.used.update(super().keys())
        return super().__iter__()

    def get(self, key: str, default: Any = None) -> Any:
        """The value, or the default."""
        self._file.used.add(key)
        return super().get(key, default)

    def items(self) -> Any:
        """All of it, which counts as looked at."""
        self._file.used.update(super().keys())
        return super().items()

    def values(self) -> Any:
        """All values, which count as looked at."""
        self._file.used.update(super().keys())
        return super().values()

    def copy(self) -> Self:
        """Another row of the same file."""
        return type(self)(dict(super().items()), self._file)


def listed(names: Iterable[Any], most: int = 20) -> str:
    """Names in a line, not all of a thousand."""
    names = [str(name) for name in names]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def files_at(path: str | Path, root: Path, endings: Iterable[str] = ()) -> list[tuple[str, Path]]:
    """The files that a path below data/raw names, a folder's or a pattern's in order of name; each with its name in the repo."""
    remedy = f"copy the file into {RAW} (a copy, not a link)"
    if not isinstance(path, str | Path):
        raise HallmarkError(f"expected a path, not {type(path).__name__}", remedy=f'write "{RAW}/..."')
    base, path = root.resolve() / RAW, Path(path)
    if "\0" in str(path) or path.is_absolute() or ".." in path.parts or path.parts[:2] != RAW.parts:
        raise HallmarkError(f"is not below {RAW}", file=_shown(path), remedy=remedy)
    pattern, folder = any(sign in str(path) for sign in "*?["), root / path
    if pattern:
        found = sorted(one for one in root.glob(str(path)) if one.is_file() and not _hidden(one))
    elif folder.is_dir():
        found = [
            one for one in sorted(folder.iterdir()) if one.suffix in endings and one.is_file() and not _hidden(one)
        ]
    else:
        check_regular(folder, f"put the file there, or name another one; {RAW} has {_listing(root)}")
        found = [folder]
    if not found:
        raise HallmarkError("no such files", file=_shown(path), remedy=f"{RAW} has {_listing(root)}")
    for one in found:
        check_regular(one, remedy)
        real = one.resolve()
        if not real.is_relative_to(base) and not real.is_relative_to(root.resolve() / CACHE):
            raise HallmarkError(f"is a link that leads out of {RAW}", file=one.relative_to(root), remedy=remedy)
    return [(one.relative_to(root).as_posix(), one) for one in found]


def _shown(path: Path) -> str:
    return str(path)[:200]


def _hidden(path: Path) -> bool:
    return path.name.startswith(".")  # also what an editor or DVC keeps next to the data


def _listing(root: Path) -> str:
    folder = root / RAW
    return listed([one.name for one in sorted(folder.iterdir())] if folder.is_dir() else []) or "no files"


def skip(row: Mapping[str, Any], reason: str) -> None:
    """Leave a row out, for a reason that the report counts: `if row["Status"] == "draft": skip(row, "draft"); continue`."""
    if not isinstance(reason, str) or not reason.strip():
        raise HallmarkError("`skip` has no reason", remedy='write `skip(row, "draft")`')
    into = seen()
    into.skipped[reason.strip()] += 1
    source = dict.get(row, SOURCE) if isinstance(row, dict) else None
    if isinstance(source, str) and (number := source.rpartition(":")[2]).isdecimal():
        into.skipped_rows.setdefault(source.rpartition(":")[0], set()).add(int(number))


def expect(warning: str, why: str = "") -> None:
    """Answer a warning of the check by its name, as it is printed; `why` is for whoever reads the script."""
    if not isinstance(warning, str) or not isinstance(why, str):
        raise HallmarkError("`expect` takes the name of a warning", remedy='write `expect("Status = open")`')
    seen().expected.setdefault(expected_name(warning), 0)


def expected_name(warning: str) -> str:
    """A warning's name as it is compared."""
    return " ".join(warning.casefold().split())
