"""Requests in the form in which drift compares them: of the holdout, and of the traces of today."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hallmark.answer.labels import labels_of
from hallmark.base.reading import NotJsonError, strict_json
from hallmark.judge.drift import Request
from hallmark.service.collecting.logged import LeftOutError, messages_of
from hallmark.task.predictions import Prediction
from hallmark.task.task import Task


def of_holdout(rows: Iterable[Prediction], task: Task) -> list[Request]:
    """The requests of the holdout, with the labels of the tuned model's answers."""
    names = task.kind.label_names(task)
    return [Request(row.group, row.input, _labels(task, names, row.answer, row.schema_valid)) for row in rows]


def of_traces(rows: Iterable[Mapping[str, Any]], task: Task) -> list[Request]:
    """The requests of traces (rows with the fields of `Trace`), each request once, whoever answered it besides.

    A request without a customer counts as one of its API key's, as if all of that key were one customer's: too few
    customers hide a drift, too many would make one up.
    """
    names, kept = task.kind.label_names(task), {}
    for row in rows:
        try:
            messages = messages_of(strict_json(row["messages"]))
        except (NotJsonError, LeftOutError):  # of a damaged trace, which becomes no record either
            continue
        spoken = [message["content"] for message in messages if message["role"] != "system" and message["content"]]
        group = row["group"] if row["group"] is not None else f"key {row['caller']}"
        labels = _labels(task, names, row["answer"], row["schema_valid"])
        if row["request"] not in kept or row["route"] != "shadow":
            kept[row["request"]] = Request(group, "\n".join(spoken), labels)
    return list(kept.values())


def _labels(task: Task, names: Sequence[str], answer: str | None, valid: bool | None) -> dict[str, str]:
    """The labels of an answer that fits the schema; of any other, which may say anything, none."""
    if answer is None or not valid:
        return {}
    return {name: _spelled(value) if task.is_json else value for name, value in labels_of(task, answer, names).items()}


def _spelled(value: str) -> str:
    """A label as people read it: where answers are JSON, it is the list of a field's values."""
    content = json.loads(value)
    parts = content if isinstance(content, list) else [content]
    return ", ".join(part if isinstance(part, str) else json.dumps(part) for part in parts)
