"""Intervals and tests for rates, ratios and paired differences of records that come in clusters (customers).

Records of one customer resemble each other, so a bootstrap draws customers, each with all its records. Everything is
seeded, and sums are exact in any order, so the same input gives the same digits.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from pydantic import Field

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Statistic = Callable[[NDArray[Any]], NDArray[Any]]

Signed = Annotated[float, Field(ge=-1, le=1)]  # a share of 1, or a difference of shares: checked where a report is read
GRID = 2.0**30  # values are rounded to multiples of 1/GRID: their sums are then exact, whatever the order


@dataclass(frozen=True)
class Interval:
    """A share or a difference of shares, and its confidence interval, which holds it."""

    value: Signed
    low: Signed
    high: Signed

    def __post_init__(self) -> None:
        """Refuse an interval that doesn't hold its value."""
        if not self.low <= self.value <= self.high:
            raise ValueError("a value outside of its interval")

    def rounded(self, digits: int = 6) -> Interval:
        return Interval(*(round(number, digits) + 0.0 for number in (self.value, self.low, self.high)))  # never "-0.0"


def wilson(successes: int, n: int, confidence: float) -> Interval:
    """Wilson's score interval of the rate `successes / n` of independent trials; (0, 0, 1) if n is 0.

    Source: Wilson 1927; holds up at rates of 0 and 1, where the normal interval has no width.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n}")
    if n == 0:
        return Interval(0.0, 0.0, 1.0)
    from scipy.stats import binomtest

    bounds = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    return Interval(successes / n, float(bounds.low), float(bounds.high))


def newcombe_paired(both: int, lost: int, won: int, n: int, confidence: float) -> Interval:
    """Newcombe's interval of the difference (after minus before) of two paired rates of `n` independent records.

    `both`: passed before and after; `lost`: only before; `won`: only after. Source: Newcombe 1998, method 10; like
    Wilson's interval, from which it is made, it has a width even if nothing changed. (0, -1, 1) if n is 0.
    """
    if min(both, lost, won, n - both - lost - won) < 0:
        raise ValueError(f"{both}, {lost} and {won} of {n}")
    if n == 0:
        return Interval(0.0, -1.0, 1.0)
    neither = n - both - lost - won
    before, after = wilson(both + lost, n, confidence), wilson(both + won, n, confidence)
    cross = float(both * neither - lost * won)
    if cross > 0:  # the continuity correction
        cross = max(cross - n / 2, 0.0)
    spread = math.sqrt((both + lost) * (won + neither) * (both + won) * (lost + neither))
    phi = cross / spread if spread else 0.0
    value = after.value - before.value
    down = (after.value - after.low, before.high - before.value)
    up = (after.high - after.value, before.value - before.low)
    low, high = (math.sqrt(max(a * a - 2 * phi * a * b + b * b, 0.0)) for a, b in (down, up))
    return Interval(value, max(-1.0, value - low), min(1.0, value + high))


def newcombe_independent(first: tuple[int, int], second: tuple[int, int], confidence: float) -> Interval:
    """Newcombe's interval of the difference (second minus first) of two rates, each given as successes and trials.

    Source: Newcombe 1998, method 10 for independent groups: the distances to the ends of Wilson's intervals, squared and
    added. (difference, -1, 1) if either has no trial.
    """
    before, after = wilson(*first, confidence), wilson(*second, confidence)
    value = after.value - before.value
    if not first[1] or not second[1]:
        return Interval(value, -1.0, 1.0)
    low = math.hypot(after.value - after.low, before.high - before.value)
    high = math.hypot(after.high - after.value, before.value - before.low)
    return Interval(value, max(-1.0, value - low), min(1.0, value + high))


def effective_clusters(groups: Sequence[str]) -> float:
    """Kish's effective number of clusters: the square of the sum of sizes by the sum of their squares."""
    sizes = Counter(groups).values()
    return sum(sizes) ** 2 / sum(size**2 for size in sizes)


