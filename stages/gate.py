"""Decide whether the tuned model may ship: `python -m stages.gate` (`--enforce`: exit code 1 unless it passes).

Every rule of the `gate:` block must hold. A rule about a sample passes where the whole interval lies on the right side
of its threshold, fails where the value itself lies on the wrong side, and is `too_little_data` in between. All rules
must hold at once, so looking at many makes a wrong pass rarer, not likelier: nothing needs correcting for their number.

A rule that holds says something only if it could have failed. Where the worst that can be measured would still pass (a
ceiling of 100%, growth of a failure that the base shows everywhere, a refusal that no record calls for), the rule is
`not_applicable`: it is listed with the reason, and not counted.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator
from math import inf
from typing import Any

from stages.core.errors import HallmarkError, run_stage
from stages.core.files import REPORTS, write_json
from stages.core.machine import when_and_where
from stages.core.reports import Report
from stages.params.loader import Params, load_params
from stages.release.params import Gate
from stages.release.recount import Frozen, Leaks, recount

log = logging.getLogger("gate")

REPORT = REPORTS / "gate.json"
PASS, FAIL, UNSURE = "pass", "fail", "too_little_data"
NOT_APPLICABLE = "not_applicable"  # of a rule that could not have failed: it weighs nothing, but is listed
WORST = {"value": 0.0, "low": 0.0, "high": 0.0}  # of a measure of the tuned model: that it gets nothing right
COULD_NOT = "it could not have failed"
UNITS = {"s": " s", "tokens/s": " tokens/s", "count": ""}
Rule = dict[str, Any]


def run(params: Params) -> str:
    """Judge the reports of the stages before and write reports/gate.json. Returns the verdict."""
    comparison = Report("comparison", "compare")
    benchmark = Report("benchmark")
    rules = [
        *sample_rules(params.gate, comparison),
        *quality_rules(params.gate, comparison),
        *serving_rules(params.gate, benchmark),
        *data_rules(params.gate, *recount()),
    ]
    verdict = verdict_of(rules)
    sentence = words(verdict, rules)
    write_json(REPORT, {"verdict": verdict, "words": sentence, "rules": rules})
    for rule in rules:
        if rule["outcome"] != PASS:
            log.info("%s: %s; %s", rule["outcome"], rule["words"], rule["reason"])
    log.info("%s", sentence)
    return verdict


def sample_rules(gate: Gate, comparison: Report) -> Iterator[Rule]:
    """Enough records, of enough groups (customers), for an interval to mean something."""
    for key, least, things in (("records", gate.min_records, "records"), ("groups", gate.min_groups, "groups")):
        count = comparison.at(key)
        outcome, text = PASS if count >= least else UNSURE, f"The holdout must have at least {least} {things}"
        reason = f"it has {count}"
        if least <= 1:
            outcome, reason = NOT_APPLICABLE, f"{COULD_NOT}: a comparison has one at least"
        yield row(f"sample.{key}", text, count, least, "count", outcome, reason)


def quality_rules(gate: Gate, comparison: Report) -> Iterator[Rule]:
    """Superiority over each opponent; floors, ceilings and non-inferiority for the tuned model."""
    enough = comparison.at("records") >= gate.min_records and comparison.at("groups") >= gate.min_groups
    for name, margin in gate.superiority.items():
        yield superiority(name, margin, comparison, enough)
    measures = {one["name"]: one for one in comparison.at("against", "base", "measures")}
    for measure, floor in gate.floors.items():
        if measure not in measures:
            raise HallmarkError(
                f"this task has no measure '{measure}'; it has {', '.join(measures)}",
                param="gate.floors",
                remedy=f"take {measure} off gate.floors, or name another one",
            )
        text = f"{plain(measure)} must be at least {100 * floor:g}%"
        if measures[measure]["given"]:
            reason = f"{COULD_NOT}: any answer of this task has it"
            yield row(f"floor.{measure}", text, None, floor, "share", NOT_APPLICABLE, reason)
        else:
            yield judge(f"floor.{measure}", text, measures[measure]["tuned"], ">=", floor, "share", enough, WORST)
    for failure, ceiling in gate.ceilings.items():
        found = comparison.row("against", "base", "failures", name=failure)
        text = f"{plain(failure)} may be at most {100 * ceiling:g}% of the answers"
        if found["possible"]:
            yield judge(f"ceiling.{failure}", text, found["tuned"], "<=", ceiling, "share", enough, found["worst"])
        else:
            yield row(f"ceiling.{failure}", text, None, ceiling, "share", NOT_APPLICABLE, nowhere(found))
    for failure, margin in gate.margins.items():
        found = comparison.row("against", "base", "failures", name=failure)
        text = f"{plain(failure)} may grow by at most {100 * margin:g} points against the base"
        if found["judged"]:
            worst = found["worst_growth"]
            rule = judge(f"growth.{failure}", text, found["growth"], "<=", margin, "points", enough, worst)
            yield rule | {"reason": f"{rule['reason']}; {found['judged']} records can be judged for it"}
        else:
            yield row(f"growth.{failure}", text, None, margin, "points", NOT_APPLICABLE, nowhere(found))


def nowhere(found: dict[str, Any]) -> str:
    """Why a failure can't be counted: no record can have it, or none where both answers can be read."""
    if not found["possible"]:
        return f"{COULD_NOT}: it can happen in no record of this holdout"
    return f"{COULD_NOT}: in none of the {found['possible']} records where it can happen are both answers valid"


