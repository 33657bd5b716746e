"""Rules of the gate about what ships: how fast it is served, and whether it and what callers get are as evaluated.

A limit on timings that is missed because the machine was busy is undecided: of errors, the requests that ran out of time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import inf
from typing import Any

from hallmark.answer.parity import Live, Parity
from hallmark.base.machine import busy
from hallmark.judge import rule_words as say
from hallmark.judge.judge import WORST, Asked, Judge, exact, floor
from hallmark.judge.params import Gate
from hallmark.judge.verdict import FAIL, NOT_APPLICABLE, PASS, UNSURE, Rule

GRAVITY = (NOT_APPLICABLE, PASS, UNSURE, FAIL)  # of outcomes, the worst last
CALLERS = "Exact match as callers get it"
QUIET = "So this is undecided: on a quiet machine, run `dvc repro --single-item --force benchmark`, then `dvc repro`."
Level = dict[str, Any]  # of benchmark.json


def latency_rule(level: Level, most: float) -> Rule:
    """Seconds within which 95 of 100 requests at a load were answered."""
    name, slowest = "serving.latency_p95_s", level["latency_s"]["p95"]
    asked = Asked(name, "Latency of 95 % of the requests", f"at most {most:g} s", "<=", most, "s")
    rule = exact(asked, slowest, f"{slowest:.3g} s" if slowest is not None else "nothing was answered", inf)
    return while_busy(rule, busy(level.get("load_by_others")))


def throughput_rule(level: Level, least: float) -> Rule:
    """Requests answered a second at a load."""
    name, rate = "serving.requests_per_second", level["requests_per_second"]
    asked = Asked(name, "Requests answered", f"at least {least:g} a second", ">=", least, "requests/s")
    return while_busy(exact(asked, rate, f"{rate:.3g} a second", 0), busy(level.get("load_by_others")))


def errors_rule(levels: Sequence[Level], most: float) -> Rule:
    """The share of the requests at all loads that failed."""
    failed = sum(level["errors"] + level["timeouts"] for level in levels)
    sent = sum(level["requests"] for level in levels)
    needed = f"at most {say.percent(most)}" if most else "none"
    asked = Asked("serving.error_rate", "Failed requests", needed, "<=", most, "share")
    rule = exact(asked, round(failed / sent, 6), f"{failed} of {sent}", 1)
    late = [level for level in levels if level["timeouts"] and busy(level.get("load_by_others"))]
    if rule.outcome == FAIL and asked.holds((failed - sum(level["timeouts"] for level in late)) / sent):
        return while_busy(rule, busy(late[0]["load_by_others"]))
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
        measured = f"{say.difference(changes.behind, say.BEHIND)}, {artefact.words}"
        rules.append(judge(asked, changes.behind, measured, worst, say.difference(worst, say.BEHIND)))
    rule = max(rules, key=lambda rule: (GRAVITY.index(rule.outcome), rule.value))
    on = f"Judged on {parity.records} record{'' if parity.records == 1 else 's'} (benchmark.parity.records)."
    return replace(rule, note=" ".join(filter(None, (on, rule.note, parity.left_out))))


def live_lost_rule(gate: Gate, live: Live | None) -> Rule:
    """What callers get may not be worse than what was evaluated, by more than the same margin."""
    asked = lost(gate, "parity.live_lost", CALLERS)
    if live is None or live.found is None:
        return unmeasured(asked, live)
    found, behind = live.found, live.found.changes.behind
    judge, at_worst = Judge(gate, found.records, found.groups), say.difference(found.worst, say.BEHIND)
    return judge(asked, behind, say.difference(behind, say.BEHIND), found.worst, at_worst)


def live_floor_rule(gate: Gate, live: Live | None, least: float) -> Rule:
    """A floor on exact match holds for what callers get too."""
    asked = replace(floor("exact_match", CALLERS, least), name="parity.live_exact_match")
    if live is None or live.found is None:
        return unmeasured(asked, live)
    found, right = live.found, live.found.exact_match
    return Judge(gate, found.records, found.groups)(asked, right, say.share(right), WORST, say.share(WORST))


def lost(gate: Gate, name: str, about: str) -> Asked:
    """That something may be behind the evaluated answers by at most `gate.parity.exact_match_lost`."""
    margin = gate.parity.exact_match_lost
    behind = f"at most {say.points(margin)} behind" if margin else "not behind"
    return Asked(name, about, f"{behind} the evaluated answers", "<=", margin, "points")


def unmeasured(asked: Asked, live: Live | None) -> Rule:
    """A rule about what callers get if that was not measured: it is open, if it was to be measured."""
    if live is None:
        return asked.not_applicable("nobody asked for it (serve.mask, benchmark.parity.records)")
    return replace(asked.rule(UNSURE, "nothing", None), note=f"Not measured: {live.reason}.")
