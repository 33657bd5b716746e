"""The `dedupe` and `split` blocks of `params.yaml`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from stages.core.params import Block, Positive, Share, Text


class Dedupe(Block):
    over: Literal["prompt", "prompt_and_completion"]
    shingle: Annotated[int, Field(ge=2, le=32)]
    threshold: Annotated[float, Field(ge=0.3, le=1)]
    permutations: Annotated[int, Field(ge=32, le=1024)]
    conflicts: Literal["drop", "majority", "keep"]
    max_cluster: Positive
    only_placeholders: Literal["one", "drop"]
    gold: Text | None


class Split(Block):
    holdout: Share
    validation: Share
    salt: Text

    @model_validator(mode="after")
    def _something_left_for_training(self) -> Split:
        if self.holdout + self.validation >= 1:
            raise ValueError(
                "split.holdout and split.validation: their sum must be under 1, so that records are left for training"
            )
        return self
