"""The part that compares the device's peak memory with what `nox -s plan` foresees."""

from __future__ import annotations

import contextlib
import importlib.util
from pathlib import Path
from typing import Any

from stages.core.files import ADAPTER, SFT_ADAPTER
from stages.params.loader import load_params
from tests.gpu.models import LLAMA, QWEN, Workspace, mib, workspace
from tests.gpu.registry import Bench, Line, Skipped, part

APART = 0.15  # of the peak: the most by which the estimate may be wrong
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "qlora, batch 4": (QWEN, {"sft__method": "qlora", "sft__batch_size": 4}),
    "lora, batch 8, checkpointing": (QWEN, {"sft__batch_size": 8, "sft__gradient_checkpointing": True}),
    "qlora, batch 4, checkpointing": (LLAMA, {"sft__batch_size": 4, "sft__gradient_checkpointing": True}),
    "4 bits kept, batch 4": (
        LLAMA,
        {"sft__batch_size": 4, "sft__gradient_checkpointing": True, "sft__dequantize_once": False},
    ),
}


def estimate(made: Workspace) -> Any:
    """What the plan says of the params and the base of a workspace; asked in its folder, where the records are."""
    if importlib.util.find_spec("stages.planning") is None:
        raise Skipped("absent: this version has no stages.planning")
    from stages.planning.estimate import estimate

    with contextlib.chdir(made.folder):
        return estimate(load_params(), Path("models/base"))


@part("memory", "the device's peak against what the plan foresees")
def memory(bench: Bench) -> None:
    """Training in several shapes, and evaluation."""
    spaces: dict[str, Workspace] = {}
    for words, (name, overrides) in SHAPES.items():
        with bench.line(f"{name}: {words}") as line:
            made = spaces[name] = spaces.get(name) or workspace(bench, name)
            made.set(sft__method="lora", sft__gradient_checkpointing=False, sft__dequantize_once=True)
            # One pass: the longest records decide, and they are somewhere in it.
            made.set(sft__max_steps=bench.size(None, 2), sft__epochs=1.0, **overrides)
            seen = made.train()
            compare(line, seen["peak_bytes"], lambda made=made: estimate(made).training_bytes)
    with bench.line(f"{QWEN}: eval") as line:
        made = spaces[QWEN]
        (made.folder / ADAPTER).parent.mkdir(exist_ok=True)
        line.expect((made.folder / SFT_ADAPTER).exists(), "there is no adapter to evaluate")
        made.stage("dpo")
        seen = made.stage("eval", "--model", "tuned")
        compare(line, seen["peak_bytes"], lambda: estimate(made).evaluation_bytes)


def compare(line: Line, peak: int | None, foreseen: Any) -> None:
    """Note the peak, then what was foreseen; they must not be further apart than APART."""
    line.values["peak_bytes"] = peak
    line.words = mib(peak)
    line.values["estimated_bytes"] = foreseen()
    line.words = f"{mib(peak)}, foreseen {mib(line.values['estimated_bytes'])}"
    if peak is None:
        raise Skipped(f"foreseen {mib(line.values['estimated_bytes'])}; a CPU does not count its peak")
    apart = line.values["estimated_bytes"] / peak - 1
    line.values["apart"] = round(apart, 3)
    line.words += f" ({apart:+.1%})"
    line.expect(abs(apart) <= APART, f"{line.words}: more than {APART:.0%} apart")
