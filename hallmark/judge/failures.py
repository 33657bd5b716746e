"""How often the tuned model fails in each way, where it can fail so at all, and how far each way grows over another model.

A rate that can't be anything but 0 stays under every ceiling and says nothing; the gate must be able to tell.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from hallmark.base.outcomes import FAILURES
from hallmark.base.stats import ClusterBootstrap
from hallmark.judge.comparison import FailureAlone, FailureResult
from hallmark.task.answers import canonical
from hallmark.task.predictions import Prediction
from hallmark.task.task import Task
from hallmark.task.values import lists_every_value

CONTENT = ("hallucination", "wrong_value", "omission")  # classes of answers that can be read; the form is judged first
Possible = dict[str, list[bool]]  # by class and record, whether it is possible


def possible(task: Task, targets: Sequence[str], facts: Collection[str]) -> Possible:
    """For each class, whether an answer to each record (its target is given) can fail in that way, by the rules of
    `scoring.py`.

    `facts`: the names of `eval.facts`. If it can't be known, it is taken to be possible.
    """
    refusal = None if task.refusal is None else canonical(task.refusal)
    refused = [refusal is not None and canonical(target) == refusal for target in targets]
    answered = [not flag for flag in refused]
    everywhere, nowhere = [True] * len(targets), [False] * len(targets)
    reads_values = task.is_json or bool(facts)
    made_up = bool(facts) or (task.is_json and not lists_every_value(task.schema))
    can = {
        "unsafe_answer": everywhere,
        "missed_refusal": refused,
        "wrong_refusal": nowhere if task.refusal is None else answered,
        "wrong_format": answered if task.has_form else nowhere,
        "hallucination": answered if made_up else nowhere,
        "wrong_value": answered,
        "omission": answered if reads_values or not task.kind.listed else nowhere,
    }
    return {name: can[name] for name in FAILURES}


def failures_alone(tuned: Sequence[Prediction], bootstrap: ClusterBootstrap, can: Possible) -> list[FailureAlone]:
    """The rate of each failure class of the tuned model, and what it would be if all failed that can."""
    results = []
    for name in FAILURES:
        failing = [row.outcome == name for row in tuned]
        anywhere = either(can[name], failing)
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
        anywhere = either(can[name], before, after)
        judged = both(anywhere, both_valid) if name in CONTENT else anywhere
        was = both(before, judged)
        results.append(
            FailureResult(
                name=name,
                other=bootstrap.rate(before).rounded(),
                tuned=bootstrap.rate(after).rounded(),
                difference=bootstrap.rate_difference(before, after).rounded(),
                possible=sum(anywhere),
                growth=bootstrap.rate_difference(was, both(after, judged)).rounded(),
                judged=sum(judged),
                worst_growth=bootstrap.rate_difference(was, judged).rounded(),
            )
        )
    return results


def either(*flags: Sequence[bool]) -> list[bool]:
    """By record, whether any is true: what happened was possible."""
    return [any(row) for row in zip(*flags, strict=True)]


def both(*flags: Sequence[bool]) -> list[bool]:
    """By record, whether all are true."""
    return [all(row) for row in zip(*flags, strict=True)]
