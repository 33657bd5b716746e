"""Labelled private spans, by which masking is measured."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from hallmark.base.errors import HallmarkError
from hallmark.base.key import pseudonym
from hallmark.base.params import Data
from hallmark.base.records import columns_of
from hallmark.base.rows import read_rows
from hallmark.data.raw import Raw


def gold_spans(path: Path, data: Data) -> dict[str, list[tuple[str, int, int, str]]]:
    """Gold spans by record id: (column, start, end, kind), in characters of that column."""
    if data.markup != "none":
        problem = "its spans count characters of the text with its markup, which is masked without"
        raise HallmarkError(
            problem, file=path, param="mask.gold", remedy="set mask.gold to null, or data.markup to none"
        )
    columns = columns_of(data.input)
    spans: dict[str, list[tuple[str, int, int, str]]] = defaultdict(list)
    rows = 0
    for rows, row in read_rows(path):
        texts: list[Any] = [row.get(key) for key in ("field", "kind")]
        ends: list[Any] = [row.get(key) for key in ("start", "end")]
        name = row.get("id")
        if (
            not all(isinstance(text, str) and text for text in texts)
            or not all(type(place) is int for place in ends)
            or type(name) not in (str, int)
            or not 0 <= ends[0] < ends[1]
            or not re.fullmatch("[A-Z][A-Z_]*", texts[1])
        ):
            raise HallmarkError(
                "not a gold span",
                file=path,
                row=rows,
                remedy="give each row the texts id, field and kind (such as PERSON), and the whole numbers start and end "
                "(0 <= start < end)",
            )
        span = (texts[0], ends[0], ends[1], texts[1])
        if span in spans[str(name)]:
            raise HallmarkError("the same span again", file=path, row=rows, remedy="keep one of the two")
        if span[0] in columns:  # columns that are not part of the input don't matter
            spans[str(name)].append(span)
    if not rows:
        raise HallmarkError("has no rows", file=path, remedy="label some spans, or set mask.gold to null")
    return dict(spans)


def crossed_off(names: set[str], rows: Iterable[Raw], key: bytes | None) -> Iterator[Raw]:
    """The rows; each takes its id, and with a key its pseudonym, off `names`."""
    for raw in rows:
        if names:
            names.discard(raw.id)
            if key is not None:
                names.discard(pseudonym(key, "id", raw.id))
        yield raw
