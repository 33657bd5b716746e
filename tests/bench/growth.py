"""How dedupe and split grow with the number of records: `python -m tests.bench.growth [--rows N ...]`."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bench.page import show, table
from tests.workspace import ROOT, make_workspace

ROWS = [10_000, 100_000, 1_000_000]
HEAD = ["records", "records out", "seconds", "CPU s", "CPU µs a record", "peak MiB"]


def main() -> None:
    """Print what each size takes."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.growth", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=ROWS, help="how many records")
    lines: dict[str, list[list[float]]] = {"dedupe": [], "split": []}
    for rows in parser.parse_args().rows:
        with tempfile.TemporaryDirectory() as name:
            changes = {"dedupe.gold": None, "task.kind": "text", "task.refusal": None}
            folder = make_workspace(Path(name) / "repo", changes)
            # In processes of their own: a child starts with its parent's peak of memory.
            make = [sys.executable, "-m", "tests.bench.made", str(folder / "data/masked.parquet"), str(rows)]
            subprocess.run(make, cwd=ROOT, check=True)
            for stage, known in lines.items():
                known.append([rows, *measure(folder, stage)])
                print(f"{stage}: {known[-1]}", file=sys.stderr)
    parts = [
        "Made-up records of 100 to 300 characters, one in five a near duplicate, one customer for 20 records. Each stage "
        "runs as in `dvc repro`, from file to file. CPU seconds are those of all threads; seconds depend on the other "
        "load on the machine.",
        *(f"`{stage}`:\n\n{table(HEAD, known)}" for stage, known in lines.items()),
    ]
    show("Growth of dedupe and split", "\n\n".join(parts))


def measure(folder: Path, stage: str) -> list[float]:
    """Run a stage; what it cost."""
    start = os.times()
    command, env = [sys.executable, "-m", f"stages.{stage}"], os.environ | {"PYTHONPATH": str(folder)}
    subprocess.run(command, cwd=folder, env=env, check=True, stderr=subprocess.DEVNULL)
    end = os.times()
    cpu = end.children_user + end.children_system - start.children_user - start.children_system
    costs = json.loads((folder / f"reports/measured/{stage}.json").read_text())
    rows = json.loads((folder / f"reports/{stage}.json").read_text())["rows"]
    out = rows["out"] if stage == "dedupe" else sum(rows.values())
    return [out, end.elapsed - start.elapsed, cpu, 1e6 * cpu / costs["rows"], costs["peak_memory_mib"]]


if __name__ == "__main__":
    main()
