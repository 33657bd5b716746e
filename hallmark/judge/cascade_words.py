"""The cascade in words: why there is none, what came of asking for a risk, and what it is worth."""

from __future__ import annotations

from collections.abc import Sequence

from hallmark.base.stats import Interval
from hallmark.judge.cascade import HUMAN, System
from hallmark.judge.risk import NOT_REACHED, Bound
from hallmark.judge.scores import missing
from hallmark.task.predictions import Prediction


def why_not(tuned: Sequence[Prediction], calibration: Sequence[Prediction]) -> str:
    """Why no threshold can be asked for, or none is."""
    for rows, where in ((tuned, "the holdout"), (calibration, "the calibration part")):
        if lacking := missing(rows):
            return f"{lacking} of {len(rows)} answers to {where} have no log-probabilities (eval.engine gives none)"
    if not calibration:
        return "there is no calibration part (split.calibration is 0)"
    if len({row.group for row in calibration}) < 2:
        return "the calibration part has one group, and it takes two at least"
    return "none is asked for (cascade.max_risk is null)"


def in_order(difference: Interval, confidence: float) -> str:
    """Whether the calibrated score is worth having, in a sentence."""
    found = f"area {difference.value:+.4f}, {confidence:.0%} interval {difference.low:+.4f} to {difference.high:+.4f}"
    if difference.high < 0:
        return f"The calibrated score orders answers better than the mean log-probability ({found})."
    if difference.low > 0:
        return f"The calibrated score orders answers worse than the mean log-probability ({found})."
    return f"The calibrated score orders answers no better than the mean log-probability, as far as is shown ({found})."


def of_bound(found: Bound, probability: float | None, confidence: float) -> str:
    """What came of asking for a risk, in a sentence or two."""
    asked = f"{100 * found.asked:g} %"
    if probability is not None:
        return (
            f"With {100 * confidence:g} % confidence, at most {asked} of the answers that a customer gets are wrong, on average "
            f"over customers who get any, if the model answers from a score of {found.threshold:.4g} on, a probability of {probability:.2g}. That is "
            f"{found.coverage:.1%} of the records, and {found.groups} customers, of those kept for bounds."
        )
    if found.outcome == NOT_REACHED:
        return (
            f"No threshold for {asked}: even the answers that look surest are wrong too often ({found.risk:.1%} of the answers "
            f"of each of {found.groups} customers, on average)."
        )
    needed = f"about {found.groups_needed}" if found.groups_needed is not None else f"more than {found.fewest}"
    return (
        f"No threshold for {asked} can be shown yet: {found.groups} customers of those kept for bounds get an "
        f"answer, and {needed} are needed (at least {found.fewest}, if none gets a wrong one)."
    )


def of_system(found: System) -> str:
    """The cascade in a sentence."""
    rest = "a person, taken to be always right," if found.fallback == HUMAN else found.fallback
    return (
        f"Of {found.records} records, the tuned model answers {found.coverage.value:.1%} and {rest} the rest: exact match "
        f"{found.exact_match.value:.1%} (tuned model alone {found.tuned.value:.1%}, fallback alone "
        f"{found.fallback_alone.value:.1%}); {found.wrong.value:.1%} of all records get a wrong answer of the tuned model."
    )
