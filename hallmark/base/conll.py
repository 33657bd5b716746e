"""Tokens with a tag each, as tools for named entities write them: a token a line, a blank line after each sentence.

The first column is the token, the last one its BIO tag, and what stands between (part of speech, chunk) isn't read. Where
the first line names the columns, as in CoNLL-U Plus (`# global.columns = ID FORM NER`), FORM is the token and the last
column of BIO tags has its tag, unless its name says that a machine wrote it. Columns are separated by tabs, or by spaces where
the line has no tab. A line `-DOCSTART-` begins a document, and so do comments (`# name = value`, as in CoNLL-U) that are of
all its sentences. A sentence with `_` for each tag was not annotated yet.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hallmark.base.errors import HallmarkError
from hallmark.base.tables import UTF8, encoding_of

TAG = re.compile(r"O|([BIESLU])-(.+)", re.DOTALL)  # BIO, IOBES and BILOU
_COMMENT = re.compile(r"#\s*(?:([^=]*[^=\s])\s*=\s*(.*\S)?)?.*")
_SPACES = re.compile(" +")
_NAMES = re.compile(r"#\s*global\.columns\s*=\s*(.+)")
_MACHINE = re.compile(r"(?i)(?:^|[\W_])(?:auto|silver|pred\w*|guess|model|machine|system|baseline)(?![a-z])")
_NUMBER = re.compile(r"\d+(?:[.-]\d+)?")  # also 3-4, a word of several tokens, and 3.1, one that was left unsaid


def read_conll(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number of its first line, sentence) for each sentence: what comments say, its `tokens`, `tags` and, if it has some, `document`."""
    first, document, width = 0, 0, 0
    word, last, number_of = _places(path)
    tokens: list[str] = []
    tags: list[str] = []
    said: dict[str, str | None] = {}  # by comments; the first of them begins a document
    head = None

    def sentence() -> Iterator[tuple[int, dict[str, Any]]]:
        if tokens:
            of = {"document": f"{path.stem} {document}"} if document else {}
            yield first, of | said | {"tokens": [*tokens], "tags": None if tags[0] == "_" else [*tags]}
        tokens.clear()
        tags.clear()

    for number, line in _lines(path):
        columns = [part.strip(" ") for part in line.split("\t")] if "\t" in line else _SPACES.split(line.strip(" "))
        tag = columns[last] if last < len(columns) else ""
        known = tags[:1] in ([], ["_"]) if tag == "_" else TAG.fullmatch(tag) and tags[:1] != ["_"]
        comment = None if known and len(columns) > 1 else _COMMENT.fullmatch(line)
        if not line.strip() or columns[0] == "-DOCSTART-" or comment:
            yield from sentence()
            if comment is None:
                document += bool(line.strip())
            elif comment[1] and not _NAMES.fullmatch(line):
                head = head or comment[1]
                said = (said if comment[1] != head else {}) | {comment[1]: comment[2]}
            continue
        problem = None
        width = width or len(columns)
        if number_of is not None and not "".join(columns[number_of : number_of + 1]).isdecimal():
            continue
        if len(columns) != width or width == 1:
            problem = f"not {width} columns, as the first token has, but {len(columns)}" if width > 1 else "no tag"
        elif not columns[word].strip():
            problem = "no token"
        elif not known:
            problem = "the last column is no BIO tag" if last == -1 else "no BIO tag"
        if problem:
            remedy = "write a token and its tag on each line (O, or B-, I- and a label), a blank line after a sentence"
            raise HallmarkError(problem, file=path, row=number, remedy=remedy)
        first = first if tokens else number
        tokens.append(columns[word])
        tags.append(tag)
    yield from sentence()


def _places(path: Path) -> tuple[int, int, int | None]:
    """Where a line has its token, its tag and, if it is numbered, its number: by the names in the first line, if it has some."""
    lines = _lines(path)
    if not (named := _NAMES.fullmatch(next(lines, (0, ""))[1])):
        return 0, -1, None
    names = named[1].split()
    values: list[set[str]] = [set() for _ in names]
    for _, line in lines:
        if len(cells := line.split("\t")) == len(names):
            for of, cell in zip(values, cells, strict=True):
                of.add(cell.strip(" "))
    tagged = [at for at, of in enumerate(values) if of - {"_"} and all(map(TAG.fullmatch, of - {"_"}))]
    words = [at for at, of in enumerate(values) if not all(map(_NUMBER.fullmatch, of)) and at not in tagged]
    if not tagged or not words:
        remedy = "put a tab between two columns, and tags (O, or B-, I- and a label) into one of them"
        raise HallmarkError(f"no column of {', '.join(names)} has BIO tags", file=path, row=1, remedy=remedy)
    word, number = (names.index(name) if name in names else None for name in ("FORM", "ID"))
    return words[0] if word is None else word, max(tagged, key=lambda at: (not _MACHINE.search(names[at]), at)), number


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines, each with its number, without their ends: one may have two carriage returns, from a file converted twice."""
    number, unfinished = 0, False
    try:
        with path.open(encoding=encoding_of(path), newline="") as file:
            for line in file:
                if not (unfinished and line == "\r\n"):
                    number += 1
                    yield number, line.rstrip("\r\n")
                unfinished = line.endswith("\r")
    except UnicodeError:
        raise HallmarkError("not UTF-8 at or after this row", file=path, row=number + 1, remedy=UTF8) from None
