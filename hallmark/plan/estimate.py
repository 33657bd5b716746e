"""What the run that `params.yaml` describes would take: memory of training, evaluation and serving, and the time of each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hallmark.base.model_folder import explained
from hallmark.base.reading import read_object
from hallmark.plan.batches import Answering, Training, all_answering, training
from hallmark.plan.lengths import lengths
from hallmark.plan.machine import Machine, at_hand, usable
from hallmark.plan.past_runs import evaluation_factor, training_factor
from hallmark.plan.speed import Device, Speed, Step, float32_ahead, measured
from hallmark.plan.work import Matrices, matrices
from hallmark.serve.engine import StartedSettings
from hallmark.serve.engines import ENGINES

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from hallmark.params.loader import Params

CACHE_SHARE = 0.6  # of the free memory that it takes for its cache, if the params say nothing


@dataclass(frozen=True)
class Estimate:
    """What a run would take. Bytes are those of tensors: what the driver and libraries take is left out."""

    training_bytes: int  # peak of sft: weights, activations, gradients, optimizer, at the longest real record
    evaluation_bytes: int  # peak of eval (hf engine)
    serving_bytes: int  # weights and KV cache of the benchmark's server
    training_seconds: float  # of the steps and validations of sft; not a number if the device's speed is unknown
    evaluation_seconds: float  # of all answers of base, tuned model and comparators; the same
    limit_bytes: int | None  # memory of the device at hand; None: unknown
    float32_ahead: float | None  # how many times as fast this processor is in float32, if `sft.dtype` is bfloat16
    basis: str  # how the numbers were got, one sentence

    @property
    def needed_bytes(self) -> int:
        """The largest of the three peaks."""
        return max(self.training_bytes, self.evaluation_bytes, self.serving_bytes)

    @property
    def fits(self) -> bool:
        """Whether all of it fits into the device, with room for what is no tensor; True if its memory is unknown."""
        return self.limit_bytes is None or self.needed_bytes <= usable(self.limit_bytes)


def estimate(params: Params, base: Path, machine: Machine | None = None, *, correct: bool = True) -> Estimate:
    """Estimate the run of these params on the model in `base`, a folder of which config.json is enough: no weight is read.

    `machine`: the device to plan for; None: the one at hand. `correct`: by the time that the last run took here. Raises HallmarkError for a configuration that transformers
    can't build, and for bad rows of data.
    """
    from hallmark.plan.memory import build, fake, generation_peak, planned, training_peak, weight_bytes

    machine = machine or at_hand(params.compute)
    config, found = configuration(base), lengths(params, base)
    batches = training(params, found)
    answers = all_answering(params, found.holdout, found.calibration, found.online)
    with explained("no model can be planned from it", base / "config.json"), fake():
        tuned = planned(config, params.sft, machine.device)
        sizes = matrices(tuned)
        training_bytes = training_peak(tuned, params.sft, batches.largest, machine.device)
        model = build(config, dtype=params.eval.dtype, attention=params.eval.attention)
        new = params.eval.max_new_tokens
        largest = max((each.largest for each in answers), key=lambda batch: batch.records * batch.tokens)
        evaluation_bytes = generation_peak(model, largest, new) if params.eval.engine.kind == "hf" else 0
        if machine.device == "cpu" and params.eval.dtype == "bfloat16" and config.tie_word_embeddings:
            evaluation_bytes += model.get_output_embeddings().weight.nbytes  # `pack` copies what the embedding shares
        weights = weight_bytes(model)
    speed, ahead = speed_of(params, config, machine, batches, answers[0]), None
    if machine.here and machine.device == "cpu" and params.sft.dtype == "bfloat16":
        with own_threads():
            middle = batches.middle.records * batches.middle.tokens
            ahead = float32_ahead(config, middle, Device(machine.device, params.compute.threads))
    trained = answered = math.nan
    basis = f"{found.basis}; {speed.basis if speed else 'no speed is known of this device'}"
    if speed:

        def foreseen(steps: int, validations: int) -> float:
            work = batches.work(sizes, steps * params.sft.accumulation, validations)
            return speed.training(work, steps * params.sft.accumulation, sizes.layers)

        trained = foreseen(batches.steps, batches.validations)
        answered = answering_seconds(params, config, sizes, speed, answers, weights)
        if correct and machine.here:
            both = answering_seconds(params, config, sizes, speed, answers[:2], weights)
            ratios = training_factor(params, foreseen), evaluation_factor(params, both)
            trained, answered = trained * (ratios[0] or 1), answered * (ratios[1] or 1)
            said = [f"{what} x {ratio:.2g}" for what, ratio in zip(("sft", "eval"), ratios, strict=True) if ratio]
            basis += f", corrected by the last run here ({', '.join(said)})" if said else ""
    return Estimate(
        training_bytes=training_bytes,
        evaluation_bytes=evaluation_bytes,
        serving_bytes=serving_bytes(params, config, weights, machine),
        training_seconds=trained,
        evaluation_seconds=answered,
        limit_bytes=machine.memory,
        float32_ahead=ahead,
        basis=basis,
    )


def configuration(base: Path) -> PretrainedConfig:
    """The configuration in a model folder, as transformers reads it; never code of the model's own."""
    from transformers import AutoConfig

    file = base / "config.json"
    read_object(file)
    with explained("describes no model that transformers knows", file):
        config: PretrainedConfig = AutoConfig.from_pretrained(base, local_files_only=True, trust_remote_code=False)
    return config.get_text_config()


