"""The `collect` block of `params.yaml`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from hallmark.base.params import Block, Line, Positive

Weight = Annotated[float, Field(ge=0, le=1_000)]
Number = Annotated[float, Field(ge=-1e12, le=1e12)]


class Review(Block):
    most: Positive
    unsure: Weight
    far: Weight
    frequent: Weight

    @model_validator(mode="after")
    def _something_counts(self) -> Review:
        if not self.unsure + self.far + self.frequent:
            raise ValueError("collect.review: all weights are 0; give one of unsure, far and frequent another value")
        return self


class Collect(Block):
    routes: list[Literal["prod", "canary", "shadow", "batch"]]
    customer: Line | None
    score: Line | None
    accepted_from: Number
    review: Review
