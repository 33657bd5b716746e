"""In which records a class of failure can happen at all, by the rules of `scoring.py`.

A rate that can't be anything but 0 holds under every ceiling, and says nothing; the gate must know it for what it is.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from stages.core.outcomes import FAILURES
from stages.core.task import Task, canonical


def possible(task: Task, targets: Sequence[str], facts: Collection[str]) -> dict[str, list[bool]]:
    """For each class, whether an answer to each record (its target is given) can fail in that way.

    `facts`: the names of `eval.facts`. Where it can't be told, it is taken to be possible.
    """
    refusal = None if task.refusal is None else canonical(task.refusal)
    refused = [refusal is not None and canonical(target) == refusal for target in targets]
    answered = [not flag for flag in refused]
    everywhere, nowhere = [True] * len(targets), [False] * len(targets)
    reads_values = task.is_json or bool(facts)
    made_up = bool(facts) or (task.is_json and not listed(task.schema))
    can = {
        "unsafe_answer": everywhere,
        "missed_refusal": refused,
        "wrong_refusal": nowhere if task.refusal is None else answered,
        "wrong_format": answered if has_form(task) else nowhere,
        "hallucination": answered if made_up else nowhere,
        "wrong_value": answered,
        "omission": answered if reads_values or task.kind == "text" else nowhere,
    }
    return {name: can[name] for name in FAILURES}


def given(task: Task) -> set[str]:
    """The measures that every answer to this task meets, whatever it says."""
    return {name for name, asked in (("parses", task.is_json), ("schema_validity", has_form(task))) if not asked}


def has_form(task: Task) -> bool:
    """Whether there is a form that an answer can break: JSON, or a schema."""
    return task.is_json or task.schema_file is not None


def listed(schema: Any) -> bool:
    """Whether a schema lists every value that it lets pass, so that none can be made up."""
    if not isinstance(schema, dict):
        return False
    if "enum" in schema or "const" in schema or schema.get("type") == "boolean":
        return True
    if "patternProperties" in schema or "prefixItems" in schema:
        return False
    if schema.get("type") == "array":
        return listed(schema.get("items"))
    closed = schema.get("type") == "object" and schema.get("additionalProperties") is False
    return closed and all(listed(part) for part in schema.get("properties", {}).values())
