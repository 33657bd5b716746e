"""How long each stage takes on this machine: by how long it took last time, and by how fast this machine is."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
import time
import timeit
from collections.abc import Sequence
from pathlib import Path

from hallmark.base.progress import TIMES, clock_in, duration
from hallmark.base.reading import read_object

MODELS = ("sft", "eval@base", "eval@tuned", "calibration", "online", "comparators", "benchmark")  # stages that run one
PLAN_SECONDS = 40  # that `plan` may take: where there are many rows, the time of new stages is not known
WIDTH = 110
Plan = dict[str, dict[str, float | None]]


def expected(stages: Sequence[str], params: Path) -> Plan:
    """The seconds of each stage, None where nothing tells, and its yardstick: how long this machine takes for known work.

    With the yardstick of the last run, it says how much faster this machine is. For a stage that runs a model, it is what
    `plan` computes from records, model and the speed measured here; the first time, that is the estimate. For any other, it
    is a little Python.
    """
    last = read_object(TIMES, "remove it: only the plan needs it") if TIMES.exists() else {}
    computed, python = computed_seconds(params) if {*MODELS} & {*stages} else {}, a_little_python()
    plan: Plan = {}
    for stage in stages:
        yardstick = computed.get("eval@tuned" if stage == "benchmark" else stage) if stage in MODELS else python
        seconds = computed.get(stage)
        if took := last.get(stage):
            then = took["yardstick"]
            seconds = took["seconds"] * (yardstick / then if yardstick and then else 1)
        plan[stage] = {"seconds": seconds, "yardstick": yardstick}
    return plan


def computed_seconds(params: Path) -> dict[str, float]:
    """What `plan` says, in a process of its own: of torch, which it loads, nothing may stay during the benchmark."""
    command = [sys.executable, "-m", "hallmark.commands.plan", "--seconds", "--params", str(params)]
    try:
        done = subprocess.run(command, capture_output=True, check=True, timeout=PLAN_SECONDS)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):  # what is wrong, a stage says
        return {}
    return json.loads(done.stdout.splitlines()[-1])


def a_little_python() -> float:
    """Its seconds, the fewest of three; what others do meanwhile does not count."""
    piece = "sum(number * number for number in range(300_000))"
    return min(timeit.repeat(piece, timer=time.process_time, number=5, repeat=3))


def table(plan: Plan, threads: int) -> str:
    """What comes and how long, in a few lines."""
    known = [stage["seconds"] for stage in plan.values() if stage["seconds"] is not None]
    whole = len(known) == len(plan)
    about = f"{'about' if whole else 'more than'} {duration(sum(known))}{f', until {clock_in(sum(known))}' * whole}"
    stages = (
        f"{name} {'?' if stage['seconds'] is None else duration(stage['seconds'])}".replace(" ", "\N{NO-BREAK SPACE}")
        for name, stage in plan.items()
    )
    about = about if known else "none of which was timed yet"
    head = f"up to {len(plan)} stages, {about} (by the speed of this machine, compute.threads: {threads}):"
    lines = textwrap.wrap(" \N{MIDDLE DOT} ".join(stages), WIDTH, initial_indent="  ", subsequent_indent="  ")
    return "\n".join([head, *lines]).replace("\N{NO-BREAK SPACE}", " ")
