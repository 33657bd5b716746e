"""Run the pipeline, except stages without changes: `nox -s repro`. Options go to `dvc repro`.

Without options, the benchmark also runs again if its report was measured on a different machine.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from hallmark.base.errors import HallmarkError, run_stage
from hallmark.base.files import ADAPTER, MASKED, RAW, REPORTS, clear_remains
from hallmark.base.holdout import REFREEZE
from hallmark.base.reading import check_regular, is_folder
from hallmark.base.reports import Report
from hallmark.commands import summary
from hallmark.params.loader import Params, load_params
from hallmark.release.model_card import unfilled


def main(arguments: argparse.Namespace, options: list[str]) -> None:
    file, params = arguments.params, load_params(arguments.params)
    for each in sorted(RAW.rglob("*")):
        if not is_folder(each):  # DVC would read a device without an end, and wait for a pipe
            check_regular(each, "remove it, or put a file with rows there")
    lines = unfilled(params.certify, file)
    stages = ["report"] if lines and not options else []  # all but the release, which would say nothing true
    print("".join(f"{line}\n" for line in before_release(params, file)), end="")
    clear_remains(MASKED.parent, ADAPTER.parent, REPORTS)  # half-written files of killed runs
    dvc_repro(*options, *stages)
    if not options and (reason := reason_to_rerun()):
        print(reason)
        dvc_repro("--single-item", "--force", "benchmark")
        dvc_repro(*stages)  # those that read its report
    summary.main(arguments)
    if stages:
        raise HallmarkError(f"no release yet: {'; '.join(lines)}", file=file, remedy="`nox -s repro` runs the rest")


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


def reason_to_rerun() -> str | None:
    """What `elsewhere` says, in a process of its own: it loads torch, of which nothing may stay during the benchmark."""
    done = subprocess.run([sys.executable, "-m", "hallmark.commands.elsewhere"], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.returncode)
    line = re.search("^the benchmark runs again: .+", done.stdout, re.MULTILINE)  # a driver may print lines of its own
    return line[0] if line else None


def dvc_repro(*options: str) -> None:
    sys.stdout.flush()  # what was printed here comes before what DVC prints
    done = subprocess.run([sys.executable, "-m", "dvc", "repro", *options])
    if done.returncode:
        sys.exit(done.returncode)


if __name__ == "__main__":
    given, sys.argv[1:] = sys.argv[1:], []  # `--help` too is for DVC
    run_stage("repro", __doc__, lambda arguments: main(arguments, given))
