"""Leaks between the sides of a split (shared groups, texts, near duplicates): find, drop and count them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from hallmark.base.files import MASKED
from hallmark.base.reading import NotJsonError, strict_json
from hallmark.base.tools import names_of
from hallmark.corpus.draw import draw_hash
from hallmark.corpus.near import Pairs
from hallmark.corpus.records import read_some, row_groups
from hallmark.corpus.texts import normalise, text_hashes, text_of
from hallmark.task.kinds.tool_call import calls_in

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

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
        same, close = _touched(text, np.isin(sides, BY_STRENGTH[:place]), near)
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
    ids: pl.Series, text: Array, near: Pairs, groups: Array, share: float, salt: str
) -> dict[str, dict[str, int]]:
    """What a split that draws single rows would leak, for comparison: with and without deduplication."""
    import numpy as np

    names, texts, owners = [], [], []
    for batch in read_some(row_groups(MASKED), "id", "group", normalise(text_of("prompt")).alias("text")):
        names.append(batch["id"])
        texts.append(text_hashes(batch["text"]))
        owners.append(text_hashes(batch["group"]))
    every = (np.unique(np.concatenate(hashes), return_inverse=True)[1] for hashes in (texts, owners))
    return {
        "after_dedupe": count_leaks(_random_sides([ids], share, salt), text, near, groups),
        "before_dedupe": count_leaks(_random_sides(names, share, salt), next(every), None, next(every)),
    }


def _random_sides(ids: Iterable[Iterable[str]], share: float, salt: str) -> Array:
    """The sides of a split that draws rows instead of groups."""
    import numpy as np

    draws = np.fromiter((int(draw_hash(salt, "row", name), 16) for names in ids for name in names), np.uint64)
    sides = np.full(len(draws), "train", object)
    sides[np.argsort(draws)[: round(share * len(draws))]] = "holdout"
    return sides


def _touched(text: Array, rows: Array, near: Pairs | None) -> tuple[Array, Array]:
    """Which texts occur in the given rows, and which are near duplicates of one of them."""
    import numpy as np

    count = int(text.max()) + 1 if near is None else len(near.cluster)
    same, close = np.zeros(count, bool), np.zeros(count, bool)
    same[text[rows]] = True
    if near is not None:
        close[near.right[same[near.left]]] = True
        close[near.left[same[near.right]]] = True
    return same, close


def joined_across(rows: pl.DataFrame, sides: Array) -> int:
    """How many groups share a duplicate cluster with a group on another side."""
    import polars as pl

    known = rows.select("group", "cluster", side=pl.Series(sides)).filter(pl.col("side") != "online")
    return known.filter(pl.col("side").n_unique().over("cluster") > 1)["group"].n_unique()


def called_functions(train: pl.DataFrame, held_out: pl.DataFrame) -> dict[str, int]:
    """How many functions the holdout calls, and how many of them training does not; its records, and how many of them call
    one that the model can't know: not called in training, and not among the record's tools.
    """
    trained = {name for answer in train["completion"] for name in _called(answer)}
    every, unknown = set[str](), 0
    for answer, tools in held_out.select("completion", "tools").iter_rows():
        names = _called(answer)
        every |= names
        unknown += not names <= trained.union(names_of(json.loads(tools or "[]")))
    return {"called": len(every), "new": len(every - trained), "records": len(held_out), "unknown": unknown}


def _called(answer: Iterable[dict[str, str]]) -> set[str]:
    """The functions that an answer calls."""
    try:
        return {str(call["name"]) for call in calls_in(strict_json([*answer][-1]["content"])) if "name" in call}
    except NotJsonError:  # a refusal in plain words
        return set()
