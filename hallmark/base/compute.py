"""Make a run repeat exactly on this machine, and describe the machine so that a difference elsewhere can be explained."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hallmark.base.errors import HallmarkError
from hallmark.base.params import Compute

LOCK = Path("requirements.lock")
# The thread count of these libraries changes how sums are split, and so the last bits.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# Each library's switch for the same code path on every x86-64 processor with AVX2 (measurements in docs/choices.md).
# MKL uses other paths on Intel than elsewhere, whatever instruction set you ask for, except with COMPATIBLE.
PORTABLE_VARIABLES = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "MKL_CBWR": "COMPATIBLE",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_ENABLE_CPU_FEATURES": "X86_V3",
}
WORKER = "HALLMARK_WORKER"  # set in the processes that hallmark/model/launch.py starts
VISIBLE = "CUDA_VISIBLE_DEVICES"


def environment(compute: Compute, *, all_devices: bool = False) -> dict[str, str]:
    """Environment variables for every process that does math for the pipeline; they must be set before it starts.

    `all_devices`: for workers, each of which takes one of the GPUs; any other process sees only the first.
    """
    return {
        **dict.fromkeys(THREAD_VARIABLES, str(compute.threads)),
        **(PORTABLE_VARIABLES if compute.portable else {}),
        **({VISIBLE: first_device()} if compute.device == "cuda" and not all_devices else {}),
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # deterministic cuBLAS; torch.use_deterministic_algorithms requires it
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",  # after the base stage, everything is on disk
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
    }


def first_device() -> str:
    """The first of the CUDA devices that the user lets this process see: an index, or the id of a GPU or of a MIG slice.

    With more than one, transformers wraps the model in `nn.DataParallel`, which TRL's trainers refuse.
    """
    return os.environ.get(VISIBLE, "0").split(",")[0].strip()


def set_up(compute: Compute, seed: int) -> None:
    """Pin threads, seeds and deterministic kernels. Call it before anything imports torch or numpy.

    Raises HallmarkError if this machine lacks `compute.device` or can't do `compute.portable`.
    """
    # On some CPUs bitsandbytes 0.50.2 warns that an optional inference kernel, downloaded from a hub, is missing.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    torch = _torch(compute)
    from transformers import set_seed
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    if compute.device == "cuda" and not torch.cuda.is_available():
        raise HallmarkError(
            "torch sees no CUDA device",
            param="compute.device",
            remedy="set compute.device to cpu, or install a CUDA build of torch and its driver",
        )
    torch.set_num_threads(compute.threads)
    # Errors, not warnings: only then do flash and memory-efficient attention take their deterministic backward pass, and
    # does SDPA leave out cuDNN's kernel, which has none.
    torch.use_deterministic_algorithms(True)
    # Torch would also fill new memory, so that an operation that reads it uninitialized repeats. None here does (results
    # have the same bytes with and without), and filling writes every new tensor once more.
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cuda.matmul.allow_tf32 = False
    set_seed(seed)


def check_dtype(compute: Compute, dtype: str, param: str) -> None:
    """A HallmarkError if `dtype`, the value of `param`, is bfloat16 and the GPU has no instructions for it."""
    import torch

    if compute.device == "cuda" and dtype == "bfloat16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise HallmarkError(
            f"{torch.cuda.get_device_name()} can't compute in bfloat16",
            param=param,
            remedy=f"set {param} to float32, or use a GPU with compute capability 8.0 (Ampere, 2020) or higher",
        )


@contextmanager
def deterministic(field: str, remedy: str) -> Iterator[None]:
    """Run the block; if torch has no deterministic version of an operation in it, name the param to change."""
    try:
        yield
    except RuntimeError as error:
        operation = re.match(r"(\S+) does not have a deterministic implementation", str(error))
        if operation is None:
            raise
        raise HallmarkError(
            f"{operation[1]} would produce different bytes each time on this device",
            param=field,
            remedy=remedy,
        ) from None


def _torch(compute: Compute) -> Any:
    """Import torch with its code paths pinned according to `compute`."""
    os.environ.update(environment(compute, all_devices=WORKER in os.environ))
    import torch

    if compute.portable:
        if torch.backends.cpu.get_cpu_capability() != "AVX2":
            raise HallmarkError(
                "this processor has no AVX2, or torch was imported before its code path could be set",
                param="compute.portable",
                remedy="run the stage by its own command on an x86-64 processor from 2015 or later, or set it to false",
            )
        torch.backends.mkldnn.set_flags(False)  # whether torch hands bf16 to oneDNN depends on the processor
    return torch


def hardware(compute: Compute) -> dict[str, Any]:
    """What tells this machine from others, in keys of its fingerprint; on a CPU, without the seconds that torch takes."""
    found = {"machine": platform.machine(), "processor": _processor(), "threads": compute.threads}
    if compute.device == "cuda":
        import torch

        found["gpu"] = torch.cuda.get_device_name()
    return found


def fingerprint(compute: Compute, processes: int = 1, strategy: str | None = None) -> dict[str, Any]:
    """Everything that can change the bytes of a result: processor, instruction set, GPU, driver, torch, threads, processes."""
    before = dict(os.environ)
    torch = _torch(compute)
    os.environ.clear()  # restore it: `verify` starts stages after this, and one of them may need to download
    os.environ.update(before)
    result: dict[str, Any] = hardware(compute) | {
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "portable": compute.portable,
        "processes": processes,
        "strategy": strategy if processes > 1 else None,
        "device": compute.device,
        "torch": torch.__version__,
        "math": _math(torch.__config__.show()),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.libc_ver()[1]}".strip(),
    }
    if compute.device == "cuda":
        result |= {
            "compute_capability": ".".join(map(str, torch.cuda.get_device_capability())),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
            "driver": _first_line(Path("/proc/driver/nvidia/version")),
        }
    return result


def installed(lock: Path = LOCK) -> dict[str, str]:
    """The installed version of every distribution in `requirements.lock` ("absent" if there is none)."""
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


def _math(configuration: str) -> str:
    """The versions of the math libraries inside this build of torch."""
    patterns = {"MKL": r"Math Kernel Library Version (\S+)", "oneDNN": r"MKL-DNN v(\S+)"}
    matches = {name: re.search(pattern, configuration) for name, pattern in patterns.items()}
    return ", ".join(f"{name} {match[1]}" for name, match in matches.items() if match)


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
