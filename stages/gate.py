"""Decide whether the tuned model may ship: `python -m stages.gate` (`--enforce`: exit code 1 unless it passes).

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
from math import inf

from hallmark.answer.parity import Live, Parity
from hallmark.base.errors import HallmarkError, in_red, printable, run_stage
from hallmark.base.files import REPORTS, write_json, write_text
from hallmark.base.machine import busy, when_and_where
from hallmark.base.outcomes import FAILURES, in_words
from hallmark.base.reports import Report
from hallmark.base.stats import Interval
from hallmark.judge import rule_words as say
from hallmark.judge.cascade import CascadeReport
from hallmark.judge.comparison import AgainstModel, Change, Comparison, FailureResult, LabelResult
from hallmark.judge.headline import headline
from hallmark.judge.judge import WORST, Asked, Judge, ceiling, exact, floor
from hallmark.judge.params import Gate
from hallmark.judge.recount import Frozen, Leaks, recount
from hallmark.judge.results import read_benchmark, read_parity
from hallmark.judge.risk import TOO_LITTLE
from hallmark.judge.verdict import (
    FAIL,
    NOT_APPLICABLE,
    PASS,
    SHIPS,
    UNSURE,
    VERDICTS,
    WAIVED,
    Rule,
    Verdict,
    overall,
)
from hallmark.params.loader import Params, load_params

log = logging.getLogger("gate")

REPORT = REPORTS / "gate.json"
HEADLINE = REPORTS / "headline.json"
NOWHERE = "it can happen in no record of this holdout"
GRAVITY = (NOT_APPLICABLE, PASS, UNSURE, FAIL)  # of outcomes, the worst last
QUIET = "So this is undecided: on a quiet machine, run `dvc repro --single-item --force benchmark`, then `dvc repro`."
HARM = ("unsafe_answer", "missed_refusal")  # failures that hurt someone before anyone has read the answer


def run(params: Params) -> Verdict:
    """Judge the reports of the stages before; write reports/gate.json and reports/headline.json."""
    comparison = Report("comparison", "compare").as_(Comparison)
    benchmark = read_benchmark()
    rules = [
        *sample_rules(params.gate, comparison),
        *quality_rules(params.gate, comparison),
        *serving_rules(params.gate, benchmark),
        parity_rule(params.gate, read_parity(benchmark)),
        *live_rules(params.gate, read_parity(benchmark).live),
        *cascade_rules(params.gate),
        *data_rules(params.gate, *recount()),
    ]
    rules = [replace(rule, waiver=params.gate.waive.get(rule.name)) for rule in sorted(rules, key=gravity)]
    verdict = overall((rule.outcome, rule.waiver is not None) for rule in rules)
    result = Verdict(verdict, words(verdict, rules), rules)
    write_json(REPORT, asdict(result))
    few = headline(result, params.gate.floors, comparison, benchmark, Report("sft"))
    write_text(HEADLINE, json.dumps(few, indent=2, allow_nan=False) + "\n")  # in this order: DVC keeps it
    for rule in rules:
        if rule.waived:
            waived = f"{VERDICTS[rule.outcome].lower()}, waived ({rule.waiver}): {rule.words}"
            log.warning("%s", in_red(printable(waived), sys.stderr))
        elif rule.outcome != PASS:
            log.info("%s: %s", VERDICTS[rule.outcome].lower(), printable(f"{rule.words} {rule.note}".strip()))
    log.info("%s", printable(result.headline))
    return result


def gravity(rule: Rule) -> tuple[int, int]:
    """The place of a rule among the others: what makes the rest worthless or harms someone first, what costs time last.

    Too small a sample explains whatever else is open; leaks make every number wrong.
    """
    kind, name = rule.name.split(".", 1)
    if kind in ("ceiling", "growth"):
        return (2 if name in HARM else 4), FAILURES.index(name)
    quality = dict.fromkeys(("floor", "superiority", "non_inferiority", "parity", "cascade"), 3)
    return ({"sample": 0, "data": 1, "serving": 5} | quality)[kind], 0


def sample_rules(gate: Gate, comparison: Comparison) -> Iterator[Rule]:
    """Enough records, of enough groups (customers), for an interval to mean something."""
    for things, count, least in (
        ("records", comparison.records, gate.min_records),
        ("groups", comparison.groups, gate.min_groups),
    ):
        asked = Asked(
            f"sample.{things}", f"{things.capitalize()} in the holdout", f"at least {least}", ">=", least, "count"
        )
        rule, lacking = asked.rule(PASS, str(count), count), least - count
        if least <= 1:
            rule = replace(rule, outcome=NOT_APPLICABLE, note=f"{say.COULD_NOT}: a comparison has one at least.")
        elif lacking > 0:
            rule = replace(rule, outcome=UNSURE, note=f"{lacking} more are needed.")
            rule = replace(rule, more_records=lacking) if things == "records" else replace(rule, more_groups=lacking)
        yield rule


def quality_rules(gate: Gate, comparison: Comparison) -> Iterator[Rule]:
    """Superiority over opponents, or not being behind them; floors, ceilings and growth of failures of the tuned model.

    A rule about the tuned model alone counts all records; one that compares it with another, those that both answered.
    """
    judge = Judge(gate, comparison.records, comparison.groups)
    for kind, margins in (("superiority", gate.superiority), ("non_inferiority", gate.non_inferiority)):
        for name, margin in margins.items():
            if name == "classical":
                yield against_linear(kind, margin, comparison, judge)
            else:
                against = opponent(name, kind, comparison)
                paired = paired_judge(gate, against, comparison)
                yield against_model(kind, margin, against, comparison.confidence, paired)
    measures = {measure.name: measure for measure in comparison.tuned.measures}
    for name, least in gate.floors.items():
        if name not in measures:
            raise HallmarkError(
                f"this task has no measure '{name}'; it has {', '.join(measures)}",
                param="gate.floors",
                remedy=f"take {name} off gate.floors, or name another one",
            )
        measure = measures[name]
        asked = floor(name, measure.words, least)
        if measure.given:
            yield asked.not_applicable("every answer to this task meets it")
        else:
            yield judge(asked, measure.tuned, say.share(measure.tuned), WORST, say.share(WORST))
    alone = {failure.name: failure for failure in comparison.tuned.failures}
    for kind, most in gate.ceilings.items():
        of, asked = alone[kind], ceiling(kind, most)
        if of.possible:
            yield judge(asked, of.tuned, say.share(of.tuned), of.worst, say.share(of.worst))
        else:
            yield asked.not_applicable(NOWHERE)
    yield from growth_rules(gate, comparison)


def growth_rules(gate: Gate, comparison: Comparison) -> Iterator[Rule]:
    """Non-inferiority: no class of failure may grow by more than its margin over the opponent that the gate names."""
    against = opponent(gate.margins_against, "margins_against", comparison)
    judge = paired_judge(gate, against, comparison)
    failures = {failure.name: failure for failure in against.failures}
    for kind, margin in gate.margins.items():
        failure = failures[kind]
        needed = (
            f"at most {say.points(margin)} more than {against.opponent}"
            if margin
            else f"no more than {against.opponent}"
        )
        asked = Asked(f"growth.{kind}", f"{in_words(kind)}, against {against.opponent}", needed, "<=", margin, "points")
        if failure.judged:
            measured, at_worst = (say.difference(it, say.MORE) for it in (failure.growth, failure.worst_growth))
            rule = judge(asked, failure.growth, measured, failure.worst_growth, at_worst)
            judged = f"Judged on {failure.judged} record{'' if failure.judged == 1 else 's'}."
            yield replace(rule, note=f"{judged} {rule.note}".strip())
        else:
            yield asked.not_applicable(nowhere(failure))


def nowhere(failure: FailureResult) -> str:
    """Why a failure can't be counted: no record can have it, or none whose answers both can be read."""
    if not failure.possible:
        return NOWHERE
    return f"in none of the {failure.possible} records where it can happen are both answers valid"


