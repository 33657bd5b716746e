"""The domain's task: how a target becomes a completion, and what a completion says.

A completion is one of three things: a *refusal* (equal to `task.refusal`), an *answer* (parsed, and valid under the
schema if the task has one), or *invalid* (with the reason).
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.errors import HallmarkError
from stages.tasks.answers import DECODER, Parsed, canonical, compact_json
from stages.tasks.kinds import KINDS

if TYPE_CHECKING:
    from stages.tasks.params import Task as TaskParams


class Task:
    """The task as `params.yaml` states it, with its kind, and its schema loaded and compiled."""

    def __init__(self, params: TaskParams) -> None:
        self.kind = KINDS[params.kind]
        self.system_prompt = params.system_prompt
        self.schema_file = Path(params.schema_file) if params.schema_file else None
        self.refusal = params.refusal

    @cached_property
    def schema(self) -> dict[str, Any] | None:
        """The JSON Schema of an answer, or None for free text."""
        if self.schema_file is None:
            return None
        try:
            schema = json.loads(self.schema_file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise HallmarkError(
                "no such schema", file=self.schema_file, remedy="write the file, or fix task.schema"
            ) from None
        except ValueError as error:
            raise HallmarkError(f"not JSON: {error}", file=self.schema_file, remedy="fix the schema") from None
        if not isinstance(schema, dict):
            raise HallmarkError("the schema is not an object", file=self.schema_file, remedy="fix the schema")
        return schema

    @cached_property
    def _validator(self) -> Any:
        import jsonschema_rs

        if self.schema is None:
            return None
        try:
            return jsonschema_rs.validator_for(self.schema, validate_formats=True)
        except (jsonschema_rs.ValidationError, ValueError) as error:
            message = getattr(error, "message", str(error))
            raise HallmarkError(
                f"not a valid JSON Schema: {message}", file=self.schema_file, remedy="fix the schema"
            ) from None

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
            return target.strip() if isinstance(target, str) else compact_json(target)
        if isinstance(target, str):
            target = json.loads(target)
        return compact_json(self._ordered(target, self.schema or {}))

    def parse(self, completion: str) -> Parsed:
        """Read a completion strictly: no repair, no stripping of code fences, since a consumer gets these bytes."""
        text = completion.strip()
        try:
            value = self.kind.parse(text)
        except (ValueError, RecursionError) as error:
            if self._is_refusal(text):
                return Parsed("refusal")
            form = "JSON" if self.is_json else f"a {self.kind} answer"
            return Parsed("invalid", parses=False, problem=f"not {form}: {error}")
        if self._is_refusal(text if isinstance(value, str) else value):
            return Parsed("refusal")
        if self._validator is not None:
            try:
                problem = next(iter(self._validator.iter_errors(value)), None)
            except ValueError as error:  # a number beyond what the validator can hold
                return Parsed("invalid", value, problem=f"not valid under the schema: {error}")
            if problem is not None:
                path = "/".join(str(part) for part in problem.instance_path) or "the root"
                return Parsed("invalid", value, problem=f"not valid under the schema at {path}: {problem.kind.name}")
        return Parsed("answer", value)

    @cached_property
    def _refusal(self) -> tuple[str, Any]:
        """The refusal's canonical text, and its JSON value (the text itself if it isn't JSON)."""
        form = canonical(self.refusal)
        try:
            return form, DECODER.decode(form)
        except ValueError:
            return form, form

    def _is_refusal(self, value: Any) -> bool:
        if self.refusal is None:
            return False
        form, meant = self._refusal
        if not isinstance(value, str) and value != meant:
            return False  # the usual case, and the fast way out
        return canonical(value) == form

    def _ordered(self, value: Any, schema: dict[str, Any]) -> Any:
        if isinstance(value, dict):
            known = schema.get("properties", {})
            order = [key for key in known if key in value] + sorted(key for key in value if key not in known)
            return {key: self._ordered(value[key], known.get(key, {})) for key in order}
        if isinstance(value, list):
            return [self._ordered(item, schema.get("items", {})) for item in value]
        return value
