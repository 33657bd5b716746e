"""The verdict on a canary: promote, roll back, or too little data, by rules that each allow it to be worse by a margin.

With the chance 1 - confidence at most, over all looks that there ever are,

- a canary that is worse than prod by no more than each margin is rolled back: each of k rules gets a k-th of that
  chance;
- a canary that is worse by a margin or more, by any rule, is promoted: all rules must hold, so nothing is divided.

The difference of a rule has an interval whose ends are what these two tests leave: a confidence sequence, valid at
all looks at once. `evidence.py` has the looks and their tests.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from hallmark.base.stats import Interval
from hallmark.judge.risk import log_wealth, mean_interval
from hallmark.params.monitoring import Canary
from hallmark.service.monitoring import evidence
from hallmark.service.monitoring.evidence import Look, latest
from hallmark.service.monitoring.live import Live, Side, first_answer, live
from hallmark.service.traces.trace import Feedback

if TYPE_CHECKING:
    import polars as pl

PROMOTE, ROLL_BACK, TOO_LITTLE = "promote", "roll_back", "too_little_data"
NOT_WORSE, WORSE, NOT_APPLICABLE = "not_worse", "worse", "not_applicable"
OVER, WITHIN = "over", "within"  # of the cascade's risk
POINTS, RATIO = "points", "ratio"
LARGEST_RATIO = 100.0
HALVINGS = 14
MOST_TIMES = 1_024.0  # as much data: beyond this, it only says that it is out of reach


@dataclass(frozen=True)
class Rule:
    """A rule: the mean of prod's customers and of the canary's, and how much worse the canary is.

    `unit`: points (of 1), or ratio (of prod's mean). `high`: None if there is no limit yet. `more_customers` of
    the canary, after `more_hours` as until now, would about decide an undecided rule; None if no number would.
    """

    name: str
    unit: str
    prod: float | None
    canary: float | None
    prod_customers: int
    canary_customers: int
    value: float | None
    low: float | None
    high: float | None
    margin: float
    outcome: str
    more_customers: int | None
    more_hours: float | None


@dataclass(frozen=True)
class Risk:
    """The cascade's bound, online: the mean over customers of the share of wrong answers, of those judged."""

    side: str
    version: str
    customers: int
    measured: Interval
    max_risk: float
    outcome: str


@dataclass(frozen=True)
class Report:
    """All of reports/live/canary.json. `look`: None before the first. `next_look`: when the next verdict may differ."""

    verdict: str
    prod: str
    canary: str
    since: datetime
    look: int | None
    looked_at: datetime | None
    next_look: datetime
    confidence: float
    requests: dict[str, int]
    customers: dict[str, int]
    judged: dict[str, int]
    p95_s: dict[str, float | None]
    changed_sides: int
    without_group: int
    rules: list[Rule]
    risks: list[Risk]

    def as_json(self) -> dict[str, Any]:
        """Its content for a JSON file."""
        times = {name: value.isoformat() for name, value in asdict(self).items() if isinstance(value, datetime)}
        return asdict(self) | times


def judge(
    traces: pl.DataFrame,
    feedback: Sequence[Feedback],
    versions: tuple[str, str],
    since: datetime,
    now: datetime,
    settings: Canary,
    max_risk: float | None,
) -> Report:
    """The verdict at the last look until now, on prod and canary (`versions`), from the canary's first answer on."""
    since = first_answer(traces, versions[1], since) or since
    look = latest((now - since).total_seconds() / 3600, settings.first_look_hours)
    until = since + timedelta(hours=look.hours) if look else since
    found = live(traces, feedback, versions, since, until, settings.slow_seconds, settings.price_at_most)
    following = look.next() if look else Look(1, settings.first_look_hours)
    rules = _rules(found, look, settings) if look else []
    risks = _risks(found, look, settings, max_risk) if look else []
    sides = {"prod": found.prod, "canary": found.canary}
    return Report(
        verdict=overall([rule.outcome for rule in rules]),
        prod=versions[0],
        canary=versions[1],
        since=since,
        look=look.number if look else None,
        looked_at=until if look else None,
        next_look=since + timedelta(hours=following.hours),
        confidence=settings.confidence,
        requests={name: side.requests for name, side in sides.items()},
        customers={name: side.customers for name, side in sides.items()},
        judged={name: side.judged for name, side in sides.items()},
        p95_s={name: side.p95 for name, side in sides.items()},
        changed_sides=found.changed_sides,
        without_group=found.without_group,
        rules=rules,
        risks=risks,
    )


def overall(outcomes: Sequence[str]) -> str:
    """The verdict that follows: roll back if one rule shows it to be worse, promote if all that apply hold."""
    applies = [outcome for outcome in outcomes if outcome != NOT_APPLICABLE]
    if WORSE in applies:
        return ROLL_BACK
    return PROMOTE if applies and all(outcome == NOT_WORSE for outcome in applies) else TOO_LITTLE


def _rules(found: Live, look: Look, settings: Canary) -> list[Rule]:
    asked = {name: margin for name, margin in settings.margins.model_dump().items() if margin is not None}
    alpha = 1 - settings.confidence
    return [
        _rule(
            Measure(name, found.canary.means[name], found.prod.means[name], look, alpha, alpha / len(asked)),
            margin,
            answered=bool(found.prod.requests or found.canary.requests),
            price_at_most=settings.price_at_most,
        )
        for name, margin in asked.items()
    ]


@dataclass(frozen=True)
class Measure:
    """The means of both releases' customers by one measure, and the tests of the difference at a look.

    `factor`: as if there were that many times as many customers, at the look after that many times the hours.
    """

    name: str
    canary: list[float]
    prod: list[float]
    look: Look
    alpha: float
    alpha_of_rule: float

    @property
    def is_ratio(self) -> bool:
        """Whether the difference is a share of prod's mean, and not in points."""
        return self.name == "price"

    @property
    def most(self) -> float:
        """The largest difference that is counted."""
        return LARGEST_RATIO if self.is_ratio else 1.0

    @property
    def difference(self) -> float:
        """How much worse the canary is."""
        canary, prod = (math.fsum(arm) / len(arm) for arm in (self.canary, self.prod))
        if not self.is_ratio:
            return canary - prod
        return min(canary / prod - 1, LARGEST_RATIO) if prod else LARGEST_RATIO

    def worse(self, margin: float, factor: float = 1.0) -> bool:
        """Whether the canary is worse by more than the margin, for sure."""
        shown = evidence.worse(self.canary, self.prod, self._line(margin), factor)
        return shown >= self.look.after(factor).wanted(self.alpha_of_rule)

    def not_worse(self, margin: float, factor: float = 1.0) -> bool:
        """Whether it is worse by less than the margin, for sure."""
        shown = evidence.not_worse(self.canary, self.prod, self._line(margin), factor)
        return shown >= self.look.after(factor).wanted(self.alpha)

    def _line(self, margin: float) -> evidence.Line:
        return evidence.ratio(margin) if self.is_ratio else evidence.points(margin)

    def end(self, out: float, excluded: Callable[[float], bool]) -> float:
        """The margin farthest from the difference, towards `out`, that a test does not exclude."""
        if not excluded(out):
            return out
        inside = self.difference
        for _ in range(HALVINGS):
            middle = (inside + out) / 2
            inside, out = (inside, middle) if excluded(middle) else (middle, out)
        return out

    def more(self, margin: float) -> tuple[int | None, float | None]:
        """About how many more customers of the canary, and hours, decide a rule if all comes as until now."""
        test = self.worse if self.difference > margin else self.not_worse
        low, high = 1.0, 2.0
        while not test(margin, high):
            if high >= MOST_TIMES:
                return None, None
            low, high = high, 2 * high
        for _ in range(6):
            middle = (low + high) / 2
            low, high = (low, middle) if test(margin, middle) else (middle, high)
        return max(1, math.ceil(len(self.canary) * (high - 1))), self.look.hours * (high - 1)


def _rule(of: Measure, margin: float, *, answered: bool, price_at_most: float) -> Rule:
    outcome, value, low, high = TOO_LITTLE, None, -1.0, None if of.is_ratio else 1.0
    more: tuple[int | None, float | None] = None, None
    known = bool(of.canary or of.prod)
    nothing = not known and answered and of.name not in ("wrong", "complaints")
    if nothing or (of.is_ratio and known and not any([*of.canary, *of.prod])):
        outcome = NOT_APPLICABLE
    elif of.canary and of.prod:
        value = of.difference
        low, high = of.end(-1.0, of.worse), of.end(of.most, of.not_worse)
        # The ends are found by halving: a rule that is decided is so by the test at the margin itself.
        if of.worse(margin):
            outcome, low, high = WORSE, max(low, margin), max(high, margin)
        elif of.not_worse(margin):
            outcome, low, high = NOT_WORSE, min(low, margin), min(high, margin)
        else:
            low, high, more = min(low, margin), max(high, margin), of.more(margin)
        if of.is_ratio and high == LARGEST_RATIO:
            high = None
    scale = price_at_most if of.is_ratio else 1.0
    return Rule(
        name=of.name,
        unit=RATIO if of.is_ratio else POINTS,
        prod=scale * math.fsum(of.prod) / len(of.prod) if of.prod else None,
        canary=scale * math.fsum(of.canary) / len(of.canary) if of.canary else None,
        prod_customers=len(of.prod),
        canary_customers=len(of.canary),
        value=value,
        low=low,
        high=high,
        margin=margin,
        outcome=outcome,
        more_customers=more[0],
        more_hours=more[1],
    )


def _risks(found: Live, look: Look, settings: Canary, max_risk: float | None) -> list[Risk]:
    """The online risk of each release with a cascade, each with a chance of its own to err."""
    if max_risk is None:
        return []
    sides: list[tuple[str, Side]] = [("prod", found.prod), ("canary", found.canary)]
    return [_risk(name, side, max_risk, 1 - settings.confidence, look) for name, side in sides if side.risk is not None]


def _risk(name: str, side: Side, max_risk: float, alpha: float, look: Look) -> Risk:
    rates = side.risk or []
    outcome, wanted = TOO_LITTLE, look.wanted(alpha)
    if log_wealth([1 - rate for rate in rates], 1 - max_risk) >= wanted:
        outcome = OVER
    elif log_wealth(rates, max_risk) >= wanted:
        outcome = WITHIN
    measured = mean_interval(rates, 1 - 2 * alpha * look.share)
    return Risk(name, side.version, len(rates), measured, max_risk, outcome)
