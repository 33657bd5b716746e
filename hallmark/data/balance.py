"""How the values of the targets are spread over the sides of a split."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from typing import Any

from hallmark.task.task import Task


def balance(targets: Iterable[tuple[str, str]], task: Task, sides: Collection[str]) -> dict[str, Any]:
    """Share of each value of the enums and booleans, and of answers and refusals (`(kind)`), on each of the `sides`; `targets` are (side, target).

    `difference` has, for each field, the largest difference in share between train and holdout.
    """
    fields = list(enums(task.schema or {}))
    counts: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for side, target in targets:
        parsed = task.parse(target)
        counts["(kind)", side][parsed.kind] += 1
        for path in fields if parsed.kind == "answer" else []:
            counts[".".join(path) or "label", side][value_at(parsed.value, path)] += 1
    there = {side for _, side in counts}
    shares: list[dict[str, Any]] = []
    difference: dict[str, float] = {}
    for field in sorted({field for field, _ in counts}):
        for value in sorted({value for side in sides for value in counts[field, side]}):
            share = {
                side: round(counts[field, side][value] / max(counts[field, side].total(), 1), 6)
                for side in sides
                if side in there
            }
            shares.append({"field": field, "value": value, **share})
            difference[field] = max(difference.get(field, 0), round(abs(share["train"] - share["holdout"]), 6))
    return {"difference": difference, "shares": shares}


def value_at(answer: Any, path: tuple[str, ...]) -> str:
    """The value at a path of keys, as text."""
    for key in path:
        answer = answer.get(key) if isinstance(answer, dict) else None
    return answer if isinstance(answer, str) else json.dumps(answer)


def enums(schema: dict[str, Any], path: tuple[str, ...] = ()) -> Iterable[tuple[str, ...]]:
    """Paths of a schema's enums and booleans: their values are in the schema, so showing them reveals nothing private."""
    if "enum" in schema or schema.get("type") in ("boolean", ["boolean", "null"]):
        yield path
    for key, subschema in schema.get("properties", {}).items():
        if isinstance(subschema, dict):
            yield from enums(subschema, (*path, key))
