"""The queue for review: what nobody has judged, the most useful first.

Each answer has three shares from 0 to 1, which are its ranks among all in the queue: how unsure the model was (by the
cascade's probability, else by its score; an answer without either counts as the least sure), how unlike every training
record the request is (one minus the highest TF-IDF cosine), and how often much the same was asked (the size of its cluster of
near duplicates). The weighted mean of the three is the order. Of a cluster, only the least sure is shown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from hallmark.answer.nearest import nearest
from hallmark.data.near import components, distinct, normalise
from hallmark.data.params import Dedupe
from hallmark.params.collecting import Review
from hallmark.service.collecting.duplicates import near_of
from hallmark.service.collecting.logged import Logged


@dataclass(frozen=True)
class Open:
    """A request that waits for a person: the masked text that was asked, and why it is where it is in the queue."""

    logged: Logged
    text: str
    likeness: float  # of the training record that is most like it
    count: int  # requests that are much the same
    useful: float


def queue(
    waiting: Sequence[tuple[Logged, str]], trained: Sequence[str], settings: Dedupe, review: Review
) -> list[Open]:
    """All that waits, one of each cluster, the most useful first."""
    import polars as pl

    if not waiting:
        return []
    texts, text = distinct(normalise(pl.Series([text for _, text in waiting], dtype=pl.String)))
    pairs = near_of(texts, settings)
    cluster = components(len(texts), pairs.left, pairs.right)[text].tolist()
    sizes = Counter(cluster)
    sure = _sure([logged for logged, _ in waiting])
    least: dict[int, int] = {}
    for number, label in enumerate(cluster):
        other = least.setdefault(label, number)
        if (sure[number], waiting[number][0].name) < (sure[other], waiting[other][0].name):
            least[label] = number
    shown = sorted(least.values())
    found = nearest(trained, [waiting[number][1] for number in shown], 1) if trained else None
    likeness = [best[0][1] if best else 0.0 for best in found] if found else [0.0] * len(shown)
    shares = [
        (review.unsure, ranks([-sure[number] for number in shown])),
        (review.far, ranks([-like for like in likeness])),
        (review.frequent, ranks([float(sizes[cluster[number]]) for number in shown])),
    ]
    whole = sum(weight for weight, _ in shares)
    opened = [
        Open(
            logged=waiting[number][0],
            text=waiting[number][1],
            likeness=likeness[place],
            count=sizes[cluster[number]],
            useful=round(sum(weight * share[place] for weight, share in shares) / whole, 6),
        )
        for place, number in enumerate(shown)
    ]
    return sorted(opened, key=lambda one: (-one.useful, one.logged.name))


def _sure(waiting: Sequence[Logged]) -> list[float]:
    """How sure the model was, by the one number that all have who have any; only the order counts."""
    calibrated = any(logged.probability is not None for logged in waiting)
    numbers = [logged.probability if calibrated else logged.score for logged in waiting]
    return [float("-inf") if number is None else number for number in numbers]


def ranks(values: Sequence[float]) -> list[float]:
    """The share of the others that each value is above, equal ones counted half: from 0 to 1, and 0.5 if all are equal."""
    from scipy.stats import rankdata

    if len(values) == 1:
        return [0.5]
    return [float(rank - 1) / (len(values) - 1) for rank in rankdata(values, method="average")]
