"""Run the pipeline, except stages without changes: `nox -s repro`. Options go to `dvc repro`.

Without options, the benchmark also runs again if its report was measured on a different machine.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from hallmark.base.errors import printable, run_stage
from hallmark.commands import elsewhere, intact, key, summary
from hallmark.params.loader import load_params


def main(arguments: argparse.Namespace, options: list[str]) -> None:
    """What comes before and after `dvc repro`, and that."""
    key.run(arguments.params, if_missing=True)
    intact.main(arguments)
    dvc_repro(*options)
    if not options and (reason := elsewhere.reason_to_rerun(load_params(arguments.params))):
        print(f"the benchmark runs again: {printable(reason)}", flush=True)
        dvc_repro("--single-item", "--force", "benchmark")
        dvc_repro()  # the stages that read its report
    summary.main(arguments)


def dvc_repro(*options: str) -> None:
    """Run `dvc repro`, and end as it does if it fails."""
    done = subprocess.run([sys.executable, "-m", "dvc", "repro", *options])
    if done.returncode:
        sys.exit(done.returncode)


if __name__ == "__main__":
    given, sys.argv[1:] = sys.argv[1:], []  # `--help` too is for DVC
    run_stage("repro", __doc__, lambda arguments: main(arguments, given))
