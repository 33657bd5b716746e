"""The `gate`, `certify` and `verify` blocks of `params.yaml`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from stages.core.outcomes import FailureClass
from stages.core.params import Block, Limit, Line, NotNegative, Positive, Seconds, Text
from stages.evaluation.measures import known_measures


class GateServing(Block):
    latency_p95_s: Seconds
    tokens_per_second: Annotated[float, Field(ge=0, le=1e9)]
    error_rate: Limit


class GateData(Block):
    leaks: NotNegative


def floorable() -> list[str]:
    """The measures that may have a floor."""
    return [measure.name for measure in known_measures().values() if measure.gate]


def _only_floorable(schema: dict[str, Any]) -> None:
    schema["propertyNames"] = {"enum": floorable()}


class Gate(Block):
    min_records: Positive
    min_groups: Positive
    superiority: dict[Literal["base", "classical"], Annotated[float, Field(gt=-1, lt=1)]]
    floors: dict[Text, Limit] = Field(json_schema_extra=_only_floorable)
    ceilings: dict[FailureClass, Limit]
    margins: dict[FailureClass, Limit]
    serving: GateServing
    data: GateData

    @model_validator(mode="after")
    def _floors_are_of_measures(self) -> Gate:
        if unknown := [name for name in self.floors if name not in floorable()]:
            raise ValueError(f"gate.floors: no measure '{unknown[0]}'; the gate can use {', '.join(floorable())}")
        return self

    @model_validator(mode="after")
    def _every_class_has_a_margin(self) -> Gate:
        missing = [name for name in get_args(FailureClass) if name not in self.margins]
        if missing:
            raise ValueError(f"gate.margins: no margin for {', '.join(missing)}")
        if "base" not in self.superiority:
            raise ValueError("gate.superiority: no margin over the base")
        return self


class Certify(Block):
    name: Line
    languages: list[Line]
    tags: list[Line]
    intended_use: Text
    limits: list[Text]
    private_data: Literal["error", "count"]


class Verify(Block):
    band: Annotated[float, Field(ge=0, lt=1)]
