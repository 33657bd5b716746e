"""How fast a machine is, by three short steps."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hallmark.model.tuning import leave_input_dtype
from hallmark.params.loader import Params
from hallmark.plan.batches import middle
from hallmark.plan.machine import Speed
from hallmark.plan.sizes import Batch, empty, sizes

if TYPE_CHECKING:
    from transformers import PretrainedConfig

BUSY = 0.5  # load for each core from which the machine is busy: then, clocks say little about several threads
SCALING = 0.9  # of the speed of one thread that each of several reaches, assumed
LAYERS = 2  # of the piece that is measured
WORDS = 64  # of its vocabulary: the head counts as being as fast as the layers
TIMES = 3  # that a step is run, the fastest of which counts: others may use the machine too
MOST_WORK = 6e10  # floating-point operations of one step: of a larger model, fewer records are taken


class Clock:
    """Times steps on a device at hand; on a busy processor, by the processor's time of one thread."""

    def __init__(self, device: str, threads: int) -> None:
        self.device = device
        self.busy = device == "cpu" and os.getloadavg()[0] > BUSY * (os.cpu_count() or 1)
        self.wanted = threads
        self.used = 1 if self.busy else threads
        self.factor = max(1.0, SCALING * threads) if self.busy else 1.0  # of the speed of the threads used

    @contextmanager
    def threads(self) -> Iterator[None]:
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(self.used)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def seconds(self, step: Callable[[], Any]) -> float:
        """The seconds of the fastest of some calls, after one to warm up."""
        import torch

        clock, best = time.process_time if self.busy else time.perf_counter, math.inf
        for number in range(TIMES + 1):
            start = clock()
            step()
            if self.device == "cuda":
                torch.cuda.synchronize()
            best = min(best, clock() - start) if number else best
        return best / self.factor

    def __str__(self) -> str:
        if self.device != "cpu":
            return self.device
        if not self.busy:
            return f"{self.used} threads"
        slow = f"; while it is, {self.wanted} may be far slower than compute.threads: 1"
        return f"one thread, since the machine is busy{slow if self.wanted > 1 else ''}"


def measured(
    config: PretrainedConfig, params: Params, training: list[Batch], answering: list[Batch], clock: Clock
) -> Speed:
    """The speed of this machine, by steps of `LAYERS` layers of the architecture with made-up weights; a few seconds.

    Of the batches of training and of those that are answered, one of middling size.
    """
    import torch

    from hallmark.model.packing import pack

    piece = copy.deepcopy(config)
    piece.num_hidden_layers, piece.vocab_size, piece.pad_token_id = LAYERS, WORDS, None
    if getattr(config, "layer_types", None):
        piece.layer_types = config.layer_types[:LAYERS]
    lora = params.sft.lora.model_copy(update={"layers": None})
    of_piece = sizes(piece, lora)

    def fewer(batch: Batch, work: Callable[[Batch], float]) -> Batch:
        one = replace(batch, records=1, labelled=0)
        return replace(one, records=max(1, min(batch.records, int(MOST_WORK / work(one)))))

    def read(batch: Batch) -> float:
        return of_piece.reading(batch, 0)

    def trained(batch: Batch) -> float:
        return of_piece.training(batch, False)

    trains = fewer(middle(training), trained)
    prompts = middle(answering)
    reads, writes = fewer(prompts, read), replace(prompts, tokens=1)
    tuned = filled(piece, params.sft.dtype, params.sft.attention, clock.device)
    model = filled(piece, params.eval.dtype, params.eval.attention, clock.device)
    with clock.threads():
        both_ways = clock.seconds(training_step(tuned, params, trains, clock.device))
        pack(model)
        with torch.no_grad():
            reading = clock.seconds(generation_step(model, reads, 0))
            writing = clock.seconds(generation_step(model, writes, prompts.tokens))
    return Speed(
        training=trained(trains) / both_ways,
        reading=read(reads) / reading,
        writing=of_piece.reading(writes, 0, prompts.tokens) / writing,
        bandwidth=math.inf,  # it was measured, as were these
        layer=0.0,
        step=0.0,
        basis=f"{LAYERS} layers of it run on this machine ({clock})",
    )


def filled(config: PretrainedConfig, dtype: str, attention: str, device: str) -> Any:
    """A model whose weights are all one number: how long it takes does not depend on the values."""
    import torch

    model = empty(config, dtype, attention)
    model.to_empty(device=device)
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.fill_(0.01)
    return model.eval()


def training_step(model: Any, params: Params, batch: Batch, device: str) -> Callable[[], None]:
    """The layers forward and backward, with an adapter on all of them."""
    import torch
    from peft import get_peft_model

    from hallmark.model.kernels import use_kernels
    from hallmark.model.lora import lora_config

    lora = params.sft.lora.model_copy(update={"layers": None})
    tuned: Any = get_peft_model(model, lora_config(model, lora)).train()
    use_kernels(tuned)
    bf16 = params.sft.dtype == "bfloat16"
    if bf16:
        leave_input_dtype(tuned)
    ids = torch.zeros(batch.records, batch.tokens, dtype=torch.long, device=device)

    states: list[torch.Tensor] = []  # held until the next step: else each asks the system for its memory again

    def step() -> None:
        states.clear()
        with torch.autocast(device, dtype=torch.bfloat16, enabled=bf16):
            states.append(tuned.get_base_model().get_decoder()(input_ids=ids, use_cache=False).last_hidden_state)
            states[0].sum().backward()

    return step


def generation_step(model: Any, batch: Batch, before: int) -> Callable[[], None]:
    """The layers forward on tokens after `before` others in a cache, with a mask as padding on the left makes it."""
    import torch
    from transformers import DynamicCache

    config, device, shape = model.config, model.device, (batch.records, batch.tokens)
    cache: Any = None
    if before:
        cache = DynamicCache()
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        wide = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        for number in range(LAYERS):
            kept = torch.zeros(batch.records, heads, before, wide, dtype=model.dtype, device=device)
            cache.update(kept, kept, number)
    ids = torch.zeros(shape, dtype=torch.long, device=device)

    def step() -> None:
        held = cache.get_seq_length() if before else 0
        mask = torch.ones(batch.records, held + batch.tokens, dtype=torch.long, device=device)
        mask[0, 0] = 0
        model.get_decoder()(input_ids=ids, attention_mask=mask, cache=cache, use_cache=True)

    return step
