"""Say what to use, the tuned model, a baseline or the cascade, and what each costs: `python -m stages.decide`.

It judges nothing itself: quality is from `compare`, the verdict from `gate`, seconds and prices are as measured.
It writes reports/decision.json.

The rule, in this order; the first that fits decides. `margin` is `decide.margin`, a lead is the tuned model's exact match
minus another option's on the records that both answered, and the price of an option is that of 1,000 of its right answers. Its
options are the tuned model, the baselines (base, linear model, comparators) and the cascade.

1. No option gets a record right: use none.
2. The holdout has fewer records or groups than the gate asks for: too little data.
3. Every option misses a floor or a ceiling of the gate: use none, for none is good enough. From here on, an option that misses one
   is never used, and one is used only if it is shown to keep them all.
4. A baseline costs no more, and the tuned model is measured at most `margin` ahead of it: do not tune, use it.
   Of several, the one that is furthest ahead. The burden of proof is on tuning: it costs work for as long as it is used.
5. The gate did not pass the tuned model, or it misses a limit: too little data if the gate could not decide; otherwise do not ship
   it, and use the best baseline, unless the tuned model is shown to be more than `margin` ahead of that too.
6. A baseline is shown to be better, but costs more: the cascade that falls back to it, if that is measured at most `margin`
   behind it and is cheaper; without such a cascade, a trade-off between points and price, which only the user can make.
7. The tuned model is measured more than `margin` ahead of a baseline that costs no more, but is not shown to be; or such a
   baseline would do, but is not shown to keep the floors and ceilings: too little data.
8. Use the tuned model.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, replace

from hallmark.base.errors import printable
from hallmark.base.figures import points
from hallmark.base.files import REPORTS, write_json
from hallmark.base.reports import Report
from hallmark.judge.benchmarked import Benchmark
from hallmark.judge.comparison import Comparison
from hallmark.judge.decision import (
    NO_PRICES,
    Choice,
    Decision,
    Gate,
    Option,
    Rules,
    against,
    ahead_first,
    alone,
    costs_more,
    handing_over,
    keeps_up,
    named,
    short,
    shown_behind,
    suffices,
)
from hallmark.judge.options import read_options
from hallmark.judge.verdict import FAIL, SHIPS, Verdict
from hallmark.params.loader import Params, run_with_params

log = logging.getLogger("decide")

REPORT = REPORTS / "decision.json"


def run(params: Params) -> Decision:
    """Put the options together and decide; write reports/decision.json."""
    comparison, verdict = Report("comparison", "compare").as_(Comparison), Report("gate").as_(Verdict).verdict
    benchmark = Report("benchmark").as_(Benchmark)
    options = read_options(params, comparison, benchmark)
    rules = Rules(params.decide.margin, params.gate.min_records, params.gate.min_groups)
    gate: Gate = "pass" if verdict in SHIPS else "fail" if verdict == FAIL else "too_little_data"
    decision = decide(options, gate, rules)
    if (
        decision.choice not in ("none", "too_little_data")
        and options[0].price_from == "served"
        and (level := benchmark.first("tuned"))
        and (said := level.busy)
    ):
        decision = replace(decision, words=f"{decision.words} Prices as served may be lower than measured. {said}")
    write_json(REPORT, asdict(decision))
    log.info("%s", printable(decision.words))
    return decision


def decide(options: Sequence[Option], gate: Gate, rules: Rules) -> Decision:
    """What to use, by the rule above. `options`: the tuned model, and whatever else answered."""
    (tuned,) = (option for option in options if option.kind == "tuned")
    baselines = [
        option for option in options if option.kind not in ("tuned", "cascade") and option.exact_match and option.lead
    ]
    cascades = [option for option in options if option.kind == "cascade"]
    choice, use, words = chosen(tuned, baselines, cascades, gate, rules)
    if choice in ("tuned", "cascade", "trade_off"):
        words = " ".join(filter(None, [words, *map(alone, cascades)]))
    if tuned.price_per_1000 is None and choice not in ("none", "too_little_data"):
        words += f" {NO_PRICES}"
    reasons = [" ".join(filter(None, [against(option, tuned), short(option)])) for option in baselines]
    return Decision(list(options), choice, use.name if use else None, words, reasons, rules.margin)


def chosen(
    tuned: Option, baselines: list[Option], cascades: list[Option], gate: Gate, rules: Rules
) -> tuple[Choice, Option | None, str]:
    """The choice, the option to use, and why, in words. The numbers are those of the rule."""
    margin = rules.margin
    # 1
    if not any(option.exact_match and option.exact_match.value > 0 for option in (tuned, *baselines)):
        return "none", None, "Use none of them: no option gets a single record right."
    # 2
    if tuned.records < rules.min_records or tuned.groups < rules.min_groups:
        held = f"{tuned.records} records of {tuned.groups} groups are held out, and the gate asks for "
        return "too_little_data", None, f"Too little data: {held}{rules.min_records} of {rules.min_groups}."
    # 3
    right = sorted(
        (option for option in baselines if option.exact_match and option.exact_match.value > 0), key=ahead_first
    )
    useful = [option for option in right if option.limits != "fail"]
    if tuned.limits == "fail" and not useful:
        best = right[0] if right and right[0].lead and right[0].lead.value < 0 else tuned
        return "none", None, f"Use none of them: none is good enough. The best, {named(best)}: {best.missed}."
    # 4
    will_do = [option for option in useful if suffices(option, rules)]
    enough = [option for option in will_do if option.limits == "pass"]
    if cheap := [option for option in enough if not costs_more(option, tuned)]:
        return "do_not_tune", cheap[0], f"Do not tune: use {named(cheap[0])}. {against(cheap[0], tuned, whom='it')}"
    # 5
    if gate == "too_little_data":
        return "too_little_data", None, "Too little data: the gate could not decide whether the tuned model may ship."
    if gate == "fail" or tuned.limits == "fail":
        return instead(tuned, right, gate, margin)
    # 6
    for option in (option for option in enough if option.lead and option.lead.high < 0):
        keeping_up = [
            one for one in cascades if one.handed and one.handed.to == option.name and keeps_up(one, option, margin)
        ]
        if keeping_up:
            return "cascade", keeping_up[0], handing_over(keeping_up[0], option, tuned)
        said = f"A trade-off that only you can make: {named(option)} is better, and the tuned model is cheaper."
        return "trade_off", None, f"{said} {against(option, tuned, whom=option.name)}"
    # 7
    undecided = [tuned] if tuned.limits != "pass" else [option for option in will_do if option not in enough]
    if unshown := [option for option in undecided if not costs_more(option, tuned)]:
        return "too_little_data", None, f"Too little data: {short(unshown[0])} {against(unshown[0], tuned)}".strip()
    unsure = [
        option
        for option in useful
        if option not in will_do and not shown_behind(option, margin) and not costs_more(option, tuned)
    ]
    if unsure:
        needed = f"A lead of more than {points(margin)} must be shown, since it costs no more."
        said = "Too little data to say that tuning pays, though the tuned model is ahead."
        return "too_little_data", None, f"{said} {against(unsure[0], tuned)} {needed}"
    # 8
    why = against(right[0], tuned, "it") if right else "no baseline gets a record right."
    if right and not shown_behind(right[0], margin):
        why = f"{why} {short(right[0])}".strip()
    return "tuned", tuned, f"Use the tuned model: {why}"


def instead(tuned: Option, right: list[Option], gate: Gate, margin: float) -> tuple[Choice, Option | None, str]:
    """What to use if the tuned model may not ship: the best baseline that is good enough, unless it is shown to be worse still."""
    said = f"Do not ship the tuned model: {'the gate says fail.' if gate == 'fail' else f'it is not good enough: {tuned.missed}.'}"
    if not right:
        return "do_not_ship", None, f"{said} No baseline gets a record right."
    useful = [option for option in right if option.limits == "pass"]
    if not useful:
        return "do_not_ship", None, f"{said} No baseline is good enough. {short(right[0])}"
    if shown_behind(useful[0], margin):
        return "do_not_ship", None, f"{said} No baseline is better: {against(useful[0], tuned, 'it')}"
    best = f"The best baseline, which the gate has not judged, is {named(useful[0])}."
    return "do_not_ship", useful[0], f"{said} {best} {against(useful[0], tuned, whom='it')}"


if __name__ == "__main__":
    run_with_params("decide", __doc__, run)