def superiority(name: str, margin: float, comparison: Report, enough: bool) -> Rule:
    """The tuned model must beat `base` in exact match, and `classical` in records with all labels right."""
    if name == "base":
        what, result = "Exact match", comparison.at("against", "base", "exact_match")
    else:
        what = "The share of records with all labels right"
        if not comparison.at("against", name, "applies"):
            text, reason = f"{what} must beat that of the linear model", "the task has no labels: this does not apply"
            return row(f"superiority.{name}", text, None, margin, "points", NOT_APPLICABLE, reason)
        result = comparison.at("against", name, "right")
    of = {"base": "the base", "classical": "the linear model"}[name]
    text = f"{what} must beat that of {of} by more than {100 * margin:g} points"
    if margin < 0:
        text = f"{what} may be less than {-100 * margin:g} points behind that of {of}"
    rule = judge(f"superiority.{name}", text, result["difference"], ">", margin, "points", enough, result["worst"])
    if rule["outcome"] == PASS and margin >= 0 and result["p"] >= 1 - comparison.at("confidence"):
        rule |= {
            "outcome": UNSURE,
            "reason": f"{rule['reason']}, but the McNemar test disagrees (p = {result['p']:.2g})",
        }
    return rule


def serving_rules(gate: Gate, benchmark: Report) -> Iterator[Rule]:
    """Latency and throughput of the tuned model at the first load, its errors at all loads, and where they were measured."""
    levels, limits = benchmark.at("models", "tuned", "levels"), gate.serving
    errors = sum(level["errors"] + level["timeouts"] for level in levels)
    error_rate = round(errors / sum(level["requests"] for level in levels), 6)
    text = f"95% of the requests must be answered within {limits.latency_p95_s:g} s"
    rules = [exact("serving.latency_p95_s", text, levels[0]["latency_s"]["p95"], "<=", limits.latency_p95_s, "s", inf)]
    text = f"The server must give at least {limits.tokens_per_second:g} output tokens a second"
    speed = levels[0]["output_tokens_per_second"]
    rules.append(exact("serving.tokens_per_second", text, speed, ">=", limits.tokens_per_second, "tokens/s", 0))
    text = f"At most {100 * limits.error_rate:g}% of the requests may fail or time out"
    rules.append(exact("serving.error_rate", text, error_rate, "<=", limits.error_rate, "share", 1))
    taken = when_and_where(benchmark.content).removeprefix("measured ")  # which the reasons begin with
    yield from (rule | {"reason": f"{rule['reason']} ({taken})"} for rule in rules)


def data_rules(gate: Gate, leaks: Leaks, frozen: Frozen) -> Iterator[Rule]:
    """Nothing leaked, and the frozen holdout is as it was: both counted again from the files."""
    text = f"At most {gate.data.leaks} held-out records may share a group or the same words with training"
    rule = exact("data.leaks", text, leaks.either, "<=", gate.data.leaks, "count", leaks.held_out)
    counts = f"{leaks.group} by group, {leaks.words} by words, of {leaks.held_out} held-out records"
    yield rule | {"reason": f"{rule['reason']}: {counts}"}
    text = "The frozen holdout must be unchanged"
    rule = exact("data.holdout_changed", text, frozen.differ, "<=", 0, "count", frozen.records)
    counts = f"{frozen.changed} changed, {frozen.gone} gone, {frozen.added} added, of {frozen.records} frozen records"
    yield rule | {"reason": f"{rule['reason']}: {counts}"}


