"""Rows that are left out and counted: those `data.where` doesn't keep, and as `data.missing` says, those that lack something."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from hallmark.base.errors import HallmarkError
from hallmark.base.params import Data
from hallmark.base.records import columns_of
from hallmark.data.nested import value_at

Part = Literal["group", "input", "target"]
NOT = "!"  # before a value in `data.where`: rows with it are left out
OR_DROP = "or set data.missing to drop, which leaves such rows out"
PARTS: tuple[Part, ...] = ("group", "input", "target")


def is_blank(value: Any) -> bool:
    """Whether a value says nothing: null, or no more than white space."""
    return value is None or (isinstance(value, str) and not value.strip())


def is_kept(row: Mapping[str, Any], where: Mapping[str, Sequence[Any]], spaced: str | None = None) -> bool:
    """Whether a row has, in each column of `data.where`, one of the values there and none of those with `!` before it.

    Of a list, one item is enough; and for `!`, one part of a text between commas, semicolons or bars. `spaced`: the column of tags
    with spaces between them.
    """
    for column, named in where.items():
        value = value_at(row, column)
        has = {*map(_state, value or [None] if isinstance(value, list) else [value])}
        kept = wanted(named)
        out = {_state(one[1:]) for one in named if one not in kept}
        parts = parts_of(value, words=column == spaced) if out else ()
        if (kept and has.isdisjoint(map(_state, kept))) or not out.isdisjoint({*has, *map(_state, parts)}):
            return False
    return True


def wanted(named: Sequence[Any]) -> list[Any]:
    """The values of `data.where` without a `!` before them."""
    return [one for one in named if not (isinstance(one, str) and one.startswith(NOT))]


def spaced_tags(data: Data) -> str | None:
    """The column of tags, if spaces separate them."""
    return data.tags if data.tag_separator == " " else None


def parts_of(value: Any, *, words: bool = False) -> list[str]:
    """The items of a list; or of a text what stands between commas, semicolons or bars, or its words."""
    if isinstance(value, list):
        return [str(item).strip() for item in value if not is_blank(item)]
    text = "" if is_blank(value) else str(value)
    return [part for of in re.split(r"[\s,;|]+" if words else r"[,;|]", text) if (part := of.strip())]


def _state(value: Any) -> str | None:
    text = str(value).removesuffix(".0") if isinstance(value, float) else str(value)
    return None if is_blank(value) else text.strip().casefold()


def stands_for_none(value: Any, texts: Collection[str]) -> bool:
    """Whether a target is one of the texts that stand for a missing one, or a list of nothing else."""
    items = value if isinstance(value, list) and value else [value]
    return all(str(item).strip() in texts for item in items)


class MissingValueError(HallmarkError):
    """A row has no value for the part of a record that `part` names."""

    def __init__(self, problem: str, *, part: Part, **where: Any) -> None:
        super().__init__(problem, **where)
        self.part = part


@dataclass
class Missing:
    """The rows that were left out, by the part they lack (the first, of several), and those that `data.where` doesn't keep."""

    unwanted: int = 0
    counts: Counter[Part] = field(default_factory=Counter)
    first: MissingValueError | None = None
    alone: int = 0  # rows that stay without a group

    @property
    def rows(self) -> int:
        return self.counts.total()

    def leave_out(self, error: MissingValueError) -> None:
        """Count a row."""
        self.counts[error.part] += 1
        self.first = self.first or error

    def report(self) -> dict[str, int]:
        """The counts of all parts, zeros too."""
        return {part: self.counts[part] for part in PARTS}

    def lines(self, data: Data) -> Iterator[str]:
        if self.unwanted:
            yield f"{self.unwanted} rows left out by data.where ({', '.join(data.where)})"
        if self.rows:
            yield f"{self.rows} rows left out (data.missing: {data.missing}): {self.words(data)}"
        if self.alone:
            yield f"{self.alone} rows without group ({data.group}) are a group each"

    def words(self, data: Data) -> str:
        """The counts in words, with the user's own columns."""
        words = []
        for part in (part for part in PARTS if self.counts[part]):
            name = getattr(data, part)
            columns = name if isinstance(name, list) else columns_of(name)
            words.append(f"{self.counts[part]} without {part} ({', '.join(columns)})")
        return ", ".join(words)
