"""Decide whether the tuned model may ship: `python -m stages.gate` (`--enforce`: exit code 1 unless it passes).

Every rule of the `gate:` block must hold. A rule about a sample passes if the whole interval is on the right side of its
threshold, fails if the value itself is on the wrong side, and is `too_little_data` in between. All rules must hold at once,
so having many makes a wrong pass rarer, not likelier: nothing needs correcting for their number.

A rule that holds says something only if it could have failed. If the worst that can be measured would still pass (a
ceiling of 100%, growth of a failure that the base shows everywhere, a refusal that no record calls for), the rule is
`not_applicable`: it is listed with the reason, and not counted.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from math import inf

from stages.core.errors import HallmarkError, run_stage
from stages.core.files import REPORTS, write_json
from stages.core.machine import when_and_where
from stages.core.outcomes import in_words
from stages.core.reports import Report
from stages.evaluation.comparison import Comparison, FailureResult
from stages.evaluation.stats import Interval
from stages.params.loader import Params, load_params
from stages.release.params import Gate
from stages.release.recount import Frozen, Leaks, recount
from stages.release.results import read_benchmark
from stages.release.verdict import FAIL, NOT_APPLICABLE, PASS, UNSURE, Rule, Verdict, overall

log = logging.getLogger("gate")

REPORT = REPORTS / "gate.json"
WORST = Interval(0.0, 0.0, 0.0)  # the worst a measure of the tuned model can be: it gets nothing right
COULD_NOT = "it could not have failed"
UNITS = {"s": " s", "tokens/s": " tokens/s", "count": ""}


def run(params: Params) -> str:
    """Judge the reports of the stages before and write reports/gate.json. Returns the verdict."""
    comparison = Report("comparison", "compare").as_(Comparison)
    benchmark = read_benchmark()
    rules = [
        *sample_rules(params.gate, comparison),
        *quality_rules(params.gate, comparison),
        *serving_rules(params.gate, benchmark),
        *data_rules(params.gate, *recount()),
    ]
    verdict = verdict_of(rules)
    result = Verdict(verdict, words(verdict, rules), rules)
    write_json(REPORT, asdict(result))
    for rule in rules:
        if rule.outcome != PASS:
            log.info("%s: %s; %s", rule.outcome, rule.words, rule.reason)
    log.info("%s", result.words)
    return verdict


def sample_rules(gate: Gate, comparison: Comparison) -> Iterator[Rule]:
    """Enough records, of enough groups (customers), for an interval to mean something."""
    for things, count, least in (
        ("records", comparison.records, gate.min_records),
        ("groups", comparison.groups, gate.min_groups),
    ):
        outcome, text = PASS if count >= least else UNSURE, f"The holdout must have at least {least} {things}"
        reason = f"it has {count}"
        if least <= 1:
            outcome, reason = NOT_APPLICABLE, f"{COULD_NOT}: a comparison has one at least"
        yield rule_of(f"sample.{things}", text, count, least, "count", outcome, reason)


def quality_rules(gate: Gate, comparison: Comparison) -> Iterator[Rule]:
    """Superiority over each opponent; floors, ceilings and non-inferiority for the tuned model."""
    enough = comparison.records >= gate.min_records and comparison.groups >= gate.min_groups
    for opponent, margin in gate.superiority.items():
        yield superiority(opponent, margin, comparison, enough)
    measures = {measure.name: measure for measure in comparison.against.base.measures}
    for name, floor in gate.floors.items():
        if name not in measures:
            raise HallmarkError(
                f"this task has no measure '{name}'; it has {', '.join(measures)}",
                param="gate.floors",
                remedy=f"take {name} off gate.floors, or name another one",
            )
        measure = measures[name]
        text = f"{measure.words} must be at least {100 * floor:g}%"
        if measure.given:
            reason = f"{COULD_NOT}: every answer to this task meets it"
            yield rule_of(f"floor.{name}", text, None, floor, "share", NOT_APPLICABLE, reason)
        else:
            yield judge(f"floor.{name}", text, measure.tuned, ">=", floor, "share", enough, WORST)
    failures = {failure.name: failure for failure in comparison.against.base.failures}
    for kind, ceiling in gate.ceilings.items():
        failure, text = failures[kind], f"{in_words(kind)} may be at most {100 * ceiling:g}% of the answers"
        if failure.possible:
            yield judge(f"ceiling.{kind}", text, failure.tuned, "<=", ceiling, "share", enough, failure.worst)
        else:
            yield rule_of(f"ceiling.{kind}", text, None, ceiling, "share", NOT_APPLICABLE, nowhere(failure))
    for kind, margin in gate.margins.items():
        failure = failures[kind]
        text = f"{in_words(kind)} may grow by at most {100 * margin:g} points against the base"
        if failure.judged:
            rule = judge(f"growth.{kind}", text, failure.growth, "<=", margin, "points", enough, failure.worst_growth)
            yield replace(rule, reason=f"{rule.reason}; {failure.judged} records can be judged for it")
        else:
            yield rule_of(f"growth.{kind}", text, None, margin, "points", NOT_APPLICABLE, nowhere(failure))


def nowhere(failure: FailureResult) -> str:
    """Why a failure can't be counted: no record can have it, or none whose answers both can be read."""
    if not failure.possible:
        return f"{COULD_NOT}: it can happen in no record of this holdout"
    return f"{COULD_NOT}: in none of the {failure.possible} records where it can happen are both answers valid"


