"""A threshold with a bound: from which score on may the model answer, so that at most a share of its answers is wrong?

The bound is about customers (groups): of a random customer who gets an answer, a random answer is wrong with at most the
probability asked for. It holds with the confidence asked for in finite samples, whatever the records of one group have to
do with each other. It assumes that the customers to come are like those of the calibration part, and nothing else.

- Each threshold has the hypothesis "the mean of r is at least `risk`", where r is the share of wrong answers of a customer.
  It is tested by betting (Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting"): a
  player stakes `bet` on every customer, and his wealth is the product of 1 + bet * (risk - r). If the hypothesis holds,
  the expected wealth is at most 1, so by Markov's inequality 1 / wealth is a p value. The wealth is a mean over fixed bets,
  so nothing has to be chosen, and the order of the customers does not matter.
- Thresholds are tested in a fixed sequence, from one that looks safe to ever lower ones, until a test does not reject
  (Angelopoulos, Bates, Candès, Jordan and Lei 2021, "Learn then Test"). Start and sequence come from other customers than
  those that the tests count, so the chance that any rejected one is wrong stays at most 1 - confidence.

Conformal risk control (Angelopoulos et al. 2024) bounds the mean risk over calibration sets as well as new records; here,
of all calibration sets that could have been drawn, the risk is over the limit in a share of at most 1 - confidence.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from hallmark.base.stats import Interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Bets as shares of the largest, 1 / (1 - risk): the best bet against a risk m is 1 - m / risk if customers have one answer
# each, and larger otherwise. Squares put most of them near the largest, as Jeffreys' prior for m does.
BETS = tuple(1 - (number / 32) ** 2 for number in range(32))
MOST_THRESHOLDS = 100
MOST_TIMES = 2.0**20  # as many customers again: beyond this, more are no help
Outcome = Literal["bounded", "too_little_data", "not_reached"]
BOUNDED: Outcome = "bounded"
TOO_LITTLE: Outcome = "too_little_data"
NOT_REACHED: Outcome = "not_reached"


class Answers:
    """Answers with their score (one item per record), by customer."""

    def __init__(self, scores: Sequence[float], wrong: Sequence[bool], groups: Sequence[str]) -> None:
        """All three have the same length, in the same order of records."""
        import numpy as np

        self.scores, self.wrong = np.asarray(scores, dtype=float), np.asarray(wrong, dtype=bool)
        names, self._group = np.unique(np.asarray(groups, dtype=str), return_inverse=True)
        self.records, self.groups = len(self.scores), len(names)

    def rates(self, threshold: float) -> NDArray[Any]:
        """For every customer with an answer at that threshold, the share of these answers that is wrong; sorted."""
        import numpy as np

        answered = self.scores >= threshold
        of = self._group[answered]
        counts = np.bincount(of, minlength=self.groups)
        sums = np.bincount(of, self.wrong[answered], minlength=self.groups)
        return np.sort(sums[counts > 0] / counts[counts > 0])

    def coverage(self, threshold: float) -> float:
        """The share of the records that is answered."""
        return float((self.scores >= threshold).mean()) if self.records else 0.0


@dataclass(frozen=True)
class Bound:
    """What came of asking for a risk.

    `bounded`: answers from `threshold` on go out; `groups` customers got an answer, `coverage` of the records was
    answered, and `risk` is the mean share of wrong answers of these customers. `too_little_data`: these customers can't
    show it; about `groups_needed` with an answer could. `not_reached`: even what looks safest is wrong too often. The
    numbers are then those of the threshold that was tried first, if any was.
    """

    asked: float
    outcome: Outcome
    threshold: float | None
    groups: int
    coverage: float
    risk: float
    p: float
    fewest: int
    groups_needed: int | None


def log_wealth(rates: Sequence[float] | NDArray[Any], risk: float, times: float = 1.0) -> float:
    """The logarithm of the e-value against "the mean of `rates` is at least `risk`"; rates are from 0 to 1, in any order.

    `times`: as if there were that many times as many customers, with the same rates.
    """
    import numpy as np

    if not len(rates) or risk >= 1:
        return 0.0
    values, counts = np.unique(np.asarray(rates, dtype=float), return_counts=True)
    growth = np.maximum(np.outer(BETS, (risk - values) / (1 - risk)), -1.0)  # -1: all is lost
    with np.errstate(divide="ignore"):
        logs = (times * counts * np.log1p(growth)).sum(axis=1)
    most = logs.max()
    return float(most + np.log(np.exp(logs - most).mean()))


def p_value(rates: Sequence[float] | NDArray[Any], risk: float, times: float = 1.0) -> float:
    """The p value of "the mean of `rates` is at least `risk`": valid for any number of independent customers."""
    return math.exp(-max(0.0, log_wealth(rates, risk, times)))


@cache
def fewest_groups(risk: float, confidence: float) -> int:
    """The fewest customers with an answer that can bound the risk: if no answer of theirs is wrong.

    No method can do with fewer than log(1 / (1 - confidence)) / -log(1 - risk); fixed bets take some more.
    """
    return 1 + bisect_left(range(1, 2**40), True, key=lambda number: p_value([0.0], risk, number) <= 1 - confidence)


def mean_interval(rates: Sequence[float] | NDArray[Any], confidence: float) -> Interval:
    """The mean of rates of customers and its interval by betting, valid for any number of them; never without a width."""
    import numpy as np

    values, tail = np.sort(np.asarray(rates, dtype=float)), (1 - confidence) / 2
    if not len(values):
        return Interval(0.0, 0.0, 1.0)
    return Interval(float(values.mean()), 1 - _highest(1 - values, tail), _highest(values, tail))


def _highest(values: NDArray[Any], tail: float) -> float:
    """The lowest mean that is rejected: every higher one is rejected too, since wealth grows with it."""
    return _lowest(float(values.mean()), 1.0, 40, lambda mean: p_value(values, mean) <= tail)


def _lowest(low: float, high: float, steps: int, holds: Callable[[float], bool]) -> float:
    """About the lowest number from `low` to `high` that holds, if all above it do."""
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def candidates(fitted: Answers, risk: float, least: float, times: float) -> list[float]:
    """The thresholds to test, in order: from the one that looks safest on these customers to the lowest.

    It looks safest where the test would reject most clearly if the customers of the test, `times` as many, had the same rates:
    a few answers without an error prove little. `least`: the fewest of these customers that must get an answer, since no
    test could reject with fewer; if no threshold does it, only the lowest is left.
    """
    import numpy as np

    scores = np.unique(fitted.scores)[::-1]
    if len(scores) > MOST_THRESHOLDS:
        scores = scores[np.unique(np.linspace(0, len(scores) - 1, MOST_THRESHOLDS).round().astype(int))]
    found = [(score, fitted.rates(score)) for score in scores]
    found = [(score, rates) for score, rates in found if len(rates) >= least] or found[-1:]
    evidence = [round(log_wealth(rates, risk, times), 9) for _, rates in found]
    start = int(np.argmax(evidence)) if evidence else 0  # the first, if several are equal
    return [float(score) for score, _ in found[start:]]


def bound(fitted: Answers, rest: Answers, risk: float, confidence: float) -> Bound:
    """The lowest threshold at which the risk is bounded; `fitted` chooses what is tried, `rest` alone decides.

    The scores of both may have been fitted to `fitted`, but not to `rest`.
    """
    fewest, kept, first = fewest_groups(risk, confidence), None, None
    times = max(1, rest.groups) / max(1, fitted.groups)
    for threshold in candidates(fitted, risk, fewest / times, times):
        tested = _tested(rest, threshold, risk, fewest)
        first = first or tested
        if tested.p > 1 - confidence:
            break
        kept = tested
    if kept is not None:
        return kept
    if first is None:
        return Bound(risk, TOO_LITTLE, None, 0, 0.0, 0.0, 1.0, fewest, fewest)
    outcome, needed = _why_not(rest, first, confidence)
    return replace(first, outcome=outcome, threshold=None, groups_needed=needed)


def _tested(rest: Answers, threshold: float, risk: float, fewest: int) -> Bound:
    rates = rest.rates(threshold)
    return Bound(
        asked=risk,
        outcome=BOUNDED,
        threshold=threshold,
        groups=len(rates),
        coverage=round(rest.coverage(threshold), 6),
        risk=round(float(rates.mean()) if len(rates) else 0.0, 6),
        p=float(f"{p_value(rates, risk):.6g}"),
        fewest=fewest,
        groups_needed=None,
    )


def _why_not(rest: Answers, first: Bound, confidence: float) -> tuple[Outcome, int | None]:
    """Whether more customers like these would do, and about how many with an answer; `first`: the threshold tried first."""
    risk, rates = first.asked, rest.rates(first.threshold or 0.0)
    if not len(rates):
        return TOO_LITTLE, None
    if float(rates.mean()) >= risk:
        return (NOT_REACHED if rest.groups >= first.fewest else TOO_LITTLE), None
    low, high, wanted = 1.0, 2.0, -math.log(1 - confidence)
    while log_wealth(rates, risk, high) < wanted and high < MOST_TIMES:
        low, high = high, 2 * high
    high = _lowest(low, high, 30, lambda times: log_wealth(rates, risk, times) >= wanted)
    return TOO_LITTLE, max(first.fewest, math.ceil(high * len(rates))) if high < MOST_TIMES else None
