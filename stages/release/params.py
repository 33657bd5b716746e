"""The `gate`, `certify` and `verify` blocks of `params.yaml`."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from stages.core.outcomes import FailureClass
from stages.core.params import Block, Limit, Line, NotNegative, Positive, Seconds, Text
from stages.evaluation.measures import known_measures

FILL_IN = "FILL-IN"  # what `propose` writes where only the user knows what is true


class GateServing(Block):
    latency_p95_s: Seconds
    tokens_per_second: Annotated[float, Field(ge=0, le=1e9)]
    error_rate: Limit


class GateData(Block):
    leaks: NotNegative


class Gate(Block):
    min_records: Positive
    min_groups: Positive
    superiority: dict[Literal["base", "classical"], Annotated[float, Field(gt=-1, lt=1)]]
    floors: dict[Text, Limit]
    ceilings: dict[FailureClass, Limit]
    margins: dict[FailureClass, Limit]
    serving: GateServing
    data: GateData

    @model_validator(mode="after")
    def _floors_are_of_measures(self) -> Gate:
        usable = [measure.name for measure in known_measures().values() if measure.gate]
        if unknown := [name for name in self.floors if name not in usable]:
            raise ValueError(f"gate.floors: no measure '{unknown[0]}'; the gate can use {', '.join(usable)}")
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

    @property
    def unfilled(self) -> list[str]:
        """The params of this block that still have `FILL_IN` somewhere: nobody has said what is true of these data."""
        return [f"certify.{name}" for name, value in self if FILL_IN in str(value)]


class Verify(Block):
    band: Annotated[float, Field(ge=0, lt=1)]
