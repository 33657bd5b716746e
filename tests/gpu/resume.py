"""The part that kills a training and runs it again: the adapter must be that of an undisturbed run."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

from tests.gpu.models import QWEN, Workspace, difference, last_words, workspace
from tests.gpu.registry import Bench, Failed, expect, part
from tests.gpu.training import same
from tests.workspace import ROOT


@part("resume", "kill -9 during training, run again: the same bytes as an undisturbed run")
def resume(bench: Bench) -> None:
    """A checkpoint after every step; killed at an early and at a late one."""
    made = workspace(bench, QWEN, sft__lora__dropout=0.1, sft__gradient_accumulation_steps=2)
    steps = bench.size(20, 6)
    made.set(sft__max_steps=steps, sft__batch_size=bench.size(4, 2), sft__eval_steps=1)  # each logs its step
    with bench.check("an undisturbed run without checkpoints") as told:
        told.append(f"{made.train(sft__checkpoint_minutes=None)['step_seconds']:.1f} s of steps")
        undisturbed = made.kept("undisturbed")
    for step in (steps // 3, steps - 2):
        with bench.check(f"killed at step {step}, run again: the same bytes") as told:
            expect(undisturbed.exists(), "the undisturbed run did not end")
            made.set(sft__checkpoint_minutes=0)
            made.adapter.unlink(missing_ok=True)
            at = killed(made, step)
            expect(not made.adapter.exists(), "it had ended before it was killed")
            seen = made.train()
            expect(seen["steps"] < steps, "it began again from the first step")
            same(difference(undisturbed, made.adapter))
            told.append(f"{seen['steps']} steps after the kill at step {at}")


def killed(made: Workspace, step: int) -> int:
    """Start `sft` in a process of its own, and kill it once it has taken this step; the step it was seen at."""
    path = os.pathsep.join([str(made.folder), str(ROOT)])
    log = made.folder / "killed.log"
    with log.open("w", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "stages.sft"],
            cwd=made.folder,
            env={**os.environ, "PYTHONPATH": path},
            stdout=errors,
            stderr=errors,
        )
        reached = 0
        while process.poll() is None and reached < step:
            time.sleep(0.02)
            reached = max([0, *map(int, re.findall(r"step (\d+): validation", log.read_text(encoding="utf-8")))])
        process.send_signal(signal.SIGKILL)
        if process.wait() != -signal.SIGKILL:
            raise Failed(f"sft ended before step {step}: {last_words(log.read_text(encoding='utf-8'))}")
    return reached
