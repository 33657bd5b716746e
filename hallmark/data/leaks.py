"""Leaks between the sides of a split (shared groups, texts, near duplicates): find, drop and count them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hallmark.base.files import MASKED
from hallmark.data.grouping import random_sides, row_draws
from hallmark.data.near import normalise, text_of
from hallmark.data.texts import read_some, row_groups, text_hashes

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from hallmark.data.near import Pairs

    Array = np.ndarray[Any, Any]

LEAK = "leak"
# Of two sides with the same text, the first keeps it.
BY_STRENGTH = ["holdout", "online", "validation", "calibration", "train"]


def drop_leaks(sides: Array, text: Array, near: Pairs) -> tuple[Array, dict[str, dict[str, int]]]:
    """Mark as `LEAK` rows whose text equals or nearly equals one on a stronger side (`BY_STRENGTH`).

    The holdout takes precedence and loses nothing; what came later of its groups (online) loses to it alone, since a text
    that was held out already is no new evidence; train is the weakest. `sides` has the side of each row, `text` the index
    of its text, `near` the near duplicates among the texts. The second value counts the marked rows.
    """
    import numpy as np

    sides, dropped = sides.copy(), {}
    for place, side in enumerate(BY_STRENGTH[1:], 1):
        stronger = BY_STRENGTH[:place]
        same, close = _touched(text, np.isin(sides, stronger), near)
        here = sides == side
        dropped[side] = {
            "same_text": int((here & same[text]).sum()),
            "near_text": int((here & (close & ~same)[text]).sum()),
        }
        sides[here & (same | close)[text]] = LEAK
    return sides, dropped


def count_leaks(sides: Array, text: Array, near: Pairs | None, groups: Array) -> dict[str, int]:
    """How many rows of the sides but train share a group, a text or (if `near` is given) a near-equal text with it.

    `groups` and `text` have the index of each row's group and text.
    """
    import numpy as np

    train, held = sides == "train", np.isin(sides, BY_STRENGTH[:-1])
    same, close = _touched(text, train, near)
    counts = {
        "held_out": int(held.sum()),
        "same_group": int((held & _touched(groups, train, None)[0][groups]).sum()),
        "same_text": int((held & same[text]).sum()),
    }
    return counts if near is None else counts | {"near_text": int((held & (close & ~same)[text]).sum())}


def row_split_leaks(
    rows: pl.DataFrame, text: Array, near: Pairs, groups: Array, share: float, salt: str
) -> dict[str, dict[str, int]]:
    """What a split that draws single rows would leak, for comparison: with and without deduplication."""
    import numpy as np
    import polars as pl

    draws, texts, owners = [], [], []
    columns = ("id", "group", normalise(text_of("prompt")).alias("text"))
    for batch in read_some(MASKED, (part.select(columns) for part in row_groups(MASKED))):
        draws.append(row_draws(batch["id"], salt))
        texts.append(text_hashes(batch["text"]))
        owners.append(text_hashes(batch["group"]))
    before = pl.DataFrame([np.concatenate(part) for part in (draws, texts, owners)], ["id", "text", "group"])
    every = (numbers_of(before[column]) for column in ("text", "group"))
    return {
        "after_dedupe": count_leaks(random_sides(row_draws(rows["id"], salt), share), text, near, groups),
        "before_dedupe": count_leaks(random_sides(before["id"].to_numpy(), share), next(every), None, next(every)),
    }


def numbers_of(names: pl.Series) -> Array:
    """A number for each name, from 0: the same for equal ones."""
    return (names.rank("dense") - 1).to_numpy()


def _touched(text: Array, rows: Array, near: Pairs | None) -> tuple[Array, Array]:
    """Which texts occur in the given rows, and which are near duplicates of one of them."""
    import numpy as np

    count = int(text.max()) + 1
    same, close = np.zeros(count, bool), np.zeros(count, bool)
    same[text[rows]] = True
    if near is not None:
        close[near.right[same[near.left]]] = True
        close[near.left[same[near.right]]] = True
    return same, close
