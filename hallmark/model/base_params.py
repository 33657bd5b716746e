"""The `base` and `choose` blocks of `params.yaml`: the base model, one class per source, and those to choose from."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from hallmark.base.params import Block, ByKind, Line, Seconds, Sha256, Variable

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


SOURCES: dict[str, type[Block]] = {"package": PackageBase, "hub": HubBase, "folder": FolderBase}
AnySource = PackageBase | HubBase | FolderBase
Base = Annotated[AnySource, BeforeValidator(ByKind("base", lambda: SOURCES, "source"))]
Listed = Annotated[AnySource, BeforeValidator(ByKind("choose.bases.base", lambda: SOURCES, "source"))]

# What may differ from base to base. The rest (data, split, measures, gate) must be the same for all, or they could not be
# compared.
OWN = (
    *("compute", "sft", "dpo", "benchmark.server", "benchmark.max_tokens", "task.tool_format"),
    *(f"eval.{name}" for name in ("engine", "batch_size", "max_new_tokens", "dtype", "attention", "merge")),
)


def _may_differ(name: str) -> str:
    if not any(f"{name}.".startswith(f"{own}.") for own in OWN):
        raise ValueError(f"'{name}' must be the same for all bases; a base can set {', '.join(OWN)}")
    return name


class Candidate(Block):
    base: Listed = Field(description="the block `base` of this model")
    # An inner block's class checks the value, once it is set.
    set: dict[Annotated[Line, StringConstraints(pattern=r"^\w+(\.\w+)+$"), AfterValidator(_may_differ)], Any] = Field(
        description="params that differ for this model, by dotted name, such as {sft.learning_rate: 2.0e-4}; {}: none"
    )


class Choose(Block):
    bases: list[Candidate]
    licences: list[Line] | None
    memory_gib: Annotated[float, Field(gt=0, le=1e6)] | None
    latency_p95_s: Seconds | None
    price_per_1000_right: Annotated[float, Field(gt=0, le=1e12)] | None
