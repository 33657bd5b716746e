"""The verdict on a canary: promote, roll back, or too little data, by rules with a margin each.

With the chance 1 - confidence at most, over all looks,

- a canary that is no worse than prod is rolled back: each of k rules gets a k-th of that chance. Of the price, which an
  owner may mean to raise, "no worse" is up to the margin;
- a canary that is worse by a margin or more, by any rule, is promoted: all rules must hold, so nothing is divided.

One that is worse by less than the margin may get either verdict, whichever is shown first. If both are, the rule holds:
the margin says how much harm is accepted. A rule that the shadow says anything of goes by its pairs, and not by who was
answered by which: a customer is his own control there, so it takes far fewer. The difference of a rule has an interval whose ends are what the two tests
leave, valid at all looks at once. `evidence.py` has the looks and their tests.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hallmark.base.betting import lowest, mean_interval, p_value
from hallmark.base.stats import Interval
from hallmark.params.service import Canary
from hallmark.service.monitoring.evidence import Customers, Look, adjusted, looks, lower
from hallmark.service.monitoring.live import Live, Means, Pair, Same, first_answer, live
from hallmark.service.traces.trace import Feedback

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

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
    the canary, after `more_hours` as until now, would about decide an undecided rule; None if no number would. `curve`: the
    evidence at each look until now. `paired`: the same customers, asked of both in the shadow.
    """

    name: str
    unit: str
    paired: bool
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
    curve: list[Point]