def superiority(name: str, margin: float, comparison: Comparison, enough: bool) -> Rule:
    """The tuned model must beat `base` in exact match, and `classical` in records with all labels right."""
    if name == "base":
        what, opponent, base = "Exact match", "the base", comparison.against.base.exact_match
        difference, worst, p = base.difference, base.worst, base.p
    else:
        what, opponent = "The share of records with all labels right", "the linear model"
        linear = comparison.against.classical.right
        if linear is None:
            text, reason = f"{what} must beat that of {opponent}", "the task has no labels: this does not apply"
            return rule_of(f"superiority.{name}", text, None, margin, "points", NOT_APPLICABLE, reason)
        difference, worst, p = linear.difference, linear.worst, linear.p
    text = f"{what} must beat that of {opponent} by more than {100 * margin:g} points"
    if margin < 0:
        text = f"{what} may be less than {-100 * margin:g} points behind that of {opponent}"
    rule = judge(f"superiority.{name}", text, difference, ">", margin, "points", enough, worst)
    if rule.outcome == PASS and margin >= 0 and p >= 1 - comparison.confidence:
        reason = f"{rule.reason}, but the McNemar test disagrees (p = {p:.2g})"
        rule = replace(rule, outcome=UNSURE, reason=reason)
    return rule


def serving_rules(gate: Gate, benchmark: Report) -> Iterator[Rule]:
    """Latency and throughput of the tuned model at the first load, its errors at all loads, and when and where measured."""
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
    taken = when_and_where(benchmark.content).removeprefix("measured ")  # the reasons begin with this word
    yield from (replace(rule, reason=f"{rule.reason} ({taken})") for rule in rules)


def data_rules(gate: Gate, leaks: Leaks, frozen: Frozen) -> Iterator[Rule]:
    """Nothing leaked, and the frozen holdout has not changed: both counted again from the files."""
    text = f"At most {gate.data.leaks} held-out records may share a group or the same words with training"
    rule = exact("data.leaks", text, leaks.either, "<=", gate.data.leaks, "count", leaks.held_out)
    counts = f"{leaks.group} by group, {leaks.words} by words, of {leaks.held_out} held-out records"
    yield replace(rule, reason=f"{rule.reason}: {counts}")
    text = "The frozen holdout must be unchanged"
    rule = exact("data.holdout_changed", text, frozen.differ, "<=", 0, "count", frozen.records)
    counts = f"{frozen.changed} changed, {frozen.gone} gone, {frozen.added} added, of {frozen.records} frozen records"
    yield replace(rule, reason=f"{rule.reason}: {counts}")


