"""Parts about answering in this process, and about the rounding that answers and training must share."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.gpu.models import LLAMA, SMOLLM, Workspace, mib, workspace
from tests.gpu.registry import Bench, Line, Skipped, part
from tests.workspace import report


@part("eval", "the hf engine: records a second, twice the same answers, merged against unmerged")
def evaluation(bench: Bench) -> None:
    """SmolLM2 after some steps of training: a model that says something."""
    made = workspace(bench, SMOLLM, sft__learning_rate=1.0e-3)
    with bench.line("sft and the copy by dpo, which it evaluates") as line:
        made.set(sft__max_steps=bench.size(60, 2))
        made.stage("sft")
        made.stage("dpo")
    for model in ("base", "tuned"):
        with bench.line(f"{model}: twice the same answers") as line:
            first, again = answered(line, made, model), answered(line, made, model)
            changed = sum(one != other for one, other in zip(first, again, strict=True))
            line.values["texts_changed"] = changed
            line.expect(changed == 0, f"{changed} of {len(first)} answers changed")
    with bench.line("tuned: merged against unmerged") as line:
        merged = answered(line, made, "tuned")
        made.set(eval__merge=False)
        apart = answered(line, made, "tuned")
        changed = sum(one != other for one, other in zip(merged, apart, strict=True))
        line.values["texts_changed"] = changed
        line.words += f"; {changed} of {len(merged)} answers changed"


def answered(line: Line, made: Workspace, model: str) -> list[str]:
    """The predictions, a line of JSON each; speed and memory go into the line."""
    seen = made.stage("eval", "--model", model)
    measured, predictions = report(made.folder, f"measured/eval_{model}"), f"eval/{model}/predictions.jsonl"
    texts = (made.folder / "reports" / predictions).read_text(encoding="utf-8").splitlines()
    records = len(texts) / measured["generate_seconds"] if measured["generate_seconds"] else 0.0
    line.values |= {"records_per_second": round(records, 1), "tokens_per_second": measured["tokens_per_second"]}
    line.values["peak_bytes"] = seen["peak_bytes"]
    line.words = f"{records:,.1f} records/s, {measured['tokens_per_second']:,.0f} tokens/s, {mib(seen['peak_bytes'])}"
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
    with bench.line("values that differ, of all that were rounded") as line:
        for name, weight in matrices(files, bench.size(8, 4)):
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
            line.values["last"] = name
        line.values |= counts | {"seconds": {device: round(value, 3) for device, value in seconds.items()}}
        codes, written = (counts[key] / counts["values"] for key in ("codes", "written"))
        line.words = (
            f"{codes:.2e} of the 4-bit codes, {written:.2e} of the values written out; "
            f"{seconds['cpu']:.2f} s on the CPU, {seconds[bench.device]:.2f} s on {bench.device}"
        )
    with bench.line("the stage, for all of the base") as line:
        if importlib.util.find_spec("stages.quantize") is None:
            raise Skipped("absent: this version has no stage quantize")
        line.values["seconds"] = made.stage("quantize")["seconds"]
        line.words = f"{line.values['seconds']:.1f} s"
    with bench.line("a matrix rounded on the CPU, read on the device: the same values") as line:
        _, weight = next(iter(matrices(files, 1)))
        packed, state = quantize_4bit(weight, blocksize=64, quant_type="nf4", compress_statistics=True)
        here = dequantize_4bit(packed, state)
        state.to(bench.device)
        there = dequantize_4bit(packed.to(bench.device), state).cpu()
        different = int((here != there).sum())
        line.values |= {"values": weight.numel(), "different": different}
        line.words = f"{different} of {weight.numel()} differ"
        line.expect(different == 0, line.words)


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