def judge(
    name: str,
    text: str,
    measured: dict[str, float],
    sign: str,
    threshold: float,
    unit: str,
    enough: bool,
    at_worst: dict[str, float],
) -> Rule:
    """A rule about a sample: is what was measured `>`, `>=` or `<=` the threshold? `unit`: `share` or `points`.

    Where the sample is not `enough`, a value on the wrong side is a failure only if its whole interval is there too.
    `at_worst`: what a tuned model would have been measured at that gets all wrong that this is about.
    """
    worst, best = ("high", "low") if sign == "<=" else ("low", "high")
    right = {key: holds(measured[key], sign, threshold) for key in ("value", worst, best)}
    outcome = PASS if right[worst] else UNSURE  # where the value is right
    if not right["value"]:
        outcome = UNSURE if right[best] and not enough else FAIL
    reason = f"measured {interval_of(measured, unit)}"
    if outcome == PASS and holds(at_worst[worst], sign, threshold):
        outcome, reason = NOT_APPLICABLE, f"{COULD_NOT}: at the worst, {interval_of(at_worst, unit)}; {reason}"
    ends = {key: measured[key] for key in ("low", "high")}
    return row(name, text, measured["value"], threshold, unit, outcome, reason, **ends)


def interval_of(measured: dict[str, float], unit: str) -> str:
    """A value and its interval in words."""
    value, low, high = (
        f"{100 * measured[key]:{'+' if unit == 'points' else ''}.1f}" for key in ("value", "low", "high")
    )
    return f"{value}{'%' if unit == 'share' else ' points'}, interval {low} to {high}"


def exact(name: str, text: str, value: float | None, sign: str, threshold: float, unit: str, at_worst: float) -> Rule:
    """A rule about a number that is no sample, `at_worst`: the worst it can be. None (nothing was answered) fails."""
    outcome = PASS if value is not None and holds(value, sign, threshold) else FAIL
    if value is None:
        reason = "nothing was measured"
    else:
        reason = f"measured {100 * value:g}%" if unit == "share" else f"measured {value:g}" + UNITS[unit]
        if outcome == PASS and holds(at_worst, sign, threshold):
            outcome, reason = NOT_APPLICABLE, f"{COULD_NOT}: no number is past its threshold; {reason}"
    return row(name, text, value, threshold, unit, outcome, reason)


def row(
    name: str, text: str, value: float | None, threshold: float, unit: str, outcome: str, reason: str, **interval: float
) -> Rule:
    """A rule as gate.json lists it; `interval`: its `low` and `high`, where it is about a sample."""
    return {
        "name": name,
        "words": text,
        "value": value,
        "low": interval.get("low"),
        "high": interval.get("high"),
        "threshold": threshold,
        "unit": unit,
        "outcome": outcome,
        "reason": reason,
    }


def holds(value: float, sign: str, threshold: float) -> bool:
    """Whether `value sign threshold` is true."""
    return {">": value > threshold, ">=": value >= threshold, "<=": value <= threshold}[sign]


def verdict_of(rules: list[Rule]) -> str:
    """`fail` where a rule fails, else `too_little_data` where one can't be told, else `pass`."""
    outcomes = {rule["outcome"] for rule in rules}
    return next(verdict for verdict in (FAIL, UNSURE, PASS) if verdict in outcomes)


def words(verdict: str, rules: list[Rule]) -> str:
    """What the verdict means and why, in one line: the first rule that stands against shipping."""
    rules = [rule for rule in rules if rule["outcome"] != NOT_APPLICABLE]
    if verdict == PASS:
        return f"May ship: all {len(rules)} rules hold."
    first, *others = [rule for rule in rules if rule["outcome"] == verdict]
    start = "Must not ship" if verdict == FAIL else "Too little data to tell"
    rule = first["words"][0].lower() + first["words"][1:]
    more = f" {len(others)} more of {len(rules)} rules {'fail' if verdict == FAIL else 'are open'}." if others else ""
    return f"{start}: {rule}; {first['reason']}.{more}"


def plain(name: str) -> str:
    """`field_f1` as `Field F1`."""
    return name.replace("_", " ").replace("f1", "F1").replace(name[0], name[0].upper(), 1)


def main(arguments: argparse.Namespace) -> None:
    """Load the parameters, run, and with `--enforce` end in exit code 1 unless the verdict is `pass`."""
    if run(load_params(arguments.params)) != PASS and arguments.enforce:
        sys.exit(1)


if __name__ == "__main__":
    own = argparse.ArgumentParser(prog="python -m stages.gate", description=__doc__)
    own.add_argument("--enforce", action="store_true", help="exit with code 1 unless the verdict is pass")
    run_stage("gate", __doc__, main, own)