@dataclass(frozen=True)
class Point:
    """The evidence of a rule at a look, by hours: for "worse" and for "not worse by the margin". From 1 on it is shown."""

    hours: float
    value: float
    worse: float
    not_worse: float


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
    """All of reports/live/canary.json. `look`: None before the first. `next_look`: when the next verdict may differ;
    None after the last. `shadow`: requests, customers and judged answers that both were asked for."""

    verdict: str
    prod: str
    canary: str
    since: datetime
    look: int | None
    looked_at: datetime | None
    next_look: datetime | None
    confidence: float
    requests: dict[str, int]
    customers: dict[str, int]
    judged: dict[str, int]
    shadow: dict[str, int]
    p95_s: dict[str, float | None]
    changed_sides: int
    without_group: int
    rules: list[Rule]
    risks: list[Risk]

    def as_json(self) -> dict[str, Any]:
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
    same: Same | None = None,
) -> Report:
    """The verdict at the last look until now, on prod and canary (`versions`), from the canary's first answer on.

    `same`: whether two answers say the same; None if that can't be told by their values.
    """
    since = first_answer(traces, versions[1], since) or since
    every = looks(settings.first_look_hours, settings.days)
    past = [look for look in every if look.hours <= (now - since).total_seconds() / 3600]
    until = since + timedelta(hours=past[-1].hours) if past else since
    history = since - timedelta(days=settings.days)

    def at(until: datetime) -> Live:
        times = history, since, until
        return live(traces, feedback, versions, times, settings.slow_seconds, settings.price_at_most, same)

    earlier = [at(since + timedelta(hours=look.hours)) for look in past[:-1]]
    found = at(until)
    rules = _rules([*earlier, found], past, settings)
    risks = _risks(found, past[-1], settings, max_risk) if past else []
    sides = {"prod": found.prod, "canary": found.canary}
    return Report(
        verdict=overall([rule.outcome for rule in rules]),
        prod=versions[0],
        canary=versions[1],
        since=since,
        look=len(past) or None,
        looked_at=until if past else None,
        next_look=since + timedelta(hours=every[len(past)].hours) if len(past) < len(every) else None,
        confidence=settings.confidence,
        requests={name: side.requests for name, side in sides.items()},
        customers={name: side.customers for name, side in sides.items()},
        judged={name: side.judged for name, side in sides.items()},
        shadow={name: getattr(found.shadow, name) for name in ("requests", "customers", "judged")},
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


def _rules(found: Sequence[Live], past: Sequence[Look], settings: Canary) -> list[Rule]:
    """The rules at the last of these looks, with what was found at each."""
    if not past:
        return []
    answered = bool(found[-1].prod.requests or found[-1].canary.requests)
    rules = []
    for name, margin in asked(settings).items():
        paired = bool(found[-1].shadow.means[name])
        means = [one.shadow.means[name] if paired else (one.canary.means[name], one.prod.means[name]) for one in found]
        measures = measured(name, means, past, settings)
        rules.append(_rule(measures, margin, answered=answered, price_at_most=settings.price_at_most))
    return rules


def asked(settings: Canary) -> dict[str, float]:
    """The rules that count, with their margins."""
    return {name: margin for name, margin in settings.margins.model_dump().items() if margin is not None}


def measured(
    name: str, means: Sequence[tuple[Means, Means] | list[Pair]], at: Sequence[Look], settings: Canary
) -> list[Measure]:
    """A measure of canary and prod at these looks."""
    alpha = 1 - settings.confidence
    return [
        (Measure.of_pairs if isinstance(found, list) else Measure.of)(
            name, found, look, alpha, alpha / len(asked(settings))
        )
        for found, look in zip(means, at, strict=True)
    ]


@dataclass(frozen=True)
class Measure:
    """The means of both releases' customers by one measure, now, and the tests of the difference at a look.

    `arms`: canary and prod, less what their means before the canary explain. `parts`: the part of the customers in each
    arm that counts. `ends`: of pairs, the canary's means at least and at most; else None.
    """

    name: str
    canary: list[float]
    prod: list[float]
    arms: list[NDArray[Any]]
    look: Look
    alpha: float
    alpha_of_rule: float
    parts: tuple[float, float] = (1.0, 1.0)
    ends: tuple[NDArray[Any], NDArray[Any]] | None = None

    @classmethod
    def of(cls, name: str, means: Any, look: Look, alpha: float, alpha_of_rule: float) -> Measure:
        """From the means of canary and prod, now and before."""
        import numpy as np

        now, before = ([np.array([mean[part] for mean in arm]) for arm in means] for part in (0, 1))
        return cls(name, now[0].tolist(), now[1].tolist(), adjusted(now, before), look, alpha, alpha_of_rule)

    @classmethod
    def of_pairs(cls, name: str, pairs: Any, look: Look, alpha: float, alpha_of_rule: float) -> Measure:
        """From the means of customers who were asked of both."""
        import numpy as np

        least, most, prod = np.array(pairs, dtype=float).reshape(-1, 3).T
        arms = [(least + most) / 2, prod]
        canary = arms[0].tolist()
        return cls(name, canary, prod.tolist(), arms, look, alpha, alpha_of_rule, ends=(least, most))

    @property
    def is_ratio(self) -> bool:
        """Whether the difference is a share of prod's mean, and not in points."""
        return self.name == "price"

    @property
    def most(self) -> float:
        """The largest difference that is counted."""
        return LARGEST_RATIO if self.is_ratio else 1.0

    @cached_property
    def difference(self) -> float:
        """How much worse the canary is, by what the tests compare."""
        canary, prod = (math.fsum(arm) / len(arm) for arm in self.arms)
        if not self.is_ratio:
            return canary - prod
        return min(canary / prod - 1, LARGEST_RATIO) if prod > 0 else LARGEST_RATIO

    def worse(self, margin: float, factor: float = 1.0) -> float:
        """How clearly the canary is worse by more than the margin; `factor`: with that many times as many customers."""
        slope, offset = self._line(margin)
        alpha = self.alpha_of_rule * self.look.share
        if self.ends is not None:
            behind = Customers.of(slope * self.arms[1] + offset - self.ends[0], factor)
            return lower(behind, None, slope + offset, 0.0, alpha)
        canary, prod = self._customers(factor)
        return lower(prod.mapped(slope, offset), canary, slope + offset, 0.0, alpha)

    def not_worse(self, margin: float, factor: float = 1.0) -> float:
        """How clearly it is worse by less than the margin."""
        slope, offset = self._line(margin)
        alpha = self.alpha * self.look.share
        if self.ends is not None:
            ahead = Customers.of(self.ends[1] - slope * self.arms[1] - offset, factor)
            return lower(ahead, None, 1.0 - offset, 0.0, alpha)
        canary, prod = self._customers(factor)
        return lower(canary, prod.mapped(slope, offset), 1.0, offset, alpha)

    def _line(self, margin: float) -> tuple[float, float]:
        """How the margin is put on top of prod's means: slope and offset."""
        return (1 + margin, 0.0) if self.is_ratio else (1.0, margin)

    def _customers(self, factor: float) -> list[Customers]:
        return [Customers.of(arm, factor * part) for arm, part in zip(self.arms, self.parts, strict=True)]

    def end(self, out: float, shown: Callable[[float], float]) -> float:
        """The margin farthest from the difference, towards `out`, that a test does not exclude."""
        if shown(out) < 1:
            return out
        inside = self.difference
        for _ in range(HALVINGS):
            middle = (inside + out) / 2
            inside, out = (inside, middle) if shown(middle) >= 1 else (middle, out)
        return out

    def more(self, margin: float, allowed: float) -> tuple[int | None, float | None]:
        """About how many more customers of the canary, and hours, decide a rule if all comes as until now."""

        def decided(factor: float) -> bool:
            return max(self.worse(allowed, factor), self.not_worse(margin, factor)) >= 1

        low, high = 1.0, 2.0
        while not decided(high):
            if high >= MOST_TIMES:
                return None, None
            low, high = high, 2 * high
        high = lowest(low, high, 6, decided)
        return max(1, math.ceil(len(self.canary) * (high - 1))), self.look.hours * (high - 1)


def _rule(measures: list[Measure], margin: float, *, answered: bool, price_at_most: float) -> Rule:
    of = measures[-1]
    allowed = margin if of.is_ratio else 0.0
    outcome, value, low, high = TOO_LITTLE, None, -1.0, None if of.is_ratio else 1.0
    more: tuple[int | None, float | None] = None, None
    known = bool(of.canary or of.prod)
    nothing = not known and answered and of.name not in ("wrong", "complaints")
    both = [one for one in measures if one.canary and one.prod]
    if nothing or (of.is_ratio and known and not any([*of.canary, *of.prod])):
        outcome = NOT_APPLICABLE
    elif of.canary and of.prod:
        value = of.difference
        low, high = of.end(-1.0, of.worse), of.end(of.most, of.not_worse)
        # The ends are found by halving: a rule that is decided is so by the test at its line.
        if of.not_worse(margin) >= 1:
            outcome, low, high = NOT_WORSE, min(low, margin), min(high, margin)
        elif of.worse(allowed) >= 1:
            outcome, low, high = WORSE, max(low, allowed), max(high, margin)
        else:
            low, high, more = min(low, allowed), max(high, margin), of.more(margin, allowed)
        if of.is_ratio and high == LARGEST_RATIO:
            high = None
    scale = price_at_most if of.is_ratio else 1.0
    return Rule(
        name=of.name,
        unit=RATIO if of.is_ratio else POINTS,
        paired=of.ends is not None,
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
        curve=[Point(one.look.hours, one.difference, one.worse(allowed), one.not_worse(margin)) for one in both]
        if value is not None
        else [],
    )


def _risks(found: Live, look: Look, settings: Canary, max_risk: float | None) -> list[Risk]:
    """The online risk of each release with a cascade, each with a chance of its own to err."""
    if max_risk is None:
        return []
    risks, most = [], (1 - settings.confidence) * look.share
    for name, side in (("prod", found.prod), ("canary", found.canary)):
        if (rates := side.risk) is None:
            continue
        outcome = TOO_LITTLE
        if p_value([1 - rate for rate in rates], 1 - max_risk, most) <= most:
            outcome = OVER
        elif p_value(rates, max_risk, most) <= most:
            outcome = WITHIN
        interval = mean_interval(rates, 1 - 2 * most)
        risks.append(Risk(name, side.version, len(rates), interval, max_risk, outcome))
    return risks
