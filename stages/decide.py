"""Say what to use, the tuned model or another way to answer, and what each costs: `python -m stages.decide`.

It judges nothing of its own: quality is from `compare`, the verdict from `gate`, seconds and prices from what was measured.
It writes reports/decision.json.

The rule, in this order; the first that fits decides. `margin` is `decide.margin`, a lead is the tuned model's exact match
minus another way's on the records that both answered, and the price of a way is that of 1,000 right answers of it.

1. No way gets a record right: use none.
2. The holdout has fewer records or groups than the gate asks for: too little data.
3. Every way misses a floor or a ceiling of the gate: use none, for none is good enough. From here on, a way that misses one
   is never used, and one that is not shown to keep them all is used only once it is.
4. A way needs no tuning, costs no more, and the tuned model is measured at most `margin` ahead of it: do not tune, use it.
   Of several, the one that is furthest ahead. The burden of proof is on tuning: it costs work for as long as it is used.
5. The gate did not pass the tuned model, or that misses a limit: too little data if the gate could not decide; else do not ship it,
   and use the best other way, unless the tuned model is shown to be more than `margin` ahead of it too.
6. A way is shown to be better, but is dearer: the cascade that falls back to it, if that is measured at most `margin`
   behind it and is cheaper; without such a cascade, a trade-off between points and price, which only the user can make.
7. The tuned model is measured more than `margin` ahead of a way that is not dearer, but is not shown to be; or such a way
   would do, but is not shown to keep the floors and ceilings: too little data.
8. Use the tuned model.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import asdict, replace

from hallmark.base.errors import printable, run_stage
from hallmark.base.figures import points
from hallmark.base.files import REPORTS, write_json
from hallmark.base.machine import busy
from hallmark.base.reports import Report
from hallmark.judge.comparison import Comparison
from hallmark.judge.decision import (
    NO_PRICES,
    Choice,
    Decision,
    Gate,
    Rules,
    Way,
    against,
    ahead_first,
    alone,
    dearer,
    handing_over,
    keeps_up,
    named,
    short,
    shown_behind,
    suffices,
)
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


def decide(ways: Sequence[Way], gate: Gate, rules: Rules) -> Decision:
    """What to use, by the rule above. `ways`: the tuned model, and whatever else answered."""
    (tuned,) = (way for way in ways if way.kind == "tuned")
    rivals = [way for way in ways if way.kind not in ("tuned", "cascade") and way.exact_match and way.lead]
    cascades = [way for way in ways if way.kind == "cascade"]
    choice, use, words = chosen(tuned, rivals, cascades, gate, rules)
    if choice in ("tuned", "cascade", "trade_off"):
        words = " ".join(filter(None, [words, *map(alone, cascades)]))
    if tuned.price_per_1000 is None and choice not in ("none", "too_little_data"):
        words += f" {NO_PRICES}"
    reasons = [" ".join(filter(None, [against(way, tuned), short(way)])) for way in rivals]
    return Decision(list(ways), choice, use.name if use else None, words, reasons, rules.margin)


def chosen(
    tuned: Way, rivals: list[Way], cascades: list[Way], gate: Gate, rules: Rules
) -> tuple[Choice, Way | None, str]:
    """The choice, the way to use, and why, in words. The numbers are those of the rule."""
    margin = rules.margin
    # 1
    if not any(way.exact_match and way.exact_match.value > 0 for way in (tuned, *rivals)):
        return "none", None, "Use none of them: no way gets a single record right."
    # 2
    if tuned.records < rules.min_records or tuned.groups < rules.min_groups:
        held = f"{tuned.records} records of {tuned.groups} groups are held out, and the gate asks for "
        return "too_little_data", None, f"Too little data: {held}{rules.min_records} of {rules.min_groups}."
    # 3
    right = sorted((way for way in rivals if way.exact_match and way.exact_match.value > 0), key=ahead_first)
    useful = [way for way in right if way.limits != "fail"]
    if tuned.limits == "fail" and not useful:
        best = right[0] if right and right[0].lead and right[0].lead.value < 0 else tuned
        return "none", None, f"Use none of them: none is good enough. The best, {named(best)}: {best.missed}."
    # 4
    will_do = [way for way in useful if suffices(way, rules)]
    enough = [way for way in will_do if way.limits == "pass"]
    if cheap := [way for way in enough if not dearer(way, tuned)]:
        return "do_not_tune", cheap[0], f"Do not tune: use {named(cheap[0])}. {against(cheap[0], tuned, whom='it')}"
    # 5
    if gate == "too_little_data":
        return "too_little_data", None, "Too little data: the gate could not decide whether the tuned model may ship."
    if gate == "fail" or tuned.limits == "fail":
        return instead(tuned, right, gate, margin)
    # 6
    for way in (way for way in enough if way.lead and way.lead.high < 0):
        keeping_up = [
            one for one in cascades if one.handed and one.handed.to == way.name and keeps_up(one, way, margin)
        ]
        if keeping_up:
            return "cascade", keeping_up[0], handing_over(keeping_up[0], way, tuned)
        said = f"A trade-off that only you can make: {named(way)} is better, and the tuned model is cheaper."
        return "trade_off", None, f"{said} {against(way, tuned, whom=way.name)}"
    # 7
    open_ways = [tuned] if tuned.limits != "pass" else [way for way in will_do if way not in enough]
    if unshown := [way for way in open_ways if not dearer(way, tuned)]:
        return "too_little_data", None, f"Too little data: {short(unshown[0])} {against(unshown[0], tuned)}".strip()
    unsure = [way for way in useful if way not in will_do and not shown_behind(way, margin) and not dearer(way, tuned)]
    if unsure:
        needed = f"A lead of more than {points(margin)} must be shown, since it is not dearer."
        said = "Too little data to say that tuning pays, though the tuned model is ahead."
        return "too_little_data", None, f"{said} {against(unsure[0], tuned)} {needed}"
    # 8
    why = against(right[0], tuned, "it") if right else "no other way gets a record right."
    if right and not shown_behind(right[0], margin):
        why = f"{why} {short(right[0])}".strip()
    return "tuned", tuned, f"Use the tuned model: {why}"


def instead(tuned: Way, right: list[Way], gate: Gate, margin: float) -> tuple[Choice, Way | None, str]:
    """What to use if the tuned model may not ship: the best other way that is good enough, unless it is shown to be worse still."""
    said = f"Do not ship the tuned model: {'the gate says fail.' if gate == 'fail' else f'it is not good enough: {tuned.missed}.'}"
    if not right:
        return "do_not_ship", None, f"{said} No other way gets a record right."
    useful = [way for way in right if way.limits == "pass"]
    if not useful:
        return "do_not_ship", None, f"{said} No other way will do. {short(right[0])}"
    if shown_behind(useful[0], margin):
        return "do_not_ship", None, f"{said} No other way is better: {against(useful[0], tuned, 'it')}"
    best = f"The best other way, which the gate has not judged, is {named(useful[0])}."
    return "do_not_ship", useful[0], f"{said} {best} {against(useful[0], tuned, whom='it')}"


def main(arguments: argparse.Namespace) -> None:
    """Load the parameters and run."""
    run(load_params(arguments.params))


if __name__ == "__main__":
    run_stage("decide", __doc__, main)
