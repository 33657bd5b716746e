"""The `dedupe` and `split` blocks of `params.yaml`."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from hallmark.base.params import Block, Line, Share, Text

GOLD = ("data", "gold")


class Dedupe(Block):
    over: Literal["prompt", "prompt_and_completion"]
    shingle: Annotated[int, Field(ge=2, le=32)]
    threshold: Annotated[float, Field(ge=0.3, le=1)]
    permutations: Annotated[int, Field(ge=32, le=1024)]
    conflicts: Literal["drop", "majority", "keep"]
    max_cluster: Annotated[float, Field(gt=0, le=1)]
    only_placeholders: Literal["one", "drop"]
    gold: Text | None

    @field_validator("max_cluster", mode="before")
    @classmethod
    def _no_number_of_texts(cls, value: Any) -> Any:
        if isinstance(value, int | float) and value > 1:
            raise ValueError(
                f"dedupe.max_cluster: {value} is no share; 0.05 allows a twentieth of the different texts, and 500 in any case"
            )
        return value


class Split(Block):
    holdout: Share
    validation: Share
    calibration: Annotated[float, Field(ge=0, lt=1)]
    salt: Text
    shared_groups: Literal["error", "count"]
    label_errors: Annotated[int, Field(ge=0, le=10_000)]
    leave_out: Line | None
    too_long: Literal["error", "drop", "count"]

    @model_validator(mode="after")
    def _left_out_where_dvc_looks(self) -> Split:
        if self.leave_out and (PurePosixPath(self.leave_out).parts[:2] != GOLD or ".." in self.leave_out):
            raise ValueError(
                "split.leave_out: put the file in data/gold, the folder that `split` runs again for if it changes"
            )
        return self

    @model_validator(mode="after")
    def _something_left_for_training(self) -> Split:
        if self.holdout + self.validation + self.calibration >= 1:
            raise ValueError(
                "split.holdout, split.validation and split.calibration: their sum must be under 1, so that records are left "
                "for training"
            )
        return self
