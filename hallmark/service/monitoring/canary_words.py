"""The verdict on a canary in words: the table of its rules, and what would decide those that are undecided."""

from __future__ import annotations

from hallmark.base.figures import percent, rounded_up, share
from hallmark.service.monitoring.canary import (
    NOT_APPLICABLE,
    NOT_WORSE,
    OVER,
    POINTS,
    PROMOTE,
    ROLL_BACK,
    TOO_LITTLE,
    WITHIN,
    WORSE,
    Report,
    Risk,
    Rule,
)

ABOUT = {
    "wrong": "Corrected or rejected, of those judged",
    "complaints": "Corrected or rejected, of all answers",
    "schema_breaks": "Schema broken, of the model's answers",
    "handed_over": "Handed over",
    "failed": "Failed",
    "slow": "Slower than {slow:g} s",
    "price": "Price of a request",
}
OUTCOMES = {
    NOT_WORSE: "Within the margin",
    WORSE: "Worse",
    TOO_LITTLE: "Too little data",
    NOT_APPLICABLE: "Not applicable",
}
RISKS = {OVER: "over the limit", WITHIN: "within the limit", TOO_LITTLE: "too little data"}
VERDICTS = {PROMOTE: "promote", ROLL_BACK: "roll back", TOO_LITTLE: "too little data"}
DAY = 48.0  # hours from which on days are counted
SHOWN_LOOKS = 5  # the report has all


def headline(report: Report) -> str:
    if report.look is None:
        return f"too little data. The first look is at {clock(report.next_look)}."
    applies = [rule for rule in report.rules if rule.outcome != NOT_APPLICABLE]
    by = {outcome: [rule for rule in applies if rule.outcome == outcome] for outcome in (WORSE, NOT_WORSE, TOO_LITTLE)}
    names = {outcome: ", ".join(rule.name for rule in rules) for outcome, rules in by.items()}
    rules = f"{len(applies)} rules"
    why = {
        PROMOTE: f"{report.canary} is not worse than {report.prod} by more than the margins, in all {rules}.",
        ROLL_BACK: f"{report.canary} is worse than {report.prod}: {names[WORSE]}.",
        TOO_LITTLE: f"Of {len(applies)} rules, {len(by[NOT_WORSE])} hold and none fails. Undecided: {names[TOO_LITTLE]}."
        if applies
        else "No rule applies.",
    }[report.verdict]
    return f"{VERDICTS[report.verdict]}. {why}"


def over(report: Report) -> str:
    """Which cascades let out more wrong answers than they may, for sure, or "". It decides nothing by itself."""
    found = [f"{one.version} (in {one.side})" for one in report.risks if one.outcome == OVER]
    return f"cascade.risk: over cascade.max_risk, by what was judged: {', '.join(found)}" if found else ""


def table(report: Report, slow: float) -> list[tuple[str, ...]]:
    heading = ("", "prod", "canary", "worse by", "margin", "")
    return [heading, *(_line(rule, ABOUT[rule.name].format(slow=slow)) for rule in report.rules)]


def _line(rule: Rule, about: str) -> tuple[str, ...]:
    """What each release does, on average over its customers, and by how much the canary is worse, between which limits."""
    points = rule.unit == POINTS
    means = [
        "-" if mean is None else f"{100 * mean:.1f} %" if points else f"{mean:.2g}" for mean in (rule.prod, rule.canary)
    ]
    value, low, high = (
        "any" if number is None else f"{round(100 * number, 1) + 0.0:+.1f}{'' if points else ' %'}"  # never "-0.0"
        for number in (rule.value, rule.low, rule.high)
    )
    worse_by = "-" if rule.value is None else f"{value} ({low} to {high})"
    return (about, *means, worse_by, f"{100 * rule.margin:g} {'points' if points else '%'}", OUTCOMES[rule.outcome])


def counted(report: Report) -> list[str]:
    """How much there is of each release, a line each."""
    lines = []
    for name in ("prod", "canary"):
        requests, customers = f"{report.requests[name]:,} requests", f"{report.customers[name]:,} customers"
        slow = report.p95_s[name]
        p95 = f"; p95 {slow:.1f} s" if slow is not None else ""
        lines.append(f"{name}: {requests} of {customers}, {report.judged[name]:,} judged{p95}")
    if report.shadow["requests"]:
        found, rules = report.shadow, ", ".join(rule.name for rule in report.rules if rule.paired)
        lines.append(
            f"both, in the shadow: {found['requests']:,} requests of {found['customers']:,} customers, {found['judged']:,} with a "
            f"known answer; they decide {rules or 'nothing'}"
        )
    return lines


def notes(report: Report) -> list[str]:
    lines = [note for rule in report.rules if (note := open_rule(rule))]
    lines += [risk(one) for one in report.risks]
    if report.next_look is None and report.verdict == TOO_LITTLE:
        lines.append(
            "This was the last look (canary.days): the verdict stays. Take the canary out (`nox -s promote -- --stop "
            "canary`), or give it more customers (serve.routing.canary) and start over with --since."
        )
    if report.changed_sides:
        lines.append(
            f"{report.changed_sides:,} customers were answered by both releases and count for the first: was "
            "serve.routing changed? Start over with --since."
        )
    if report.without_group:
        lines.append(f"{report.without_group:,} requests had no group: their API key counts as one customer.")
    return lines


def open_rule(rule: Rule) -> str:
    """What would decide a rule with too little data, or why a rule does not apply."""
    if rule.outcome == NOT_APPLICABLE:
        what = {"price": "no price is known, or nothing costs anything", "schema_breaks": "no answer was checked"}
        return f"{rule.name}: not applicable, {what.get(rule.name, 'there is nothing to count')}."
    if rule.outcome != TOO_LITTLE:
        return ""
    customers = f"{rule.canary_customers:,} customers of the canary and {rule.prod_customers:,} of prod"
    whose = " of the canary's"
    if rule.paired:
        customers, whose = f"{rule.canary_customers:,} customers asked of both", ""
    if rule.value is None:
        return f"{rule.name}: {customers} say something about it; some of both are needed."
    if rule.more_customers is None or rule.more_hours is None:
        return f"{rule.name}: {customers}; the difference is so close to the margin that no number would decide it."
    curve = ", ".join(
        f"{max(point.worse, point.not_worse):.0%} after {_time(point.hours)}" for point in rule.curve[-SHOWN_LOOKS:]
    )
    return (
        f"{rule.name}: {customers}; about {rounded_up(rule.more_customers):,} more{whose}, or "
        f"{_time(rule.more_hours)} more at the present rate, would decide it if the difference stays the same. Evidence, as a "
        f"share of what it takes: {curve}."
    )


def _time(hours: float) -> str:
    return f"{hours / 24:,.0f} days" if hours >= DAY else f"{hours:,.1f} hours"


def risk(one: Risk) -> str:
    """The cascade's bound, online. People judge what they noticed, so it is no fair sample."""
    where = "prod" if one.side == "prod" else "the canary"
    if not one.customers:
        return f"cascade.risk of {where}: no answer that the cascade let out was judged."
    text = (
        f"cascade.risk of {where}: {share(one.measured)} of the judged answers that the cascade let out were wrong, "
        f"on average over {one.customers:,} customers; at most {percent(one.max_risk)} is allowed: {RISKS[one.outcome]}."
    )
    fair = " Answers that people judge are not a fair sample: wrong ones are judged more often."
    return text + (fair if one.outcome != WITHIN else "")


def clock(time: object) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC"
