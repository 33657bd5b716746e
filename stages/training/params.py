"""The `sft` and `dpo` blocks of `params.yaml`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from stages.core.params import Block, Positive, Text


class Training(Block):
    """The params of any training of an adapter."""

    learning_rate: Annotated[float, Field(gt=0)]
    schedule: Literal["linear", "cosine", "constant", "constant_with_warmup"]
    warmup: Annotated[float, Field(ge=0, lt=1)]
    batch_size: Positive
    accumulation: Positive
    epochs: Annotated[float, Field(gt=0)]
    max_steps: Positive | None
    max_length: Positive
    too_long: Literal["error", "drop"]
    eval_steps: Positive


class Sft(Training):
    method: Literal["qlora", "lora"]
    lora: Lora
    dequantize_once: bool
    length_power: Annotated[float, Field(ge=0, le=1)]
    weight_decay: Annotated[float, Field(ge=0)]
    max_grad_norm: Annotated[float, Field(gt=0)]
    gradient_checkpointing: bool
    dtype: Literal["bfloat16", "float32"]
    attention: Literal["eager", "sdpa"]
    parallel: Parallel


class Lora(Block):
    r: Positive
    alpha: Positive
    dropout: Annotated[float, Field(ge=0, lt=1)]
    target_modules: Text | list[Text]
    layers: Positive | None


class Parallel(Block):
    processes: Positive
    strategy: Literal["ddp", "fsdp"]


class Dpo(Training):
    enabled: bool
    loss: Literal["sigmoid", "ipo", "robust"]
    beta: Annotated[float, Field(gt=0)]
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)]

    @model_validator(mode="after")
    def _smoothing_only_with_robust(self) -> Dpo:
        if self.label_smoothing and self.loss != "robust":
            raise ValueError("dpo.label_smoothing: only dpo.loss robust uses it; set it to 0 for any other loss")
        return self
