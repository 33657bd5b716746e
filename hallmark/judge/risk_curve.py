"""Risk against coverage: if only the answers with the highest scores go out, how many of them are wrong?

The area under this curve (AURC; Geifman and El-Yaniv 2017) says in one number how well a score orders answers: 0 if none is
wrong, the error rate if the score says nothing. It counts what goes out at low coverage over and over, so a single wrong
answer with the highest score weighs much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hallmark.base.stats import ClusterBootstrap, Interval, Signed

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_POINTS = 101  # of a curve in a report


@dataclass(frozen=True)
class Point:
    """With this share of the records answered, the share of the answers that is wrong; `threshold`: the lowest score."""

    coverage: Signed
    risk: Signed
    threshold: float


@dataclass(frozen=True)
class Curve:
    """Curve and area of one score. `excess`: the area less that of the ideal order, in which wrong answers come last."""

    score: str
    records: int
    groups: int
    area: Interval
    excess: float
    points: list[Point]


def curve(name: str, scores: Sequence[float], wrong: Sequence[bool], bootstrap: ClusterBootstrap) -> Curve:
    """The curve of a score, with intervals from the bootstrap's draws of customers."""
    import numpy as np

    values, errors = np.asarray(scores, dtype=float), np.asarray(wrong, dtype=bool)
    ones = np.ones((1, len(values)))
    (area,), (ideal,) = areas(values, errors, ones), areas(~errors, errors, ones)
    drawn = np.concatenate([areas(values, errors, counts) for counts in bootstrap.record_counts()])
    return Curve(
        score=name,
        records=bootstrap.records,
        groups=bootstrap.clusters,
        area=bootstrap.of_draws(float(area), drawn, (0.0, 1.0)).rounded(),
        excess=round(max(0.0, float(area - ideal)), 6),
        points=_points(values, errors),
    )


def area_difference(
    before: Sequence[float], after: Sequence[float], wrong: Sequence[bool], bootstrap: ClusterBootstrap
) -> Interval:
    """The area of one score less that of another on the same records, the same draws for both; below 0: `after` is better."""
    import numpy as np

    scores, errors = [np.asarray(one, dtype=float) for one in (before, after)], np.asarray(wrong, dtype=bool)

    def difference(counts: NDArray[Any]) -> NDArray[Any]:
        first, second = (areas(one, errors, counts) for one in scores)
        return second - first

    value = float(difference(np.ones((1, len(errors))))[0])
    drawn = np.concatenate([difference(counts) for counts in bootstrap.record_counts()])
    return bootstrap.of_draws(value, drawn, (-1.0, 1.0)).rounded()


def areas(scores: NDArray[Any], wrong: NDArray[Any], counts: NDArray[Any]) -> NDArray[Any]:
    """The area for each row of `counts` (m, n), which says how often each record is there.

    Records of one score go out together, at random: between two scores, the wrong answers grow evenly with the answers.
    The area is the integral of wrong / answers over the answers, in closed form; so it is the same if each record is
    there twice.
    """
    import numpy as np

    order = np.argsort(-scores.astype(float), kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(scores[order].astype(float)) != 0])
    here = np.add.reduceat(counts[:, order], starts, axis=1)
    bad = np.add.reduceat(counts[:, order] * wrong[order], starts, axis=1)
    answers, errors = np.cumsum(here, axis=1), np.cumsum(bad, axis=1)
    before, errors_before = answers - here, errors - bad
    rate = np.divide(bad, here, out=np.zeros(here.shape), where=here > 0)
    growth = np.log(np.divide(answers, before, out=np.ones(here.shape), where=before > 0))
    area: NDArray[Any] = (rate * here + (errors_before - rate * before) * growth).sum(axis=1) / answers[:, -1]
    return area


def _points(scores: NDArray[Any], wrong: NDArray[Any]) -> list[Point]:
    """The curve at every score, or at most at 101 of them, evenly by coverage; the last answers all."""
    import numpy as np

    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.r_[np.diff(scores[order]) != 0, True])
    if len(ends) > MOST_POINTS:
        wanted = np.linspace(ends[0], ends[-1], MOST_POINTS)
        ends = ends[np.unique(np.searchsorted(ends, wanted.round()))]
    errors = np.cumsum(wrong[order])
    return [
        Point(
            round(float((end + 1) / len(order)), 6),
            round(float(errors[end] / (end + 1)), 6),
            round(float(scores[order[end]]), 6),
        )
        for end in ends
    ]