def opponent(name: str, param: str, comparison: Comparison) -> AgainstModel:
    """What was found against the base or a comparator; an error if the comparison is not about it."""
    against = comparison.against.model(name)
    if against is None:
        raise HallmarkError(
            f"nothing was compared with '{name}'",
            param=f"gate.{param}",
            remedy="run `dvc repro compare`, which does so",
        )
    return against


def paired_judge(gate: Gate, against: AgainstModel, comparison: Comparison) -> Judge:
    """The judge of a comparison with an opponent, which may have answered some of the records only."""
    if against.records == comparison.records:
        return Judge(gate, against.records, against.groups)
    sampled = f"{against.records} of {comparison.records} records were asked of both (eval.sample.{against.name})."
    return Judge(gate, against.records, against.groups, "in a sample", sampled)


def against_model(kind: str, margin: float, against: AgainstModel, confidence: float, judge: Judge) -> Rule:
    """The tuned model must be ahead of the base, or of a comparator, in exact match; or not behind by more than a margin."""
    asked = lead(kind, against.name, against.opponent, "Exact match", margin)
    return compared(asked, against.exact_match, confidence, judge)


def against_linear(kind: str, margin: float, comparison: Comparison, judge: Judge) -> Rule:
    """The same against the linear model, in records with all labels right."""
    asked = lead(kind, "classical", "the linear model", "Records with all labels right", margin)
    found = comparison.against.classical.right
    if found is None:
        return replace(asked.not_applicable(""), note="The task has no labels, so there is no linear model.")
    return compared(asked, found, comparison.confidence, judge)


