"""What a canary's margins take: how many customers, how many days, and what those that there are can show.

It supposes that customers come as prod's did in the days before, as long as a canary takes at most, and that the
releases are equal, or differ by as much for each customer. "Shown" is in four of five canaries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from statistics import NormalDist
from typing import TYPE_CHECKING

from hallmark.base.betting import lowest
from hallmark.base.figures import rounded_up
from hallmark.params.service import Canary
from hallmark.service.monitoring.canary import MOST_TIMES, Measure, asked, measured
from hallmark.service.monitoring.evidence import looks
from hallmark.service.monitoring.live import live
from hallmark.service.traces.trace import Feedback

if TYPE_CHECKING:
    import polars as pl

POWER = 0.8
STEPS = 10


@dataclass(frozen=True)
class Needed:
    """What a rule takes to promote an equal canary. None where nothing is known, or no number is enough.

    `customers`: of both releases, in all days; `days`: with the `known` ones that come in that time; `least_margin` and
    `least_worse`: the margin that they show in the end, and by how much a canary is worse that they roll back: clearly
    worse than prod, and not clearly within the margin.
    """

    rule: str
    margin: float
    known: int
    customers: int | None = None
    days: float | None = None
    least_margin: float | None = None
    least_worse: float | None = None


def needed(
    traces: pl.DataFrame, feedback: Sequence[Feedback], now: datetime, settings: Canary, share: float, *, shadow: bool
) -> list[Needed]:
    """What each rule takes if the canary answers this share of the customers of prod, whatever version was there.

    `shadow`: it is asked what prod's customers ask, too. That takes at most as many as if the two erred independently.
    """
    import polars as pl

    traces = traces.filter(pl.col("route") == "prod").with_columns(version=pl.lit("prod"))
    since, every = now - timedelta(days=settings.days), looks(settings.first_look_hours, settings.days)
    found = []
    for look in every:
        times = since, since, since + timedelta(hours=look.hours)
        then = live(traces, feedback, ("prod", ""), times, settings.slow_seconds, settings.price_at_most)
        found.append(then.prod.means)
    parts, needs = (1 - share if shadow else share, 1 - share), []
    for name, margin in asked(settings).items():
        measures = measured(name, [(means[name], means[name]) for means in found], every, settings)
        needs.append(_needed(margin, [replace(one, parts=parts) for one in measures]))
    return needs


def _needed(margin: float, measures: list[Measure]) -> Needed:
    last = measures[-1]
    known = len(last.prod)
    if known < 2 or (last.is_ratio and not any(last.prod)):
        return Needed(last.name, margin, known)

    def shows(at: Measure, margin: float, factor: float = 1.0) -> bool:
        return at.not_worse(margin, factor) >= _with_power(at.alpha * at.look.share)

    def rolls_back(worse_by: float) -> bool:
        canary = last.arms[1] * (1 + worse_by) if last.is_ratio else last.arms[1] + worse_by
        worse = replace(last, arms=[canary, last.arms[1]])
        clear = worse.worse(margin if last.is_ratio else 0.0) >= _with_power(last.alpha_of_rule * last.look.share)
        return clear and worse.not_worse(margin) <= max(0.0, 2 - _with_power(last.alpha * last.look.share))

    times = lowest(0.0, MOST_TIMES, 2 * STEPS, lambda factor: shows(last, margin, max(factor, 1e-3)))
    days = [at.look.hours / 24 for at in measures if len(at.prod) > 1 and shows(at, margin)]
    least = [lowest(0.0, 1.0, STEPS, holds) for holds in (lambda margin: shows(last, margin), rolls_back)]
    return Needed(
        last.name,
        margin,
        known,
        customers=None if times >= MOST_TIMES else max(2, round(known * times)),
        days=days[0] if days else None,
        least_margin=least[0] if least[0] < 1 else None,
        least_worse=least[1] if least[1] < 1 else None,
    )


def _with_power(alpha: float) -> float:
    """How clear the evidence is on average, if it is clear enough as often as asked for."""
    return 1 + NormalDist().inv_cdf(POWER) / -NormalDist().inv_cdf(alpha)


def words(found: Sequence[Needed], days: float, share: float, *, shadow: bool) -> list[str]:
    """What the margins take, a line for each rule."""
    if share == 1 or (share == 0 and not shadow):
        return [f"serve.routing.canary is {share:g}: a verdict takes customers of both releases."]
    how = f"if {share:.0%} of prod's customers of the last {days:g} days get the canary"
    if shadow:
        how = f"at most, if a canary in the shadow is asked the same as prod by the customers of the last {days:g} days"
    lines = [f"what the margins take, {how}:"]
    unknown = [f"{one.rule} ({one.known:,})" for one in found if one.customers is None or one.least_margin is None]
    for one in found:
        unit = "%" if one.rule == "price" else "points"
        if one.customers is None or one.least_margin is None:
            continue
        when = f"about {one.days:.1f} days" if one.days else f"{rounded_up(one.customers):,} customers"
        worse = f"; {100 * one.least_worse:.1f} {unit} worse is rolled back" if one.least_worse else ""
        lines.append(
            f"  {one.rule}: {100 * one.margin:g} {unit} take {when}. In {days:g} days, {one.known:,} customers show a margin "
            f"of {100 * one.least_margin:.1f} {unit}{worse}."
        )
    return lines + ([f"  too few customers to tell: {', '.join(unknown)}"] if unknown else [])
