"""Make a run repeat exactly on this machine, and describe the machine so that a difference elsewhere is explained."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import platform
import re
from pathlib import Path
from typing import Any

from stages.common.errors import HallmarkError
from stages.common.params import Compute

LOCK = Path("requirements.lock")
# Libraries whose thread count changes how sums are split, and so the last bits.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def environment(compute: Compute) -> dict[str, str]:
    """Environment variables that a process doing math for the pipeline must start with."""
    return {
        **dict.fromkeys(THREAD_VARIABLES, str(compute.threads)),
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # deterministic cuBLAS; torch.use_deterministic_algorithms asks for it
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",  # after the base stage, everything is on disk
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
    }


def set_up(compute: Compute, seed: int) -> None:
    """Pin threads, seeds and deterministic kernels. Call before a model is loaded.

    Raises HallmarkError where `compute.device` is not on this machine.
    """
    os.environ.update(environment(compute))
    # bitsandbytes 0.50.2 warns on some CPUs that an optional kernel for inference, from a hub, is not there.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    import torch
    from transformers import set_seed
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    if compute.device == "cuda" and not torch.cuda.is_available():
        raise HallmarkError(
            "torch sees no CUDA device",
            file="params.yaml",
            field="compute.device",
            remedy="set compute.device to cpu, or install a CUDA build of torch and its driver",
        )
    torch.set_num_threads(compute.threads)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    torch.backends.cuda.matmul.allow_tf32 = False
    set_seed(seed)


def fingerprint(compute: Compute) -> dict[str, Any]:
    """What can change the bytes of a result: processor, instruction set, GPU, driver, torch, threads."""
    import torch

    result: dict[str, Any] = {
        "machine": platform.machine(),
        "processor": _processor(),
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "threads": compute.threads,
        "device": compute.device,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.libc_ver()[1]}".strip(),
    }
    if compute.device == "cuda":
        result |= {
            "gpu": torch.cuda.get_device_name(),
            "compute_capability": ".".join(map(str, torch.cuda.get_device_capability())),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "driver": _first_line(Path("/proc/driver/nvidia/version")),
        }
    return result


def installed(lock: Path = LOCK) -> dict[str, str]:
    """The version really installed of every distribution that `requirements.lock` names ("absent" where none is)."""
    names = [
        match[1] for line in lock.read_text(encoding="utf-8").splitlines() if (match := re.match(r"([\w.-]+)==", line))
    ]
    versions = {}
    for name in sorted(names):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "absent"
    return versions


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        fields = dict(
            re.findall(r"^(vendor_id|cpu family|model|model name)\s*:\s*(.+)$", info.read_text(encoding="utf-8"), re.M)
        )
        if fields:
            numbers = f"family {fields.get('cpu family')} model {fields.get('model')}"
            return f"{fields.get('model name', 'unknown')} ({fields.get('vendor_id')} {numbers})"
    return platform.processor()


def _first_line(path: Path) -> str | None:
    return path.read_text(encoding="utf-8").splitlines()[0] if path.exists() else None
