"""What metrics.json says of a linear model: how often each label is right, and how often the most frequent value would be."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from hallmark.answer.labels import labels_of, right_labels
from hallmark.task.predictions import Prediction
from hallmark.task.task import Task

log = logging.getLogger("classical")


def label_metrics(task: Task, rows: Sequence[Prediction], usual: Mapping[str, str]) -> list[dict[str, Any]]:
    """How often each label is right; `floor`: how often `usual`, its most frequent value in training, is."""
    labels = []
    for name, right in right_labels(task, list(usual), [(row.target, row.prediction) for row in rows]).items():
        judged = [(row, flag) for row, flag in zip(rows, right, strict=True) if flag is not None]
        if not judged:
            continue
        expected = [labels_of(task, row.target, list(usual))[name] for row, _ in judged]
        rate = sum(bool(flag) for _, flag in judged) / len(judged)
        floor = sum(label == usual[name] for label in expected) / len(expected)
        labels.append({"name": name, "records": len(judged), "floor": round(floor, 6), "value": round(rate, 6)})
        said = (name, 100 * rate, len(judged), 100 * floor)
        log.info("%s: right in %.1f %% of %d records, the most frequent value in %.1f %%", *said)
    if not labels:
        log.info("the task has no labels that a linear model could predict")
    return labels
