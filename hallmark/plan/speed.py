"""How fast a machine is: measured on a piece of the real architecture where it is at hand, else what its maker states."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hallmark.model.params import Sft
from hallmark.model.tuning import leave_input_dtype
from hallmark.plan.work import Batch, Work, matrices

if TYPE_CHECKING:
    from transformers import PretrainedConfig

BUSY = 0.5  # load for each core from which the machine is busy: then, clocks say little about several threads
SCALING = 0.9  # of the speed of one thread that each of several reaches, assumed
LAYERS = 2  # of the piece that is measured
TIMES = 3  # that it is run, the fastest of which counts: others may use the machine too
MOST_WIDTH = 2048  # of the matrix that tells which data type is faster
MOST_WORK = 6e10  # floating-point operations of one run: of a larger model, fewer records are taken
MOST_HEAD = 2**26  # values of the head of the piece: of a larger one, part of the vocabulary stands for all of it
SHARE_TRAINING, SHARE_READING, SHARE_WRITING = 0.3, 0.4, 0.5  # of what is stated that such code gets, assumed
FP32 = 8  # how many times slower than bf16 a GPU is in fp32 without TF32
# Seconds that Python and the launches of kernels take however fast the GPU is: of a layer, forward and backward with an
# adapter; and of a token that `generate` writes.
LAYER, STEP = 0.005, 0.02


@dataclass(frozen=True)
class Step:
    """One token written for each record of a batch: how many records, the tokens before it, and the bytes it reads."""

    records: float  # on average
    tokens: int
    weights: int
    cache: int


@dataclass(frozen=True)
class Speed:
    """Floating-point operations a second of a device, by kind of work, and how long it takes to write a token."""

    forward: float
    backward: float
    head: float
    reading: float
    writing: Callable[[Step], float]  # seconds
    least: float  # seconds of a layer in a batch of training, however little work it has
    basis: str

    def training(self, work: Work, batches: float, layers: int) -> float:
        """Seconds of the work in this number of batches of training."""
        computing = work.forward / self.forward + work.backward / self.backward + work.head / self.head
        return max(computing, self.least * layers * batches)

    def prompts(self, work: Work) -> float:
        """Seconds of reading prompts."""
        return work.forward / self.reading + work.head / self.head


@dataclass(frozen=True)
class Device:
    """A device at hand that is measured, and the threads of the math libraries on it."""

    name: str
    threads: int

    @property
    def busy(self) -> bool:
        """Whether others use the processor so much that only the time of one thread can be measured."""
        return self.name == "cpu" and os.getloadavg()[0] > BUSY * (os.cpu_count() or 1)


@dataclass(frozen=True)
class Gpu:
    """What the maker of a card states: dense bf16 operations and bytes a second, and its memory in bytes."""

    name: str
    operations: float
    bandwidth: float
    memory: int

    def speed(self, dtype: str) -> Speed:
        """The speed that is assumed of it: a share of what is stated."""
        operations = self.operations / (FP32 if dtype == "float32" else 1)
        return Speed(
            forward=SHARE_TRAINING * operations,
            backward=SHARE_TRAINING * operations,
            head=SHARE_TRAINING * operations,
            reading=SHARE_READING * operations,
            writing=lambda step: STEP + (step.weights + step.cache) / (SHARE_WRITING * self.bandwidth),
            least=LAYER,
            basis=f"{SHARE_TRAINING:.0%} of the {self.operations / 1e12:.0f} TFLOP/s stated of {self.name}",
        )


GIB = 2**30
Clock = Callable[[], float]
# Dense figures, without sparsity, of the makers' data sheets. Those without bf16 (T4, V100) can't run bfloat16.
GPUS = {
    gpu.name: gpu
    for gpu in (
        Gpu("L4", 121e12, 300e9, 24 * GIB),
        Gpu("A10", 125e12, 600e9, 24 * GIB),
        Gpu("RTX 3090", 71e12, 936e9, 24 * GIB),
        Gpu("RTX 4090", 165e12, 1008e9, 24 * GIB),
        Gpu("RTX 5090", 210e12, 1792e9, 32 * GIB),
        Gpu("A40", 150e12, 696e9, 48 * GIB),
        Gpu("L40S", 362e12, 864e9, 48 * GIB),
        Gpu("A100", 312e12, 2039e9, 80 * GIB),
        Gpu("H100", 989e12, 3350e9, 80 * GIB),
        Gpu("H200", 989e12, 4800e9, 141 * GIB),
        Gpu("B200", 2250e12, 8000e9, 180 * GIB),
    )
}


def measured(
    config: PretrainedConfig, sft: Sft, batch: Batch, generation: tuple[str, str, Batch, int], hardware: Device
) -> Speed:
    """The speed of this machine, by running `LAYERS` layers of the architecture with made-up weights; a few seconds.

    On a busy machine it is that of one thread, by the processor's time, times the number of threads.

    `batch`: of training. `generation`: data type, attention, a batch of prompts, and the tokens written.
    """
    import torch

    from hallmark.model.packing import pack
    from hallmark.plan.memory import adapted

    device, busy = hardware.name, hardware.busy
    torch.set_num_threads(1 if busy else hardware.threads)
    clock = time.process_time if busy else time.perf_counter
    several = max(1.0, SCALING * hardware.threads) if busy else 1.0
    piece = copy.deepcopy(config)
    piece.num_hidden_layers = LAYERS
    piece.vocab_size = max(64, min(config.vocab_size, MOST_HEAD // config.hidden_size))
    piece.pad_token_id = None
    if getattr(config, "layer_types", None):
        piece.layer_types = config.layer_types[:LAYERS]
    whole = sft.model_copy(
        update={"lora": sft.lora.model_copy(update={"layers": None}), "gradient_checkpointing": False}
    )
    tuned = adapted(filled(piece, sft.dtype, sft.attention, device), whole).to(device)
    plain = replace(matrices(tuned), adapter=0)
    each = matrices(tuned).training(batch.tokens, batch.tokens**2, batch.labelled)
    records = max(1, min(batch.records, int(MOST_WORK / (each.forward + each.backward))))
    work = each.times(records)
    forward, backward, head = training_seconds(tuned, sft, replace(batch, records=records), device, clock)
    dtype, attention, prompts, new = generation
    each = plain.reading(prompts.tokens, prompts.tokens**2, 1)
    read = replace(prompts, records=max(1, min(prompts.records, int(MOST_WORK / each.forward))))
    model = filled(piece, dtype, attention, device)
    pack(model)
    reading, layer, scoring = generation_seconds(model, read, prompts.records, new, clock)
    vocabulary = config.vocab_size / piece.vocab_size

    def writing(step: Step) -> float:
        return (layer * config.num_hidden_layers + scoring * vocabulary) * step.records / prompts.records / several

    threads = "one thread, for the machine is busy" if busy else f"{hardware.threads} threads"
    return Speed(
        forward=several * work.forward / forward,
        backward=several * work.backward / backward,
        head=several * work.head / head,
        reading=several * each.forward * read.records / reading,
        writing=writing,
        least=0.0,  # it was measured
        basis=f"{LAYERS} layers of it run on this machine ({threads if device == 'cpu' else device})",
    )


def filled(config: PretrainedConfig, dtype: str, attention: str, device: str) -> Any:
    """A model whose weights are all one number: how long it takes does not depend on the values."""
    import torch

    from hallmark.plan.memory import build

    with torch.device("meta"):
        model = build(config, dtype=dtype, attention=attention)
    model.to_empty(device=device)
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            tensor.fill_(0.01)
    return model.eval()


def float32_ahead(config: PretrainedConfig, tokens: int, hardware: Device) -> float:
    """How many times as fast this processor multiplies in float32 as in bfloat16, by a matrix of the base's width.

    `tokens`: of a batch. Under 1 on processors with units for bfloat16 (AMX, most of AVX512-BF16). Some have its instructions,
    and take twice as long for them as for float32.
    """
    import torch

    device, width = hardware.name, min(config.hidden_size, MOST_WIDTH)
    clock = time.process_time if hardware.busy else time.perf_counter
    torch.set_num_threads(1 if hardware.busy else hardware.threads)

    def seconds(dtype: torch.dtype) -> float:
        states, weights = torch.ones(tokens, width, dtype=dtype), torch.ones(width, width, dtype=dtype)
        return fastest(lambda: torch.nn.functional.linear(states, weights), device, clock)

    return seconds(torch.bfloat16) / seconds(torch.float32)


def fastest(function: Callable[[], Any], device: str, clock: Clock) -> float:
    """The seconds of the fastest of some calls, after one to warm up."""
    import torch

    best = float("inf")
    for number in range(TIMES + 1):
        start = clock()
        function()
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, clock() - start) if number else best
    return best


def training_seconds(tuned: Any, sft: Sft, batch: Batch, device: str, clock: Clock) -> tuple[float, float, float]:
    """Seconds of the layers forward, of the layers backward, and of the head with its loss both ways."""
    import torch

    from hallmark.model.kernels import token_losses

    base, bf16 = tuned.get_base_model(), sft.dtype == "bfloat16"
    ids = torch.zeros(batch.records, batch.tokens, dtype=torch.long, device=device)
    due = torch.zeros(batch.records * batch.labelled, dtype=torch.long, device=device)
    rows = torch.ones(len(due), base.config.hidden_size, dtype=base.dtype, device=device, requires_grad=True)
    states: list[torch.Tensor] = []

    def forward() -> None:
        states.clear()
        states.append(base.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state)

    def both() -> None:
        forward()
        states[0].sum().backward()

    def scored() -> None:
        token_losses(base.get_output_embeddings()(rows), due).sum().backward()

    if bf16:
        leave_input_dtype(tuned)
    with torch.autocast(device, dtype=torch.bfloat16, enabled=bf16):
        one, two, head = (fastest(function, device, clock) for function in (forward, both, scored))
    return one, max(two - one, one / 10), head


def generation_seconds(model: Any, read: Batch, records: int, new: int, clock: Clock) -> tuple[float, float, float]:
    """Seconds to read a batch of prompts, of one layer to write one token of `records` of them, and of the head to."""
    import torch

    from hallmark.plan.memory import cache_of, padding_mask

    device = model.device
    prompt = torch.zeros(read.records, read.tokens, dtype=torch.long, device=device)
    hidden = torch.ones(records, model.config.hidden_size, dtype=model.dtype, device=device)
    length = read.tokens + new // 2
    decoder, head = model.get_decoder(), model.get_output_embeddings()

    def reads() -> None:
        decoder(
            input_ids=prompt, attention_mask=padding_mask(model, read.records, read.tokens, read.tokens), use_cache=True
        )

    def writes() -> None:
        decoder(
            input_ids=prompt[:1, :1].expand(records, 1),
            position_ids=torch.full((records, 1), length, device=device),
            attention_mask=padding_mask(model, records, 1, length + 1),
            cache=cache_of(model, records, length),
            use_cache=True,
        )

    def scores() -> None:
        head(hidden).float().argmax(-1)

    def caches() -> None:
        cache_of(model, records, length)

    with torch.no_grad():
        seconds = [fastest(function, device.type, clock) for function in (reads, writes, caches, scores)]
    return seconds[0], max(seconds[1] - seconds[2], 1e-6) / LAYERS, seconds[3]
