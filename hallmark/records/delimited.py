"""CSV and TSV as Excel, databases and benchmarks write them: every cell is text, an empty one None, a row has its line's number.

The header decides what separates cells: the most frequent of comma, semicolon, tab and bar. Text is UTF-8, UTF-16 with its
mark, or else Windows' cp1252, which is noted. A TSV may have no quoting. A file with `\\N` for null is a database's dump:
what that has escaped is unescaped.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from hallmark.base.errors import HallmarkError
from hallmark.records.reading import ReadFile

SEPARATORS = ",;\t|"  # in a tie, the first
SAMPLE = 2**20  # bytes or characters that the dialect is told from
_NULL = re.compile(r'(?:^|[,;\t|])\\N(?:[,;\t|"]|$)', re.MULTILINE)
_NULL_CELL = re.compile(r"(?:(?<=[,;|])|^)\\N(?=[,;|]|\r?$)", re.MULTILINE)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_DUMP_CELL = re.compile(r"(?:[^\t\\]|\\.)*", re.DOTALL)
_LETTERS = {"n": "\n", "t": "\t", "r": "\r", "0": "", "b": "\b", "f": "\f", "v": "\v", "Z": "\x1a"}


class Dialect(NamedTuple):
    """How a file is written. `skipped`: lines before the header, as Excel's `sep=;`."""

    encoding: str
    separator: str
    dump: bool
    skipped: int


def dialect_of(path: Path) -> Dialect:
    """The dialect that a file's first bytes and its header show."""
    with path.open("rb") as file:
        start = file.read(2)
    encoding = "utf-16" if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"
    try:
        with path.open(encoding=encoding, newline="") as file:
            for _ in iter(lambda: file.read(SAMPLE), ""):
                pass
    except UnicodeError:
        encoding = "cp1252"
    with path.open(encoding=encoding, newline="", errors="replace") as file:
        sample = file.read(SAMPLE)
    first = sample.partition("\n")[0].rstrip("\r")
    if first[:-1].lower() == "sep=" and first[-1] in SEPARATORS:
        return Dialect(encoding, first[-1], bool(_NULL.search(sample)), 1)
    outside = "".join(first.split('"')[::2])
    separator = "\t" if path.suffix == ".tsv" and "\t" in outside else max(SEPARATORS, key=outside.count)
    return Dialect(encoding, separator, bool(_NULL.search(sample)), 0)


def read_delimited(path: Path, file: ReadFile) -> Iterator[tuple[int, list[str | None]]]:
    """(line, cells) for each row that is not empty; `file` gets its columns and what was odd."""
    dialect = dialect_of(path)
    if dialect.encoding == "cp1252":
        file.notes.append(("encoding", "is not UTF-8 and was read as cp1252 (Windows): look at its accents", 1))
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL
    if dialect.separator == "\t" and not dialect.dump and not _fits(path, dialect, csv.QUOTE_MINIMAL):
        quoting = csv.QUOTE_NONE if _fits(path, dialect, csv.QUOTE_NONE) else csv.QUOTE_MINIMAL
    lines = _lines(path, dialect, quoting, file.name)
    header = next(lines, (0, []))[1]
    file.columns = dict.fromkeys(_names(header))
    short: list[int] = []
    for number, cells in lines:
        if not any(cells):
            continue
        if len(cells) > len(header) or len(cells) < min(2, len(header)):
            problem = (
                f"expected {len(header)} cells, as the header has, not {len(cells)} (separator: {dialect.separator!r})"
            )
            raise HallmarkError(problem, file=file.name, row=number, remedy="fix the quoting of the row")
        if len(cells) < len(header):
            short.append(number)
        yield number, [*cells, *[None] * (len(header) - len(cells))]
    if short:
        words = f"{len(short)} rows have fewer cells than the header; the last ones were read as null"
        file.notes.append(("short", words, short[0]))


def _names(header: list[str | None]) -> list[str]:
    """Names of columns, each once."""
    seen: Counter[str] = Counter()
    names = []
    for number, cell in enumerate(header, 1):
        name = (cell or "").strip() or f"column_{number}"
        seen[name] += 1
        names.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return names


def _fits(path: Path, dialect: Dialect, quoting: Literal[0, 3]) -> bool:
    """Whether all rows have as many cells as the header."""
    try:
        return len({len(cells) for _, cells in _lines(path, dialect, quoting, path.name)}) <= 1
    except HallmarkError:
        return False


def _lines(path: Path, dialect: Dialect, quoting: Literal[0, 3], name: str) -> Iterator[tuple[int, list[str | None]]]:
    """(number of its first line, cells) for each row that has any, the header too."""
    csv.field_size_limit(2**31 - 1)
    number = line = 0

    def text() -> Iterator[str]:
        nonlocal number
        for one in source:
            number += 1
            yield _NULL_CELL.sub("", one) if dialect.dump else one

    with path.open(encoding=dialect.encoding, newline="") as source:
        for _ in range(dialect.skipped):
            next(text())
        try:
            rows: Iterator[list[Any]] = (
                _dump(text())
                if dialect.dump and dialect.separator == "\t"
                else csv.reader(
                    text(), delimiter=dialect.separator, strict=True, quoting=quoting,
                    escapechar="\\" if dialect.dump else None, doublequote=True,
                )
            )  # fmt: skip
            while True:
                line = number + 1
                if cells := next(rows):
                    yield line, [cell or None for cell in cells]
        except StopIteration:
            return
        except UnicodeError:
            remedy = "save the file as UTF-8 (in Excel: CSV UTF-8; elsewhere `iconv -f ... -t utf-8`)"
            raise HallmarkError("not UTF-8 at or after this row", file=name, row=line, remedy=remedy) from None
        except csv.Error as error:
            raise HallmarkError(f"not CSV ({error})", file=name, row=line, remedy="fix the quoting") from None


def _dump(lines: Iterator[str]) -> Iterator[list[str | None]]:
    """The cells of a dump without quoting: a tab or a line break of a cell has a backslash before it."""
    pending = ""
    for line in lines:
        pending += line.rstrip("\r\n")
        if (len(pending) - len(pending.rstrip("\\"))) % 2:
            pending += "\n"
            continue
        cells, at = [], 0
        while at <= len(pending):
            match = _DUMP_CELL.match(pending, at)
            cell, at = (match[0], match.end() + 1) if match else ("", at + 1)
            cells.append(None if cell == r"\N" else _ESCAPED.sub(lambda one: _LETTERS.get(one[1], one[1]), cell))
        yield cells
        pending = ""
