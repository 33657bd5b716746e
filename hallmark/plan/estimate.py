"""What the run that `params.yaml` describes would take: memory of training, evaluation and serving, and the time of each."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

from hallmark.answer.params import Eval
from hallmark.base.model_folder import explained
from hallmark.model.params import Sft
from hallmark.params.loader import Params
from hallmark.plan.batches import Answering, Training, all_answering, training, validations
from hallmark.plan.lengths import lengths
from hallmark.plan.machine import Machine, Speed, at_hand, usable
from hallmark.plan.memory import answering_bytes, serving_bytes, training_bytes, width
from hallmark.plan.sizes import Batch, Sizes, configuration, empty, sizes
from hallmark.plan.speed import Clock, measured


@dataclass(frozen=True)
class Estimate:
    """What a run would take. Bytes are those of tensors: what the driver and libraries take is left out."""

    training_bytes: int  # peak of sft: weights, activations, gradients, optimizer, at the longest real record
    evaluation_bytes: int  # peak of eval (hf engine)
    serving_bytes: int  # weights and KV cache of the benchmark's server
    seconds: dict[str, float]  # of sft's steps and validations, and of a stage's answers; empty if no speed is known
    limit_bytes: int | None  # memory of the device at hand; None: unknown
    basis: str  # how the numbers were got, one sentence

    @property
    def training_seconds(self) -> float:
        """Not a number if the device's speed is unknown."""
        return self.seconds.get("sft", math.nan)

    @property
    def evaluation_seconds(self) -> float:
        """Of all answers of base, tuned model and comparators."""
        return sum(self.seconds.values()) - self.training_seconds

    @property
    def needed_bytes(self) -> int:
        return max(self.training_bytes, self.evaluation_bytes, self.serving_bytes)

    @property
    def fits(self) -> bool:
        """Whether all of it fits into the device, with room for what is no tensor; True if its memory is unknown."""
        return self.limit_bytes is None or self.needed_bytes <= usable(self.limit_bytes)


def estimate(params: Params, base: Path, machine: Machine | None = None) -> Estimate:
    """Estimate the run of these params on the model in `base`, a folder of which config.json is enough: no weight is read.

    `machine`: the device to plan for; None: the one at hand. Raises HallmarkError for a configuration that transformers
    can't build, and for bad rows of data.
    """
    machine = machine or at_hand(params.compute)
    config, found = configuration(base), lengths(params, base)
    with explained("no model can be planned from it", base / "config.json"):
        size = sizes(config, params.sft.lora)
    in_process = params.eval.engine.kind == "hf"
    blocks: dict[str, Sft | Eval] = {"sft": params.sft, **({"eval": params.eval} if in_process else {})}
    for name, block in blocks.items():
        with explained("the base can't run with it", param=f"{name}.attention", remedy="set another, such as eager"):
            empty(config, block.dtype, block.attention)
    run = Run(
        params, size, training(params, found), all_answering(params, found.holdout, found.calibration, found.online)
    )
    clock = Clock(machine.device, params.compute.threads)
    speed: Speed | None = machine.gpu.speed(params.sft.dtype) if machine.gpu else None
    if machine.here:
        with explained("no model of it runs here", base / "config.json"):
            speed = measured(config, params, run.training.batches, run.answers[0].batches, clock)
    return Estimate(
        training_bytes=training_bytes(size, params.sft, run.training.largest, machine.device),
        evaluation_bytes=answering_bytes(size, params, run.longest_prompts, machine.device) if in_process else 0,
        serving_bytes=serving_bytes(size, params, machine),
        seconds={"sft": run.trained(speed)} | run.answered(speed) if speed else {},
        limit_bytes=machine.memory,
        basis=f"{found.basis}; {speed.basis if speed else 'no speed is known of this device'}",
    )


@dataclass(frozen=True)
class Run:
    """What a run computes, and how long that takes at some speed."""

    params: Params
    sizes: Sizes
    training: Training
    answers: list[Answering]  # first those of base and tuned model to the holdout

    @property
    def longest_prompts(self) -> Batch:
        return max((batch for each in self.answers for batch in each.batches), key=lambda batch: batch.all_tokens)

    def trained(self, speed: Speed) -> float:
        sft, steps = self.params.sft, self.training.steps
        batches, watched = steps * sft.gradient_accumulation_steps, validations(steps, sft.eval_steps)
        work = self.training.work(self.sizes, sft.gradient_checkpointing, batches, watched)
        return speed.training_seconds(work, batches, self.sizes.layers)

    def answered(self, speed: Speed) -> dict[str, float]:
        """Seconds of the answers of each stage in its process, batch after batch."""
        found, wide = dict.fromkeys((each.stage for each in self.answers), 0.0), width(self.params.eval.dtype)
        for each in self.answers:
            for batch, steps, written in zip(each.batches, each.steps, each.written, strict=True):
                prompts = replace(batch, tokens=max(1, batch.tokens - each.shared))
                reading = self.sizes.reading(prompts, 1, min(each.shared, batch.tokens - 1))
                # Records, on average over the steps: those that have ended have left.
                present, before = written / steps, batch.tokens + steps // 2
                writing = self.sizes.reading(Batch(1, 1, 0), 1, before) * present
                read = (self.sizes.parameters + self.sizes.cache(present * before)) * wide
                found[each.stage] += each.share * (
                    reading / speed.reading + steps * speed.writing_seconds(writing, read)
                )
        return found