def judge(
    name: str,
    text: str,
    measured: Interval,
    sign: str,
    threshold: float,
    unit: str,
    enough: bool,
    at_worst: Interval,
) -> Rule:
    """A rule about a sample: is what was measured `>`, `>=` or `<=` the threshold? `unit`: `share` or `points`.

    Unless the sample is `enough`, a value on the wrong side is a failure only if its whole interval is there too.
    `at_worst`: what a tuned model would have been measured at that gets everything wrong that the rule is about.
    """
    lenient, strict = (measured.low, measured.high) if sign == "<=" else (measured.high, measured.low)
    outcome = PASS if holds(strict, sign, threshold) else UNSURE  # if the value is right
    if not holds(measured.value, sign, threshold):
        outcome = UNSURE if holds(lenient, sign, threshold) and not enough else FAIL
    reason = f"measured {interval_in_words(measured, unit)}"
    worst_bound = at_worst.high if sign == "<=" else at_worst.low
    if outcome == PASS and holds(worst_bound, sign, threshold):
        outcome, reason = NOT_APPLICABLE, f"{COULD_NOT}: at the worst, {interval_in_words(at_worst, unit)}; {reason}"
    return rule_of(name, text, measured.value, threshold, unit, outcome, reason, measured)


def interval_in_words(measured: Interval, unit: str) -> str:
    """A value and its interval in words."""
    sign = "+" if unit == "points" else ""
    value, low, high = (f"{100 * number:{sign}.1f}" for number in (measured.value, measured.low, measured.high))
    return f"{value}{'%' if unit == 'share' else ' points'}, interval {low} to {high}"


def exact(name: str, text: str, value: float | None, sign: str, threshold: float, unit: str, at_worst: float) -> Rule:
    """A rule about a number that is no sample; `at_worst`: the worst it can be. None (nothing was answered) fails."""
    outcome = PASS if value is not None and holds(value, sign, threshold) else FAIL
    if value is None:
        reason = "nothing was measured"
    else:
        reason = f"measured {100 * value:g}%" if unit == "share" else f"measured {value:g}" + UNITS[unit]
        if outcome == PASS and holds(at_worst, sign, threshold):
            outcome, reason = NOT_APPLICABLE, f"{COULD_NOT}: no number is past its threshold; {reason}"
    return rule_of(name, text, value, threshold, unit, outcome, reason)


def rule_of(
    name: str,
    text: str,
    value: float | None,
    threshold: float,
    unit: str,
    outcome: str,
    reason: str,
    interval: Interval | None = None,
) -> Rule:
    """A rule as gate.json lists it; `interval`: that of its value, if it is about a sample."""
    low, high = (interval.low, interval.high) if interval else (None, None)
    return Rule(name, text, value, low, high, threshold, unit, outcome, reason)


def holds(value: float, sign: str, threshold: float) -> bool:
    """Whether `value sign threshold` is true."""
    return {">": value > threshold, ">=": value >= threshold, "<=": value <= threshold}[sign]


def verdict_of(rules: list[Rule]) -> str:
    """`fail` if a rule fails, else `too_little_data` if one can't be decided, else `pass`."""
    return overall(rule.outcome for rule in rules)


def words(verdict: str, rules: list[Rule]) -> str:
    """What the verdict means and why, in one line: the first rule that speaks against shipping."""
    rules = [rule for rule in rules if rule.outcome != NOT_APPLICABLE]
    if verdict == PASS:
        return f"May ship: all {len(rules)} rules hold."
    first, *others = [rule for rule in rules if rule.outcome == verdict]
    start = "Must not ship" if verdict == FAIL else "Too little data to tell"
    text = first.words[0].lower() + first.words[1:]
    more = f" {len(others)} more of {len(rules)} rules {'fail' if verdict == FAIL else 'are open'}." if others else ""
    return f"{start}: {text}; {first.reason}.{more}"


def main(arguments: argparse.Namespace) -> None:
    """Load the parameters, run, and with `--enforce` end in exit code 1 unless the verdict is `pass`."""
    if run(load_params(arguments.params)) != PASS and arguments.enforce:
        sys.exit(1)


if __name__ == "__main__":
    own = argparse.ArgumentParser(prog="python -m stages.gate", description=__doc__)
    own.add_argument("--enforce", action="store_true", help="exit with code 1 unless the verdict is pass")
    run_stage("gate", __doc__, main, own)
