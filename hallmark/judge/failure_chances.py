"""In which records a class of failure can happen at all, by the rules of `scoring.py`.

A rate that can't be anything but 0 stays under every ceiling and says nothing; the gate must be able to tell.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from hallmark.base.outcomes import FAILURES
from hallmark.task.answers import canonical
from hallmark.task.task import Task
from hallmark.task.values import lists_every_value


def possible(task: Task, targets: Sequence[str], facts: Collection[str]) -> dict[str, list[bool]]:
    """For each class, whether an answer to each record (its target is given) can fail in that way.

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
