"""The options and what ships as tables, each the same in the terminal, on the page and in the model card."""

from __future__ import annotations

from typing import NamedTuple

from hallmark.answer.parity import Artefact, Changes, Cost, Live, Parity
from hallmark.base.figures import NONE, money, share, shown
from hallmark.base.outcomes import in_words
from hallmark.judge.decision import Decision, Option, Source

MOST = 2  # classes of failure named for an option, the most frequent first
FROM: dict[Source, str] = {
    "served": "",
    "batches": " in batches",
    "bought": " bought",
    "at_most": " at most",
    "none": "",
}
SHIPPED = (
    "What ships",
    "Texts changed",
    "Exact match",
    "On disk",
    "In memory",
    "p95",
    "Tokens/s",
)
UNPACKED = ("q8_0", "q4_k_m")  # artefacts that another program than their users' ran
Cells = tuple[str, ...]


class Table(NamedTuple):
    """The heads of the columns, the rows, and what they can't say for themselves, in sentences."""

    head: Cells
    rows: list[Cells]
    note: str


def options_table(decision: Decision) -> Table:
    """A row for each option; the one to use has a mark. The third measure is that of the kind of task."""
    options = decision.ways
    main = next((option.main.words for option in options if option.main), "Main measure")
    note = "Prices are in your currency, that of benchmark.price_per_hour."
    if any("batches" in (option.price_from, option.latency_from) for option in options):
        note += " In batches: many at once, which costs less than serving."
    return Table(
        ("Option", "Records", "Exact match", main, "Fails most in", "Latency p95", "1,000 requests", "1,000 right"),
        [_option(option, option.name == decision.use) for option in options],
        note,
    )


def _option(option: Option, use: bool) -> Cells:
    worst = sorted((one for one in option.failures if one.records), key=lambda one: -one.records)[:MOST]
    failures = [f"{in_words(one.name).lower()} {100 * one.records / option.records:.1f} %" for one in worst]
    unserved = "not served" if option.latency_from == "batches" else NONE
    prices = (option.price_per_1000, option.price_per_1000_right)
    return (
        f"{option.title}{' (use)' if use else ''}",
        str(option.records),
        share(option.exact_match) if option.exact_match else "labels only",
        share(option.main.value) if option.main else NONE,
        ", ".join(failures) or NONE,
        unserved if option.latency_p95_s is None else f"{option.latency_p95_s:.2f} s{FROM[option.latency_from]}",
        *(NONE if price is None else f"{money(price)}{FROM[option.price_from]}" for price in prices),
    )


def shipped_table(parity: Parity) -> Table:
    """A row for each artefact that answered."""
    note = ""
    if parity.artefacts:
        note = (
            f"Each answered the same {parity.records} records of {parity.groups} groups of the holdout; {parity.right} of the "
            f"evaluated answers to these are exact matches."
        )
    if any(artefact.name in UNPACKED for artefact, _ in parity.measured):
        note += " For GGUF files, only the weights were scored; llama.cpp did not run, so there is no speed."
    rows = [_artefact(parity, artefact, changes) for artefact, changes in parity.measured]
    return Table(SHIPPED, rows, " ".join(filter(None, (note, parity.left_out, callers(parity.live)))))


def _artefact(parity: Parity, artefact: Artefact, changes: Changes) -> Cells:
    cost = artefact.cost or Cost()
    at_once = f" ({cost.at_once} at once)" if cost.at_once and cost.latency_p95_s is not None else ""
    return (
        artefact.words,
        f"{changes.texts} of {parity.records}",
        f"{changes.lost} lost, {changes.won} won" if changes.lost or changes.won else "as evaluated",
        shown(cost.disk_mib, ",.0f", " MiB"),
        shown(cost.memory_mib, ",.0f", " MiB"),
        shown(cost.latency_p95_s, ".2f", " s") + at_once,
        shown(cost.tokens_per_second, ".3g"),
    )


def callers(live: Live | None) -> str:
    """What callers get, next to what was evaluated, in sentences; empty if nobody asked for it."""
    if live is None:
        return ""
    if (found := live.found) is None:
        return f"What callers get was not measured: {live.reason}."
    refused = ", ".join(f"{count} ({code})" for code, count in found.refused.items())
    return (
        f"Exact match as evaluated: {share(found.evaluated)}. As callers get it, with masking that knows the request alone, and "
        f"with their own values put back: {share(found.exact_match)}, {found.changes.lost} lost and {found.changes.won} won of "
        f"{found.records} records. {found.same} of the prompts are the same as evaluated; {found.leftover} answers with a leftover "
        f"placeholder are held back; the masker refuses {refused or 'none'}."
    )
