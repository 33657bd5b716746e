"""The `collect` block of `params.yaml`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hallmark.base.params import Block, Line, Positive

Number = Annotated[float, Field(ge=-1e12, le=1e12)]


class Review(Block):
    most: Positive


class Collect(Block):
    routes: list[Literal["prod", "canary", "shadow", "batch"]]
    customer: Line | None
    score: Line | None
    accepted_from: Number
    review: Review
