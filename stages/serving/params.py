"""The `benchmark` block of `params.yaml`, and the check of a block whose `kind` names a serving engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, create_model, model_validator

from stages.core.params import Block, NotNegative, Positive, Seconds, Tokens
from stages.serving.engine import Concurrency, Engine, Settings
from stages.serving.engines import ENGINES


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


def engine_settings() -> dict[str, type[Settings]]:
    """The blocks of all engines, by kind."""
    return {kind: engine.settings for kind, engine in ENGINES.items()}


def asked_settings() -> dict[str, type[Settings]]:
    """The same, each with the keys that say how `eval` asks its server."""
    return {kind: _joined(engine) for kind, engine in ENGINES.items()}


@cache
def _joined(engine: Engine[Any]) -> type[Settings]:
    name, bases = f"Asked{engine.settings.__name__}", (engine.settings, engine.asking)
    return create_model(name, __base__=bases, __module__=engine.settings.__module__)


class Objective(Block):
    ttft: Seconds
    latency: Seconds
    share: Annotated[float, Field(gt=0, le=1)]


class Search(Block):
    max_concurrency: Concurrency = Field(description="most concurrent requests to try")


ArtefactName = Literal["adapter", "nf4", "merged", "q8_0", "q4_k_m", "server"]


class Parity(Block):
    records: NotNegative
    artefacts: list[ArtefactName]

    @property
    def wanted(self) -> list[ArtefactName]:
        """The artefacts that a sample is asked of."""
        return self.artefacts if self.records else []

    @model_validator(mode="after")
    def _each_once(self) -> Parity:
        if len(set(self.artefacts)) < len(self.artefacts):
            raise ValueError("benchmark.parity.artefacts: an artefact is named twice")
        return self


class Benchmark(Block):
    server: Annotated[SerializeAsAny[Settings], BeforeValidator(ByKind("benchmark.server", engine_settings))]
    models: Annotated[list[Literal["base", "tuned"]], Field(min_length=1)]
    requests: Positive
    warmup: Positive
    concurrency: list[Concurrency]
    rates: list[Annotated[float, Field(gt=0, le=1e6)]]
    search: Search | None
    max_tokens: Tokens
    timeout: Seconds
    objective: Objective
    parity: Parity
    price_per_hour: Annotated[float, Field(ge=0, le=1e12)] | None

    @model_validator(mode="after")
    def _complete(self) -> Benchmark:
        if not self.concurrency and not self.rates:
            raise ValueError("benchmark: give a level in concurrency or in rates")
        address = ENGINES[self.server.kind].address(self.server)
        if address and (missing := set(self.models) - set(address.names)):
            raise ValueError(f"benchmark.server.names: name the model to ask for as {', '.join(sorted(missing))}")
        if len(set(self.models)) < len(self.models):
            raise ValueError("benchmark.models: a model is named twice")
        return self
