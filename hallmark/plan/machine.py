"""The device that is planned for: the one at hand, or a GPU that is named by its model or by its memory."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hallmark.base.errors import HallmarkError
from hallmark.base.params import Compute

GIB = 2**30
CGROUP = Path("/sys/fs/cgroup/memory.max")  # where a container has less than the machine
# What is not there for tensors: on a GPU, CUDA's context, its libraries and what the allocator can't use; else Python,
# torch and what else runs.
RESERVED, SHARE = GIB, 0.95
SHARE_TRAINING, SHARE_READING, SHARE_WRITING = 0.3, 0.4, 0.5  # of what is stated that such code gets, assumed
FP32 = 8  # how many times slower than bf16 a GPU is in fp32 without TF32
# Seconds that Python and the launches of kernels take however fast the GPU is: of a layer, forward and backward with an
# adapter; and of a token that `generate` writes.
LAYER, STEP = 0.005, 0.02


@dataclass(frozen=True)
class Speed:
    """Floating-point operations a second, by kind of work, and what else takes time."""

    training: float
    reading: float
    writing: float
    bandwidth: float  # bytes a second, as which weights and cache are read for each token that is written
    layer: float  # seconds of a layer in a batch of training, however little work it has
    step: float  # seconds of a token that is written, besides
    basis: str = ""

    def training_seconds(self, work: float, batches: float, layers: int) -> float:
        return max(work / self.training, self.layer * layers * batches)

    def writing_seconds(self, work: float, size: float) -> float:
        """Seconds of a token for each record of a batch, for which `size` bytes are read."""
        return self.step + max(work / self.writing, size / self.bandwidth)


# --- what the maker states ---------------------------------------------------------------------------------------


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
            training=SHARE_TRAINING * operations,
            reading=SHARE_READING * operations,
            writing=SHARE_READING * operations,
            bandwidth=SHARE_WRITING * self.bandwidth,
            layer=LAYER,
            step=STEP,
            basis=f"{100 * SHARE_TRAINING:.0f} % of the {self.operations / 1e12:.0f} TFLOP/s stated for {self.name}",
        )


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


@dataclass(frozen=True)
class Machine:
    """A device: `cpu` or `cuda`, its memory in bytes if that is known, and the GPU whose figures are stated."""

    device: str
    memory: int | None
    gpu: Gpu | None
    here: bool  # whether it can be measured

    @property
    def usable(self) -> int | None:
        return None if self.memory is None else usable(self.memory)


def usable(memory: int) -> int:
    return max(0, int(SHARE * memory) - RESERVED)


def at_hand(compute: Compute) -> Machine:
    """The device that `compute` names on this machine; a GPU that is not there has no memory and no speed."""
    if compute.device == "cpu":
        return Machine("cpu", host_memory(), None, True)
    import torch

    if not torch.cuda.is_available():
        return Machine("cuda", None, None, False)
    name = torch.cuda.get_device_name()
    known = [gpu for gpu in GPUS.values() if re.search(rf"\b{re.escape(gpu.name)}\b", name)]
    return Machine("cuda", torch.cuda.get_device_properties(0).total_memory, known[-1] if known else None, True)


def named(text: str) -> Machine:
    """The GPU that a user names: `L4`, `RTX 4090`, or its memory, such as `24GiB`."""
    for name, gpu in GPUS.items():
        if name.replace(" ", "").lower() == re.sub(r"[\s_-]", "", text).lower():
            return Machine("cuda", gpu.memory, gpu, False)
    size = re.fullmatch(r"(\d{1,4}(?:\.\d+)?) ?(?:GiB|GB|G)", text, re.IGNORECASE)
    if size is None or float(size[1]) <= 0:
        raise HallmarkError(
            f"{text[:40]!r} is neither a GPU with known figures nor a size of memory",
            field="--gpu",
            remedy=f"name one of {', '.join(GPUS)}, or give its memory, such as 24GiB",
        )
    memory = int(float(size[1]) * GIB)
    slowest = min((gpu for gpu in GPUS.values() if gpu.memory >= memory), key=lambda gpu: gpu.operations, default=None)
    return Machine("cuda", memory, slowest, False)


def host_memory() -> int | None:
    """The memory of this machine in bytes, or of the container that this runs in."""
    sizes = []
    with suppress(OSError, ValueError):
        sizes.append(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    with suppress(OSError, ValueError):
        sizes.append(int(CGROUP.read_text(encoding="ascii")))
    return min(sizes, default=None)
