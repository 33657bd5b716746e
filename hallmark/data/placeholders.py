"""Texts that hold nothing but placeholders (`<PERSON_1>, <PHONE_1>`): they are no copies of each other, they are empty."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hallmark.data.near import T, normalise
from hallmark.mask.kinds import PLACEHOLDER

if TYPE_CHECKING:
    import polars as pl


def only_placeholders(texts: T) -> T:
    """Whether a text, as it stands in the record, has placeholders and, but for punctuation, nothing else."""
    left = normalise(texts.str.replace_all(PLACEHOLDER.pattern, " ")).str.replace_all(r"[\p{P}\s]+", "")
    return texts.str.contains(PLACEHOLDER.pattern) & (left == "")


def kinds_in(texts: pl.Series) -> dict[str, int]:
    """The kinds of placeholders in normalised texts, with the number of texts that have them."""
    found = ({name[1:].rsplit("_", 1)[0] for name in PLACEHOLDER.findall(text.upper())} for text in texts)
    return Counter(kind for kinds in found for kind in kinds)


def surplus(rows: pl.DataFrame, policy: str) -> pl.Series:
    """Which rows with such texts to drop; they are sorted by id.

    `drop`: all; `one`: all but the first with its target (and tools) in its group.
    """
    import polars as pl

    first = pl.struct("group", "answer").is_first_distinct()
    return rows.select(dropped=~first | (policy == "drop"))["dropped"]
