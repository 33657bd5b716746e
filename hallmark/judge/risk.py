"""A threshold with a bound: from which score on may the model answer, so that at most a share of its answers is wrong?

The bound is about customers (groups): of a random customer who gets an answer, a random answer is wrong with at most the
probability asked for. It holds with the confidence asked for in finite samples, whatever the records of one group have to
do with each other. It assumes that the customers to come are like those of the calibration part, and nothing else.

- Each threshold has the hypothesis "the mean of r is at least `risk`", where r is the share of wrong answers of a customer.
  It is tested by betting (`hallmark/base/betting.py`). Customers come in the order of the SHA-256 of their names, without a
  seed: neither the order of a file nor a param changes it. Names must not depend on r: who renames customers after seeing
  their answers chooses the order.
- Thresholds are tested in a fixed sequence, from one that looks safe to ever lower ones, until a test does not reject
  (Angelopoulos, Bates, Candès, Jordan and Lei 2021, "Learn then Test"). Start and sequence come from other customers than
  those that the tests count (of these, only their number), so the chance that any rejected one is wrong stays at most
  1 - confidence.

Conformal risk control (Angelopoulos et al. 2024) bounds the mean risk over calibration sets as well as new records; here,
of all calibration sets that could have been drawn, the risk is over the limit in a share of at most 1 - confidence.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from hallmark.base.betting import log_wealth, lowest, p_value
from hallmark.judge.calibration import by_hash

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_THRESHOLDS = 100
MOST_TIMES = 1_000  # as many customers: beyond this, more are no help
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
        names = np.asarray(groups, dtype=str)
        place = {name: number for number, name in enumerate(by_hash(names.tolist(), 0, "bets"))}
        self._group = np.asarray([place[name] for name in names.tolist()], dtype=int)
        self.records, self.groups = len(self.scores), len(place)

    def rates(self, threshold: float) -> NDArray[Any]:
        """For every customer with an answer at that threshold, the share of these answers that is wrong; in order."""
        import numpy as np

        answered = self.scores >= threshold
        of = self._group[answered]
        counts = np.bincount(of, minlength=self.groups)
        sums = np.bincount(of, self.wrong[answered], minlength=self.groups)
        return sums[counts > 0] / counts[counts > 0]

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


@cache
def fewest_groups(risk: float, confidence: float) -> int:
    """The fewest customers with an answer that can bound the risk: if no answer of theirs is wrong.

    No method can do with fewer than log(1 / (1 - confidence)) / -log(1 - risk); this one takes up to a tenth more.
    """
    import numpy as np

    alpha = 1 - confidence

    def enough(size: int) -> bool:
        return p_value(np.zeros(size), risk, alpha) <= alpha

    most = 1
    while most < 2**24 and not enough(most):
        most *= 2
    return 1 + bisect_left(range(1, most), True, key=enough)


def candidates(fitted: Answers, risk: float, confidence: float, least: float, times: float) -> list[float]:
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
    evidence = [
        round(log_wealth(np.resize(rates, round(times * len(rates))), risk, 1 - confidence), 9) for _, rates in found
    ]
    start = int(np.argmax(evidence)) if evidence else 0  # the first, if several are equal
    return [float(score) for score, _ in found[start:]]


def bound(fitted: Answers, rest: Answers, risk: float, confidence: float) -> Bound:
    """The lowest threshold at which the risk is bounded; `fitted` chooses what is tried, `rest` alone decides.

    The scores of both may have been fitted to `fitted`, but not to `rest`.
    """
    fewest, kept, first = fewest_groups(risk, confidence), None, None
    times = max(1, rest.groups) / max(1, fitted.groups)
    for threshold in candidates(fitted, risk, confidence, fewest / times, times):
        tested = _tested(rest, threshold, risk, confidence, fewest)
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


def _tested(rest: Answers, threshold: float, risk: float, confidence: float, fewest: int) -> Bound:
    rates = rest.rates(threshold)
    return Bound(
        asked=risk,
        outcome=BOUNDED,
        threshold=threshold,
        groups=len(rates),
        coverage=round(rest.coverage(threshold), 6),
        risk=round(float(rates.mean()) if len(rates) else 0.0, 6),
        p=float(f"{p_value(rates, risk, 1 - confidence):.6g}"),
        fewest=fewest,
        groups_needed=None,
    )


def _why_not(rest: Answers, first: Bound, confidence: float) -> tuple[Outcome, int | None]:
    """Whether more customers like these would do, and about how many with an answer; `first`: the threshold tried first."""
    import numpy as np

    risk, rates = first.asked, rest.rates(first.threshold or 0.0)
    if not len(rates):
        return TOO_LITTLE, None
    if float(rates.mean()) >= risk:
        return (NOT_REACHED if rest.groups >= first.fewest else TOO_LITTLE), None
    alpha, most = 1 - confidence, MOST_TIMES * len(rates)

    def enough(size: float) -> bool:
        return p_value(np.resize(rates, math.ceil(size)), risk, alpha) <= alpha

    needed = math.ceil(lowest(len(rates), most, 30, enough))
    return TOO_LITTLE, max(first.fewest, needed) if needed < most else None
