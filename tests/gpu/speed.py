"""The part that compares training with the usual script, and that script: `python -m tests.gpu.speed OUT.json`."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.gpu.models import LLAMA, QWEN, Workspace, last_words, mib, workspace, write_split
from tests.gpu.registry import Bench, part

GOAL = 3.0  # times the tokens a second


@part("speed", "tokens a second of sft against TRL's usual script, on the same model and records")
def speed(bench: Bench) -> None:
    """One pass over the same records each, from the start of the first step to the end of the last."""
    for name, batch_size, records in bench.some([(QWEN, 16, 640), (LLAMA, 8, 320)]):
        seconds: dict[str, float] = {}
        made = workspace(bench, name, sft__max_steps=None, sft__epochs=1.0, sft__method="lora")
        if not bench.tiny:
            made.set(sft__batch_size=batch_size)
            write_split(made.folder, records, 8, 8)
        tokens = 0
        for words, side in (("sft", ours), ("the usual script", usual)):
            with bench.line(f"{name}: {words}") as line:
                seen = side(made)
                tokens = seen.get("tokens", tokens)
                line.values |= {"seconds": seen["step_seconds"], "steps": seen["steps"], "tokens": tokens}
                line.values["peak_bytes"] = seen["peak_bytes"]
                line.words = f"{tokens / seen['step_seconds']:,.0f} tokens/s, {mib(seen['peak_bytes'])}"
                seconds[words] = seen["step_seconds"]
        with bench.line(f"{name}: times the tokens a second of the usual script") as line:
            line.expect(len(seconds) == 2, "one of the two runs did not end")
            faster = seconds["the usual script"] / seconds["sft"]
            line.values["times_as_fast"] = round(faster, 2)
            line.words = f"{faster:.2f} times"
            if bench.device == "cuda":
                line.expect(faster >= GOAL, f"{faster:.2f} times; the goal is {GOAL:g}")


def ours(made: Workspace) -> dict[str, Any]:
    """`sft`, the stage itself, with LoRA over the model in bfloat16, as the script has it."""
    seen = made.train()
    return seen | {"tokens": seen["sft"]["tokens"]["train"]}


def usual(made: Workspace) -> dict[str, Any]:
    """The script, in a process of its own."""
    out = made.folder / "usual.json"
    out.unlink(missing_ok=True)
    done = made.process("tests.gpu.speed", str(out))
    if done.returncode != 0:
        raise RuntimeError(f"the script ended with exit code {done.returncode}: {last_words(done.stderr)}")
    seen: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return seen


def main(out: str) -> None:
    """TRL's own loop, without any of our settings; on one device, like ours."""
    os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    import datasets
    import torch
    from transformers import trainer as transformers_trainer

    from hallmark.params.loader import load_params
    from tests.bench.sft import usual as usual_trainer
    from tests.gpu.stage import clock

    ours = clock()
    datasets.disable_progress_bars()
    try:
        with tempfile.TemporaryDirectory() as folder:
            trainer = usual_trainer(load_params(), folder)
            trainer.args.num_train_epochs = 1
            trainer.train()
    finally:
        transformers_trainer.DEFAULT_CALLBACKS.remove(ours)
    peak = torch.cuda.max_memory_allocated() if torch.cuda.is_initialized() else None
    seen = {"steps": ours.steps, "step_seconds": round(ours.end - ours.start, 3), "peak_bytes": peak}
    Path(out).write_text(json.dumps(seen), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
