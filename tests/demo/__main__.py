"""Play the whole service loop in a clone of this repository, and leave a page: `python -m tests.demo [--page FILE]`."""

from __future__ import annotations

import argparse
import signal
import subprocess
import tempfile
from pathlib import Path

from hallmark.params.loader import resolved
from tests.demo.loop import Loop, Size
from tests.demo.page import render
from tests.workspace import ROOT

VALUES = resolved(ROOT / "params.yaml")
# What keeps it short: a twelfth of the reference's data, two fields of the answer, and no cascade.
PARAMS = {
    "task.system_prompt": "Ticket to JSON: intent, urgency.",
    "task.refusal": None,
    "mask.gold": None,
    "dedupe.gold": None,
    "split.holdout": 0.2,
    "split.validation": 0.05,
    "split.calibration": 0,
    "sft.method": "lora",
    "sft.lora.layers": 6,
    "sft.epochs": 2,
    "sft.eval_steps": 50,
    "eval.max_new_tokens": 24,
    "eval.comparators": {},
    "eval.sample": {"base": 24},
    "cascade.max_risk": None,
    "cascade.report_risks": [],
    "benchmark.models": ["tuned"],
    "benchmark.max_tokens": 24,
    "benchmark.requests": 8,
    "benchmark.parity": {"records": 0, "artefacts": ["adapter"]},
    "gate.min_records": 30,
    "gate.superiority": {"base": 0.1},
    "gate.floors": {"schema_validity": 0.7, "exact_match": 0.3},
    "gate.ceilings": {},
    "gate.margins": dict.fromkeys(VALUES["gate"]["margins"], 1.0),
    "canary.margins": dict.fromkeys(VALUES["canary"]["margins"]) | {"wrong": 0.15, "schema_breaks": 0.15},
    "serve.poll_seconds": 1.0,
    "canary.confidence": 0.9,
}
# It hardly knows the form of an answer; what it makes up may look private, which `certify` would refuse.
BAD = {"sft.max_steps": 2, "sft.eval_steps": 1, "certify.private_data": "count"}
FULL = Size(customers=70, rows=160, callers=300, calls=(80, 220, 220, 12), params=PARAMS, bad=BAD)


def main() -> None:
    """Clone, play, and write the page again with each thing that is said, so that there is one however this ends."""
    parser = argparse.ArgumentParser(prog="python -m tests.demo", description=__doc__)
    parser.add_argument("--page", type=Path, default=Path("reports/live/demo.html"), help="default: %(default)s")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="clone into this new folder, and leave it there")
    options = parser.parse_args()
    options.page.parent.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    def say(line: str) -> None:
        print(line, flush=True)
        options.page.write_text(render(loop.played, FULL), encoding="utf-8")

    with tempfile.TemporaryDirectory() as temporary:
        repo = options.keep or Path(temporary) / "demo"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(repo)], check=True)
        loop = Loop(repo.resolve(), FULL, say)
        try:
            loop.play()
            loop.played.ended = "done"
        except BaseException as error:
            how = "Stopped" if isinstance(error, KeyboardInterrupt) else "Failed"
            loop.played.ended = f"{how} at this step: {loop.played.now}\n{error}".strip()
            raise
        finally:
            loop.say(f"{options.page}: {loop.at / 60:.1f} minutes")


if __name__ == "__main__":
    main()
