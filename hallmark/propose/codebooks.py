"""Tables with the names of codes, next to the rows or in their folder."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

from hallmark.base.document import objects
from hallmark.base.tables import separator_of

TABLES = (".csv", ".tsv", ".txt")
CODEBOOK = "codebook"  # folder in a copy, with the names of codes
MOST_REPEATED = 1.5  # rows for each name, at most
_NUMBER = re.compile(r"[\d\s.,:/T-]*")  # or a date
SUCCESSOR = re.compile(  # in a column's name
    r"(?i)successor|successeur|successore|superseded|replaced|replacement|merged[\W_]*in|nachfolg|ersetzt[\W_]*durch|remplac.*par|suces+or|reemplazad|sustituid|sostituit|substitu[ií]d|vervangen|opvolg|efterf|etterf|nast[ęe]p|n[áa]stup"
)


def codebooks(texts: Mapping[Path, str]) -> list[Path]:
    """The small tables that have other columns than the rows."""
    headers: dict[str, list[Path]] = defaultdict(list)
    for file, text in texts.items():
        headers[text.partition("\n")[0].strip()].append(file)
    sizes = sorted((sum(len(texts[file]) for file in files), header) for header, files in headers.items())
    if len(sizes) < 2 or sizes[-1][0] < 2 * sizes[-2][0]:
        return []
    main, *others = [next(read_csv(header)) for _, header in reversed(sizes)]
    if any(2 * len({*main} & {*header}) > len(header) for header in others):
        return []  # rows of another kind, or without an answer
    return [file for _, header in sizes[:-1] for file in headers[header]]


def tables_in(value: Any) -> Iterator[list[list[str]]]:
    """The lists of flat objects in a JSON document, as the lines of tables."""
    for rows in filter(None, [value, *(part for of in objects(value) for part in of.values())]):
        if isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
            header = [*dict.fromkeys(key for row in rows for key in row)]
            cells = [["" if row.get(key) is None else str(row[key]) for key in header] for row in rows]
            if header:
                yield [header, *cells]


def read_csv(text: str) -> Iterator[list[str]]:
    """The lines of a table that aren't empty."""
    return filter(None, csv.reader(StringIO(text, newline=""), delimiter=separator_of(text.partition("\n")[0])))


def codebook(table: list[list[str]]) -> dict[str, dict[str, str]]:
    """By the name of the first column of a table without repeats: its keys, and their names in the column after it that repeats least.

    Names may repeat: an old code has its successor's. A table of several variables (variable, code, name) is read so for each
    that its first column names.
    """
    rows = table[1:]
    of: dict[str, list[list[str]]] = defaultdict(list)
    for row in filter(None, rows):
        of[row[0]].append(row[1:])
    several = {name: _unique(lines, len(lines)) for name, lines in of.items() if len(lines) > 1}
    if found := {name: dict(zip(*keys[:2], strict=True)) for name, keys in several.items() if len(keys) > 1}:
        return found
    columns, keys = [*zip(*table, strict=False)], _unique(table, len(rows))
    after = columns[columns.index(keys[0]) + 1 :] if keys else []
    names = [of for of in after if not all(map(_NUMBER.fullmatch, of[1:]))]
    best = max(names, key=lambda of: len({*of[1:]}), default=())
    return (
        {keys[0][0]: dict(zip(keys[0][1:], best[1:], strict=True))}
        if MOST_REPEATED * len({*best[1:]}) >= len(rows) > 0
        else {}
    )


def successors(table: list[list[str]]) -> dict[str, str]:
    """The key that a few keys of a table have in a column named so, as a code that is no longer used has its successor."""
    header, *rows = table or [[]]
    keys = next(iter(_unique(rows, len(rows))), ())
    for _, *column in (of for of in zip(header, *rows, strict=False) if SUCCESSOR.search(of[0])):
        later = {key: of for key, of in zip(keys, column, strict=False) if of}
        if later and 2 * len(later) < len(rows) and {*later.values()} <= {*keys} - {*later}:
            return later
    return {}


def _unique(lines: list[list[str]], count: int) -> list[tuple[str, ...]]:
    """The columns whose last `count` values differ from each other."""
    return [column for column in zip(*lines, strict=False) if len({*column[-count:]}) == count]
