"""The labels in an answer: what can be read off a list of values, and so be told by a linear model too.

A classification's label; an extraction's fields whose values the schema lists (enum, const, boolean; no lists); the
names of a tool call; and, where answers are JSON, whether to refuse. A record that is due a refusal has that one alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from stages.core.task import Task, canonical
from stages.evaluation.scoring import called, closed_paths, leaves

LABEL, NAME = "label", "name"
REFUSAL = "(refusal)"  # whether to refuse; where labels are text, the label of a refusal


def label_names(task: Task) -> list[str]:
    """The names of the task's labels; none where it has no such thing."""
    if not task.is_json:
        return [LABEL] if task.kind == "classification" else []
    fields = [NAME] if task.kind == "tool_call" else sorted(closed_paths(task.schema or {}) - {""})
    return [path for path in fields if "[]" not in path] + ([REFUSAL] if task.refusal is not None else [])


def labels_of(task: Task, completion: str, names: Sequence[str]) -> dict[str, str]:
    """Those of its labels that a completion gives, each as one text for all spellings; none where it can't be read."""
    said = task.parse(completion)
    if task.kind == "classification":
        return {} if said.kind == "invalid" else {LABEL: REFUSAL if said.kind == "refusal" else str(said.value)}
    if said.kind == "refusal":
        return {REFUSAL: "true"}
    if not said.parses:
        return {}
    try:
        found = {NAME: called(said.value)} if task.kind == "tool_call" else leaves(said.value)
        return {name: canonical(found.get(name, [])) for name in names} | {REFUSAL: "false"}
    except RecursionError:
        return {}


def completion_of(task: Task, labels: dict[str, str]) -> str:
    """The completion that says these labels and nothing else."""
    if task.kind == "classification":
        return task.render(task.refusal if labels[LABEL] == REFUSAL else labels[LABEL])
    if labels.get(REFUSAL) == "true":
        return task.render(task.refusal)
    values = {name: json.loads(label) for name, label in labels.items() if name != REFUSAL}
    if task.kind == "tool_call":
        calls = [{"name": name, "arguments": {}} for name in values[NAME]]
        return task.render(calls[0] if len(calls) == 1 else calls)
    answer: dict[str, Any] = {}
    for path, value in values.items():
        *parents, last = path.split(".")
        inner = answer
        for name in parents:
            inner = inner.setdefault(name, {})
        inner[last] = value[0] if value else None
    return task.render(answer)


def right_labels(task: Task, names: Sequence[str], pairs: Sequence[tuple[str, str]]) -> dict[str, list[bool | None]]:
    """For each name, and each pair of target and prediction: is that label right? None where it was not due."""
    found: dict[str, list[bool | None]] = {name: [] for name in names}
    for target, prediction in pairs:
        due = labels_of(task, target, names)
        said = due if prediction == target else labels_of(task, prediction, names)
        for name in names:
            found[name].append(said.get(name) == due[name] if name in due else None)
    return found
