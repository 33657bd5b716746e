"""The `gate` and `certify` blocks of `params.yaml`."""

from __future__ import annotations

import difflib
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from hallmark.answer.measures import known_measures
from hallmark.base.outcomes import FailureClass
from hallmark.base.params import Block, Limit, Line, NotNegative, Positive, Seconds, Text


def _says_something(text: str) -> str:
    if not text.strip():
        raise ValueError("an empty reason: say why the adapter may ship all the same")
    return text


Reason = Annotated[Line, StringConstraints(max_length=300), AfterValidator(_says_something)]  # of a waiver


class GateServing(Block):
    latency_p95_s: Seconds
    requests_per_second: Annotated[float, Field(ge=0, le=1e9)]
    error_rate: Limit


class GateParity(Block):
    exact_match_lost: Limit


class GateCascade(Block):
    least_coverage: Annotated[
        float, Field(ge=0, le=1, description="smallest share of the holdout's records that the model must answer")
    ]
    largest_risk: Annotated[
        float, Field(ge=0, le=1, description="largest share of these answers that may be wrong; over cascade.max_risk")
    ]


class GateData(Block):
    leaks: NotNegative


def floorable() -> list[str]:
    return [measure.name for measure in known_measures().values() if measure.gate]


def _only_floorable(schema: dict[str, Any]) -> None:
    schema["propertyNames"] = {"enum": floorable()}


def _no_allowance(margins: Any) -> Any:
    if isinstance(margins, dict):
        for name, margin in margins.items():
            if isinstance(margin, int | float) and margin < 0:
                allowed = f"write gate.non_inferiority: {{{name}: {-margin:g}}}"
                raise ValueError(f"{name} may not be negative; for 'at most {-margin:g} behind', {allowed}")
    return margins


Margin = Annotated[float, Field(ge=0, lt=1)]  # a share of all records


class Gate(Block):
    min_records: Positive
    min_groups: Positive
    superiority: Annotated[dict[Text, Margin], BeforeValidator(_no_allowance)]
    non_inferiority: dict[Text, Margin]
    floors: dict[Text, Limit] = Field(json_schema_extra=_only_floorable)
    ceilings: dict[FailureClass, Limit]
    margins_against: Text
    margins: dict[FailureClass, Limit]
    serving: GateServing
    parity: GateParity
    cascade: GateCascade | None
    data: GateData
    waive: dict[Text, Reason]

    @model_validator(mode="after")
    def _waivers_are_of_rules(self) -> Gate:
        for name in self.waive:
            if name not in rule_names(self):
                near = difflib.get_close_matches(name, rule_names(self), n=3, cutoff=0.4) or sorted(rule_names(self))
                raise ValueError(f"gate.waive: no rule '{name}'; did you mean {' or '.join(near)}?")
        return self

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


def rule_names(gate: Gate) -> list[str]:
    """The names of all rules that a gate asks for, which are those in gate.json."""
    return [
        *("sample.records", "sample.groups", "data.leaks", "data.holdout_changed"),
        *(f"superiority.{name}" for name in gate.superiority),
        *(f"non_inferiority.{name}" for name in gate.non_inferiority),
        *(f"floor.{name}" for name in gate.floors),
        *(f"ceiling.{name}" for name in gate.ceilings),
        *(f"growth.{name}" for name in gate.margins),
        *(f"serving.{name}" for name in GateServing.model_fields),
        *(f"parity.{name}" for name in GateParity.model_fields),
        *("parity.live_lost", *(["parity.live_exact_match"] if "exact_match" in gate.floors else [])),
        *(f"cascade.{name}" for name in (("coverage", "risk") if gate.cascade else ())),
    ]


class Certify(Block):
    name: Line
    languages: list[Line]
    tags: list[Line]
    intended_use: Text
    limits: list[Text]
    private_data: Literal["error", "count"]
