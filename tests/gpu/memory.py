"""The part that compares the device's peak memory with what the plan foresees.

`python -m tests.gpu.memory OUT.json` writes what that is for the params and the base of the current folder.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hallmark.base.files import BASE, SFT_ADAPTER
from hallmark.params.loader import load_params
from tests.gpu.models import LLAMA, QWEN, Workspace, last_words, mib, workspace, write_split
from tests.gpu.registry import Bench, Failed, Skipped, expect, part

APART = 0.15  # of the peak: the most by which the estimate may be wrong
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "qlora, batch 4": (QWEN, {"sft__method": "qlora", "sft__batch_size": 4}),
    "lora, batch 8, checkpointing": (QWEN, {"sft__batch_size": 8, "sft__gradient_checkpointing": True}),
    "lora, batch 4, checkpointing": (LLAMA, {"sft__batch_size": 4, "sft__gradient_checkpointing": True}),
    "4 bits kept, batch 4, checkpointing": (
        LLAMA,
        {
            "sft__method": "qlora",
            "sft__dequantize_once": False,
            "sft__batch_size": 4,
            "sft__gradient_checkpointing": True,
        },
    ),
}


def foreseen(made: Workspace) -> dict[str, Any]:
    """What the plan says of a workspace, asked in a process of its own: it measures the device, and must leave it."""
    out = made.folder / "estimate.json"
    out.unlink(missing_ok=True)
    done = made.process("tests.gpu.memory", str(out))
    if done.returncode != 0:
        raise Failed(f"the plan ended with exit code {done.returncode}: {last_words(done.stderr)}")
    content: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return content


@part("memory", "the device's peak against what the plan foresees")
def memory(bench: Bench) -> None:
    """Training in several shapes, and evaluation."""
    spaces: dict[str, Workspace] = {}
    plans: dict[str, dict[str, Any]] = {}
    for words, (name, overrides) in bench.some([*SHAPES.items()]):
        with bench.check(f"{name}: {words}") as told:
            made = spaces[name] = spaces.get(name) or workspace(bench, name)
            write_split(made.folder, *bench.size((96, 8, 64), (12, 2, 4)))
            made.set(sft__method="lora", sft__gradient_checkpointing=False, sft__dequantize_once=True)
            # One pass: the longest records decide, and they are somewhere in it.
            made.set(sft__max_steps=bench.size(None, 2), sft__epochs=1.0, **overrides)
            peak = made.train()["peak_bytes"]
            plans[name] = foreseen(made)
            compare(told, peak, plans[name]["training_bytes"])
    with bench.check(f"{QWEN}: eval") as told:
        made = spaces[QWEN]
        known = QWEN in plans and (made.folder / SFT_ADAPTER).exists()
        expect(known, "there is no plan, or no adapter to evaluate")
        made.stage("dpo")
        compare(told, made.stage("eval", "--model", "tuned")["peak_bytes"], plans[QWEN]["evaluation_bytes"])


def compare(told: list[str], peak: int | None, expected: int) -> None:
    """Tell the peak and what was foreseen; they must not be further apart than APART."""
    if peak is None:
        raise Skipped(f"foreseen {mib(expected)}; a CPU does not count its peak")
    apart = expected / peak - 1
    told.append(f"{mib(peak)}, foreseen {mib(expected)} ({apart:+.1%})")
    expect(abs(apart) <= APART, f"{told[0]}: more than {APART:.0%} apart")


def main(out: str) -> None:
    """Ask the plan."""
    from hallmark.plan.estimate import estimate

    found = asdict(estimate(load_params(), BASE))
    Path(out).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
