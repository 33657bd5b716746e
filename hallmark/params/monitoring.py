"""The `canary` block of `params.yaml`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from hallmark.base.params import Block, Limit, Seconds, Share

Hours = Annotated[float, Field(ge=0.001, le=8_760)]
Price = Annotated[float, Field(gt=0, le=1e12)]


class CanaryMargins(Block):
    wrong: Limit | None
    complaints: Limit | None
    schema_breaks: Limit | None
    handed_over: Limit | None
    failed: Limit | None
    slow: Limit | None
    price: Annotated[float, Field(ge=0, le=100)] | None


class Canary(Block):
    confidence: Annotated[Share, Field(gt=0.5)]
    first_look_hours: Hours
    days: Annotated[float, Field(ge=0.001, le=365)]
    margins: CanaryMargins
    slow_seconds: Seconds
    price_at_most: Price

    @model_validator(mode="after")
    def _has_a_look(self) -> Canary:
        if self.first_look_hours > 24 * self.days:
            raise ValueError("canary.first_look_hours: later than canary.days; take fewer hours, or more days")
        return self
