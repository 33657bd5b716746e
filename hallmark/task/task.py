"""The domain's task: how a target becomes a completion, and what a completion says.

A completion is one of three things: a *refusal* (equal to `task.refusal`), an *answer* (parsed, and valid under the
schema if the task has one), or *invalid* (with the reason).
"""

from __future__ import annotations

from functools import cached_property
from json import JSONDecodeError
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallmark.base.reading import NotJsonError, strict_json
from hallmark.task.answers import Parsed, canonical, compact_json, strict_answer
from hallmark.task.kinds import KINDS
from hallmark.task.schema import Schema, load_schema
from hallmark.task.values import as_listed, properties_of

if TYPE_CHECKING:
    from hallmark.task.params import Task as TaskParams


class Task:
    """The task as `params.yaml` states it, with its kind, and its schema loaded and compiled."""

    def __init__(self, params: TaskParams) -> None:
        self.kind = KINDS[params.kind]
        self.system_prompt = params.system_prompt
        self.schema_file = Path(params.schema_file) if params.schema_file else None
        self.refusal = params.refusal

    @cached_property
    def _loaded(self) -> Schema | None:
        return None if self.schema_file is None else load_schema(self.schema_file)

    @property
    def schema(self) -> dict[str, Any] | None:
        """The JSON Schema of an answer, or None for free text."""
        return None if self._loaded is None else self._loaded.content

    @property
    def is_json(self) -> bool:
        """Whether completions are JSON (else they are text: a label, or a reply)."""
        return self.kind.is_json

    @property
    def has_form(self) -> bool:
        """Whether there is a form that an answer can break: JSON, or a schema."""
        return self.is_json or self.schema_file is not None

    @property
    def labels(self) -> list[str] | None:
        """All answers, in schema order, if the schema lists them (`{"enum": [...]}`)."""
        if not self.kind.listed or self.schema is None:
            return None
        return [str(label) for label in self.schema.get("enum", [])]

    def render(self, target: Any) -> str:
        """The completion text for a target: compact JSON with the schema's key order, or the text itself."""
        if not self.is_json or self._is_refusal(target):
            text = target.strip() if isinstance(target, str) else compact_json(target)
            return as_listed(text, self.schema) if self.kind.listed else text
        if isinstance(target, str):
            target = strict_json(target)
        return compact_json(self._ordered(target, self.schema or {}))

    def parse(self, completion: str) -> Parsed:
        """Read a completion strictly: no repair, no stripping of code fences, since a consumer gets these bytes."""
        text = completion.strip()
        try:
            value = self.kind.parse(text)
        except (ValueError, RecursionError) as error:
            if self._is_refusal(text):
                return Parsed("refusal")
            reason = f": {error}" if isinstance(error, NotJsonError | JSONDecodeError) else ""  # others may quote it
            form = "JSON" if self.is_json else f"a {self.kind} answer"
            return Parsed("invalid", parses=False, problem=f"not {form}{reason}")
        if self._is_refusal(text if isinstance(value, str) else value):
            return Parsed("refusal")
        if self._loaded is not None and (problem := self._loaded.problem(value)):
            return Parsed("invalid", value, problem=problem)
        return Parsed("answer", value)

    @cached_property
    def _refusal(self) -> tuple[str, Any]:
        """The refusal's canonical text, and its JSON value (the text itself if it isn't JSON)."""
        form = canonical(self.refusal)
        try:
            return form, strict_answer(form)
        except ValueError:
            return form, form

    def _is_refusal(self, value: Any) -> bool:
        if self.refusal is None:
            return False
        form, meant = self._refusal
        if not isinstance(value, str) and value != meant:
            return False  # the usual case, and the fast way out
        return canonical(value) == form

    def _ordered(self, value: Any, schema: Any) -> Any:
        if isinstance(value, dict):
            known = properties_of(schema)
            order = [key for key in known if key in value] + sorted(key for key in value if key not in known)
            return {key: self._ordered(value[key], known.get(key)) for key in order}
        if isinstance(value, list):
            return [self._ordered(item, schema.get("items") if isinstance(schema, dict) else None) for item in value]
        return as_listed(value, schema)
