"""Rows of JSON: lines with an object each, or a document with a list of objects."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from hallmark.base.errors import HallmarkError
from hallmark.base.reading import LARGEST, NotJsonError, read_text, strict_json
from hallmark.records.reading import OWN_SOURCE, SOURCE, ReadFile, Row, Rows, files_at, listed, seen


def json_lines(path: str | Path) -> Iterator[Row]:
    """The objects of a file below data/raw with one in each line; `row["source"]` is the row's place."""
    return _rows(path, read_json_lines, (".jsonl", ".ndjson"))


def json_rows(path: str | Path) -> Iterator[Row]:
    """The objects of a JSON document below data/raw: a list, or the one list of objects in an object; else the object itself."""
    return _rows(path, read_json_rows, (".json",))


def _rows(path: str | Path, read: Callable[[Path, str], Rows], endings: tuple[str, ...]) -> Iterator[Row]:
    into = seen()
    for name, place in files_at(path, into.root, endings):
        file = into.begin(ReadFile(name, again=partial(_read, read, place, name)))
        for number, values in file.again():
            file.rows += 1
            file.columns.update(dict.fromkeys(values))
            yield Row({**values, SOURCE: f"{name}:{number}"}, file)


def _read(read: Callable[[Path, str], Rows], place: Path, name: str) -> Rows:
    for number, values in read(place, name):
        if SOURCE in values:
            values = {OWN_SOURCE if key == SOURCE else key: value for key, value in values.items()}
        yield number, values


def read_json_lines(path: Path, name: str) -> Rows:
    """(line, object) for each line that is not empty."""
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(LARGEST), b""), 1):
            if not line.strip():
                continue
            try:
                row = strict_json(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except UnicodeDecodeError as error:
                remedy = "save the file as UTF-8 (`iconv -f latin1 -t utf-8`)"
                raise HallmarkError(
                    f"byte {error.start + 1} is not UTF-8", file=name, row=number, remedy=remedy
                ) from None
            except NotJsonError as error:
                remedy = "write one JSON object a line, or read a JSON document with `json_rows`"
                raise HallmarkError(f"not JSON ({error})", file=name, row=number, remedy=remedy) from None
            if not isinstance(row, dict):
                remedy = "write one JSON object a line, or read a JSON document with `json_rows`"
                raise HallmarkError("not a JSON object", file=name, row=number, remedy=remedy)
            yield number, row


def read_json_rows(path: Path, name: str) -> Rows:
    """(number, object) for each row of a document; the number counts from 1."""
    text = read_text(path, "save the file as UTF-8, as JSON lines if it is large", math.inf).removeprefix("\ufeff")
    try:
        value = strict_json(text)
    except NotJsonError as error:
        remedy = "fix it; if it has an object in every line, read it with `json_lines`"
        raise HallmarkError(f"not JSON ({error})", file=name, row=error.line, remedy=remedy) from None
    if isinstance(value, dict):
        lists = {key: one for key, one in value.items() if isinstance(one, list) and one and _objects(one)}
        if len(lists) > 1:
            remedy = "read the document with Python's `json`, or write the rows into a file of their own"
            raise HallmarkError(f"{len(lists)} lists may be the rows: {listed(lists)}", file=name, remedy=remedy)
        value = next(iter(lists.values()), [value])
    if not isinstance(value, list):
        raise HallmarkError("not a list of objects", file=name, remedy="write a list of objects, or JSON lines")
    for number, row in enumerate(value, 1):
        if not isinstance(row, dict):
            raise HallmarkError("not a JSON object", file=name, row=number, remedy="write a list of objects")
        yield number, row


def _objects(values: list[Any]) -> bool:
    return all(isinstance(one, dict) for one in values)
