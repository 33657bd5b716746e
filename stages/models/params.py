"""The `base` block of `params.yaml`, one class per source of a base model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from stages.core.params import Block, Line, Sha256, Variable

Rank = Annotated[int, Field(ge=1, le=4096)]  # of an adapter


class AnyBase(Block):
    name: Line
    licence: Line
    chat_template_kwargs: dict[Variable, bool | int | float | str]


class PackageBase(AnyBase):
    source: Literal["package"]
    package: Line
    file: Line
    sha256: Sha256


class HubBase(AnyBase):
    source: Literal["hub"]
    revision: Annotated[
        str,
        StringConstraints(pattern=r"^[0-9a-f]{40}$"),
        Field(description="the full commit hash, 40 digits, which pins the model"),
    ]


class FolderBase(AnyBase):
    source: Literal["folder"]
    path: Line = Field(description="a folder in Hugging Face layout, with safetensors weights")
