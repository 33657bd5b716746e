"""The device that is planned for: the one at hand, or a GPU that is named by its model or by its memory."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hallmark.base.errors import HallmarkError
from hallmark.base.params import Compute
from hallmark.plan.speed import GIB, GPUS, Gpu

CGROUP = Path("/sys/fs/cgroup/memory.max")  # where a container has less than the machine
# What is not there for tensors: on a GPU, CUDA's context, its libraries and what the allocator can't use; else Python,
# torch and what else runs.
RESERVED, SHARE = GIB, 0.95


@dataclass(frozen=True)
class Machine:
    """A device: `cpu` or `cuda`, its memory in bytes if that is known, and the GPU whose figures are stated."""

    device: str
    memory: int | None
    gpu: Gpu | None
    here: bool  # whether it can be measured

    @property
    def usable(self) -> int | None:
        """The bytes of its memory that tensors may take."""
        return None if self.memory is None else usable(self.memory)


def usable(memory: int) -> int:
    """The bytes that tensors may take of a device's memory."""
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
