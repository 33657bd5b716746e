"""The part that compares the device's peak memory with what the plan foresees.

`python -m tests.gpu.memory OUT.json` writes what that is for the params and the base of the current folder.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hallmark.base.files import BASE, SFT_ADAPTER
from hallmark.params.loader import load_params
from tests.gpu.models import LLAMA, QWEN, Workspace, last_words, mib, workspace, write_split
from tests.gpu.registry import Bench, Failed, Line, Skipped, part

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
    if importlib.util.find_spec("hallmark.plan") is None:
        raise Skipped("absent: this version has no hallmark.plan")
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
        with bench.line(f"{name}: {words}") as line:
            made = spaces[name] = spaces.get(name) or workspace(bench, name)
            write_split(made.folder, *bench.size((96, 8, 64), (12, 2, 4)))
            made.set(sft__method="lora", sft__gradient_checkpointing=False, sft__dequantize_once=True)
            # One pass: the longest records decide, and they are somewhere in it.
            made.set(sft__max_steps=bench.size(None, 2), sft__epochs=1.0, **overrides)
            seen = made.train()
            line.values["peak_bytes"] = seen["peak_bytes"]
            plans[name] = foreseen(made)
            compare(line, seen["peak_bytes"], plans[name], "training_bytes")
    with bench.line(f"{QWEN}: eval") as line:
        made = spaces[QWEN]
        line.expect(
            QWEN in plans and (made.folder / SFT_ADAPTER).exists(), "there is no plan, or no adapter to evaluate"
        )
        made.stage("dpo")
        seen = made.stage("eval", "--model", "tuned")
        compare(line, seen["peak_bytes"], plans[QWEN], "evaluation_bytes")


def compare(line: Line, peak: int | None, plan: dict[str, Any], key: str) -> None:
    """Note the peak and what was foreseen; they must not be further apart than APART."""
    line.values |= {"peak_bytes": peak, "estimate": plan}
    expected = plan[key]
    line.words = f"{mib(peak)}, foreseen {mib(expected)}"
    if peak is None:
        raise Skipped(f"foreseen {mib(expected)}; a CPU does not count its peak")
    apart = expected / peak - 1
    line.values["apart"] = round(apart, 3)
    line.words += f" ({apart:+.1%})"
    line.expect(abs(apart) <= APART, f"{line.words}: more than {APART:.0%} apart")


def main(out: str) -> None:
    """Ask the plan."""
    from hallmark.plan.estimate import estimate

    found = asdict(estimate(load_params(), BASE))
    Path(out).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
