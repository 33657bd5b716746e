"""The content of decision.json, and what the rule of `stages/decide.py` asks of an option, in words too.

An option is what can answer a user: the tuned model, a baseline (the base, the linear model, a comparator) or the cascade.

`margin` is `decide.margin`, a lead is the tuned model's exact match minus another option's on the records that both answered,
and the price of an option is that of 1,000 of its right answers.

Where one of two prices is not stated, neither costs more, and quality decides alone. A price that was measured in batches
is compared with the tuned model's price in batches: a server that answers a few callers at once costs more for the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from hallmark.base.figures import lead, money, percent
from hallmark.base.reports import Amount, Count, Some
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
    """How many of its records an option fails in each way."""

    name: str
    records: Count


@dataclass(frozen=True)
class Handed:
    """What a cascade hands over to `to`, an option or a person: the share that the tuned model keeps, and what is wrong of it.

    `wrong_at_most`: the bound on the answers that it keeps, which holds with that `confidence`; None if none does. `behind`: exact match of `to` minus that of
    the cascade; None for a person.
    """

    to: str
    alone: float
    wrong_at_most: float | None
    confidence: float
    behind: Interval | None


@dataclass(frozen=True)
class Option:
    """What can answer: what it gets right of the `records` that it was asked, how it fails, how fast, and at which price.

    `opponent`: what it is, as a phrase. `exact_match` is None for a linear model that gives labels only: then `labels` is how often it has all of them right.
    `lead`: exact match of the tuned model minus its own, on the `paired` records of `groups` groups that both answered.
    `in_batches`: the price of 1,000 requests that are answered in batches.
    `limits`: whether it keeps the floors and ceilings of the gate; if not, `missed` has the first that it doesn't, in words.
    """

    name: str
    title: str
    kind: Kind
    opponent: str
    records: Some
    exact_match: Interval | None
    lead: Interval | None
    paired: Count
    groups: Count
    latency_p95_s: Amount | None
    latency_from: Source
    price_per_1000: Amount | None
    price_per_1000_right: Amount | None
    price_from: Source
    in_batches: Amount | None
    main: Main | None = None
    labels: Interval | None = None
    failures: list[Failed] = field(default_factory=list)
    handed: Handed | None = None
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
    """All of decision.json. `use`: the option's name; None if none can be named. `reasons`: one sentence for each other option."""

    ways: list[Option]
    choice: Choice
    use: str | None
    words: str
    reasons: list[str]
    margin: float


def short(option: Option) -> str:
    """Which floor or ceiling of the gate an option misses, in a sentence; empty if it keeps them all."""
    shown = "" if option.limits == "fail" else " shown to be"
    return f"{capital(named(option))} is not{shown} good enough: {option.missed}." if option.limits != "pass" else ""


def capital(text: str) -> str:
    """The start of a sentence; a comparator's name stays as it is in the params."""
    return f"T{text[1:]}" if text.startswith("the ") else text


def ahead_first(option: Option) -> tuple[float, float]:
    """The order of options: the one furthest ahead of the tuned model first, of equal ones the cheapest."""
    price = option.price_per_1000_right
    return (option.lead.value if option.lead else 0.0), (float("inf") if price is None else price)


def suffices(option: Option, rules: Rules) -> bool:
    """Whether the tuned model is not worth its work over an option: measured at most the margin ahead of it.

    As in the gate, the measured value is enough for a no if the sample is large enough; else the whole interval must say so.
    """
    if option.lead is None:
        return False
    large = option.paired >= rules.min_records and option.groups >= rules.min_groups
    return (option.lead.value if large else option.lead.high) <= rules.margin


def shown_behind(option: Option, margin: float) -> bool:
    """Whether the tuned model is shown to be ahead of an option by more than the margin."""
    return option.lead is not None and option.lead.low > margin


def keeps_up(cascade: Option, option: Option, margin: float) -> bool:
    """Whether a cascade is good enough, at most the margin behind the option that it falls back to, and cheaper."""
    behind = cascade.handed.behind if cascade.handed else None
    one, two = right_price(cascade), right_price(option)
    if cascade.limits != "pass":
        return False
    return behind is not None and behind.value <= margin and one is not None and two is not None and one < two


def costs_more(option: Option, tuned: Option) -> bool:
    """Whether 1,000 right answers of an option are known to cost more than those of the tuned model, both priced alike."""
    batches = "batches" in (option.price_from, tuned.price_from)
    one, two = right_price(option, batches), right_price(tuned, batches)
    return one is not None and two is not None and one > two


def right_price(option: Option, batches: bool = False) -> float | None:
    """The price of 1,000 right answers; None if none is right or no price is stated. `batches`: as answered in batches."""
    if not batches or option.in_batches is None:
        return option.price_per_1000_right
    return per_right(option.in_batches, option.exact_match)


def per_right(price: float | None, exact_match: Interval | None) -> float | None:
    """The price of 1,000 right answers from that of 1,000 requests; None if nothing is right, or there is no price."""
    if price is None or exact_match is None or exact_match.value <= 0:
        return None
    return round(price / exact_match.value, 6)


def handing_over(cascade: Option, option: Option, tuned: Option) -> str:
    """Why a cascade is used, in words."""
    if cascade.handed is None or cascade.handed.behind is None:
        return ""
    said = f"Use the cascade: the tuned model answers {percent(cascade.handed.alone, 3)} of the requests, {named(option)} the rest."
    level = f"It is {lead(cascade.handed.behind, 'behind', 'ahead of')} {option.name} in exact match, and cheaper"
    cost = f"in your currency, 1,000 right answers cost {price_words(cascade)} against {price_words(option)}"
    return f"{said} {level}: {cost}. {against(option, tuned, 'The tuned model alone', option.name)}"


def alone(cascade: Option) -> str:
    """What the tuned model may answer by itself if a person answers the rest, in words; empty if no bound holds."""
    handed = cascade.handed
    if handed is None or handed.behind is not None or handed.wrong_at_most is None or handed.alone <= 0:
        return ""
    kept = f"With a person for the rest, the tuned model answers {percent(handed.alone, 3)} of the requests alone"
    bound = f"on average over customers, at most {percent(handed.wrong_at_most, 3)} of these answers are wrong"
    return f"{kept}; {bound}, with {percent(handed.confidence, 3)} confidence."


def against(option: Option, tuned: Option, who: str = "The tuned model", whom: str = "") -> str:
    """The tuned model against another option: points with their interval, and both prices if they are stated."""
    if option.lead is None:
        return ""
    text = f"{who} is {lead(option.lead, 'ahead of', 'behind')} {whom or named(option)} in exact match, on {option.paired} records"
    if tuned.price_per_1000 is None and option.price_per_1000 is None:
        return f"{text}."
    alike = option.price_from == "batches" and tuned.in_batches is not None
    cost = f"{price_words(tuned, batches=alike)} against {price_words(option)}"
    return f"{text}; in your currency, 1,000 right answers cost {cost}{', both in batches' if alike else ''}."


def price_words(option: Option, batches: bool = False) -> str:
    """The price of 1,000 right answers of an option, or why there is none."""
    price = right_price(option, batches)
    if price is not None:
        return money(price)
    return "an unstated price" if option.price_per_1000 is None else "no price at all, since none is right"


def named(option: Option) -> str:
    """An option within a sentence: a comparator by its name, since that is what the params know it by."""
    return f"{option.name} ({option.opponent})" if option.kind == "comparator" else option.opponent
