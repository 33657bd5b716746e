"""The `task` block of `params.yaml`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from hallmark.base.params import Block, Line, Text
from hallmark.task.kinds import KINDS


def _known(kind: str) -> str:
    if kind not in KINDS:
        raise ValueError(f"task.kind: no kind '{kind}'; there are {', '.join(KINDS)}")
    return kind


def _only_known(schema: dict[str, Any]) -> None:
    schema["enum"] = list(KINDS)


class Task(Block):
    kind: Annotated[Text, AfterValidator(_known), Field(json_schema_extra=_only_known)]
    system_prompt: Text
    schema_file: Line | None = Field(alias="schema")
    tool_format: Literal["json", "template"]
    refusal: Text | None

    @model_validator(mode="after")
    def _schema_where_needed(self) -> Task:
        if KINDS[self.kind].needs_schema and self.schema_file is None:
            raise ValueError(f"task.schema: a {self.kind} task needs a JSON Schema file")
        return self

    @model_validator(mode="after")
    def _calls_where_they_are_formatted(self) -> Task:
        if self.tool_format == "template" and not KINDS[self.kind].calls_tools:
            raise ValueError("task.tool_format: only tasks of kind tool_call have calls; set it to json")
        return self
