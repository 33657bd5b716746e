"""What the run that `params.yaml` describes would take: memory of training, evaluation and serving, and the time of each."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from stages.core.model_folder import explained
from stages.core.reading import read_object
from stages.planning.batches import Answering, Training, answering, training
from stages.planning.lengths import lengths
from stages.planning.machine import Machine, at_hand, usable
from stages.planning.speed import Speed, Step, measured
from stages.planning.work import Matrices, matrices
from stages.serving.engine import StartedSettings
from stages.serving.engines import ENGINES
from stages.serving.engines.vllm import VllmServer

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from stages.params.loader import Params

BLOCK = 256  # tokens of a block of the cache of `transformers serve`
CACHE_SHARE = 0.6  # of the free memory that it takes for its cache, if the params say nothing


@dataclass(frozen=True)
class Estimate:
    """What a run would take. Bytes are those of tensors: what the driver and libraries take is left out."""

    training_bytes: int  # peak of sft: weights, activations, gradients, optimizer, at the longest real record
    evaluation_bytes: int  # peak of eval (hf engine)
    serving_bytes: int  # weights and KV cache of the benchmark's server
    training_seconds: float  # of the steps and validations of sft; not a number if the device's speed is unknown
    evaluation_seconds: float  # of both models' answers to the holdout; the same
    limit_bytes: int | None  # memory of the device at hand; None: unknown
    basis: str  # how the numbers were got, one sentence

    @property
    def needed_bytes(self) -> int:
        """The largest of the three peaks."""
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
    from stages.planning.memory import build, fake, generation_peak, planned, training_peak, weight_bytes

    machine = machine or at_hand(params.compute)
    config, found = configuration(base), lengths(params, base)
    batches = training(params, found)
    answers = [answering(params, found.holdout, base=True), answering(params, found.holdout, base=False)]
    with explained("no model can be planned from it", base / "config.json"), fake():
        tuned = planned(config, params.sft, machine.device)
        sizes = matrices(tuned)
        training_bytes = training_peak(tuned, params.sft, batches.largest, machine.device)
        model = build(config, dtype=params.eval.dtype, attention=params.eval.attention)
        new = params.eval.max_new_tokens
        evaluation_bytes = generation_peak(model, answers[0].largest, new) if params.eval.engine.kind == "hf" else 0
        weights = weight_bytes(model)
    speed = speed_of(params, config, machine, batches, answers[0])
    return Estimate(
        training_bytes=training_bytes,
        evaluation_bytes=evaluation_bytes,
        serving_bytes=serving_bytes(params, config, weights, machine),
        training_seconds=training_seconds(params, sizes, speed, batches) if speed else math.nan,
        evaluation_seconds=answering_seconds(params, config, sizes, speed, answers, weights) if speed else math.nan,
        limit_bytes=machine.memory,
        basis=f"{found.basis}; {speed.basis if speed else 'no speed is known of this device'}",
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
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(params.compute.threads)
    settings = params.eval
    try:
        generation = (settings.dtype, settings.attention, answers.largest, settings.max_new_tokens)
        return measured(config, params.sft, batches.middle, generation, machine.device)
    finally:
        torch.set_num_threads(before)


def training_seconds(params: Params, sizes: Matrices, speed: Speed, batches: Training) -> float:
    """Seconds of all steps and validations of `sft`."""
    count = batches.steps * params.sft.accumulation
    work = batches.work(sizes, count, batches.validations)
    return speed.training(work, count, sizes.layers)


def answering_seconds(
    params: Params,
    config: PretrainedConfig,
    sizes: Matrices,
    speed: Speed,
    answers: list[Answering],
    weights: int,
) -> float:
    """Seconds in which base and tuned model answer the holdout in this process, batch after batch."""
    from stages.planning.memory import cache_bytes

    merged, seconds = replace(sizes, adapter=0), 0.0
    width = 4 if params.eval.dtype == "float32" else 2
    for each in answers:
        for batch, new in zip(each.batches, each.written, strict=True):
            tokens = batch.records * batch.tokens
            reading = speed.prompts(merged.reading(tokens, tokens * batch.tokens, batch.records))
            cache = cache_bytes(config, batch.records * (batch.tokens + new // 2), width)
            step = Step(batch.records, batch.tokens, weights, cache)
            seconds += each.share * (reading + new * speed.writing(step))
    return seconds


def serving_bytes(params: Params, config: PretrainedConfig, weights: int, machine: Machine) -> int:
    """Weights and KV cache of the servers that `benchmark` starts, one for each model unless they share their base."""
    from stages.planning.memory import cache_bytes

    server = params.benchmark.server
    if not isinstance(server, StartedSettings):
        return 0
    wide = 4 if server.dtype == "float32" else 2
    weights = weights * wide // (4 if params.eval.dtype == "float32" else 2)
    servers = 1 if ENGINES[server.kind].shares_base(server) else len(params.benchmark.models)
    blocks, gib = getattr(server, "cache_blocks", None), getattr(server, "cache_gib", None)
    if gib is not None:
        cache = int(gib * 2**30)
    elif blocks is not None:
        cache = cache_bytes(config, blocks * BLOCK, wide)
    elif isinstance(server, VllmServer):
        cache = cache_bytes(config, server.max_num_seqs * server.max_length, wide)
    else:
        cache = int(CACHE_SHARE * max(0, (machine.usable or 0) - weights))
    return servers * (weights + cache)