def lead(kind: str, name: str, opponent: str, about: str, margin: float) -> Asked:
    """What is asked of a lead: more than the margin (superiority), or at most that much behind (non-inferiority)."""
    if kind == "superiority":
        needed = f"more than {say.points(margin)} ahead of {opponent}" if margin else f"ahead of {opponent}"
        return Asked(f"{kind}.{name}", about, needed, ">", margin, "points")
    needed = f"at most {say.points(margin)} behind {opponent}" if margin else f"not behind {opponent}"
    return Asked(f"{kind}.{name}", about, needed, ">=", -margin, "points")


def compared(asked: Asked, found: Change | LabelResult, confidence: float, judge: Judge) -> Rule:
    """The rule about a lead, as measured. That it is a lead at all must also be confirmed by the McNemar test."""
    measured, at_worst = (say.difference(it, say.AHEAD) for it in (found.difference, found.worst))
    rule = judge(asked, found.difference, measured, found.worst, at_worst)
    if rule.outcome == PASS and asked.sign == ">" and found.p >= 1 - confidence:
        factor = say.factor_of_test(found.lost, found.won, confidence)
        rule = judge.open(rule, factor, f"The McNemar test does not confirm it yet (p = {found.p:.2g}).")
    return rule


def serving_rules(gate: Gate, benchmark: Report) -> Iterator[Rule]:
    """Latency and throughput of the tuned model at the first load, its errors at all loads, and when and where measured.

    What is missed because the machine was busy is undecided: of errors, the requests that ran out of time.
    """
    levels, limits = benchmark.at("models", "tuned", "levels"), gate.serving
    failed = sum(level["errors"] + level["timeouts"] for level in levels)
    sent = sum(level["requests"] for level in levels)
    slowest, rate = levels[0]["latency_s"]["p95"], levels[0]["requests_per_second"]
    needed = f"at most {limits.latency_p95_s:g} s"
    asked = Asked("serving.latency_p95_s", "Latency of 95 % of the requests", needed, "<=", limits.latency_p95_s, "s")
    rules = [exact(asked, slowest, f"{slowest:.3g} s" if slowest is not None else "nothing was answered", inf)]
    needed = f"at least {limits.requests_per_second:g} a second"
    asked = Asked(
        "serving.requests_per_second", "Requests answered", needed, ">=", limits.requests_per_second, "requests/s"
    )
    rules.append(exact(asked, rate, f"{rate:.3g} a second", 0))
    rules = [while_busy(rule, busy(levels[0].get("load_by_others"))) for rule in rules]
    needed = f"at most {say.percent(limits.error_rate)}" if limits.error_rate else "none"
    asked = Asked("serving.error_rate", "Failed requests", needed, "<=", limits.error_rate, "share")
    rule = exact(asked, round(failed / sent, 6), f"{failed} of {sent}", 1)
    late = [level for level in levels if level["timeouts"] and busy(level.get("load_by_others"))]
    if rule.outcome == FAIL and asked.holds((failed - sum(level["timeouts"] for level in late)) / sent):
        rule = while_busy(rule, busy(late[0]["load_by_others"]))
    rules.append(rule)
    taken = when_and_where(benchmark.content)
    yield from (replace(rule, note=f"{taken[0].upper()}{taken[1:]}. {rule.note}".strip()) for rule in rules)


