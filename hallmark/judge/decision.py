"""The decision: which of the ways to answer a user should use, by one rule from what was measured and what it costs.

The rule, in this order; the first that fits decides. `margin` is `decide.margin`, a lead is the tuned model's exact match
minus another way's on the records that both answered, and a way is as dear as 1,000 right answers of it are.

1. No way gets a record right: use none.
2. The holdout has fewer records or groups than the gate asks for: too little data.
3. Every way misses a floor or a ceiling of the gate: use none, for none is good enough. From here on, a way that misses one is
   never used, and one that is not shown to keep them all is used only once it is.
4. A way needs no tuning, is not dearer, and the tuned model is measured at most `margin` ahead of it: do not tune, use it.
   Of several, the one that is furthest ahead. The burden of proof is on tuning: it costs work for as long as it is used.
5. The gate did not pass the tuned model, or that misses a limit: too little data if the gate is open; else do not ship it, and use the best other
   way, unless the tuned model is shown to be more than `margin` ahead of it too.
6. A way is shown to be better, but is dearer: the cascade that falls back to it, if that is measured at most `margin`
   behind it and is cheaper; without such a cascade, a trade-off between points and price, which only the user can make.
7. The tuned model is measured more than `margin` ahead of a way that is not dearer, but is not shown to be; or such a way
   would do, but is not shown to keep the floors and ceilings: too little data.
8. Use the tuned model.

Where one of two prices is not stated, neither is dearer, and quality decides alone. A price that was measured in batches
is compared with the tuned model's price in batches: a server that answers a few callers at once costs more for the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from hallmark.base.stats import Interval

Kind = Literal["tuned", "base", "linear", "comparator", "cascade"]
Source = Literal["served", "batches", "bought", "at_most", "none"]  # of a price or a latency
Gate = Literal["pass", "fail", "too_little_data"]
Choice = Literal["none", "too_little_data", "do_not_tune", "do_not_ship", "cascade", "trade_off", "tuned"]
NO_PRICES = "Prices are not stated (benchmark.price_per_hour), so quality decides alone."


@dataclass(frozen=True)
class Main:
    """What answers to this kind of task are measured by, besides exact match."""

    name: str
    words: str
    value: Interval


@dataclass(frozen=True)
class Failed:
    """How many of its records a way fails in one way."""

    name: str
    records: int


@dataclass(frozen=True)
class Handed:
    """What a cascade hands over to `to`, a way or a person: the share that the tuned model keeps, and what is wrong of it.

    `wrong_at_most`: the bound on the answers that it keeps, which holds with that `confidence`; None if none does. `behind`: exact match of `to` minus that of
    the cascade; None for a person.
    """

    to: str
    alone: float
    wrong_at_most: float | None
    confidence: float
    behind: Interval | None


@dataclass(frozen=True)
class Way:
    """A way to answer: what it gets right of the `records` that it was asked, how it fails, how fast, and at which price.

    `opponent`: what it is, as a phrase. `exact_match` is None for a linear model that gives labels only: then `labels` is how often it has all of them right.
    `lead`: exact match of the tuned model minus its own, on the `paired` records of `groups` groups that both answered.
    `in_batches`: the price of 1,000 requests that are answered in batches.
    `limits`: whether it keeps the floors and ceilings of the gate; if not, `missed` has the first that it doesn't, in words.
    """

    name: str
    title: str
    kind: Kind
    opponent: str
    records: int
    exact_match: Interval | None
    main: Main | None
    labels: Interval | None
    failures: list[Failed]
    lead: Interval | None
    paired: int
    groups: int
    latency_p95_s: float | None
    latency_from: Source
    price_per_1000: float | None
    price_per_1000_right: float | None
    price_from: Source
    in_batches: float | None
    handed: Handed | None
    limits: Gate = "pass"
    missed: str = ""


@dataclass(frozen=True)
class Rules:
    """What the rule is told: the margin of points, and how few records and groups are too few."""

    margin: float
    min_records: int
    min_groups: int


@dataclass(frozen=True)
class Decision:
    """All of decision.json. `use`: the way's name; None if none can be named. `reasons`: one sentence for each other way."""

    ways: list[Way]
    choice: Choice
    use: str | None
    words: str
    reasons: list[str]
    margin: float


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
    """The choice, the way to use, and why, in words."""
    margin = rules.margin
    if not any(way.exact_match and way.exact_match.value > 0 for way in (tuned, *rivals)):
        return "none", None, "Use none of them: no way gets a single record right."
    if tuned.records < rules.min_records or tuned.groups < rules.min_groups:
        held = f"{tuned.records} records of {tuned.groups} groups are held out, and the gate asks for "
        return "too_little_data", None, f"Too little data: {held}{rules.min_records} of {rules.min_groups}."
    right = sorted((way for way in rivals if way.exact_match and way.exact_match.value > 0), key=ahead_first)
    useful = [way for way in right if way.limits != "fail"]
    if tuned.limits == "fail" and not useful:
        best = right[0] if right and right[0].lead and right[0].lead.value < 0 else tuned
        return "none", None, f"Use none of them: none is good enough. The best, {named(best)}: {best.missed}."
    will_do = [way for way in useful if suffices(way, rules)]
    enough = [way for way in will_do if way.limits == "pass"]
    if cheap := [way for way in enough if not dearer(way, tuned)]:
        return "do_not_tune", cheap[0], f"Do not tune: use {named(cheap[0])}. {against(cheap[0], tuned, whom='it')}"
    if gate == "too_little_data":
        return "too_little_data", None, "Too little data: the gate could not decide whether the tuned model may ship."
    if gate == "fail" or tuned.limits == "fail":
        return instead(tuned, right, gate, margin)
    for way in (way for way in enough if way.lead and way.lead.high < 0):
        keeping_up = [
            one for one in cascades if one.handed and one.handed.to == way.name and keeps_up(one, way, margin)
        ]
        if keeping_up:
            return "cascade", keeping_up[0], handing_over(keeping_up[0], way, tuned)
        said = f"A trade-off that only you can make: {named(way)} is better, and the tuned model is cheaper."
        return "trade_off", None, f"{said} {against(way, tuned, whom=way.name)}"
    open_ways = [tuned] if tuned.limits != "pass" else [way for way in will_do if way not in enough]
    if unshown := [way for way in open_ways if not dearer(way, tuned)]:
        return "too_little_data", None, f"Too little data: {short(unshown[0])} {against(unshown[0], tuned)}".strip()
    unsure = [way for way in useful if way not in will_do and not shown_behind(way, margin) and not dearer(way, tuned)]
    if unsure:
        needed = f"A lead of more than {points(margin)} must be shown, since it is not dearer."
        said = "Too little data to say that tuning pays, though the tuned model is ahead."
        return "too_little_data", None, f"{said} {against(unsure[0], tuned)} {needed}"
    why = against(right[0], tuned, "it") if right else "no other way gets a record right."
    if right and not shown_behind(right[0], margin):
        why = f"{why} {short(right[0])}".strip()
    return "tuned", tuned, f"Use the tuned model: {why}"


