"""New rows that repeat a record: the text and the answer of one that there is, or of another new row.

As in `dedupe`, two texts with different answers are no copies: a correction is new, however well the text is known. Rows of
held-out customers go first, so that no copy of theirs under another customer's name gets into training instead.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hallmark.data.near import Pairs, distinct, near_pairs, normalise
from hallmark.data.params import Dedupe
from hallmark.data.placeholders import only_placeholders
from hallmark.service.collecting.existing_records import Known
from hallmark.service.collecting.rows import Row

if TYPE_CHECKING:
    import polars as pl


def near_of(texts: pl.Series, settings: Dedupe) -> Pairs:
    """The pairs of texts (distinct, normalised) that `dedupe` would take for near duplicates."""
    return near_pairs(
        texts,
        size=settings.shingle,
        threshold=settings.threshold,
        permutations=settings.permutations,
        file=Path("data/traces"),
        stage="collect",
    )


def without_copies(rows: Sequence[Row], known: Known, settings: Dedupe) -> tuple[list[Row], dict[str, int]]:
    """The rows that are no copies, in their order, and how many were exact and near copies."""
    import polars as pl

    order = sorted(range(len(rows)), key=lambda number: (not rows[number].online, number))
    asked = [*known.texts, *(rows[number].text for number in order)]
    answers = [*known.targets, *(rows[number].target for number in order)]
    if settings.over == "prompt_and_completion":
        asked = [f"{text}\n{answer}" for text, answer in zip(asked, answers, strict=True)]
    if not rows:
        return [], {"exact": 0, "near": 0}
    series = pl.Series(asked, dtype=pl.String)
    hollow = only_placeholders(series).to_list()
    texts, text = distinct(normalise(series))
    pairs = near_of(texts, settings)
    near: dict[int, list[int]] = defaultdict(list)
    for left, right in zip(pairs.left.tolist(), pairs.right.tolist(), strict=True):
        near[left].append(right)
        near[right].append(left)
    there: dict[int, set[str]] = defaultdict(set)  # by text: the answers that it has
    for number in range(len(known.texts)):
        there[int(text[number])].add(answers[number])
    stay, copies = set(), {"exact": 0, "near": 0}
    for place, number in enumerate(order, len(known.texts)):
        own, answer = int(text[place]), answers[place]
        if answer in there[own]:
            copies["exact"] += 1
        elif not hollow[place] and any(answer in there[other] for other in near[own]):
            copies["near"] += 1
        else:
            there[own].add(answer)
            stay.add(number)
    return [row for number, row in enumerate(rows) if number in stay], copies
