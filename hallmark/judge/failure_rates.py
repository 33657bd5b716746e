"""How often the tuned model fails in each way, by itself, and how far each way grows over another model."""

from __future__ import annotations

from collections.abc import Sequence

from hallmark.base.outcomes import FAILURES
from hallmark.base.stats import ClusterBootstrap
from hallmark.judge.comparison import FailureAlone, FailureResult
from hallmark.task.predictions import Prediction

CONTENT = ("hallucination", "wrong_value", "omission")  # classes of answers that can be read; the form is judged first
Possible = dict[str, list[bool]]  # by class and record, whether it is possible


def failures_alone(tuned: Sequence[Prediction], bootstrap: ClusterBootstrap, can: Possible) -> list[FailureAlone]:
    """The rate of each failure class of the tuned model, and what it would be if all failed that can."""
    results = []
    for name in FAILURES:
        failing = [row.outcome == name for row in tuned]
        anywhere = [any(flags) for flags in zip(can[name], failing, strict=True)]  # what happened was possible
        results.append(
            FailureAlone(
                name=name,
                records=sum(failing),
                tuned=bootstrap.rate(failing).rounded(),
                possible=sum(anywhere),
                worst=bootstrap.rate(anywhere).rounded(),
            )
        )
    return results


def failures(
    other: Sequence[Prediction], tuned: Sequence[Prediction], bootstrap: ClusterBootstrap, can: Possible
) -> list[FailureResult]:
    """The rate of each failure class of both models, and how far it grows."""
    both_valid = [before.schema_valid and after.schema_valid for before, after in zip(other, tuned, strict=True)]
    results = []
    for name in FAILURES:
        before, after = ([row.outcome == name for row in rows] for rows in (other, tuned))
        anywhere = [any(flags) for flags in zip(can[name], before, after, strict=True)]  # what happened was possible
        judged = [here and (name not in CONTENT or valid) for here, valid in zip(anywhere, both_valid, strict=True)]
        before_judged, after_judged = (
            [flag and counts for flag, counts in zip(flags, judged, strict=True)] for flags in (before, after)
        )
        results.append(
            FailureResult(
                name=name,
                other=bootstrap.rate(before).rounded(),
                tuned=bootstrap.rate(after).rounded(),
                difference=bootstrap.rate_difference(before, after).rounded(),
                possible=sum(anywhere),
                growth=bootstrap.rate_difference(before_judged, after_judged).rounded(),
                judged=sum(judged),
                worst_growth=bootstrap.rate_difference(before_judged, judged).rounded(),
            )
        )
    return results