def while_busy(rule: Rule, said: str) -> Rule:
    """A rule about timings, and what is `said` of a busy machine: a limit that was missed there is undecided."""
    if said and rule.outcome == FAIL:
        return replace(rule, outcome=UNSURE, note=f"{said} {QUIET}")
    return replace(rule, note=f"{rule.note} {said}".strip())


def parity_rule(gate: Gate, parity: Parity) -> Rule:
    """No artefact that ships may answer worse than what was evaluated: the rule is that of the artefact that fares worst."""
    asked = lost_rule(gate, "parity.exact_match_lost", "Exact match of what ships")
    if parity.worst is None or not parity.measured:
        rule = asked.not_applicable("nothing that ships has answered a record")
        return replace(rule, note=f"{rule.note} {parity.left_out}".strip())
    judge, worst = Judge(gate, parity.records, parity.groups, "in a sample"), parity.worst
    rules = []
    for artefact, changes in parity.measured:
        measured = f"{say.difference(changes.behind, say.BEHIND)}, {artefact.words}"
        rules.append(judge(asked, changes.behind, measured, worst, say.difference(worst, say.BEHIND)))
    rule = max(rules, key=lambda rule: (GRAVITY.index(rule.outcome), rule.value))
    on = f"Judged on {parity.records} record{'' if parity.records == 1 else 's'} (benchmark.parity.records)."
    return replace(rule, note=" ".join(filter(None, (on, rule.note, parity.left_out))))


def lost_rule(gate: Gate, name: str, about: str) -> Asked:
    """A rule that something may be behind the evaluated answers by at most `gate.parity.exact_match_lost`."""
    margin = gate.parity.exact_match_lost
    behind = f"at most {say.points(margin)} behind" if margin else "not behind"
    return Asked(name, about, f"{behind} the evaluated answers", "<=", margin, "points")


def live_rules(gate: Gate, live: Live | None) -> Iterator[Rule]:
    """What callers get: the floor on exact match holds for it too, and the margin of what ships against what was evaluated."""
    about = "Exact match as callers get it"
    lost, floors = lost_rule(gate, "parity.live_lost", about), []
    if (least := gate.floors.get("exact_match")) is not None:
        floors.append(replace(floor("exact_match", about, least), name="parity.live_exact_match"))
    if live is None:
        why = "nobody asked for it (serve.mask, benchmark.parity.records)"
        yield from (asked.not_applicable(why) for asked in (lost, *floors))
    elif (found := live.found) is None:
        note = f"Not measured: {live.reason}."
        yield from (replace(asked.rule(UNSURE, "nothing", None), note=note) for asked in (lost, *floors))
    else:
        judge, behind, right = Judge(gate, found.records, found.groups), found.changes.behind, found.exact_match
        at_worst = say.difference(found.worst, say.BEHIND)
        yield judge(lost, behind, say.difference(behind, say.BEHIND), found.worst, at_worst)
        yield from (judge(asked, right, say.share(right), WORST, say.share(WORST)) for asked in floors)


def cascade_rules(gate: Gate) -> Iterator[Rule]:
    """The cascade on the holdout, at its threshold: enough answers go out, and few of them are wrong."""
    limits = gate.cascade
    if limits is None:
        return
    report = Report("cascade").as_(CascadeReport)
    least, most = limits.least_coverage, limits.largest_risk
    needed = f"at least {say.percent(least)} of the records"
    coverage = Asked("cascade.coverage", "Records that the cascade lets the model answer", needed, ">=", least, "share")
    needed = f"at most {say.percent(most)}" if most else "none"
    risk = Asked("cascade.risk", "Wrong answers among those that the cascade lets out", needed, "<=", most, "share")
    chosen = report.chosen
    if chosen is None or chosen.holdout is None:
        yield from (without_threshold(asked, report) for asked in (coverage, risk))
        return
    found = chosen.holdout
    all_wrong = Interval(1.0, 1.0, 1.0)
    judge, at_worst = Judge(gate, report.records, report.groups), say.share(WORST)
    yield judge(coverage, found.coverage, say.share(found.coverage), WORST, at_worst)
    if not found.answered:
        yield risk.not_applicable("no answer to the holdout goes out")
        return
    judge = Judge(
        gate, found.answered, found.groups, "in a holdout", f"Judged on the {found.answered} answers that go out."
    )
    yield judge(risk, found.risk, say.share(found.risk), all_wrong, say.share(all_wrong))


