"""Whether what an answer says stands in what the model could read, but for what the schema lists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hallmark.base.patterns import Pattern
from hallmark.task.answers import Parsed
from hallmark.task.evidence import Source, source_of
from hallmark.task.task import Task
from hallmark.task.values import Values, closed_paths


class Grounding:
    """Looks the values of answers up in texts. `facts`: as the scorer has them."""

    def __init__(self, task: Task, facts: Mapping[str, str] | None = None) -> None:
        self.task = task
        self._facts = {name: Pattern(regex, f"eval.facts.{name}") for name, regex in (facts or {}).items()}
        self._closed = closed_paths(task.schema) if task.schema else set()

    def values(self, parsed: Parsed) -> Values:
        """The values of an answer by path; none of a refusal."""
        return {} if parsed.value is None else self.task.kind.fields(parsed.value, self._facts)

    def has(self, value: Any, path: str, text: Source) -> bool:
        """Whether the text has that value, or the schema lists it."""
        if path in self._closed or value is None or isinstance(value, bool) or self.task.kind.is_listed(path):
            return True
        if isinstance(value, dict):
            return all(self.has(item, f"{path}.{name}", text) for name, item in value.items())
        if isinstance(value, list):
            return all(self.has(item, f"{path}[]", text) for item in value)
        return text.has(value)

    def evidence(self, expected: Parsed, source: str, context: str) -> bool | None:
        """Whether input and context have all that is expected; None if nothing is, or none of it can be looked up."""
        if expected.kind != "answer" or not (self.task.is_json or self._facts):
            return None
        text = source_of(f"{source}\n{context}")
        return all(self.has(value, path, text) for path, values in self.values(expected).items() for value in values)

    def abstains(self, parsed: Parsed) -> bool:
        """Whether an answer says that there is nothing to say: the refusal, or one without any value to look up."""
        if parsed.kind == "refusal":
            return True
        return parsed.kind == "answer" and self.task.kind.says_nothing(parsed.value, self._closed)