class McNemar(NamedTuple):
    """Paired passes and fails: how many records were `lost` (pass to fail), `won` (fail to pass), and the p value."""

    lost: int
    won: int
    p: float


def mcnemar(before: ArrayLike, after: ArrayLike) -> McNemar:
    """Exact two-sided McNemar test of paired booleans of shape (n,): binomial on the records that changed.

    It takes records as independent; with clusters, read it together with `ClusterBootstrap.difference`.
    """
    import numpy as np

    first, second = np.asarray(before, dtype=bool), np.asarray(after, dtype=bool)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"not paired: shapes {first.shape} and {second.shape}")
    lost, won = int((first & ~second).sum()), int((~first & second).sum())
    return McNemar(lost, won, p_of_changes(lost, won))


def p_of_changes(lost: int, won: int) -> float:
    """The p of McNemar's exact test, which rests on the records that changed alone."""
    from scipy.stats import binomtest

    return float(binomtest(lost, lost + won).pvalue) if lost + won else 1.0


def judge(difference: Interval, p: float, alpha: float) -> str:
    """`better`, `worse`, or `not_shown` unless interval and test both leave out zero on one side."""
    if p >= alpha or difference.low <= 0 <= difference.high:
        return "not_shown"
    return "better" if difference.value > 0 else "worse"


