"""Rules of the gate about the data, and about right answers and failures of the tuned model, by itself and against another."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from hallmark.base import figures
from hallmark.base.errors import HallmarkError
from hallmark.base.outcomes import in_words
from hallmark.base.stats import p_of_changes
from hallmark.judge.comparison import AgainstModel, Change, Comparison, FailureResult, LabelResult
from hallmark.judge.judge import COULD_NOT, WORST, Asked, Judge, behind, ceiling, exact, factor_of_test, floor
from hallmark.judge.params import Gate
from hallmark.judge.recount import Frozen, Leaks
from hallmark.judge.verdict import NOT_APPLICABLE, PASS, UNSURE, Rule


def enough(things: str, count: int, least: int) -> Rule:
    """Enough records, or groups (customers), for an interval to mean something."""
    asked = Asked(
        f"sample.{things}", f"{things.capitalize()} in the holdout", f"at least {least}", ">=", least, "count"
    )
    rule, lacking = asked.rule(PASS, str(count), count), least - count
    if least <= 1:
        return replace(rule, outcome=NOT_APPLICABLE, note=f"{COULD_NOT}: a comparison needs at least one.")
    if lacking > 0:
        return replace(rule, outcome=UNSURE, note=f"{lacking} more are needed.")
    return rule


def leaks_rule(leaks: Leaks, most: int) -> Rule:
    """No more held-out records than that share a group or their words with training."""
    about = "Held-out records that share a group or their words with training"
    asked = Asked("data.leaks", about, f"at most {most}" if most else "none", "<=", most, "count")
    rule = exact(asked, leaks.either, f"{leaks.either} of {leaks.held_out}", leaks.held_out)
    return replace(rule, note=f"{leaks.group} by group, {leaks.words} by words. {rule.note}".strip())


def holdout_rule(frozen: Frozen) -> Rule:
    asked = Asked("data.holdout_changed", "Changed records in the frozen holdout", "none", "<=", 0, "count")
    rule = exact(asked, frozen.differ, f"{frozen.differ} of {frozen.records}", frozen.records)
    counts = f"{frozen.changed} changed, {frozen.gone} gone, {frozen.added} added."
    return replace(rule, note=f"{counts} {rule.note}".strip())


NOWHERE = "it can happen in no record of this holdout"


def lead_rule(kind: str, name: str, margin: float, gate: Gate, comparison: Comparison) -> Rule:
    """The tuned model must be ahead of the base, or of a comparator, in exact match; or not behind by more than a margin.

    The same against the linear model (`classical`), in records with all labels right.
    """
    if name != "classical":
        against = baseline(name, kind, comparison)
        asked = lead(kind, name, against.opponent, "Exact match", margin)
        return compared(asked, against.exact_match, comparison.confidence, paired_judge(gate, against, comparison))
    asked = lead(kind, name, "the linear model", "Records with all labels right", margin)
    found = comparison.against.classical.right
    if found is None:
        return replace(asked.not_applicable(""), note="The task has no labels, so there is no linear model.")
    return compared(asked, found, comparison.confidence, Judge(gate, comparison.records, comparison.groups))


def baseline(name: str, param: str, comparison: Comparison) -> AgainstModel:
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
    """The judge of a comparison with a baseline, which may have answered some of the records only."""
    if against.records == comparison.records:
        return Judge(gate, against.records, against.groups)
    sampled = f"Both answered {against.records} of {comparison.records} records (eval.sample.{against.name})."
    return Judge(gate, against.records, against.groups, "in a sample", sampled)


def lead(kind: str, name: str, baseline: str, about: str, margin: float) -> Asked:
    """What is asked of a lead: more than the margin (superiority), or at most that much behind (non-inferiority)."""
    if kind == "superiority":
        needed = f"more than {figures.points(margin)} ahead of {baseline}" if margin else f"ahead of {baseline}"
        return Asked(f"{kind}.{name}", about, needed, ">", margin, "points")
    return Asked(f"{kind}.{name}", about, behind(margin, baseline), ">=", -margin, "points")


def compared(asked: Asked, found: Change | LabelResult, confidence: float, judge: Judge) -> Rule:
    """The rule about a lead, as measured. That it is a lead at all must also be confirmed by the McNemar test."""
    rule = judge(asked, found.difference, found.worst, partial(figures.difference, sides=figures.AHEAD))
    if rule.outcome == PASS and asked.sign == ">" and (p := p_of_changes(found.lost, found.won)) >= 1 - confidence:
        factor = factor_of_test(found.lost, found.won, confidence)
        rule = judge.open(rule, factor, f"The McNemar test does not confirm it yet (p = {p:.2g}).")
    return rule


def floor_rule(name: str, least: float, comparison: Comparison, judge: Judge) -> Rule:
    measures = {measure.name: measure for measure in comparison.tuned.measures}
    if name not in measures:
        raise HallmarkError(
            f"this task has no measure '{name}'; it has {', '.join(measures)}",
            param="gate.floors",
            remedy=f"take {name} off gate.floors, or name another one",
        )
    measure = measures[name]
    asked = floor(name, measure.words, least)
    if measure.given:
        return asked.not_applicable("every answer to this task meets it")
    return judge(asked, measure.tuned, WORST, figures.share)


def ceiling_rule(kind: str, most: float, comparison: Comparison, judge: Judge) -> Rule:
    """At most a share of all records whose answers fail in a way."""
    of = {failure.name: failure for failure in comparison.tuned.failures}[kind]
    asked = ceiling(kind, most)
    if of.possible:
        return judge(asked, of.tuned, of.worst, figures.share)
    return asked.not_applicable(NOWHERE)


def growth_rule(kind: str, margin: float, against: AgainstModel, judge: Judge) -> Rule:
    """Non-inferiority: a class of failure may not grow by more than its margin over the baseline."""
    failure = {failure.name: failure for failure in against.failures}[kind]
    needed = (
        f"at most {figures.points(margin)} more than {against.opponent}"
        if margin
        else f"no more than {against.opponent}"
    )
    asked = Asked(f"growth.{kind}", f"{in_words(kind)}, against {against.opponent}", needed, "<=", margin, "points")
    if not failure.judged:
        return asked.not_applicable(nowhere(failure))
    rule = judge(asked, failure.growth, failure.worst_growth, partial(figures.difference, sides=figures.MORE))
    judged = f"Judged on {failure.judged} record{'' if failure.judged == 1 else 's'}."
    return replace(rule, note=f"{judged} {rule.note}".strip())


def nowhere(failure: FailureResult) -> str:
    """Why a failure can't be counted: no record can have it, or none whose answers both can be read."""
    if not failure.possible:
        return NOWHERE
    return f"in none of the {failure.possible} records where it can happen are both answers valid"