def without_threshold(asked: Asked, report: CascadeReport) -> Rule:
    """A rule about a cascade that has no threshold: it is open, unless there are customers enough to say that nothing is answered."""
    if report.chosen is None or report.chosen.bound.outcome == TOO_LITTLE:
        return replace(asked.rule(UNSURE, "no threshold", None), note=report.words)
    if asked.sign == "<=":
        return asked.not_applicable("there is no threshold, so no answer goes out")
    return replace(exact(asked, 0.0, "nothing is answered", 0.0), note=report.chosen.words)


def data_rules(gate: Gate, leaks: Leaks, frozen: Frozen) -> Iterator[Rule]:
    """Nothing leaked, and the frozen holdout has not changed: both counted again from the files."""
    most = gate.data.leaks
    about = "Held-out records that share a group or their words with training"
    asked = Asked("data.leaks", about, f"at most {most}" if most else "none", "<=", most, "count")
    rule = exact(asked, leaks.either, f"{leaks.either} of {leaks.held_out}", leaks.held_out)
    yield replace(rule, note=f"{leaks.group} by group, {leaks.words} by words. {rule.note}".strip())
    asked = Asked("data.holdout_changed", "Changed records in the frozen holdout", "none", "<=", 0, "count")
    rule = exact(asked, frozen.differ, f"{frozen.differ} of {frozen.records}", frozen.records)
    counts = f"{frozen.changed} changed, {frozen.gone} gone, {frozen.added} added."
    yield replace(rule, note=f"{counts} {rule.note}".strip())


def words(verdict: str, rules: list[Rule]) -> str:
    """What the verdict rests on: how many of the rules that could have failed, and the gravest of them."""
    could = [rule for rule in rules if rule.outcome != NOT_APPLICABLE]
    number = len(rules) - len(could)
    idle = f"; {number} {'is' if number == 1 else 'are'} not applicable" if number else ""
    of = f"of {len(could)} rules that could have failed"
    waived = [rule for rule in could if rule.waived]
    unneeded = [rule.name for rule in rules if rule.unneeded]
    if verdict == PASS:
        text = f"All {of[3:]} hold{idle}."
    elif verdict == WAIVED:
        text = (
            f"{len(could) - len(waived)} {of} hold, {len(waived)} {'is' if len(waived) == 1 else 'are'} waived{idle}."
        )
        text += f" The gravest waived: {waived[0].words} Waived because: {waived[0].waiver}"
    elif open_rules := [rule for rule in could if rule.outcome == verdict and not rule.waived]:
        many = len(open_rules) > 1
        what = ("fail" if many else "fails") if verdict == FAIL else f"{'are' if many else 'is'} undecided"
        text = f"{len(open_rules)} {of} {what}{idle}. {'The gravest: ' if many else ''}{open_rules[0].words}"
        if verdict == UNSURE:
            text += f" {open_rules[0].note}"
    else:
        text = "No rule could have failed and holds."
    if unneeded:
        text += f" Waived without need: {', '.join(unneeded)}."
    return text


def main(arguments: argparse.Namespace) -> None:
    """Load the parameters, run, and with `--enforce` end in exit code 1 unless the gate passed, with waivers or without."""
    if run(load_params(arguments.params)).verdict not in SHIPS and arguments.enforce:
        sys.exit(1)


if __name__ == "__main__":
    own = argparse.ArgumentParser(prog="python -m stages.gate", description=__doc__)
    own.add_argument("--enforce", action="store_true", help="exit with code 1 unless the gate passed")
    run_stage("gate", __doc__, main, own)