class ClusterBootstrap:
    """Draws customers with replacement, `draws` times, once; every measure is then read from the same draws.

    Interval: percentiles of the draws, at levels widened for the number of clusters (Hesterberg 2015, "expanded
    percentile": alpha/2 becomes Phi(-sqrt(G/(G-1)) * t(alpha/2, G-1)) for G clusters), since plain percentiles are too
    narrow when clusters are few. Clusters of unequal size count as fewer: G is Kish's effective number
    (`effective_clusters`). One cluster says nothing about others: its interval is all of `bounds`.

    Nearly all draws can lie on one side of the value: percentiles don't correct a bias (Efron and Tibshirani 1993, section
    14.3). So an interval is made to hold its value: it only gets wider, and covers at least as often.
    """

    def __init__(
        self, groups: Sequence[str], *, confidence: float, draws: int, seed: int, effective: float | None = None
    ) -> None:
        """`groups`: the cluster of each record, length n, in record order. `effective`: how many clusters they count as."""
        import numpy as np
        from scipy.stats import t

        if not len(groups):
            raise ValueError("no records")
        names, self._of_record = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
        self.records, self.clusters, self.confidence = len(groups), len(names), confidence
        picks = np.random.default_rng(seed).integers(0, self.clusters, size=(draws, self.clusters))
        flat = picks + np.arange(draws)[:, None] * self.clusters
        counts = np.bincount(flat.ravel(), minlength=draws * self.clusters)
        self._weights = counts.reshape(draws, self.clusters).astype(float)  # (draws, clusters)
        if self.clusters > 1:
            effective = effective_clusters(groups) if effective is None else effective
            widen = math.sqrt(effective / (effective - 1))
            self._tail = NormalDist().cdf(widen * float(t.ppf((1 - confidence) / 2, effective - 1)))

    def rate(self, passed: ArrayLike) -> Interval:
        """The share of true in booleans of shape (n,), never narrower than Wilson's interval.

        If every record passes (or fails) a bootstrap sees no spread at all; Wilson's interval is the floor.
        """
        import numpy as np

        passes = np.asarray(passed, dtype=bool)
        mean, floor = self.mean(passes), wilson(int(passes.sum()), self.records, self.confidence)
        return Interval(mean.value, min(mean.low, floor.low), max(mean.high, floor.high))

    def mean(self, values: ArrayLike, bounds: tuple[float, float] = (0.0, 1.0)) -> Interval:
        """The mean over records of values of shape (n,)."""
        import numpy as np

        column = np.asarray(values, dtype=float)
        return self.statistic(np.column_stack([column, np.ones(len(column))]), ratio, bounds)

    def statistic(self, columns: ArrayLike, of: Statistic, bounds: tuple[float, float] = (0.0, 1.0)) -> Interval:
        """A measure that is computed from column sums, such as F1 from counts: `f1`, `precision`, `recall`, `ratio`.

        `columns`: (n, k), one row per record. `of`: maps sums of shape (m, k) to values of shape (m,).
        """
        sums = self._sums(columns)
        value = float(of(sums.sum(axis=0, keepdims=True))[0])
        return self.of_draws(value, of(self._weights @ sums), bounds)

    def difference(
        self,
        before: ArrayLike,
        after: ArrayLike,
        of: Statistic | None = None,
        bounds: tuple[float, float] = (-1.0, 1.0),
    ) -> Interval:
        """`after` minus `before` on the same records, the same draws for both (paired).

        Both are (n, k) with `of` as in `statistic`, or values of shape (n,) whose means are compared (`of` None).
        """
        value, draws = self._differences(before, after, of)
        return self.of_draws(value, draws, bounds)

    def rate_difference(self, before: ArrayLike, after: ArrayLike) -> Interval:
        """`after` minus `before` of paired booleans of shape (n,), never narrower than Newcombe's paired interval.

        The floor is for what hardly ever happens: a bootstrap of ten zeros would be sure that it never does.
        """
        import numpy as np

        first, second = np.asarray(before, dtype=bool), np.asarray(after, dtype=bool)
        difference = self.difference(first, second)
        both, lost, won = (int(flags.sum()) for flags in (first & second, first & ~second, ~first & second))
        floor = newcombe_paired(both, lost, won, self.records, self.confidence)
        return Interval(difference.value, min(difference.low, floor.low), max(difference.high, floor.high))

    def interval(self, columns: Sequence[Any], statistic: str) -> Interval:
        """A measure whose `columns` are read as its `statistic` says (`hallmark/task/measure.py`)."""
        if statistic in RECORDWISE:
            return self.rate(columns) if statistic == "rate" else self.mean(columns)
        return self.statistic(columns, STATISTICS[statistic])

    def interval_of_difference(self, before: Sequence[Any], after: Sequence[Any], statistic: str) -> Interval:
        """`after` minus `before` of such a measure, on the same records."""
        if statistic in RECORDWISE:
            return self.rate_difference(before, after) if statistic == "rate" else self.difference(before, after)
        return self.difference(before, after, STATISTICS[statistic])

    def drawn(self, columns: Sequence[Any], statistic: str) -> NDArray[Any]:
        """Such a measure in each of the draws, shape (draws,): for what is computed from several measures of one draw."""
        import numpy as np

        table = np.asarray(columns, dtype=float)
        if statistic in RECORDWISE:
            table = np.column_stack([table, np.ones(len(table))])
        return STATISTICS.get(statistic, ratio)(self._weights @ self._sums(table))

    def record_counts(self, cells: int = 2**23) -> Iterator[NDArray[Any]]:
        """How often each draw has each record, shape (some of the draws, n): for measures that records' order decides.

        `cells`: the most numbers of one part, so that many records don't need much memory.
        """
        step = max(1, cells // self.records)
        for start in range(0, len(self._weights), step):
            yield self._weights[start : start + step, self._of_record]

    def of_draws(self, value: float, draws: NDArray[Any], bounds: tuple[float, float]) -> Interval:
        """The interval of what was computed from measures of each draw (`drawn`); `value`: the same from all records."""
        import numpy as np

        if self.clusters == 1:
            return Interval(value, *bounds)
        low, high = np.quantile(draws, [self._tail, 1 - self._tail])
        return Interval(value, max(bounds[0], min(value, float(low))), min(bounds[1], max(value, float(high))))

    def records_needed(
        self, before: ArrayLike, after: ArrayLike, difference: float, power: float, of: Statistic | None = None
    ) -> int | None:
        """About how many records, clustered like these, show a true `difference` with that power at this confidence.

        From the spread of the paired difference over the draws, which falls with the square root of the records.
        None if no spread was seen: these records can't say.
        """
        _, draws = self._differences(before, after, of)
        spread = float(draws.std())
        if spread == 0 or self.clusters == 1 or not self._tail:  # of groups as uneven as can be, no bound is left
            return None
        reach = -NormalDist().inv_cdf(self._tail) + NormalDist().inv_cdf(power)
        return math.ceil(self.records * (reach * spread / difference) ** 2)

    def _differences(self, before: ArrayLike, after: ArrayLike, of: Statistic | None) -> tuple[float, NDArray[Any]]:
        import numpy as np

        if of is None:
            before, after = (
                np.column_stack([np.asarray(x, dtype=float), np.ones(self.records)]) for x in (before, after)
            )
            of = ratio
        first, second = self._sums(before), self._sums(after)
        whole = of(second.sum(axis=0, keepdims=True)) - of(first.sum(axis=0, keepdims=True))
        return float(whole[0]), of(self._weights @ second) - of(self._weights @ first)

    def _sums(self, columns: ArrayLike) -> NDArray[Any]:
        """(n, k) to (clusters, k)."""
        import numpy as np

        table = np.asarray(columns, dtype=float)
        if table.ndim != 2 or len(table) != self.records:
            raise ValueError(f"expected ({self.records}, k), got {table.shape}")
        table = np.round(table * GRID) / GRID
        sums = np.zeros((self.clusters, table.shape[1]))
        np.add.at(sums, self._of_record, table)
        return sums


def whole(columns: Sequence[Any], statistic: str) -> float:
    """A measure of all records, without an interval: its `columns` are read as its `statistic` says."""
    import numpy as np

    table = np.asarray(columns, dtype=float)
    if statistic in RECORDWISE:
        return float(table.mean())
    return float(STATISTICS[statistic](table.sum(axis=0, keepdims=True))[0])


def ratio(sums: NDArray[Any]) -> NDArray[Any]:
    """Columns (numerator, denominator); 0 if the denominator is 0."""
    return _divide(sums[:, 0], sums[:, 1])


def precision(sums: NDArray[Any]) -> NDArray[Any]:
    """Columns (true positives, false positives, false negatives)."""
    return _divide(sums[:, 0], sums[:, 0] + sums[:, 1])


def recall(sums: NDArray[Any]) -> NDArray[Any]:
    """Columns (true positives, false positives, false negatives)."""
    return _divide(sums[:, 0], sums[:, 0] + sums[:, 2])


def f1(sums: NDArray[Any]) -> NDArray[Any]:
    """Columns (true positives, false positives, false negatives): 2 TP / (2 TP + FP + FN)."""
    return _divide(2 * sums[:, 0], 2 * sums[:, 0] + sums[:, 1] + sums[:, 2])


def macro_f1(sums: NDArray[Any]) -> NDArray[Any]:
    """Columns (true positives, false positives, false negatives) for each of L labels, 3 L in all: the mean F1.

    Labels that are neither expected nor predicted in a draw are left out of its mean.
    """
    counts = sums.reshape(len(sums), -1, 3)
    denominator = 2 * counts[:, :, 0] + counts[:, :, 1] + counts[:, :, 2]
    scores = _divide(2 * counts[:, :, 0], denominator)
    return _divide(scores.sum(axis=1), (denominator > 0).sum(axis=1))


def _divide(numerator: NDArray[Any], denominator: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    return np.divide(numerator, denominator, out=np.zeros(numerator.shape), where=denominator != 0)


RECORDWISE = ("rate", "mean")
STATISTICS: dict[str, Statistic] = {
    "ratio": ratio,
    "precision": precision,
    "recall": recall,
    "f1": f1,
    "macro_f1": macro_f1,
}
