"""How fast a machine is: as the last run here was, else as three short steps are, else as the maker of the GPU states."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from hallmark.base.dvc_lock import read_lock
from hallmark.base.errors import HallmarkError
from hallmark.base.files import REPORTS
from hallmark.base.machine import same_machine
from hallmark.base.reading import read_object
from hallmark.model.tuning import leave_input_dtype
from hallmark.plan.bases import is_reported
from hallmark.plan.batches import middle
from hallmark.plan.lengths import Lengths
from hallmark.plan.machine import Speed
from hallmark.plan.sizes import Batch, empty, sizes

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from hallmark.params.loader import Params

BUSY = 0.5  # load for each core from which the machine is busy: then, clocks say little about several threads
SCALING = 0.9  # of the speed of one thread that each of several reaches, assumed
LAYERS = 2  # of the piece that is measured
WORDS = 64  # of its vocabulary: the head counts as being as fast as the layers
TIMES = 3  # that a step is run, the fastest of which counts: others may use the machine too
MOST_WORK = 6e10  # floating-point operations of one step: of a larger model, fewer records are taken
MOST_WIDTH = 2048  # of the matrix that tells which data type is faster
PRODUCTS_OF_FEW = 0.6  # of the speed of large products that a processor reaches with a row for each record, assumed
LOCK = Path("dvc.lock")
# Params that decide how long a step takes: with others, an earlier run says nothing.
OF_SFT = {"method", "dequantize_once", "batch_size", "batch_tokens", "packing", "gradient_checkpointing", "dtype"}
OF_SFT |= {"attention", "parallel"}
OF_LORA = ("r", "target_modules", "layers", "dropout")
OF_EVAL = ("engine", "batch_size", "max_new_tokens", "dtype", "attention")
OF_MODEL = {"base": "sample", "tuned": "merge"}  # a param of `eval` that only this model's time depends on
OF_MACHINE = ("threads", "device", "portable")
NEAR = 0.1  # how far today's records and tokens may be from those of an earlier run
# What reading an earlier run may raise: it is a help, and whatever is wrong with it means that there is none.
UNREADABLE = (HallmarkError, OSError, KeyError, TypeError, AttributeError, ValueError)


# --- what the last run here took ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trained:
    """A training on this machine with the settings that decide how long a step takes."""

    seconds: float
    steps: int
    eval_steps: int


def trained_here(params: Params, data: Lengths) -> Trained | None:
    """The last training here; None if there is none that can be read with this base, these settings and as much data."""
    with suppress(*UNREADABLE):
        measured, old = _before("sft", "sft.json", params, data)
        new, old = params.sft.model_dump(), old["sft"]
        if _same(old, new, OF_SFT) and _same(old["lora"], new["lora"], OF_LORA):
            found = Trained(measured["train_seconds"], _report("sft.json")["steps"], old["eval_steps"])
            return found if min(found.seconds, found.steps, found.eval_steps) > 0 else None
    return None


def answered_here(params: Params, data: Lengths) -> dict[str, float]:
    """The seconds in which base and tuned model last answered the holdout here, of those that did as above."""
    found, new = dict[str, float](), params.eval.model_dump()
    for model, own in OF_MODEL.items():
        names = (*OF_EVAL, own)
        with suppress(*UNREADABLE):
            measured, old = _before(f"eval@{model}", f"eval_{model}.json", params, data)
            records = min(data.holdout.records, params.eval.sample.get(model, data.holdout.records))
            same = _near(_report(f"eval/{model}/metrics.json")["records"], records)
            if same and _same({name: old.get(f"eval.{name}") for name in names}, new, names):
                found |= {model: measured["answer_seconds"]} if measured["answer_seconds"] > 0 else {}
    return found


def _before(stage: str, file: str, params: Params, data: Lengths) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a stage measured on this machine with this base and as much data, and the params that it had by `dvc.lock`."""
    from hallmark.base.compute import fingerprint

    measured, here, trained = _report(f"measured/{file}"), fingerprint(params.compute), _report("sft.json")
    there = measured.get("fingerprint") or measured["measured"]["machine"]
    as_much = _near(trained["records"]["train"], data.train.records) and _near(
        trained["tokens"]["train"], fmean(data.train.whole) * data.train.records
    )
    if not (as_much and is_reported(params) and same_machine(there, here) and _same(there, here, OF_MACHINE)):
        raise KeyError(stage)
    return measured, read_lock(LOCK.read_bytes())[stage]["params"]


def _report(name: str) -> dict[str, Any]:
    return read_object(REPORTS / name)


def _near(then: float, now: float) -> bool:
    return abs(then - now) <= NEAR * now


def _same(old: Mapping[str, Any], new: Mapping[str, Any], names: Iterable[str]) -> bool:
    """Whether params are the same; one that the earlier run did not have yet was off."""
    return all((old.get(name) or None) == (new.get(name) or None) for name in names)


# --- three short steps -------------------------------------------------------------------------------------------


class Clock:
    """Times steps on a device at hand; on a busy processor, by the processor's time of one thread."""

    def __init__(self, device: str, threads: int) -> None:
        """`threads`: of the math libraries."""
        self.device = device
        self.busy = device == "cpu" and os.getloadavg()[0] > BUSY * (os.cpu_count() or 1)
        self.used = 1 if self.busy else threads
        self.factor = max(1.0, SCALING * threads) if self.busy else 1.0  # of the speed of the threads used

    @contextmanager
    def threads(self) -> Iterator[None]:
        """Let torch use these threads in the block."""
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
        return "one thread, for the machine is busy" if self.busy else f"{self.used} threads"


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


def float32_ahead(config: PretrainedConfig, tokens: int, clock: Clock) -> float:
    """How many times as fast this processor multiplies in float32 as in bfloat16, by a matrix of the base's width.

    `tokens`: of a batch. Under 1 on processors with units for bfloat16 (AMX, most of AVX512-BF16). Some have its instructions,
    and take twice as long for them as for float32.
    """
    import torch

    width = min(config.hidden_size, MOST_WIDTH)

    def seconds(dtype: torch.dtype) -> float:
        states, weights = torch.ones(tokens, width, dtype=dtype), torch.ones(width, width, dtype=dtype)
        return clock.seconds(lambda: torch.nn.functional.linear(states, weights))

    with clock.threads():
        return seconds(torch.bfloat16) / seconds(torch.float32)
