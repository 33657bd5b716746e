"""The `benchmark` block of `params.yaml`, with a block for each kind of server."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from stages.core.params import Block, Positive, Text


class TransformersServer(Block):
    kind: Literal["transformers"]
    port: Annotated[int, Field(ge=0, le=65535)]
    dtype: Literal["bfloat16", "float16", "float32"]
    attention: Literal["eager", "sdpa", "flash_attention_2"]
    cache_blocks: Positive | None
    batch_tokens: Positive
    startup_timeout: Positive


class VllmServer(Block):
    kind: Literal["vllm"]
    python: Text
    port: Annotated[int, Field(ge=0, le=65535)]
    dtype: Literal["bfloat16", "float16", "float32"]
    adapter: Literal["merged", "lora"]
    max_length: Positive
    max_num_seqs: Positive
    cache_gib: Annotated[float, Field(gt=0)]
    prefix_cache: bool
    startup_timeout: Positive


class EndpointServer(Block):
    kind: Literal["endpoint"]
    url: Annotated[str, StringConstraints(pattern=r"^https?://")]
    names: dict[str, Text]


class Objective(Block):
    ttft: Annotated[float, Field(gt=0)]
    latency: Annotated[float, Field(gt=0)]
    share: Annotated[float, Field(gt=0, le=1)]


class Search(Block):
    max_concurrency: Positive


class Benchmark(Block):
    server: Annotated[TransformersServer | VllmServer | EndpointServer, Field(discriminator="kind")]
    models: Annotated[list[Literal["base", "tuned"]], Field(min_length=1)]
    requests: Positive
    warmup: Positive
    concurrency: list[Positive]
    rates: list[Annotated[float, Field(gt=0)]]
    search: Search | None
    max_tokens: Positive
    timeout: Annotated[float, Field(gt=0)]
    objective: Objective
    price_per_hour: Annotated[float, Field(ge=0)] | None

    @model_validator(mode="after")
    def _complete(self) -> Benchmark:
        if not self.concurrency and not self.rates:
            raise ValueError("benchmark: give a level in concurrency or in rates")
        if isinstance(self.server, EndpointServer) and (lost := set(self.models) - set(self.server.names)):
            raise ValueError(f"benchmark.server.names: name the model to ask for as {', '.join(sorted(lost))}")
        if len(set(self.models)) < len(self.models):
            raise ValueError("benchmark.models: a model is named twice")
        return self
