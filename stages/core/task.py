"""The domain's task: how a target becomes a completion, and what a completion says.

A completion is one of three things: a *refusal* (equal to `task.refusal`), an *answer* (parsed, and valid under the
schema where the task has one), or *invalid* (with the reason).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from stages.core.document import changed
from stages.core.errors import HallmarkError
from stages.core.params import Task as TaskParams


@dataclass(frozen=True)
class Parsed:
    """What a completion says. `value` is the parsed answer (None for a refusal or where nothing parses)."""

    kind: Literal["answer", "refusal", "invalid"]
    value: Any = None
    parses: bool = True
    problem: str | None = None


class Task:
    """The task as `params.yaml` states it, with its schema loaded and compiled."""

    def __init__(self, params: TaskParams) -> None:
        self.kind = params.kind
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
                "no such schema", file=self.schema_file, remedy="write it, or mend task.schema"
            ) from None
        except ValueError as error:
            raise HallmarkError(f"not JSON: {error}", file=self.schema_file, remedy="mend the schema") from None
        if not isinstance(schema, dict):
            raise HallmarkError("the schema is not an object", file=self.schema_file, remedy="mend the schema")
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
                f"not a valid JSON Schema: {message}", file=self.schema_file, remedy="mend the schema"
            ) from None

    @property
    def is_json(self) -> bool:
        """Whether completions are JSON (else they are text: a label, or a reply)."""
        return self.kind in ("extraction", "tool_call")

    @property
    def labels(self) -> list[str] | None:
        """The labels of a classification task, in schema order (the schema is `{"enum": [...]}`)."""
        if self.kind != "classification" or self.schema is None:
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
        value: Any = text
        if self.is_json:
            try:
                value = DECODER.decode(text)
            except (ValueError, RecursionError) as error:
                if self._is_refusal(text):
                    return Parsed("refusal")
                return Parsed("invalid", parses=False, problem=f"not JSON: {error}")
        if self._is_refusal(text if isinstance(value, str) else value):
            return Parsed("refusal")
        if self._validator is not None:
            try:
                problem = next(iter(self._validator.iter_errors(value)), None)
            except ValueError as error:  # a number beyond what the validator can hold
                return Parsed("invalid", value, problem=f"not valid under the schema: {error}")
            if problem is not None:
                at = "/".join(str(part) for part in problem.instance_path) or "the root"
                return Parsed("invalid", value, problem=f"not valid under the schema at {at}: {problem.kind.name}")
        return Parsed("answer", value)

    @cached_property
    def _refusal(self) -> tuple[str, Any]:
        """The refusal's canonical text, and its JSON value (the text itself where it isn't JSON)."""
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
            return False  # the usual case, told quickly
        return canonical(value) == form

    def _ordered(self, value: Any, schema: dict[str, Any]) -> Any:
        if isinstance(value, dict):
            known = schema.get("properties", {})
            order = [key for key in known if key in value] + sorted(key for key in value if key not in known)
            return {key: self._ordered(value[key], known.get(key, {})) for key in order}
        if isinstance(value, list):
            return [self._ordered(item, schema.get("items", {})) for item in value]
        return value


def compact_json(value: Any) -> str:
    """JSON without spaces, keys in the order given: the fewest tokens."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def canonical(value: Any) -> str:
    """One text for all spellings of the same JSON value (or of the same text, where it isn't JSON)."""
    if isinstance(value, str):
        try:
            value = DECODER.decode(value)
        except (ValueError, RecursionError):
            return value.strip()
    return json.dumps(changed(value, _plain_number), ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _plain_number(value: Any) -> Any:
    """12.0 and 12 are one JSON number."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


DECODER = json.JSONDecoder(parse_constant=_no_constant)  # made once, not anew in each call
