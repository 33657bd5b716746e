"""Rules of the gate about what ships: how fast it is served, whether it and what callers get are as evaluated, and what the cascade lets out.

A limit on timings that is missed because the machine was busy is undecided: of errors, the requests that ran out of time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from math import inf

from hallmark.answer.parity import Live, Parity
from hallmark.base import figures
from hallmark.base.stats import Interval
from hallmark.judge.benchmarked import Level
from hallmark.judge.cascade import CascadeReport
from hallmark.judge.judge import WORST, Asked, Judge, behind, exact, floor
from hallmark.judge.params import Gate
from hallmark.judge.risk import TOO_LITTLE
from hallmark.judge.verdict import FAIL, NOT_APPLICABLE, PASS, UNSURE, Rule

ALL_WRONG = Interval(1.0, 1.0, 1.0)
GRAVITY = (NOT_APPLICABLE, PASS, UNSURE, FAIL)  # of outcomes, the worst last
CALLERS = "Exact match as callers get it"
QUIET = "So this is undecided: on a quiet machine, run `dvc repro --single-item --force benchmark`, then `dvc repro`."
BEHIND = partial(figures.difference, sides=figures.BEHIND)


def latency_rule(level: Level, most: float) -> Rule:
    """Seconds within which 95 of 100 requests at a load were answered."""
    name, slowest = "serving.latency_p95_s", level.latency_s.p95
    asked = Asked(name, "Latency of 95 % of the requests", f"at most {most:g} s", "<=", most, "s")
    rule = exact(asked, slowest, f"{slowest:.3g} s" if slowest is not None else "nothing was answered", inf)
    return while_busy(rule, level.busy)


def throughput_rule(level: Level, least: float) -> Rule:
    """Requests answered a second at a load."""
    name, rate = "serving.requests_per_second", level.requests_per_second
    asked = Asked(name, "Requests answered", f"at least {least:g} a second", ">=", least, "requests/s")
    return while_busy(exact(asked, rate, f"{rate:.3g} a second", 0), level.busy)


def errors_rule(levels: Sequence[Level], most: float) -> Rule:
    """The share of the requests at all loads that failed."""
    failed = sum(level.errors + level.timeouts for level in levels)
    sent = sum(level.requests for level in levels)
    asked = Asked("serving.error_rate", "Failed requests", at_most(most), "<=", most, "share")
    rule = exact(asked, round(failed / sent, 6), f"{failed} of {sent}", 1)
    late = [level for level in levels if level.timeouts and level.busy]
    if rule.outcome == FAIL and asked.holds((failed - sum(level.timeouts for level in late)) / sent):
        return while_busy(rule, late[0].busy)
    return rule


def while_busy(rule: Rule, said: str) -> Rule:
    """A rule about timings, and what is `said` of a busy machine: a limit that was missed there is undecided."""
    if said and rule.outcome == FAIL:
        return replace(rule, outcome=UNSURE, note=f"{said} {QUIET}")
    return replace(rule, note=f"{rule.note} {said}".strip())


def parity_rule(gate: Gate, parity: Parity) -> Rule:
    """No artefact that ships may answer worse than what was evaluated: the rule is that of the artefact that fares worst."""
    asked = lost(gate, "parity.exact_match_lost", "Exact match of what ships")
    if parity.worst is None or not parity.measured:
        rule = asked.not_applicable("nothing that ships has answered a record")
        return replace(rule, note=f"{rule.note} {parity.left_out}".strip())
    judge, worst = Judge(gate, parity.records, parity.groups, "in a sample"), parity.worst
    rules = []
    for artefact, changes in parity.measured:
        rule = judge(asked, changes.behind, worst, BEHIND)
        rules.append(replace(rule, measured=f"{rule.measured}, {artefact.words}"))
    rule = max(rules, key=lambda rule: (GRAVITY.index(rule.outcome), rule.value))
    on = f"Judged on {parity.records} record{'' if parity.records == 1 else 's'} (benchmark.parity.records)."
    return replace(rule, note=" ".join(filter(None, (on, rule.note, parity.left_out))))


def live_lost_rule(gate: Gate, live: Live | None) -> Rule:
    """What callers get may not be worse than what was evaluated, by more than the same margin."""
    asked = lost(gate, "parity.live_lost", CALLERS)
    if live is None or live.found is None:
        return unmeasured(asked, live)
    found = live.found
    return Judge(gate, found.records, found.groups)(asked, found.changes.behind, found.worst, BEHIND)


def live_floor_rule(gate: Gate, live: Live | None, least: float) -> Rule:
    """A floor on exact match holds for what callers get too."""
    asked = replace(floor("exact_match", CALLERS, least), name="parity.live_exact_match")
    if live is None or live.found is None:
        return unmeasured(asked, live)
    found = live.found
    return Judge(gate, found.records, found.groups)(asked, found.exact_match, WORST, figures.share)


def lost(gate: Gate, name: str, about: str) -> Asked:
    """That something may be behind the evaluated answers by at most `gate.parity.exact_match_lost`."""
    margin = gate.parity.exact_match_lost
    return Asked(name, about, behind(margin, "the evaluated answers"), "<=", margin, "points")


def unmeasured(asked: Asked, live: Live | None) -> Rule:
    """A rule about what callers get if that was not measured: it is undecided, if it was to be measured."""
    if live is None:
        return asked.not_applicable("nobody asked for it (serve.mask, benchmark.parity.records)")
    return replace(asked.rule(UNSURE, "nothing", None), note=f"Not measured: {live.reason}.")


def coverage_rule(gate: Gate, report: CascadeReport, least: float) -> Rule:
    """Enough answers to the holdout go out at the threshold of the cascade."""
    needed = f"at least {figures.percent(least)} of the records"
    asked = Asked("cascade.coverage", "Records that the cascade lets the model answer", needed, ">=", least, "share")
    if report.chosen is None or report.chosen.holdout is None:
        return without_threshold(asked, report)
    found = report.chosen.holdout.coverage
    return Judge(gate, report.records, report.groups)(asked, found, WORST, figures.share)


def risk_rule(gate: Gate, report: CascadeReport, most: float) -> Rule:
    """Few of the answers that go out are wrong."""
    about = "Wrong answers among those that the cascade lets out"
    asked = Asked("cascade.risk", about, at_most(most), "<=", most, "share")
    if report.chosen is None or report.chosen.holdout is None:
        return without_threshold(asked, report)
    found = report.chosen.holdout
    if not found.answered:
        return asked.not_applicable("no answer to the holdout goes out")
    sampled = f"Judged on the {found.answered} answers that go out."
    judge = Judge(gate, found.answered, found.groups, "in a holdout", sampled)
    return judge(asked, found.risk, ALL_WRONG, figures.share)


def without_threshold(asked: Asked, report: CascadeReport) -> Rule:
    """A rule about a cascade that has no threshold: it is undecided, unless there are customers enough to say that nothing is answered."""
    if report.chosen is None or report.chosen.bound.outcome == TOO_LITTLE:
        return replace(asked.rule(UNSURE, "no threshold", None), note=report.words)
    if asked.sign == "<=":
        return asked.not_applicable("there is no threshold, so no answer goes out")
    return replace(exact(asked, 0.0, "nothing is answered", 0.0), note=report.chosen.words)


def at_most(most: float) -> str:
    return f"at most {figures.percent(most)}" if most else "none"
