"""Rows that are left out and counted: those `data.where` doesn't keep, and as `data.missing` says, those that lack something."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from hallmark.base.errors import HallmarkError
from hallmark.base.params import Data
from hallmark.base.records import columns_of
from hallmark.data.nested import value_at

Part = Literal["group", "input", "target"]
OR_DROP = "or set data.missing to drop, which leaves such rows out"
PARTS: tuple[Part, ...] = ("group", "input", "target")


def is_blank(value: Any) -> bool:
    """Whether a value says nothing: null, or no more than white space."""
    return value is None or (isinstance(value, str) and not value.strip())


def is_kept(row: Mapping[str, Any], where: Mapping[str, Sequence[Any]]) -> bool:
    """Whether a row has one of the values that `data.where` names, in each of its columns; of a list, one item is enough."""
    values = ((value_at(row, column), kept) for column, kept in where.items())
    lists = ((value or [None] if isinstance(value, list) else [value], kept) for value, kept in values)
    return all(not {*map(_state, of)}.isdisjoint(map(_state, kept)) for of, kept in lists)


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