def speed_of(
    params: Params, config: PretrainedConfig, machine: Machine, batches: Training, answers: Answering
) -> Speed | None:
    """How fast the device is: measured, if it is at hand, else as its maker states; None if neither is known."""
    if not machine.here:
        return machine.gpu.speed(params.sft.dtype) if machine.gpu else None
    settings = params.eval
    generation = (settings.dtype, settings.attention, answers.largest, settings.max_new_tokens)
    with own_threads():
        return measured(config, params.sft, batches.middle, generation, Device(machine.device, params.compute.threads))


@contextmanager
def own_threads() -> Iterator[None]:
    """Let a measurement set the number of torch's threads, and set it back afterwards."""
    import torch

    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def answering_seconds(
    params: Params,
    config: PretrainedConfig,
    sizes: Matrices,
    speed: Speed,
    answers: list[Answering],
    weights: int,
) -> float:
    """Seconds in which these models answer the holdout in this process, batch after batch."""
    from hallmark.plan.memory import cache_bytes

    merged, seconds = replace(sizes, adapter=0), 0.0
    width = 4 if params.eval.dtype == "float32" else 2
    for each in answers:
        for batch, steps, written in zip(each.batches, each.steps, each.written, strict=True):
            tokens = batch.records * (batch.tokens - each.shared)
            reading = speed.prompts(merged.reading(tokens, tokens * batch.tokens, batch.records))
            present = written / steps  # records, on average over the steps: those that have ended have left
            cache = cache_bytes(config, round(present * (batch.tokens + steps // 2)), width)
            step = Step(present, batch.tokens, weights, cache)
            seconds += each.share * (reading + steps * speed.writing(step))
    return seconds


def serving_bytes(params: Params, config: PretrainedConfig, weights: int, machine: Machine) -> int:
    """Weights and KV cache of the servers that `benchmark` starts, one for each model unless they share their base."""
    from hallmark.plan.memory import cache_bytes

    server = params.benchmark.server
    if not isinstance(server, StartedSettings):
        return 0
    wide = 4 if server.dtype == "float32" else 2
    weights = weights * wide // (4 if params.eval.dtype == "float32" else 2)
    engine = ENGINES[server.kind]
    servers = 1 if engine.shares_base(server) else len(params.benchmark.models)
    asked = engine.cache_asked(server)
    if asked.size is not None:
        cache = asked.size
    elif asked.tokens is not None:
        cache = cache_bytes(config, asked.tokens, wide)
    else:
        cache = int(CACHE_SHARE * max(0, (machine.usable or 0) - weights))
    return servers * (weights + cache)
