"""Tokens with a tag each, as tools for named entities write them: a token a line, a blank line after each sentence.

The first column is the token, the last one its BIO tag, and what stands between (part of speech, chunk) isn't read. Columns
are separated by tabs, or by spaces where the line has no tab. A line `-DOCSTART-` begins a document, and so do comments
(`# name = value`, as in CoNLL-U) that are of all its sentences. A sentence with `_` for each tag was not annotated yet.
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


def read_conll(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number of its first line, sentence) for each sentence: what comments say, its `tokens`, `tags` and, if it has some, `document`."""
    first, document, width = 0, 0, 0
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
        known = tags[:1] in ([], ["_"]) if columns[-1] == "_" else TAG.fullmatch(columns[-1]) and tags[:1] != ["_"]
        comment = None if known and len(columns) > 1 else _COMMENT.fullmatch(line)
        if not line.strip() or columns[0] == "-DOCSTART-" or comment:
            yield from sentence()
            if comment is None:
                document += bool(line.strip())
            elif comment[1]:
                head = head or comment[1]
                said = (said if comment[1] != head else {}) | {comment[1]: comment[2]}
            continue
        problem = None
        width = width or len(columns)
        if len(columns) != width or width == 1:
            problem = f"not {width} columns, as the first token has, but {len(columns)}" if width > 1 else "no tag"
        elif not columns[0].strip():
            problem = "no token"
        elif not known:
            problem = "the last column is no BIO tag"
        if problem:
            remedy = "write a token and its tag on each line (O, or B-, I- and a label), a blank line after a sentence"
            raise HallmarkError(problem, file=path, row=number, remedy=remedy)
        first = first if tokens else number
        tokens.append(columns[0])
        tags.append(columns[-1])
    yield from sentence()


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
