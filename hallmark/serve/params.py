"""The `benchmark` block of `params.yaml`, and the settings of the serving engines by kind."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny, create_model, model_validator

from hallmark.base.params import Block, ByKind, NotNegative, Positive, Seconds, Tokens
from hallmark.serve.engine import Concurrency, Engine, Settings
from hallmark.serve.engines import ENGINES


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


ArtefactName = Literal["adapter", "nf4", "merged", "q8_0", "q4_k_m", "server"]


class Parity(Block):
    records: NotNegative
    artefacts: list[ArtefactName]

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
        if address and address.others:
            raise ValueError("benchmark.server.url: one server is measured; name one")
        if address and (missing := set(self.models) - set(address.names)):
            raise ValueError(f"benchmark.server.names: name the model to ask for as {', '.join(sorted(missing))}")
        if len(set(self.models)) < len(self.models):
            raise ValueError("benchmark.models: a model is named twice")
        return self
