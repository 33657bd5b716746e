"""Which slices of the requests have moved: the share of requests with a word, a length, or a label of the answer.

The interval of a difference of shares takes customers as they are: it is linearised by customer (Taylor linearisation of a
ratio of totals of clusters; Cochran 1977, "Sampling techniques", ch. 6), a customer in both samples compared with itself.
There are many slices, so the level of each interval is that of Bonferroni: with the confidence stated, all of them hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from hallmark.base.stats import Interval, Signed, effective_clusters

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

By = Literal["word", "length", "label"]
MOST_SHOWN = 10  # of each kind


@dataclass(frozen=True)
class Slice:
    """The share of the requests that have something, in both samples; `difference`: today minus reference."""

    by: By
    name: str
    reference: Signed
    today: Signed
    difference: Interval


def moved(
    groups: Sequence[str],
    later: Array,
    slices: dict[tuple[By, str], Sequence[int]],
    *,
    confidence: float,
    least_groups: int,
) -> list[Slice]:
    """The slices whose interval leaves out 0, by kind the largest differences first.

    `slices`: the rows that are in each. Only those count that have rows of `least_groups` customers: what fewer say may be
    about themselves, and shows nothing.
    """
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.stats import t

    names, of_group = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
    keys = [key for key, rows in slices.items() if len({*of_group[list(rows)].tolist()}) >= least_groups]
    if not keys:
        return []
    rows = np.concatenate([np.asarray(slices[key]) for key in keys])
    columns = np.repeat(np.arange(len(keys)), [len(slices[key]) for key in keys])
    counts, sizes = [], []
    for side in (~later, later):
        here = side[rows]
        place = (of_group[rows[here]], columns[here])
        counts.append(coo_array((np.ones(here.sum()), place), (len(names), len(keys))).tocsr())
        sizes.append(np.bincount(of_group[side], minlength=len(names)).astype(float))
    before, after = (np.asarray(x.sum(axis=0)).ravel() / n.sum() for x, n in zip(counts, sizes, strict=True))
    spread = np.sqrt(np.maximum(_variance(counts, sizes, (before, after)), 0.0))
    effective = min(
        effective_clusters([group for group, on in zip(groups, side, strict=True) if on]) for side in (~later, later)
    )
    reach = float(t.ppf(1 - (1 - confidence) / (2 * len(keys)), max(effective - 1, 1.0)))
    found = []
    for (by, name), old, new, width in zip(keys, before, after, reach * spread, strict=True):
        value = float(new - old)
        if abs(value) > width:
            low, high = max(-1.0, value - float(width)), min(1.0, value + float(width))
            interval = Interval(value, low, high).rounded()
            found.append(Slice(by, name, round(float(old), 6), round(float(new), 6), interval))
    found.sort(key=lambda each: (each.by, -abs(each.difference.value), each.name))
    kept = {by: [each for each in found if each.by == by][:MOST_SHOWN] for by in ("label", "length", "word")}
    return [each for rows_of in kept.values() for each in rows_of]


def _variance(counts: list[Any], sizes: list[Array], shares: tuple[Array, Array]) -> Array:
    """Of each difference of shares: the sum over customers of the square of what each adds to it."""

    def product(one: int, other: int) -> Array:
        x, y, n, m = counts[one], counts[other], sizes[one], sizes[other]
        p, q = shares[one], shares[other]
        both = x.multiply(y).sum(axis=0) - q * (x.T @ m) - p * (y.T @ n) + p * q * (n @ m)
        return both / (n.sum() * m.sum())

    customers = len(sizes[0])
    return (product(0, 0) + product(1, 1) - 2 * product(0, 1)) * customers / (customers - 1)
