"""Decide whether the tuned model may ship: `python -m stages.gate` (`--enforce`: exit code 1 unless it passes).

It reads what `compare`, `benchmark`, `cascade` and `sft` report, and counts leaks and changes in the split files again;
it writes reports/gate.json, and reports/headline.json for DVC.

Every rule of the `gate:` block must hold. A rule about a sample passes if the whole interval is on the right side of its
threshold, fails if the value itself is on the wrong side, and is `too_little_data` in between. All rules must hold at once,
so having many makes a wrong pass rarer, not likelier: nothing needs correcting for their number.

A rule that holds says something only if it could have failed. If the worst that can be measured would still pass (a
ceiling of 100 %, growth of a failure that the base shows everywhere, a refusal that no record calls for), the rule is
`not_applicable`: it is listed with the reason, and not counted. If a limit on timings was missed on a busy machine, that
may be no fault of the model: the rule is undecided (`too_little_data`) until `benchmark` has run on a quiet one. A rule that
`gate.waive` names is judged like any other; it only doesn't stop the release, and the verdict says so: `pass_with_waivers`.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace

from hallmark.answer.parity import Parity
from hallmark.base.errors import HallmarkError, run_stage
from hallmark.base.files import REPORTS, write_json, write_text
from hallmark.base.outcomes import FAILURES
from hallmark.base.reports import Report
from hallmark.judge import quality_rules as quality
from hallmark.judge import shipped_rules as shipped
from hallmark.judge.benchmarked import Benchmark, Level, Served
from hallmark.judge.cascade import CascadeReport
from hallmark.judge.comparison import Comparison
from hallmark.judge.judge import Judge
from hallmark.judge.params import Gate
from hallmark.judge.recount import Frozen, recount
from hallmark.judge.reported import TRAINED, headline
from hallmark.judge.verdict import SHIPS, Rule, Verdict, overall, tell, words
from hallmark.params.loader import Params, load_params

log = logging.getLogger("gate")

REPORT = REPORTS / "gate.json"
HEADLINE = REPORTS / "headline.json"
HARM = ("unsafe_answer", "missed_refusal")  # failures that hurt someone before anyone has read the answer


def run(params: Params) -> Verdict:
    """Judge the reports of the stages before; write reports/gate.json and reports/headline.json."""
    leaks, frozen = recount()
    comparison, report = read_comparison(frozen), Report("benchmark")
    benchmark, tuned = report.as_(Benchmark), report.as_(Served, "models", "tuned").levels
    rules = [
        quality.enough("records", comparison.records, params.gate.min_records),
        quality.enough("groups", comparison.groups, params.gate.min_groups),
        *quality_rules(params.gate, comparison),
        *serving_rules(params.gate, tuned, benchmark.taken()),
        *shipped_rules(params.gate, report.as_(Parity, "parity")),
        *cascade_rules(params.gate),
        quality.leaks_rule(leaks, params.gate.data.leaks),
        quality.holdout_rule(frozen),
    ]
    rules = [replace(rule, waiver=params.gate.waive.get(rule.name)) for rule in sorted(rules, key=gravity)]
    verdict = overall((rule.outcome, rule.waiver is not None) for rule in rules)
    result = Verdict(verdict, words(verdict, rules), rules)
    write_json(REPORT, asdict(result))
    few = headline(result, params.gate.floors, comparison, tuned[0], Report("sft").as_(TRAINED))
    write_text(HEADLINE, json.dumps(few, indent=2, allow_nan=False) + "\n")  # in this order: DVC keeps it
    tell(result, log)
    return result


def read_comparison(holdout: Frozen) -> Comparison:
    """What `compare` found; an error unless it is about as many records and groups as the holdout has."""
    report = Report("comparison", "compare")
    comparison = report.as_(Comparison)
    about, there = (f"{it.records} records of {it.groups} groups" for it in (comparison, holdout))
    if about != there and not holdout.differ:  # if it differs from its lock, a rule of the gate says so
        problem = f"about {about}, and the holdout has {there}"
        raise HallmarkError(problem, file=report.path, field="records", remedy="run `dvc repro eval@tuned compare`")
    return comparison


def gravity(rule: Rule) -> tuple[int, int]:
    """The place of a rule among the others: what makes the rest worthless or harms someone first, what costs time last.

    Too small a sample explains whatever else is undecided; leaks make every number wrong.
    """
    kind, name = rule.name.split(".", 1)
    if kind in ("ceiling", "growth"):
        return (2 if name in HARM else 4), FAILURES.index(name)
    quality = dict.fromkeys(("floor", "superiority", "non_inferiority", "parity", "cascade"), 3)
    return ({"sample": 0, "data": 1, "serving": 5} | quality)[kind], 0


def quality_rules(gate: Gate, comparison: Comparison) -> Iterator[Rule]:
    """Superiority over baselines, or not being behind them; floors, ceilings and growth of failures of the tuned model.

    A rule about the tuned model alone counts all records; one that compares it with another, those that both answered.
    """
    for name, margin in gate.superiority.items():
        yield quality.lead_rule("superiority", name, margin, gate, comparison)
    for name, margin in gate.non_inferiority.items():
        yield quality.lead_rule("non_inferiority", name, margin, gate, comparison)
    judge = Judge(gate, comparison.records, comparison.groups)
    for name, least in gate.floors.items():
        yield quality.floor_rule(name, least, comparison, judge)
    for kind, most in gate.ceilings.items():
        yield quality.ceiling_rule(kind, most, comparison, judge)
    against = quality.baseline(gate.margins_against, "margins_against", comparison)
    judge = quality.paired_judge(gate, against, comparison)
    for kind, margin in gate.margins.items():
        yield quality.growth_rule(kind, margin, against, judge)


def serving_rules(gate: Gate, levels: list[Level], taken: str) -> Iterator[Rule]:
    """Latency and throughput of the tuned model at the first load, its errors at all loads, and when and where measured."""
    limits = gate.serving
    for rule in (
        shipped.latency_rule(levels[0], limits.latency_p95_s),
        shipped.throughput_rule(levels[0], limits.requests_per_second),
        shipped.errors_rule(levels, limits.error_rate),
    ):
        yield replace(rule, note=f"{taken[0].upper()}{taken[1:]}. {rule.note}".strip())


def shipped_rules(gate: Gate, parity: Parity) -> Iterator[Rule]:
    """What ships, and what callers get, may not answer worse than what was evaluated; a floor on exact match holds for callers too."""
    yield shipped.parity_rule(gate, parity)
    yield shipped.live_lost_rule(gate, parity.live)
    if (least := gate.floors.get("exact_match")) is not None:
        yield shipped.live_floor_rule(gate, parity.live, least)


def cascade_rules(gate: Gate) -> Iterator[Rule]:
    """The cascade on the holdout, at its threshold: enough answers go out, and few of them are wrong."""
    if gate.cascade is not None:
        report = Report("cascade").as_(CascadeReport)
        yield shipped.coverage_rule(gate, report, gate.cascade.least_coverage)
        yield shipped.risk_rule(gate, report, gate.cascade.largest_risk)


def main(arguments: argparse.Namespace) -> None:
    """Load the parameters, run, and with `--enforce` end in exit code 1 unless the gate passed, with waivers or without."""
    if run(load_params(arguments.params)).verdict not in SHIPS and arguments.enforce:
        sys.exit(1)


if __name__ == "__main__":
    own = argparse.ArgumentParser(prog="python -m stages.gate", description=__doc__)
    own.add_argument("--enforce", action="store_true", help="exit with code 1 unless the gate passed")
    run_stage("gate", __doc__, main, own)
