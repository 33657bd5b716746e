"""Whether the benchmark was measured on a different machine.

The report is kept in git and DVC doesn't track the machine, so after a clone DVC treats the old latencies as current.
`nox -s repro` runs the benchmark again where it was.
"""

from __future__ import annotations

import argparse

from hallmark.base.compute import hardware
from hallmark.base.errors import HallmarkError, printable, run_stage
from hallmark.base.files import REPORTS
from hallmark.base.machine import IDENTITY, UNKNOWN, Fingerprint, describe, same_machine
from hallmark.base.reports import Report
from hallmark.judge.benchmarked import Benchmark
from hallmark.params.loader import Params, load_params
from hallmark.serve.engine import StartedSettings
from hallmark.serve.server import machine, started

REPORT = REPORTS / "benchmark.json"


def fingerprint_here(params: Params) -> Fingerprint:
    """This machine, for the benchmark in params; empty if the params name a device it does not have."""
    try:
        return machine(params.benchmark.server, params.compute, hardware)
    except (HallmarkError, RuntimeError, AssertionError):  # torch raises either of the last two without a CUDA device
        return {}


def reason_to_rerun(params: Params) -> str | None:
    """Why to run the benchmark again on this machine; None if it can't, or measures an endpoint, the same from everywhere."""
    here, server = fingerprint_here(params), params.benchmark.server
    if not here or not REPORT.exists() or not isinstance(server, StartedSettings):
        return None
    if not started(server).installed(server):
        return None
    report = Report("benchmark").as_(Benchmark)
    if report.measured is None:
        return f"{REPORT}: {UNKNOWN}"
    there = vars(report.measured.machine)
    if same_machine(there, here):
        return None
    name = describe(here)
    if name == describe({key: there.get(key) for key in here}):  # different processors can have the same name
        name = ", ".join(f"{key} {here.get(key)}" for key in IDENTITY if here.get(key) != there.get(key))
    return f"{REPORT} was {report.taken()}; this machine is {name}"


def main(arguments: argparse.Namespace) -> None:
    if reason := reason_to_rerun(load_params(arguments.params)):
        print(f"the benchmark runs again: {printable(reason)}")


if __name__ == "__main__":
    run_stage("elsewhere", __doc__, main)
