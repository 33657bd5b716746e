"""The strict base class of every block of `params.yaml`, its types, and the blocks that several rooms read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

Share = Annotated[float, Field(gt=0, lt=1)]
LARGEST = 2**31 - 1  # of a count: what a library may hold in a C int
Positive = Annotated[int, Field(ge=1, le=LARGEST)]
NotNegative = Annotated[int, Field(ge=0, le=LARGEST)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]  # what NumPy takes
Batch = Annotated[int, Field(ge=1, le=65_536)]
Processes = Annotated[int, Field(ge=1, le=1_024)]
Tokens = Annotated[int, Field(ge=1, le=10_000_000)]
Seconds = Annotated[float, Field(gt=0, le=604_800)]  # a week


def _no_control(text: str) -> str:
    if _CONTROL.search(text):
        raise ValueError("a control character, or half a surrogate pair")
    return text


def _one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("a line break, or a character that doesn't show")
    return text


_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
Text = Annotated[str, StringConstraints(min_length=1), AfterValidator(_no_control)]
Line = Annotated[str, StringConstraints(min_length=1, max_length=1_000), AfterValidator(_one_line)]  # a path, a name
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


def _compiles(regex: str) -> str:
    try:
        re.compile(regex)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    except (RecursionError, OverflowError, MemoryError):
        raise ValueError("not a regular expression that can be compiled: nested too deep, or too large") from None
    return regex


Regex = Annotated[str, StringConstraints(min_length=1, max_length=10_000), AfterValidator(_compiles)]
Limit = Annotated[float, Field(ge=0, le=1)]


class Block(BaseModel):
    """A strict block: unknown keys and wrong types are errors; nothing is coerced, except an integer to a float."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


@dataclass(frozen=True)
class ByKind:
    """Checks a block as its `kind` says. The kinds are looked up at each check, so that an engine can be added.

    Unlike a discriminator of pydantic's, it adds nothing to the path of an error.
    """

    field: str
    kinds: Callable[[], Mapping[str, type[Block]]]
    key: str = "kind"

    def block(self, value: Any) -> type[Block] | None:
        """The type of a block in params.yaml; None if its kind is unknown."""
        kind = value.get(self.key) if isinstance(value, dict) else None
        return self.kinds().get(kind) if isinstance(kind, str) else None

    def __call__(self, value: Any) -> Any:
        """The block as its own type; one that is checked already stays as it is."""
        if isinstance(value, Block):
            return value
        block = self.block(value)
        if block is None:
            kind, known = value.get(self.key) if isinstance(value, dict) else None, ", ".join(sorted(self.kinds()))
            given = repr(kind)[:100] if isinstance(kind, str | None) else f"of type {type(kind).__name__}"
            raise ValueError(f"{self.field}.{self.key}: must be one of {known}; it is {given}")
        return block.model_validate(value)


def _no_mps(device: Any) -> Any:
    if device == "mps":
        raise ValueError(
            "compute.device: mps is not supported: bitsandbytes downloads its kernels for it as code when it runs; "
            "on Apple silicon, use cpu"
        )
    return device


class Compute(Block):
    device: Annotated[Literal["cpu", "cuda"], BeforeValidator(_no_mps)]
    threads: Processes
    portable: bool

    @model_validator(mode="after")
    def _portable_on_cpu(self) -> Compute:
        if self.portable and self.device != "cpu":
            raise ValueError("compute.portable: only for device cpu; a different GPU gives different bytes regardless")
        return self


class Data(Block):
    pseudonyms: Literal["keyed", "none"]
    key: Sha256 | None
    engine: Literal["local", "ray"]
    cluster: Annotated[str, StringConstraints(pattern=r"^(auto|(ray://)?[\w.\[\]:-]+:\d{1,5})$")] | None


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
        if self.leave_out and (PurePosixPath(self.leave_out).parts[:2] != ("data", "gold") or ".." in self.leave_out):
            raise ValueError(
                "split.leave_out: put the file in data/gold, the folder that `split` runs again for if it changes"
            )
        return self

    @model_validator(mode="after")
    def _something_left_for_training(self) -> Split:
        if self.holdout + self.validation + self.calibration >= 1:
            raise ValueError(
                "split.holdout, split.validation and split.calibration: their sum must be under 1, so that records are "
                "left for training"
            )
        return self
