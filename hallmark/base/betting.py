"""Tests of the mean of bounded values by betting, valid for any number of values and any distribution.

A player bets that values from 0 to 1, which come in a fixed order, have a mean below `mean`: at each value he stakes a
part of what he has, and his wealth grows by 1 + bet * (mean - value). The bet rests on earlier values only. If each
value's mean, given the earlier ones, is at least `mean`, his wealth is a nonnegative supermartingale that starts at 1.
By Ville's inequality it ever reaches 1 / alpha with a probability of at most alpha, so 1 / (the most he ever had) is a
p value. Source: Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting", theorem 3,
with the bets of its predictable plug-in. These are the best ones where the mean is just far enough from `mean` to be
told from it.

That is so for values that are drawn independently from one population, in any order that does not follow from them:
nobody may sort them, or try several orders.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from hallmark.base.stats import Interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = Sequence[float] | NDArray[Any]

MOST_STAKED = 0.95  # of the wealth, if the next value is 1: with more, a few wrong answers in a row end the game


def log_wealth(values: Values, mean: float, alpha: float) -> float:
    """The logarithm of the most that the player ever has; `alpha`: the chance to err at which he aims.

    It never falls as `mean` rises, since the bets depend on it by their limit alone.
    """
    import numpy as np

    found = np.asarray(values, dtype=float)
    if not len(found) or mean >= 1:
        return 0.0
    seen = np.arange(2, len(found) + 2)
    means = (0.5 + np.cumsum(found)) / seen
    variances = (0.25 + np.cumsum((found - means) ** 2)) / seen
    before = np.concatenate([[0.25], variances[:-1]])
    bets = np.minimum(np.sqrt(2 * math.log(1 / alpha) / (len(found) * before)), MOST_STAKED / (1 - mean))
    return max(0.0, float(np.cumsum(np.log1p(bets * (mean - found))).max()))


def p_value(values: Values, mean: float, alpha: float) -> float:
    """The p value of "the mean of `values` is at least `mean`"."""
    return math.exp(-log_wealth(values, mean, alpha))


def mean_interval(values: Values, confidence: float) -> Interval:
    """The mean of values and its interval: what two tests leave. Never without a width."""
    import numpy as np

    found, tail = np.asarray(values, dtype=float), (1 - confidence) / 2
    if not len(found):
        return Interval(0.0, 0.0, 1.0)
    mean = float(np.sort(found).mean())
    low, high = (_highest(side, tail) for side in (1 - found, found))
    return Interval(mean, min(mean, 1 - low), max(mean, high))


def _highest(values: Values, tail: float) -> float:
    """The lowest mean that is rejected; so is every higher one."""
    return lowest(0.0, 1.0, 40, lambda mean: p_value(values, mean, tail) <= tail)


def lowest(low: float, high: float, steps: int, holds: Callable[[float], bool]) -> float:
    """About the lowest number from `low` to `high` that holds, if all above it do; `high` if none is found."""
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