def short(way: Way) -> str:
    """Which floor or ceiling of the gate a way misses, in a sentence; empty if it keeps them all."""
    shown = "" if way.limits == "fail" else " shown to be"
    return f"{capital(named(way))} is not{shown} good enough: {way.missed}." if way.limits != "pass" else ""


def capital(text: str) -> str:
    """The start of a sentence; a comparator's name stays as it is in the params."""
    return f"T{text[1:]}" if text.startswith("the ") else text


def ahead_first(way: Way) -> tuple[float, float]:
    """The order of ways: the one furthest ahead of the tuned model first, of equal ones the cheapest."""
    price = way.price_per_1000_right
    return (way.lead.value if way.lead else 0.0), (float("inf") if price is None else price)


def suffices(way: Way, rules: Rules) -> bool:
    """Whether the tuned model is not worth its work over a way: measured at most the margin ahead of it.

    As in the gate, the measured value is enough for a no if the sample is large enough; else the whole interval must say so.
    """
    if way.lead is None:
        return False
    large = way.paired >= rules.min_records and way.groups >= rules.min_groups
    return (way.lead.value if large else way.lead.high) <= rules.margin


def shown_behind(way: Way, margin: float) -> bool:
    """Whether the tuned model is shown to be ahead of a way by more than the margin."""
    return way.lead is not None and way.lead.low > margin


def keeps_up(cascade: Way, way: Way, margin: float) -> bool:
    """Whether a cascade is good enough, at most the margin behind the way that it falls back to, and cheaper."""
    behind = cascade.handed.behind if cascade.handed else None
    one, two = right_price(cascade), right_price(way)
    if cascade.limits != "pass":
        return False
    return behind is not None and behind.value <= margin and one is not None and two is not None and one < two


