"""The `drift` block of `params.yaml`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from stages.core.params import Block, Share


class DriftTest(Block):
    alpha: Share
    permutations: Annotated[int, Field(ge=19, le=100_000)]
    most_records: Annotated[int, Field(ge=50, le=20_000)]
    least_groups: Annotated[int, Field(ge=3, le=10_000)]

    @model_validator(mode="after")
    def _reachable(self) -> DriftTest:
        if self.alpha * (self.permutations + 1) < 1:
            raise ValueError(
                "drift.permutations: too few for drift.alpha, which no p value could reach; take 1 / alpha or more"
            )
        return self
