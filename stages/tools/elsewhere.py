"""Not a stage: say whether the benchmark's report was measured on another machine than this: `python -m stages.tools.elsewhere`.

The report is kept in git and depends on no machine, so after a clone DVC takes its latencies for what they would be
here. `nox -s repro` asks this, and where a line is printed, runs the benchmark again.
"""

from __future__ import annotations

import argparse

from stages.core.errors import HallmarkError, run_stage
from stages.core.files import REPORTS, read_json
from stages.core.machine import IDENTITY, UNKNOWN, Fingerprint, describe, same_machine, when_and_where
from stages.params.loader import Params, load_params
from stages.serving.engine import StartedSettings
from stages.serving.server import machine, started

REPORT = REPORTS / "benchmark.json"


def fingerprint_here(params: Params) -> Fingerprint:
    """The fingerprint of this machine for the params' benchmark; empty if the params ask for a device it does not have."""
    try:
        return machine(params.benchmark.server, params.compute)
    except (HallmarkError, RuntimeError, AssertionError):  # torch says in either way that there is no CUDA device
        return {}


def why_again(params: Params) -> str | None:
    """Why the benchmark should run again on this machine; None where it should not.

    It should not if this machine can't, or if an endpoint is measured: that is the same one from everywhere, and may
    cost money.
    """
    here, server = fingerprint_here(params), params.benchmark.server
    if not here or not REPORT.exists() or not isinstance(server, StartedSettings):
        return None
    if not started(server).installed(server):
        return None
    report = read_json(REPORT)
    taken = when_and_where(report)
    if taken == UNKNOWN:
        return f"{REPORT}: {taken}"
    there = report["measured"]["machine"]
    if same_machine(there, here):
        return None
    name = describe(here)
    if name == describe(there):  # two processors can have one name
        name = ", ".join(f"{key} {here.get(key)}" for key in IDENTITY if here.get(key) != there.get(key))
    return f"{REPORT} was {taken}; here is {name}"


def main(arguments: argparse.Namespace) -> None:
    """Command line: prints one line, or nothing."""
    why = why_again(load_params(arguments.params))
    if why:
        print(f"the benchmark runs again: {why}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m stages.tools.elsewhere", description=__doc__)
    run_stage("elsewhere", __doc__, main, parser)
