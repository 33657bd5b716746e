"""Fit the probability that an answer is right to the raw scores of answered records, and say how well it holds.

Whole groups are left out in turn: records of one customer resemble each other, and a score is for customers not seen.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hallmark.base.reports import Count
from hallmark.base.stats import Signed
from hallmark.judge.scores import Calibrated, Method

if TYPE_CHECKING:
    from numpy.typing import NDArray

FOLDS = 5
BINS = 10
STRENGTH = 1.0  # C of the logistic regression on standardised scores
LEAST_SLOPE = 1e-3  # of Platt's sigmoid: below it, chance would turn the order of the answers around
METHODS: tuple[Method, ...] = ("platt", "isotonic")


@dataclass(frozen=True)
class ReliabilityBin:
    """Records of neighbouring probabilities: how sure the score is of them on average, and how many are right."""

    records: Count
    expected: Signed
    right: Signed


@dataclass(frozen=True)
class Reliability:
    """How well probabilities fit what came out. `error`: expected calibration error, over bins of equally many records."""

    brier: float
    error: float
    bins: list[ReliabilityBin]


def by_hash(groups: Sequence[str], seed: int, purpose: str) -> list[str]:
    """The distinct groups in an order that depends on their names, the seed and the purpose alone."""

    def place(group: str) -> str:
        return hashlib.sha256(f"{purpose}:{seed}:{group}".encode("utf-8", "surrogatepass")).hexdigest()

    return sorted({*groups}, key=lambda group: (place(group), group))


def fit(raw: Sequence[Sequence[float]], right: Sequence[bool], groups: Sequence[str], seed: int) -> Calibrated:
    """The calibrated score of these records, by the method with the lower log loss on groups that its curve has not seen.

    The curve is fitted to logits of groups that the regression did not see. If all answers are right, or all wrong, there
    is nothing to learn an order from: it is then that of the first raw score, the mean.
    """
    import numpy as np

    table, passes = np.asarray(raw, dtype=float), np.asarray(right, dtype=bool)
    means, spread = table.mean(axis=0), table.std(axis=0)
    means, scales = _plain(means), _plain(np.where(spread > 1e-9, spread, 1.0))
    scaled = (table - means) / scales
    place = {group: number for number, group in enumerate(by_hash(groups, seed, "folds"))}
    fold = np.asarray([place[group] % FOLDS for group in groups])
    logits = np.zeros(len(passes))
    for rest, out in _folds(fold):
        weights, intercept = _logistic(scaled[rest], passes[rest])
        logits[out] = scaled[out] @ weights + intercept
    losses: dict[Method, float] = {}
    for method in METHODS:
        found = np.zeros(len(passes))
        for rest, out in _folds(fold):
            curve = _curve(method, logits[rest], passes[rest])
            found[out] = [curve.on_curve(logit) for logit in logits[out].tolist()]
        losses[method] = round(float(-np.log(np.where(passes, found, 1 - found)).mean()), 6)
    weights, intercept = _logistic(scaled, passes)
    curve = _curve(min(losses, key=lambda method: losses[method]), logits, passes)  # the first, if equal
    intercept = _plain([intercept])[0]
    return replace(curve, means=means, scales=scales, weights=_plain(weights), intercept=intercept)


def reliability(probabilities: Sequence[float], right: Sequence[bool]) -> Reliability:
    """Brier score, and expected calibration error over at most ten bins of equally many records (equal mass)."""
    import numpy as np

    found, passes = np.asarray(probabilities, dtype=float), np.asarray(right, dtype=float)
    _, place, counts = np.unique(found, return_inverse=True, return_counts=True)
    level = (np.bincount(place, passes) / counts)[place]  # of one probability, whichever bins its records fall into
    order = np.argsort(found, kind="stable")
    bins, error = [], 0.0
    for part in np.array_split(order, min(BINS, len(order))):
        expected, rate = float(found[part].mean()), float(level[part].mean())
        error += abs(expected - rate) * len(part) / len(order)
        bins.append(ReliabilityBin(len(part), round(expected, 6), round(rate, 6)))
    brier = float(np.sort((found - passes) ** 2).mean())
    return Reliability(round(brier, 6), round(error, 6), bins)


def _curve(method: Method, logits: NDArray[Any], right: NDArray[Any]) -> Calibrated:
    """The curve alone, without what makes a logit of raw scores.

    Both methods stay off 0 and 1 by what the number of records can't rule out (Platt 1999): no probability is certain."""
    import numpy as np

    high = (right.sum() + 1) / (right.sum() + 2)
    low = 1 / ((~right).sum() + 2)
    if method == "isotonic":
        from sklearn.isotonic import IsotonicRegression

        isotonic = IsotonicRegression(y_min=float(low), y_max=float(high), out_of_bounds="clip").fit(logits, right)
        knots = [[*_plain(knot)] for knot in zip(isotonic.X_thresholds_, isotonic.y_thresholds_, strict=True)]
        rising = [knot for i, knot in enumerate(knots) if not i or knots[i - 1][0] < knot[0]]
        return Calibrated([], [], [], 0.0, method, 1.0, 0.0, rising)
    from sklearn.linear_model import LogisticRegression

    share = np.where(right, high, low)
    both = LogisticRegression(C=1e6, tol=1e-8, max_iter=1000).fit(
        np.tile(logits, 2)[:, None], np.repeat([1, 0], len(logits)), np.concatenate([share, 1 - share])
    )
    slope, offset = float(both.coef_[0, 0]), float(both.intercept_[0])
    if slope < LEAST_SLOPE:  # these logits say nothing: all answers are as likely to be right as their share
        slope, offset = LEAST_SLOPE, float(np.log(share.mean() / (1 - share.mean())) - LEAST_SLOPE * logits.mean())
    slope, offset = _plain([slope, offset])
    return Calibrated([], [], [], 0.0, method, slope, offset, [])


def _logistic(table: NDArray[Any], right: NDArray[Any]) -> tuple[NDArray[Any], float]:
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    if right.all() or not right.any():
        return np.eye(table.shape[1])[0], 0.0
    model = LogisticRegression(C=STRENGTH, tol=1e-8, max_iter=1000).fit(table, right)
    return model.coef_[0], float(model.intercept_[0])


def _folds(fold: NDArray[Any]) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """(the rest, those left out) of each fold; a single group is its own rest."""
    parts = [fold == number for number in range(FOLDS) if (fold == number).any()]
    return [(~part if len(parts) > 1 else part, part) for part in parts]


def _plain(values: Any) -> list[float]:
    """As a report has them, and as they are used: nine significant digits."""
    return [float(f"{float(value):.9g}") for value in values]
