"""Play the whole service loop in a clone of this repository, and leave a page: `python -m tests.demo [--page FILE]`."""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from pathlib import Path

from tests.demo.loop import Loop, Size
from tests.demo.page import render
from tests.workspace import ROOT

RULES = ("wrong", "complaints", "schema_breaks", "handed_over", "failed", "slow", "price")
# What fits half an hour on two cores: a fifth of the reference's data, one and a half passes over it, no comparators.
PARAMS = {
    "data.tags": "tags",
    "mask.gold": None,
    "dedupe.gold": None,
    "split.holdout": 0.18,
    "split.validation": 0.07,
    "split.calibration": 0.25,
    "sft.epochs": 1.5,
    "sft.eval_steps": 50,
    "eval.comparators": {},
    "eval.sample": {"base": 48},
    "eval.again": 0,
    "eval.self_consistency": {"records": 0, "samples": 2, "temperature": 0.7},
    "cascade.max_risk": 0.35,
    "cascade.report_risks": [],
    "benchmark.models": ["tuned"],
    "benchmark.requests": 8,
    "benchmark.warmup": 2,
    "benchmark.parity": {"records": 0, "artefacts": ["adapter"]},
    "gate.superiority": {"base": 0.1},
    "canary.margins": dict.fromkeys(RULES) | {"wrong": 0.15, "schema_breaks": 0.15},
    "serve.routing.canary": 0.5,
    "serve.poll_seconds": 1.0,
    "canary.confidence": 0.9,
    "canary.first_look_hours": 0.005,
    "canary.days": 0.01,
    "canary.slow_seconds": 30.0,
}
# It hardly knows the form of an answer; what it makes up may look private, which `certify` would refuse.
BAD = {"sft.max_steps": 2, "sft.eval_steps": 1, "certify.private_data": "count"}
FULL = Size(customers=200, rows=600, callers=200, calls=(110, 90, 50, 10), params=PARAMS, bad=BAD)


def main() -> None:
    """Clone, play, write the page."""
    parser = argparse.ArgumentParser(prog="python -m tests.demo", description=__doc__)
    parser.add_argument("--page", type=Path, default=Path("reports/live/demo.html"), help="default: %(default)s")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="clone into this new folder, and leave it there")
    options = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        repo = options.keep or Path(temporary) / "demo"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(repo)], check=True)
        loop = Loop(repo.resolve(), FULL, lambda line: print(line, flush=True))
        try:
            loop.play()
        finally:
            options.page.parent.mkdir(parents=True, exist_ok=True)
            options.page.write_text(render(loop.played, FULL, time.monotonic() - start), encoding="utf-8")
    print(f"{options.page}: {(time.monotonic() - start) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