def dearer(way: Way, tuned: Way) -> bool:
    """Whether 1,000 right answers of a way are known to cost more than those of the tuned model, both priced alike."""
    batches = "batches" in (way.price_from, tuned.price_from)
    one, two = right_price(way, batches), right_price(tuned, batches)
    return one is not None and two is not None and one > two


def right_price(way: Way, batches: bool = False) -> float | None:
    """The price of 1,000 right answers; None if none is right or no price is stated. `batches`: as answered in batches."""
    if not batches or way.in_batches is None:
        return way.price_per_1000_right
    return per_right(way.in_batches, way.exact_match)


def per_right(price: float | None, exact_match: Interval | None) -> float | None:
    """The price of 1,000 right answers from that of 1,000 requests; None if nothing is right, or there is no price."""
    if price is None or exact_match is None or exact_match.value <= 0:
        return None
    return round(price / exact_match.value, 6)


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


def handing_over(cascade: Way, way: Way, tuned: Way) -> str:
    """Why a cascade is used, in words."""
    if cascade.handed is None or cascade.handed.behind is None:
        return ""
    said = f"Use the cascade: the tuned model answers {percent(cascade.handed.alone)} of the requests, {named(way)} the rest."
    level = f"It is {sides(cascade.handed.behind, 'behind', 'ahead of')} {way.name} in exact match, and cheaper"
    cost = f"1,000 right answers cost {price_words(cascade)} against {price_words(way)}"
    return f"{said} {level}: {cost}. {against(way, tuned, 'The tuned model alone', way.name)}"


def alone(cascade: Way) -> str:
    """What the tuned model may answer by itself if a person answers the rest, in words; empty if no bound holds."""
    handed = cascade.handed
    if handed is None or handed.behind is not None or handed.wrong_at_most is None or handed.alone <= 0:
        return ""
    kept = f"With a person for the rest, the tuned model answers {percent(handed.alone)} of the requests alone"
    bound = f"on average over customers, at most {percent(handed.wrong_at_most)} of these answers are wrong"
    return f"{kept}; {bound}, with {percent(handed.confidence)} confidence."


def against(way: Way, tuned: Way, who: str = "The tuned model", whom: str = "") -> str:
    """The tuned model against another way: points with their interval, and both prices if they are stated."""
    if way.lead is None:
        return ""
    text = (
        f"{who} is {sides(way.lead, 'ahead of', 'behind')} {whom or named(way)} in exact match, on {way.paired} records"
    )
    if tuned.price_per_1000 is None and way.price_per_1000 is None:
        return f"{text}."
    alike = way.price_from == "batches" and tuned.in_batches is not None
    cost = f"{price_words(tuned, batches=alike)} against {price_words(way)}"
    return f"{text}; 1,000 right answers cost {cost}{', both in batches' if alike else ''}."


def price_words(way: Way, batches: bool = False) -> str:
    """The price of 1,000 right answers of a way, or why there is none."""
    price = right_price(way, batches)
    if price is not None:
        return money(price)
    return "an unstated price" if way.price_per_1000 is None else "no price at all, since none is right"


def money(value: float) -> str:
    """An amount in the currency of the params: `0.035`, `12.50`."""
    return f"{value:.2g}" if value < 1 else f"{value:,.2f}"


def named(way: Way) -> str:
    """A way within a sentence: a comparator by its name, since that is what the params know it by."""
    return f"{way.name} ({way.opponent})" if way.kind == "comparator" else way.opponent


def sides(difference: Interval, above: str, below: str) -> str:
    """A difference in points with its interval: `3.1 points (-1.0 to 7.2) ahead of`."""
    value, low, high = (100 * number for number in (difference.value, difference.low, difference.high))
    if round(value, 1) == 0:
        return f"level ({low:+.1f} to {high:+.1f} points) with"
    if value < 0:
        value, low, high, above = -value, -high, -low, below
    return f"{value:.1f} points ({low:.1f} to {high:.1f}) {above}"


def percent(share: float) -> str:
    """A share of 1: `62 %`."""
    return f"{100 * share:.3g} %"


def points(margin: float) -> str:
    """A margin: `2 points`."""
    return f"{100 * margin:g} point{'' if margin == 0.01 else 's'}"
