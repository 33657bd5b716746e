"""The ways of a decision as a table, in words: one for the terminal, the page and the model card."""

from __future__ import annotations

from typing import Any

from hallmark.base.outcomes import in_words
from hallmark.base.stats import Interval
from hallmark.judge.decision import Decision, Source, Way, money

MOST = 2  # classes of failure named for a way, the most frequent first
NONE = "-"
FROM: dict[Source, str] = {
    "served": "",
    "batches": " in batches",
    "bought": " bought",
    "at_most": " at most",
    "none": "",
}


def head(decision: Decision) -> tuple[str, ...]:
    """The heads of the columns; the third measure is that of the kind of task."""
    main = next((way.main.words for way in decision.ways if way.main), "Main measure")
    return ("Way", "Records", "Exact match", main, "Fails most in", "Latency p95", "1,000 requests", "1,000 right")


def rows(decision: Decision) -> list[tuple[str, ...]]:
    """A row for each way; the one to use has a mark."""
    return [
        (
            f"{way.title}{' (use)' if way.name == decision.use else ''}",
            str(way.records),
            share(way.exact_match) if way.exact_match else "labels only",
            share(way.main.value) if way.main else NONE,
            failures(way),
            latency(way),
            price(way.price_per_1000, way.price_from),
            price(way.price_per_1000_right, way.price_from),
        )
        for way in decision.ways
    ]


def share(interval: Interval) -> str:
    """A share and its interval: `72.1 % (67.4 to 76.7)`."""
    return f"{100 * interval.value:.1f} % ({100 * interval.low:.1f} to {100 * interval.high:.1f})"


def failures(way: Way) -> str:
    """The classes that it fails most in, each with its share of the records."""
    worst = sorted((one for one in way.failures if one.records), key=lambda one: -one.records)[:MOST]
    return ", ".join(f"{in_words(one.name).lower()} {100 * one.records / way.records:.1f} %" for one in worst) or NONE


def latency(way: Way) -> str:
    """Seconds within which 95 of 100 requests were answered, and where that is from."""
    if way.latency_p95_s is None:
        return "not served" if way.latency_from == "batches" else NONE
    return f"{way.latency_p95_s:.2f} s{FROM[way.latency_from]}"


def price(amount: float | None, source: Source) -> str:
    """An amount, and how it was measured if no server was."""
    return NONE if amount is None else f"{money(amount)}{FROM[source]}"


def note(decision: Decision) -> str:
    """What the table can't say for itself."""
    text = "Prices: in the currency of benchmark.price_per_hour."
    if any("batches" in (way.price_from, way.latency_from) for way in decision.ways):
        text += " In batches: many at once, cheaper than on a server, with no latency."
    return text


def for_page(decision: Decision | None) -> dict[str, Any]:
    """What the page shows of the decision; nothing if there is none yet."""
    if decision is None:
        return {"decision": None}
    table = {"ways_head": head(decision), "ways": rows(decision), "ways_note": note(decision)}
    return {"decision": decision} | table
