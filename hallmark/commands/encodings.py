"""Files that are not UTF-8, as `propose` reads them: from a copy that is."""

from __future__ import annotations

import codecs
import csv
import re
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

from hallmark.base.reading import LARGEST
from hallmark.base.rows import files_of
from hallmark.base.tables import separator_of

TABLES = (".csv", ".tsv", ".txt")
TEXTS = (*TABLES, ".json", ".jsonl", ".ndjson")
CODEBOOK = "codebook"  # folder in a copy, with the names of codes
_SUCCESSOR = re.compile(  # in a column's name
    r"(?i)successor|successeur|successore|superseded|replaced|replacement|merged[\W_]*in|nachfolg|ersetzt[\W_]*durch|remplac.*par|suces+or|reemplazad|sustituid|sostituit|substitu[ií]d|vervangen|opvolg|efterf|etterf|nast[ęe]p|n[áa]stup"
)
_RUN = r"[^\W\d_a-zA-Z]{4}"  # letters that no Western word has in a row
_STRANGE = {  # what a text in another code page has, read as this one
    "cp1252": rf"(?<=[^\W\d_])[^\w\s\x00-\x7f’‘´`·­–—…][a-zà-ÿ]|(?<=[a-zà-ÿ])[¹²³ºª¼½¾](?=[a-zà-ÿ])|{_RUN}",
    "cp1250": _RUN,
    "cp1251": r"[a-zA-Z][\u0400-\u04ff]|[\u0400-\u04ff][a-zA-Z]",
}


@contextmanager
def in_utf8(file: Path, *, write: bool) -> Iterator[tuple[Path, str | None]]:
    """The file or folder, or its copy in UTF-8 with the encoding that it has: next to it if `write`, else for the time being."""
    files = [one for one in files_of(file) if one.parent == file] if file.is_dir() else [file]
    texts = (one for one in files if one.suffix in TEXTS and one.is_file() and one.stat().st_size <= LARGEST)
    data = {one: one.read_bytes() for one in texts}
    encodings = {one: encoding_of(of) for one, of in data.items()}
    strange = [of for one, of in encodings.items() if of and not (of == "utf-16" and one.suffix in TABLES)]

    def text(one: Path) -> str:
        return data[one].decode(encodings[one] or "utf-8-sig", "replace")

    books = codebooks({one: text(one) for one in data if file.is_dir() and one.suffix in TABLES})
    if not strange and not books:
        yield file, None
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = copy_of(file) if write else Path(folder) / file.name
        alone = not (write or file.is_dir())
        for other in set(file.parent.glob("*.*")) - {file} if alone else set():  # names of labels, say
            if other.suffix in (*TABLES, ".json"):
                (copy.parent / other.name).symlink_to(other.resolve())
        for one in files:
            to = copy / (CODEBOOK if one in books else "") / one.name if file.is_dir() else copy
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_bytes(text(one).encode() if one in data else one.read_bytes())
        yield copy, next(iter(strange), "utf-8")


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


def read_csv(text: str) -> Iterator[list[str]]:
    """The lines of a table that aren't empty."""
    return filter(None, csv.reader(StringIO(text, newline=""), delimiter=separator_of(text.partition("\n")[0])))


def codebook(text: str) -> dict[str, dict[str, str]]:
    """By the name of the first column of a table without repeats: its keys, and their names in the next such column.

    A table of several variables (variable, code, name) is read so for each that its first column names.
    """
    header, *rows = [*read_csv(text)] or [[]]
    if len(keys := _unique([header, *rows], len(rows))) > 1:
        return {keys[0][0]: dict(zip(keys[0][1:], keys[1][1:], strict=True))}
    of: dict[str, list[list[str]]] = defaultdict(list)
    for row in rows:
        of[row[0]].append(row[1:])
    found = {name: _unique(lines, len(lines)) for name, lines in of.items() if len(lines) > 1}
    return {name: dict(zip(*keys[:2], strict=True)) for name, keys in found.items() if len(keys) > 1}


def successors(text: str) -> dict[str, str]:
    """The key that a few keys of a table have in a column named so, as a code that is no longer used has its successor."""
    header, *rows = [*read_csv(text)] or [[]]
    keys = next(iter(_unique(rows, len(rows))), ())
    for _, *column in (of for of in zip(header, *rows, strict=False) if _SUCCESSOR.search(of[0])):
        later = {key: of for key, of in zip(keys, column, strict=False) if of}
        if later and 2 * len(later) < len(rows) and {*later.values()} <= {*keys} - {*later}:
            return later
    return {}


def _unique(lines: list[list[str]], count: int) -> list[tuple[str, ...]]:
    """The columns whose last `count` values differ from each other."""
    return [column for column in zip(*lines, strict=False) if len({*column[-count:]}) == count]


def copy_of(file: Path) -> Path:
    """Where the copy of a file in UTF-8 stands."""
    return file.with_name(f"{file.stem}.utf8{file.suffix}")


def encoding_of(data: bytes) -> str | None:
    """UTF-16 by its mark or its zeros, else the code page that fits the words best; None for UTF-8, and for no text."""
    try:
        data.decode()
        if 0 not in data:
            return None
    except UnicodeDecodeError:
        pass
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    zeros = [data[side::2].count(0) for side in (0, 1)]
    if any(zeros):
        return None if 4 * min(zeros) > max(zeros) else "utf-16-be" if zeros[0] > zeros[1] else "utf-16-le"
    bad: dict[str, int] = {}
    for encoding, strange in _STRANGE.items():
        try:
            bad[encoding] = len(re.findall(strange, data.decode(encoding)))
        except UnicodeDecodeError:
            continue
    return min(bad, key=lambda encoding: bad[encoding]) if bad else None
