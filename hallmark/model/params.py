"""The `sft`, `dpo` and `tune` blocks of `params.yaml`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from hallmark.base.params import Block, Positive, Text
from hallmark.model.base_params import Rank

# Above these, a number is a slip of the finger, and the libraries end in an error of memory or range.
Count = Annotated[int, Field(ge=1, le=10**6)]
Steps = Annotated[int, Field(ge=1, le=10**9)]
Size = Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)]
Minutes = Annotated[float, Field(ge=0, le=10_080, allow_inf_nan=False)]  # up to a week


class Training(Block):
    """The params of any training of an adapter."""

    learning_rate: Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)]
    lr_scheduler: Literal["linear", "cosine", "constant", "constant_with_warmup"]
    warmup_ratio: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
    batch_size: Count
    gradient_accumulation_steps: Count
    epochs: Size
    max_steps: Steps | None
    max_length: Steps
    eval_steps: Steps


class Lora(Block):
    r: Rank
    alpha: Count
    dropout: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
    target_modules: Text | list[Text]
    layers: Positive | None


class Parallel(Block):
    processes: Annotated[int, Field(ge=1, le=1024)]
    strategy: Literal["ddp", "fsdp"]


class Sft(Training):
    lr_scheduler: Literal["linear", "cosine", "constant", "constant_with_warmup", "warmup_stable_decay"]  # type: ignore[assignment]
    decay_ratio: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
    method: Literal["qlora", "lora"]
    lora: Lora
    dequantize_once: bool
    length_power: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
    weight_decay: Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
    adam_beta2: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
    max_grad_norm: Size
    keep: Literal["best", "last"]
    early_stopping_patience: Count | None
    checkpoint_minutes: Minutes | None
    gradient_checkpointing: bool
    dtype: Literal["bfloat16", "float32"]
    attention: Literal["eager", "sdpa"]
    batch_tokens: Steps | None
    packing: bool
    parallel: Parallel

    @model_validator(mode="after")
    def _rises_before_it_falls(self) -> Sft:
        if self.lr_scheduler == "warmup_stable_decay" and self.warmup_ratio + self.decay_ratio > 1:
            raise ValueError("sft.decay_ratio: with sft.warmup_ratio it is more than all steps; lower one of them")
        return self

    @model_validator(mode="after")
    def _batches_that_hold_a_record(self) -> Sft:
        if self.batch_tokens is not None and self.batch_tokens < self.max_length:
            raise ValueError(
                f"sft.batch_tokens: {self.batch_tokens} could not hold a record of sft.max_length = {self.max_length} tokens; "
                "raise it to that, or lower sft.max_length"
            )
        if self.packing and self.batch_tokens is None:
            raise ValueError("sft.packing: needs a length to pack to; set sft.batch_tokens, or sft.packing to false")
        if self.packing and self.attention == "eager":
            raise ValueError(
                "sft.packing: eager attention would hold a score for any two tokens of a packed row; set sft.attention "
                "to sdpa, or sft.packing to false"
            )
        return self


class Curve(Block):
    """`curve`, of `hallmark/commands/curve.py`."""

    shares: Annotated[list[Annotated[float, Field(gt=0, le=1)]], Field(min_length=2, max_length=20)]
    least_steps: Annotated[float, Field(gt=0, le=1)]

    @model_validator(mode="after")
    def _rising_to_all(self) -> Curve:
        if self.shares != sorted(set(self.shares)) or self.shares[-1] != 1:
            raise ValueError("curve.shares: from the smallest to the largest, which is 1.0: all training groups")
        return self


class Dpo(Training):
    enabled: bool
    loss: Literal["sigmoid", "ipo", "robust"]
    beta: Size
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5, allow_inf_nan=False)]

    @model_validator(mode="after")
    def _smoothing_only_with_robust(self) -> Dpo:
        if self.label_smoothing and self.loss != "robust":
            raise ValueError("dpo.label_smoothing: only dpo.loss robust uses it; set it to 0 for any other loss")
        return self


Range = Annotated[list[Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]], Field(min_length=2, max_length=2)]


class Space(Block):
    learning_rate: Range | None
    epochs: Range | None
    r: list[Rank] | None
    layers: list[Positive | None] | None

    @field_validator("learning_rate", "epochs")
    @classmethod
    def _around_what_there_is(cls, bounds: list[float] | None) -> list[float] | None:
        if bounds is not None and not bounds[0] < bounds[1]:
            raise ValueError("the lowest factor comes first, and must be below the highest")
        if bounds is not None and not bounds[0] <= 1 <= bounds[1]:
            raise ValueError("must hold 1, the value in params.yaml, which is tried first")
        return bounds

    @model_validator(mode="after")
    def _something_to_search(self) -> Space:
        if not any((self.learning_rate, self.epochs, self.r, self.layers)):
            raise ValueError("tune.space: nothing to search; give one of its lines a range or values")
        return self


class Tune(Block):
    minutes: Annotated[float, Field(gt=0, le=10_080, allow_inf_nan=False)]
    validations: Annotated[int, Field(ge=2, le=100)]
    startup_trials: Annotated[int, Field(ge=1, le=1_000)]
    space: Space
