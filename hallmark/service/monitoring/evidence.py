"""The looks at a canary, and the evidence of each: whether customers of one release fare worse than those of another.

Each customer counts once, with a mean from 0 to 1. Customers of both releases are independent, since a hash of the
name decides who is answered by which. What the requests of one customer have to do with each other does not matter.

The hypothesis to reject is "the mean of the first is at least that of the second". Two players bet against it, one on
each release, with the stakes that turn out to be the best for the likeliest means that the hypothesis allows. Twice
the logarithm of their wealth is the empirical likelihood ratio. For independent customers with a finite variance it
becomes chi-square with one degree of freedom as customers grow (Owen 1990, "Empirical likelihood ratio confidence
regions", theorem 1; Jing 1995, "Two-sample empirical likelihood method", for two). So its root is held against the
normal distribution, or, more carefully with few customers, against Student's t, one degree of freedom below the
smaller release. Markov's inequality would ask for half as many customers again.

Where hardly anything ever goes wrong, a limit theorem says little about the few customers that there are. Each
release therefore gets one more customer, who speaks against the verdict as clearly as a customer can. With it, n
customers without a failure show a limit only if nearly as many would by an exact test.

A customer's mean changes as more requests come, so the test at each look is of all customers from the start. The times
of looks are fixed before the canary starts, and each look gets the share of what may go wrong that its time has of the
whole. These shares sum to 1, so the chance that any look errs is at most what was asked for (Bonferroni), however the
looks depend on each other. It is how Lan and DeMets 1983 spend alpha by time, without their assumption that what comes
between two looks is independent of what came before. What the data say may not choose the times; a clock may.

In the shadow, a customer is asked of both releases, and counts with the difference. Then there is one player, who bets
against "the mean difference is at least 0" (Owen's theorem 1 again). What makes one customer's requests harder than
another's, and one request harder than another, is in both and drops out.

What customers did before the canary started says nothing of the releases, but much of the customers: `adjusted`
takes off what it explains (CUPED; Deng, Xu, Kohavi and Walker 2013).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Each look is so much longer after the start than the one before. With closer looks, each has less of what may go
# wrong; with looks farther apart, one waits longer for the next.
GROWTH = 1.5
HALVINGS, STEPS = 16, 30
APART = 1e6  # the logarithm of a ratio without a limit, as a number that JSON has


@dataclass(frozen=True)
class Look:
    """The number of a look, from 1 on; the hours after the start; and its share of what may go wrong."""

    number: int
    hours: float
    share: float


def looks(first_hours: float, days: float) -> list[Look]:
    """All looks: the last after `days`, the first no sooner than after `first_hours`."""
    times = [24 * days]
    while times[0] / GROWTH >= first_hours:
        times.insert(0, times[0] / GROWTH)
    return [
        Look(number, time, (time - before) / times[-1])
        for number, (before, time) in enumerate(zip([0.0, *times], times, strict=False), 1)
    ]


@dataclass(frozen=True)
class Customers:
    """Their means, and how often each is there."""

    values: NDArray[Any]
    counts: NDArray[Any]

    @classmethod
    def of(cls, means: Sequence[float] | NDArray[Any], factor: float = 1.0) -> Customers:
        """`factor`: as if there were that many times as many customers, with the same means."""
        import numpy as np

        values, counts = np.unique(np.asarray(means, dtype=float), return_counts=True)
        return cls(values, factor * counts)

    def mapped(self, slope: float, offset: float = 0.0) -> Customers:
        """The same customers with `offset + slope * mean`."""
        return Customers(offset + slope * self.values, self.counts)

    @property
    def size(self) -> float:
        return float(self.counts.sum())

    def and_one(self, value: float) -> Customers:
        import numpy as np

        return Customers(np.append(self.values, value), np.append(self.counts, 1.0))


def lower(first: Customers, second: Customers | None, most: float, least: float, alpha: float) -> float:
    """How clearly the mean of the first is below that of the second: from 1 on, it is shown.

    `most` and `least`: the highest mean that a customer of the first can have, and the lowest of the second. Without a second,
    the mean of the first is held against 0: customers are their own control.
    """
    from scipy.stats import t

    freedom = (first.size if second is None else min(first.size, second.size)) - 1
    if freedom < 1:
        return 0.0
    ratio = likelihood_ratio(first.and_one(most), Customers.of([0.0]) if second is None else second.and_one(least))
    return math.sqrt(2 * ratio) / float(t.isf(alpha, freedom))


def likelihood_ratio(first: Customers, second: Customers) -> float:
    """The logarithm of the empirical likelihood ratio against "the mean of the first is at least that of the second".

    It is the sum of what both releases say against their having one and the same mean, at the mean where that is least.
    The sum is convex in that mean, which lies between theirs.
    """
    import numpy as np

    arms = (first, second)
    means = [float(arm.counts @ arm.values) / arm.size for arm in arms]
    if means[0] >= means[1]:
        return 0.0
    low, high = max(means[0], second.values.min()), min(means[1], first.values.max())
    if low > high + 1e-9:  # no mean is possible for both
        return APART
    low, bets = min(low, high), [0.0, 0.0]
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        bets = [_best_bet(arm, middle, bet) for arm, bet in zip(arms, bets, strict=True)]
        if first.size * bets[0] + second.size * bets[1] > 0:  # the slope of the sum is minus this
            low = middle
        else:
            high = middle
    found = (arm.counts @ np.log1p(bet * (arm.values - middle)) for arm, bet in zip(arms, bets, strict=True))
    return max(0.0, float(sum(found)))


def _best_bet(arm: Customers, mean: float, bet: float) -> float:
    """The stake that makes most of these customers against this mean, by Newton's method from `bet` on."""
    off = arm.values - mean
    most, least = -1 / min(off.min(), -1e-12), -1 / max(off.max(), 1e-12)
    bet = min(max(bet, 0.999 * least), 0.999 * most)
    for _ in range(STEPS):
        gain = off / (1 + bet * off)
        step = bet + float(arm.counts @ gain) / max(float(arm.counts @ gain**2), 1e-300)
        step = (bet + most) / 2 if step >= most else (bet + least) / 2 if step <= least else step
        if abs(step - bet) <= 1e-8 * max(1.0, abs(bet)):
            return step
        bet = step
    return bet


def adjusted(now: Sequence[NDArray[Any]], before: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """The means of both releases' customers, less what their means from before the canary explain of them.

    `before` has nan for those who were not there then. All have the same slope, fitted within each release, so the
    difference of the releases has no say in it; its mean stays what it was, since chance assigns customers.
    """
    import numpy as np

    known = np.concatenate(before)
    if np.isfinite(known).sum() < 2 or not all(map(len, now)):
        return [*now]
    center = np.nanmean(known)
    filled = [np.where(np.isfinite(arm), arm, center) - center for arm in before]
    own = [arm - arm.mean() for arm in filled]
    spread = sum(float((arm**2).sum()) for arm in own)
    shared = sum(float((arm * values).sum()) for arm, values in zip(own, now, strict=True))
    # Means that are all the same differ by rounding, and a slope on that would be any number.
    slope = shared / spread if spread > 1e-24 * np.nansum(known**2) else 0.0
    return [values - slope * arm for values, arm in zip(now, filled, strict=True)]
