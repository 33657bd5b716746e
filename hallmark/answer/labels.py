"""The labels in an answer, as the kind of the task names them: what a linear model can predict too.

A classification's label; an extraction's fields whose values the schema lists (enum, const, boolean; no lists); the
names of a tool call; and, if answers are JSON, whether to refuse. A record that should be refused has that one alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hallmark.task.task import Task


def labels_of(task: Task, completion: str, names: Sequence[str]) -> dict[str, str]:
    """The labels that a completion gives, each as one text for all its spellings; none if it can't be read."""
    return task.kind.labels(task.parse(completion), names)


def right_labels(task: Task, names: Sequence[str], pairs: Sequence[tuple[str, str]]) -> dict[str, list[bool | None]]:
    """For each name, and each pair of target and prediction: is that label right? None if the target has no such label."""
    right: dict[str, list[bool | None]] = {name: [] for name in names}
    for target, prediction in pairs:
        expected = labels_of(task, target, names)
        predicted = expected if prediction == target else labels_of(task, prediction, names)
        for name in names:
            right[name].append(predicted.get(name) == expected[name] if name in expected else None)
    return right


def all_right(
    task: Task, names: Sequence[str], records: Sequence[dict[str, Any]], answers: Sequence[str]
) -> float | None:
    """The share of the records with labels that have all of them right; None if there are none."""
    pairs = [(record["target"], answer) for record, answer in zip(records, answers, strict=True)]
    rows = zip(*right_labels(task, names, pairs).values(), strict=True)
    judged = [False not in row for row in rows if {*row} - {None}]
    return round(sum(judged) / len(judged), 6) if judged else None
