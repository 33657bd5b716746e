"""Rules of the gate about the cascade on the holdout, at its threshold: how much it answers, and how much of that is wrong."""

from __future__ import annotations

from dataclasses import replace

from hallmark.base.stats import Interval
from hallmark.judge import rule_words as say
from hallmark.judge.cascade import CascadeReport
from hallmark.judge.judge import WORST, Asked, Judge, exact
from hallmark.judge.params import Gate
from hallmark.judge.risk import TOO_LITTLE
from hallmark.judge.verdict import UNSURE, Rule

ALL_WRONG = Interval(1.0, 1.0, 1.0)


def coverage_rule(gate: Gate, report: CascadeReport, least: float) -> Rule:
    """Enough answers go out."""
    needed = f"at least {say.percent(least)} of the records"
    asked = Asked("cascade.coverage", "Records that the cascade lets the model answer", needed, ">=", least, "share")
    if report.chosen is None or report.chosen.holdout is None:
        return without_threshold(asked, report)
    found = report.chosen.holdout.coverage
    return Judge(gate, report.records, report.groups)(asked, found, say.share(found), WORST, say.share(WORST))


def risk_rule(gate: Gate, report: CascadeReport, most: float) -> Rule:
    """Few of the answers that go out are wrong."""
    needed = f"at most {say.percent(most)}" if most else "none"
    asked = Asked("cascade.risk", "Wrong answers among those that the cascade lets out", needed, "<=", most, "share")
    if report.chosen is None or report.chosen.holdout is None:
        return without_threshold(asked, report)
    found = report.chosen.holdout
    if not found.answered:
        return asked.not_applicable("no answer to the holdout goes out")
    sampled = f"Judged on the {found.answered} answers that go out."
    judge = Judge(gate, found.answered, found.groups, "in a holdout", sampled)
    return judge(asked, found.risk, say.share(found.risk), ALL_WRONG, say.share(ALL_WRONG))


def without_threshold(asked: Asked, report: CascadeReport) -> Rule:
    """A rule about a cascade that has no threshold: it is open, unless there are customers enough to say that nothing is answered."""
    if report.chosen is None or report.chosen.bound.outcome == TOO_LITTLE:
        return replace(asked.rule(UNSURE, "no threshold", None), note=report.words)
    if asked.sign == "<=":
        return asked.not_applicable("there is no threshold, so no answer goes out")
    return replace(exact(asked, 0.0, "nothing is answered", 0.0), note=report.chosen.words)
