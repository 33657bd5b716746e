"""Say what to use, the tuned model or another way to answer, and what each costs: `python -m stages.decide`.

It judges nothing of its own: quality is from `compare`, the verdict from `gate`, seconds and prices from what was measured.
The rule is in `hallmark/judge/decision.py`.
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import asdict, replace

from hallmark.base.errors import printable, run_stage
from hallmark.base.files import REPORTS, write_json
from hallmark.base.machine import busy
from hallmark.base.reports import Report
from hallmark.judge.comparison import Comparison
from hallmark.judge.decision import Decision, Gate, Rules, decide
from hallmark.judge.results import Benchmark, read_benchmark
from hallmark.judge.verdict import FAIL, SHIPS, Verdict
from hallmark.judge.ways import read_ways
from hallmark.params.loader import Params, load_params

log = logging.getLogger("decide")

REPORT = REPORTS / "decision.json"


def run(params: Params) -> Decision:
    """Put the ways together and decide; write reports/decision.json."""
    comparison, verdict = Report("comparison", "compare").as_(Comparison), Report("gate").as_(Verdict).verdict
    benchmark = read_benchmark().as_(Benchmark)
    ways = read_ways(params, comparison, benchmark)
    rules = Rules(params.decide.margin, params.gate.min_records, params.gate.min_groups)
    gate: Gate = "pass" if verdict in SHIPS else "fail" if verdict == FAIL else "too_little_data"
    decision = decide(ways, gate, rules)
    if (
        decision.choice not in ("none", "too_little_data")
        and ways[0].price_from == "served"
        and (said := busy(benchmark["models"]["tuned"]["levels"][0].get("load_by_others")))
    ):
        decision = replace(decision, words=f"{decision.words} Prices as served may be lower than measured. {said}")
    write_json(REPORT, asdict(decision))
    log.info("%s", printable(decision.words))
    return decision


def main(arguments: argparse.Namespace) -> None:
    """Load the parameters and run."""
    run(load_params(arguments.params))


if __name__ == "__main__":
    run_stage("decide", __doc__, main)
