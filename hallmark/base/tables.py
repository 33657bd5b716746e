"""Tables as text: what Excel, databases and annotation tools write as CSV or TSV, read row by row.

The first line decides: `sep=;` (Excel's own hint), else the character that separates most of its columns: a comma, a
semicolon, a tab or a bar. Text is UTF-8, or UTF-16 with a byte order mark (Excel's "Unicode Text"). Every value is a text:
`1.234,50` stays as it is written.
"""

from __future__ import annotations

import codecs
import csv
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Literal, TextIO

from hallmark.base.errors import HallmarkError

log = logging.getLogger(__name__)

SEPARATORS = ",;\t|"  # in a tie, the first
UTF8 = "save the file as UTF-8 (in Excel: CSV UTF-8; elsewhere `iconv -f cp1252 -t utf-8`)"
Quoting = Literal[0, 3]  # csv.QUOTE_MINIMAL, csv.QUOTE_NONE
FIRST = 2**20  # characters of the first line that are looked at
NONE = ("", r"\N")  # cells without a value; databases write the latter into their dumps


def read_table(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, row) for each row; the header is line 1. Empty values and `\\N` are None, and rows of nothing else are skipped.

    A column that stands several times in the header (Jira writes one for each label of an issue) is one column of lists.
    A row may lack its last cells, as exports drop them if they are empty, unless it looks cut by a line break without quotes.
    """
    encoding = encoding_of(path)
    with _opened(path, encoding) as file:
        separator, skipped = _separator(file, path)
    quoting: Quoting = csv.QUOTE_MINIMAL
    if separator == "\t" and not _fits(path, encoding, skipped, csv.QUOTE_MINIMAL):
        # Benchmarks' TSV have no quoting: a quote is a letter of the text.
        quoting = csv.QUOTE_NONE if _fits(path, encoding, skipped, csv.QUOTE_NONE) else csv.QUOTE_MINIMAL
    lines = _lines(path, encoding, separator, skipped, quoting)
    header = next(lines, (0, []))[1]
    repeated = {name for name, count in Counter(header).items() if count > 1}
    short = 0
    for (line, values), (_, after) in pairwise(chain(lines, [(0, [])])):
        cut = len(after) < len(header) and len(values) + len(after) == len(header) + 1 and " " in "".join(after[:1])
        held = [inner for cell in values if len(values) < len(header) for inner in cell.split("\n")[1:-1]]  # whole rows
        cut |= bool(held) and all(inner.count(separator) == len(header) - 1 for inner in held)
        if len(values) > len(header) or len(values) < min(2, len(header)) or cut:
            problem = f"the row has more or fewer fields than the header ({len(values)}, not {len(header)}; separator: {separator!r})"
            raise HallmarkError(problem, file=path, row=line, remedy="fix the quoting")
        short += len(values) < len(header)
        row: dict[str, Any] = {name: [] if name in repeated else None for name in header}
        for name, value in zip(header, values, strict=False):
            if value not in NONE and name in repeated:
                row[name].append(value)
            elif value not in NONE:
                row[name] = value
        if any(row.values()):
            yield line, row
    if short:
        _say_short(path, short)


@cache
def _say_short(path: Path, count: int) -> None:
    """Once, however often the file is read."""
    log.warning("%s: %d row(s) have fewer cells than the header: the last ones are read as null", path, count)


def encoding_of(path: Path) -> str:
    """UTF-16 if the file's first bytes say so, else UTF-8."""
    with path.open("rb") as file:
        start = file.read(2)
    return "utf-16" if start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"


def first_line(path: Path) -> str:
    """The first line that isn't empty, or "" if there is none or it can't be read."""
    with suppress(UnicodeError), _opened(path, encoding_of(path)) as file:
        while line := file.readline(FIRST):
            if line.strip():
                return line.strip("\r\n")
    return ""


def separator_of(line: str) -> str:
    """What separates the columns in the first line of a table: of the characters outside quotes, the most frequent."""
    outside = "".join(line.split('"')[::2])
    return max(SEPARATORS, key=outside.count)


def _opened(path: Path, encoding: str) -> TextIO:
    return path.open(encoding=encoding, newline="")


def _separator(file: TextIO, path: Path) -> tuple[str, int]:
    """The separator, and the number of lines before the header."""
    try:
        line = file.readline(FIRST).rstrip("\r\n")
    except UnicodeError:
        raise HallmarkError("not UTF-8 at or after this row", file=path, row=1, remedy=UTF8) from None
    if line[:-1].lower() == "sep=":
        if line[-1] not in SEPARATORS:
            remedy = "separate with commas, semicolons, tabs or bars"
            raise HallmarkError("`sep=` names another separator", file=path, row=1, remedy=remedy)
        return line[-1], 1
    return "\t" if path.suffix == ".tsv" else separator_of(line), 0


def _fits(path: Path, encoding: str, skipped: int, quoting: Quoting) -> bool:
    """Whether all rows have as many fields as the header."""
    try:
        return len({len(values) for _, values in _lines(path, encoding, "\t", skipped, quoting)}) <= 1
    except HallmarkError:
        return False


def _lines(
    path: Path, encoding: str, separator: str, skipped: int, quoting: Quoting
) -> Iterator[tuple[int, list[str]]]:
    """(number of its first line, fields) for each line that isn't empty, the header too."""
    csv.field_size_limit(2**31 - 1)
    with _opened(path, encoding) as file:
        line = 1
        try:
            for _ in range(skipped):
                file.readline()
            reader = csv.reader(file, delimiter=separator, strict=True, quoting=quoting)
            while True:
                line = skipped + reader.line_num + 1
                values = next(reader)
                if values:
                    yield line, values
        except StopIteration:
            return
        except UnicodeError:
            raise HallmarkError("not UTF-8 at or after this row", file=path, row=line, remedy=UTF8) from None
        except csv.Error as error:
            raise HallmarkError(f"not CSV ({error})", file=path, row=line, remedy="fix the quoting") from None
