"""The part about attention kernels: which one training takes, and which of them repeat."""

from __future__ import annotations

import time
from typing import Any

from hallmark.base.params import Compute
from tests.gpu.models import QWEN, workspace
from tests.gpu.registry import Bench, Skipped, part

REPEATS = 5
# What torch says if a kernel is not for this device, or has no deterministic form.
REFUSALS = ("No viable backend", "No available kernel", "deterministic")
# Heads and their size as Qwen3 0.6B has them, a batch of 8 records of 512 tokens.
SHAPE = {"batch": 8, "heads": 16, "length": 512, "size": 128}
SMALL = {"batch": 2, "heads": 2, "length": 32, "size": 64}


@part("attention", "which SDPA kernel training takes, and which kernels repeat")
def attention(bench: Bench) -> None:
    """The operators of a run of `sft`, then each kernel alone."""
    with bench.line("training takes the flash kernel, forward and backward") as line:
        made = workspace(bench, QWEN, sft__max_steps=2)
        operators = made.train(profile=True)["attention"]
        line.values["operators"] = operators
        line.words = ", ".join(f"{name} x {count}" for name, count in operators.items())
        backward = [name for name in operators if name.endswith("_backward")]
        line.expect(bool(backward), f"no fused kernel ran backward: {line.words or 'none at all'}")
        line.expect(all("flash" in name for name in backward), f"another kernel ran: {line.words}")
    from torch.nn.attention import SDPBackend

    from hallmark.base.compute import set_up

    set_up(Compute(device=bench.device, threads=4 if not bench.tiny else 1, portable=False), 7)
    shape = bench.size(SHAPE, SMALL)
    for kernel in ("FLASH_ATTENTION", "EFFICIENT_ATTENTION", "CUDNN_ATTENTION", "MATH"):
        with bench.line(f"{kernel}: {REPEATS} times the same bytes, forward and backward") as line:
            line.values |= shape
            try:
                hashes, seconds = repeated(getattr(SDPBackend, kernel), bench.device, **shape)
            except RuntimeError as error:
                if not any(words in str(error) for words in REFUSALS):
                    raise
                raise Skipped(f"refused: {str(error).splitlines()[0]}") from None
            line.values |= {"seconds": seconds, "different": len(hashes)}
            line.words = f"{1000 * seconds:.2f} ms a step"
            line.expect(len(hashes) == 1, f"{len(hashes)} different results in {REPEATS} runs")


def repeated(kernel: Any, device: str, *, batch: int, heads: int, length: int, size: int) -> tuple[set[str], float]:
    """The hashes of output and gradients in each of the runs, and the seconds of one."""
    import hashlib

    import torch
    from torch.nn.attention import sdpa_kernel

    generator = torch.Generator().manual_seed(1)
    drawn = [torch.randn(batch, heads, length, size, generator=generator).bfloat16().to(device) for _ in range(4)]
    hashes, start = set(), 0.0
    with sdpa_kernel(kernel):
        for number in range(REPEATS + 1):
            if number == 1:  # the first one has set the kernel up
                start = time.perf_counter()
            query, key, value = (one.clone().requires_grad_() for one in drawn[:3])
            written = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
            written.backward(drawn[3])
            digest = hashlib.sha256()
            for tensor in (written, query.grad, key.grad, value.grad):
                digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
            hashes.add(digest.hexdigest())
    return hashes, round((time.perf_counter() - start) / REPEATS, 5)
