"""Run the pipeline, except stages without changes: `nox -s repro`. Options go to `dvc repro`.

Without options, the benchmark also runs again if its report was measured on a different machine.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from hallmark.base.errors import HallmarkError, printable, run_stage
from hallmark.base.files import ADAPTER, MASKED, RAW, REPORTS, clear_remains
from hallmark.base.holdout import REFREEZE
from hallmark.base.progress import PLAN
from hallmark.base.reading import check_regular, is_folder
from hallmark.base.reports import Report
from hallmark.commands import elsewhere, summary
from hallmark.params.loader import Params, load_params
from hallmark.plan.times import expected, table
from hallmark.release.model_card import unfilled


def main(arguments: argparse.Namespace, options: list[str]) -> None:
    file, params = arguments.params, load_params(arguments.params)
    for each in sorted(RAW.rglob("*")):
        if not is_folder(each):  # DVC would read a device without an end, and wait for a pipe
            check_regular(each, "remove it, or put a file with rows there")
    lines = unfilled(params.certify, file)
    print("".join(f"{line}\n" for line in before_release(params, file)), end="", flush=True)
    clear_remains(MASKED.parent, ADAPTER.parent, REPORTS)  # half-written files of killed runs
    if options:
        dvc_repro(*options)
    else:
        run_what_changed(params, file, ["report"] if lines else [])  # not the release, which would say nothing true
    summary.main(arguments)
    if lines and not options:
        raise HallmarkError(f"no release yet: {'; '.join(lines)}", file=file, remedy="`nox -s repro` runs the rest")


def run_what_changed(params: Params, file: Path, targets: list[str]) -> None:
    """Say what comes and how long it takes, then run it; the benchmark too if its report is of another machine."""
    again = {"benchmark"} if reason_to_rerun(params) else set[str]()
    stages = to_run(targets, again)
    if stages and "code" in stages:  # it decides what else runs
        hush_dvc()
        dvc("repro", "--quiet", "code")
        stages = to_run(targets, again)
    if stages == []:
        print("nothing to run: no stage has changed since the last run")
        return
    if stages:  # else DVC says what is wrong
        hush_dvc()
        plan = expected(stages, file)
        print(table(plan, params.compute.threads))
        os.environ[PLAN] = json.dumps(plan)
    dvc_repro(*targets)
    if reason := reason_to_rerun(params):
        print(f"the benchmark runs again: {printable(reason)}")
        dvc_repro("--single-item", "--force", "benchmark")
        dvc_repro(*targets)  # those that read its report


def to_run(targets: list[str], again: set[str]) -> list[str] | None:
    """The stages that have changed, or are in `again`, and all that read what those write, in DVC's order.

    None if DVC can't tell. Where a stage writes what it wrote before, DVC leaves out those that read it.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from dvc.repo.reproduce import plan_repro

    try:
        with Repo() as repo, repo.lock:
            graph, runs = repo.index.graph, list[Any]()
            for stage in plan_repro(graph, [stage for name in targets for stage in repo.stage.collect(name)] or None):
                if stage.addressing in again or {*runs} & {*graph.successors(stage)} or stage.changed():
                    runs.append(stage)
            return [stage.addressing for stage in runs]
    except DvcException:
        return None


def before_release(params: Params, file: Path) -> list[str]:
    """What is known before the long stages to keep them from a release: what nobody has said yet, and too small a holdout."""
    said = [f"no release until {file} says what is true: {line}" for line in unfilled(params.certify, file)]
    gate = params.gate
    with suppress(HallmarkError):  # no split yet
        rows, groups = (Report("split").at(name, "holdout") for name in ("rows", "groups"))
        if rows < gate.min_records or groups < gate.min_groups:
            least = f"at least {gate.min_records} of {gate.min_groups} (gate.min_records, gate.min_groups)"
            more = f"get more data, or raise split.holdout or make finer groups in stages/records.py, then {REFREEZE}"
            held = f"the last split holds out {rows} records of {groups} groups, and the gate needs"
            said.append(f"no release: {held} {least}: {more}")
    return said


def reason_to_rerun(params: Params) -> str | None:
    """What `elsewhere` says; for a GPU, in a process of its own, which loads torch: nothing of it may stay in the benchmark."""
    if params.compute.device == "cpu":
        return elsewhere.reason_to_rerun(params)
    done = subprocess.run([sys.executable, "-m", "hallmark.commands.elsewhere"], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    # A driver may print lines of its own.
    line = re.search("^the benchmark runs again: (.+)", done.stdout, re.MULTILINE)
    return line[1] if line else None


def hush_dvc() -> None:
    """Leave out of DVC's log what the plan and the stages say: which one runs, and which did not change."""
    import dvc.logger  # noqa: F401 (which makes the handlers)

    said = re.compile(r"Stage '.+' didn't change|Running stage '|> |Updating lock file|$")
    for handler in logging.getLogger("dvc").handlers:
        handler.addFilter(lambda record: record.levelno > logging.INFO or not said.match(record.getMessage()))


def dvc_repro(*options: str) -> None:
    """`dvc repro`; where it fails, this process ends with its exit code."""
    if code := dvc("repro", *options):
        sys.exit(code)


def dvc(*options: str) -> int:
    """Run DVC in this process, which saves the second that another takes to start; returns the exit code."""
    from dvc.cli import main

    for name in ("dvc", "dvc_data", "dvc_objects"):
        logging.getLogger(name).propagate = False  # they have handlers of their own
    sys.stdout.flush()  # what was printed here comes before what stages print
    return main(list(options)) or 0


if __name__ == "__main__":
    given, sys.argv[1:] = sys.argv[1:], []  # `--help` too is for DVC
    run_stage("repro", __doc__, lambda arguments: main(arguments, given))
