"""Run a stage with instruments on it: `python -m tests.gpu.stage OUT.json stages.sft [options]`.

In the current folder, as the stage itself would. OUT gets the seconds of its training steps, and the device's peak memory.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from hallmark.base.compute import environment
from hallmark.params.loader import load_params
from tests.workspace import as_main


def clock() -> Any:
    """A callback that each trainer of transformers gets: seconds from the start of the first step to the end of the last."""
    import torch
    from transformers import TrainerCallback, trainer

    def now() -> float:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter()

    class Clock(TrainerCallback):
        steps, start, end = 0, 0.0, 0.0

        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if not Clock.steps:
                Clock.start = now()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            Clock.steps += 1
            Clock.end = now()

    trainer.DEFAULT_CALLBACKS.append(Clock)
    return Clock


def main(out: str, stage: str, *options: str) -> None:
    """Run the stage, and write what was seen even if it ends in an error."""
    if "torch" not in sys.modules:  # before it is loaded, as `set_up` does
        os.environ.update(environment(load_params().compute))
    import torch
    from transformers import trainer

    file, ours = Path(out), clock()
    sys.argv = [stage, *options]
    start = time.perf_counter()
    try:
        as_main(stage)
    finally:
        trainer.DEFAULT_CALLBACKS.remove(ours)
        seen: dict[str, Any] = {
            "seconds": round(time.perf_counter() - start, 2),
            "steps": ours.steps,
            "step_seconds": round(ours.end - ours.start, 3),
            "peak_bytes": None,
        }
        if torch.cuda.is_initialized():
            seen["peak_bytes"] = torch.cuda.max_memory_allocated()
            seen["reserved_bytes"] = torch.cuda.max_memory_reserved()
        file.write_text(json.dumps(seen), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
