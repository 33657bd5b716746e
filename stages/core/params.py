"""The strict base class of every block of `params.yaml`, its types, and the blocks that several rooms read."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

Share = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[int, Field(ge=1)]
NotNegative = Annotated[int, Field(ge=0)]
Text = Annotated[str, StringConstraints(min_length=1)]
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


def _compiles(regex: str) -> str:
    try:
        re.compile(regex)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return regex


Regex = Annotated[str, StringConstraints(min_length=1), AfterValidator(_compiles)]
Limit = Annotated[float, Field(ge=0, le=1)]


class Block(BaseModel):
    """A strict block: unknown keys and wrong types are errors; nothing is coerced, except an integer to a float."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Compute(Block):
    device: Literal["cpu", "cuda"]
    threads: Positive
    portable: bool

    @model_validator(mode="after")
    def _portable_on_cpu(self) -> Compute:
        if self.portable and self.device != "cpu":
            raise ValueError("compute.portable: only for device cpu; a different GPU gives different bytes regardless")
        return self


class Data(Block):
    path: Text
    id: Text
    group: Text
    input: Text
    target: Text | list[Text]
    context: Text | None
    tools: Text | None
    rejected: Text | None
    tags: Text | None
    pseudonyms: Literal["keyed", "none"]
    key: Sha256 | None
