"""Run the pipeline, except stages without changes: `nox -s repro`. Options go to `dvc repro`.

Without options, the benchmark also runs again if its report was measured on a different machine.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

from hallmark.base.errors import HallmarkError, run_stage
from hallmark.base.files import ADAPTER, MASKED, REPORTS, clear_remains
from hallmark.base.reading import check_regular, is_folder
from hallmark.commands import summary
from hallmark.params.loader import load_params
from hallmark.release.model_card import unfilled


def main(arguments: argparse.Namespace, options: list[str]) -> None:
    file = arguments.params
    params = load_params(file)
    raw = Path(params.data.path)
    for each in raw.rglob("*") if is_folder(raw) else [raw] if raw.exists() else []:
        if not is_folder(each):  # DVC would read a device without an end, and wait for a pipe
            check_regular(each, "remove it, or put a file with rows there")
    lines = unfilled(params.certify, file)
    stages = ["report"] if lines and not options else []  # all but the release, which would say nothing true
    if lines:
        print("\n".join([f"{file}: all runs but certify, until these lines say what is true of your data:", *lines]))
    clear_remains(MASKED.parent, ADAPTER.parent, REPORTS)  # half-written files of killed runs
    dvc_repro(*options, *stages)
    if not options and (reason := reason_to_rerun()):
        print(reason)
        dvc_repro("--single-item", "--force", "benchmark")
        dvc_repro(*stages)  # those that read its report
    summary.main(arguments)
    if stages:
        raise HallmarkError(f"no release yet: {'; '.join(lines)}", file=file, remedy="`nox -s repro` runs the rest")


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
