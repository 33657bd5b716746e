"""Parts about answering in this process, and about the rounding that answers and training must share."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.gpu.models import LLAMA, SMOLLM, Workspace, mib, workspace
from tests.gpu.registry import Bench, Skipped, expect, part
from tests.workspace import report


@part("eval", "the hf engine: records a second, twice the same answers, merged against unmerged")
def evaluation(bench: Bench) -> None:
    """SmolLM2 after some steps of training: a model that says something."""
    made = workspace(bench, SMOLLM, sft__learning_rate=1.0e-3)
    with bench.check("sft and the copy by dpo, which it evaluates"):
        made.set(sft__max_steps=bench.size(60, 2))
        made.stage("sft")
        made.stage("dpo")
    for model in ("base", "tuned"):
        with bench.check(f"{model}: twice the same answers") as told:
            first, again = answered(told, made, model), answered(told, made, model)
            expect(first == again, f"{changed(first, again)} of {len(first)} answers changed")
    with bench.check("tuned: merged against unmerged") as told:
        merged = answered(told, made, "tuned")
        made.set(eval__merge=False)
        apart = answered(told, made, "tuned")
        told.append(f"{changed(merged, apart)} of {len(merged)} answers changed")


def changed(first: list[str], again: list[str]) -> int:
    return sum(one != other for one, other in zip(first, again, strict=True))


def answered(told: list[str], made: Workspace, model: str) -> list[str]:
    """The predictions, a line of JSON each; speed and memory are told."""
    seen = made.stage("eval", "--model", model)
    measured, predictions = report(made.folder, f"measured/eval_{model}"), f"eval/{model}/predictions.jsonl"
    texts = (made.folder / "reports" / predictions).read_text(encoding="utf-8").splitlines()
    records = len(texts) / measured["generate_seconds"] if measured["generate_seconds"] else 0.0
    speed = f"{records:,.1f} records/s, {measured['tokens_per_second']:,.0f} tokens/s"
    told.append(f"{speed}, {mib(seen['peak_bytes'])}")
    return texts


@part("quantize", "rounding to 4 bits on the device against on the CPU")
def quantize(bench: Bench) -> None:
    """Every matrix of a 3B model, as bitsandbytes rounds it for the loader."""
    import torch
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    made = workspace(bench, LLAMA)
    files = sorted((made.folder / "models/base").glob("*.safetensors"))
    counts = dict.fromkeys(["values", "codes", "written"], 0)
    seconds = dict.fromkeys(["cpu", bench.device], 0.0)
    with bench.check("values that differ, of all that were rounded") as told:
        for _, weight in matrices(files, bench.size(8, 4)):
            found = {}
            for device in seconds:
                here, start = weight.to(device), time.perf_counter()
                packed, state = quantize_4bit(here, blocksize=64, quant_type="nf4", compress_statistics=True)
                if device == "cuda":
                    torch.cuda.synchronize()
                seconds[device] += time.perf_counter() - start
                found[device] = packed.cpu(), dequantize_4bit(packed, state).cpu()
            one, other = found["cpu"], found[bench.device]
            counts["values"] += weight.numel()
            counts["codes"] += codes_apart(one[0], other[0])
            counts["written"] += int((one[1] != other[1]).sum())
        codes, written = (counts[key] / counts["values"] for key in ("codes", "written"))
        told += [f"{codes:.2e} of the 4-bit codes, {written:.2e} of the values written out"]
        told += [f"{seconds['cpu']:.2f} s on the CPU, {seconds[bench.device]:.2f} s on {bench.device}"]
    with bench.check("the stage, for all of the base") as told:
        told.append(f"{made.stage('quantize')['seconds']:.1f} s")
    with bench.check("a matrix rounded on the CPU, read on the device: the same values"):
        _, weight = next(iter(matrices(files, 1)))
        packed, state = quantize_4bit(weight, blocksize=64, quant_type="nf4", compress_statistics=True)
        here = dequantize_4bit(packed, state)
        state.to(bench.device)
        there = dequantize_4bit(packed.to(bench.device), state).cpu()
        different = int((here != there).sum())
        expect(different == 0, f"{different} of {weight.numel()} differ")


def matrices(files: list[Path], count: int) -> Iterator[tuple[str, Any]]:
    """The first matrices of the layers, by name; the embeddings are not rounded."""
    from safetensors import safe_open

    left = count
    for file in files:
        with safe_open(file, "pt") as tensors:
            for name in sorted(tensors.keys()):
                if left and ".layers." in name and name.endswith("_proj.weight"):
                    left -= 1
                    yield name, tensors.get_tensor(name)
    if left == count:
        raise Skipped("the base has no matrices of that name")


def codes_apart(one: Any, other: Any) -> int:
    """How many 4-bit codes differ between two packed tensors, two in each byte."""
    return int(((one & 15) != (other & 15)).sum()) + int(((one >> 4) != (other >> 4)).sum())
