"""Extraction: a text to one JSON object, whose leaves are its fields."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from stages.tasks.kind import REFUSAL, JsonKind

if TYPE_CHECKING:
    from stages.tasks.task import Task


class Extraction(JsonKind):
    name = "extraction"

    def prompt_hint(self, target: str, schema: Mapping[str, Any]) -> str:
        return f"Text to JSON: {', '.join(schema.get('properties', {}))}; null if the text does not say."

    def completion(self, task: Task, labels: Mapping[str, str]) -> str:
        if labels.get(REFUSAL) == "true":
            return task.render(task.refusal)
        answer: dict[str, Any] = {}
        for path, label in labels.items():
            if path == REFUSAL:
                continue
            *parents, last = path.split(".")
            inner = answer
            for name in parents:
                inner = inner.setdefault(name, {})
            values = json.loads(label)
            inner[last] = values[0] if values else None
        return task.render(answer)


KIND = Extraction()
