"""Did the holdout predict later results? The tuned model on the frozen holdout and on the online part (docs/service-loop.md).

Both parts have the same held-out customers, so they are not independent: one bootstrap draws customers from those of both
parts, each with all its records of either (Field & Welsh 2007, "cluster bootstrap"), and reads both rates and their
difference from the same draws. A customer who is in both parts is thus compared with itself; one who is in one part alone
adds to the spread of that part only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hallmark.base.figures import percent, rate, signed
from hallmark.base.stats import ClusterBootstrap, Interval, effective_clusters, newcombe_independent, ratio
from hallmark.task.predictions import Prediction

if TYPE_CHECKING:
    from hallmark.answer.params import Compare

Foretold = Literal["foretold", "better", "worse", "too_little_data"]


@dataclass(frozen=True)
class Online:
    """Exact match of the tuned model on the holdout and on the online part, and `difference`: online minus holdout.

    `foretold`: the interval of the difference holds 0 and is within `margin` of it on either side.
    """

    records: int
    groups: int
    shared_groups: int  # customers with records in both parts
    holdout: Interval
    online: Interval
    difference: Interval
    margin: float
    verdict: Foretold
    words: str


def online(holdout: Sequence[Prediction], later: Sequence[Prediction], settings: Compare, seed: int) -> Online | None:
    """The tuned model's answers to both parts, compared; None if the online part has no record."""
    if not later:
        return None
    parts = [[row.group for row in rows] for rows in (holdout, later)]
    rates = []
    for rows, groups in zip((holdout, later), parts, strict=True):
        own = ClusterBootstrap(groups, confidence=settings.confidence, draws=settings.bootstrap_samples, seed=seed)
        rates.append(own.rate([row.exact_match for row in rows]))
    found = difference(holdout, later, settings, seed)
    verdict = judged(found, settings.online_margin)
    return Online(
        records=len(later),
        groups=len({*parts[1]}),
        shared_groups=len({*parts[0]} & {*parts[1]}),
        holdout=rates[0].rounded(),
        online=rates[1].rounded(),
        difference=found.rounded(),
        margin=settings.online_margin,
        verdict=verdict,
        words=words(verdict, rates[0], rates[1], found, len(later), len({*parts[1]}), settings),
    )


def difference(holdout: Sequence[Prediction], later: Sequence[Prediction], settings: Compare, seed: int) -> Interval:
    """The rate of exact matches online minus that on the holdout, never narrower than Newcombe's interval.

    The bootstrap counts as many effective clusters as the part that has fewer: three customers online stay three, however
    many the holdout has. One customer on either side says nothing of others.
    """
    import numpy as np

    parts = [[row.group for row in rows] for rows in (holdout, later)]
    counts = [(sum(row.exact_match for row in rows), len(rows)) for rows in (holdout, later)]
    floor = newcombe_independent(counts[0], counts[1], settings.confidence)
    if min(len({*groups}) for groups in parts) < 2:
        return Interval(floor.value, -1.0, 1.0)
    bootstrap = ClusterBootstrap(
        [*parts[0], *parts[1]],
        confidence=settings.confidence,
        draws=settings.bootstrap_samples,
        seed=seed,
        effective=min(map(effective_clusters, parts)),
    )
    columns = np.zeros((len(holdout) + len(later), 4))  # of each part: passes and records
    for start, at, rows in ((0, 0, holdout), (len(holdout), 2, later)):
        columns[start : start + len(rows), at] = [row.exact_match for row in rows]
        columns[start : start + len(rows), at + 1] = 1
    found = bootstrap.statistic(columns, lambda sums: ratio(sums[:, 2:]) - ratio(sums[:, :2]), (-1.0, 1.0))
    return Interval(found.value, min(found.low, floor.low), max(found.high, floor.high))


def judged(found: Interval, margin: float) -> Foretold:
    """`better` or `worse` if 0 is outside the interval; `foretold` if no true difference over `margin` is left in it.

    The second is a test of equivalence, by the interval (Schuirmann 1987): a wide interval around 0 predicts nothing.
    """
    if found.low > 0 or found.high < 0:
        return "better" if found.low > 0 else "worse"
    return "foretold" if max(-found.low, found.high) <= margin else "too_little_data"


def words(
    verdict: Foretold, before: Interval, after: Interval, found: Interval, records: int, groups: int, settings: Compare
) -> str:
    """The verdict in a sentence or two."""
    value, low, high = signed(found)
    start = {
        "foretold": "The holdout predicted the later results",
        "better": "Later results were better than the holdout predicted",
        "worse": "Later results were worse than the holdout predicted",
        "too_little_data": "Too little data to say whether the holdout predicted the later results",
    }[verdict]
    said = (
        f"{start}: exact match {rate(after.value)} of {records:,} online records of {groups:,} customers against "
        f"{rate(before.value)} on the holdout, {value} points ({percent(settings.confidence)} interval {low} to {high})."
    )
    if verdict != "too_little_data":
        return said
    return f"{said} For that, the interval must exclude 0 or stay within {100 * settings.online_margin:g} points of it."
