"""The ways to answer and what ships as tables, each the same in the terminal, on the page and in the model card."""

from __future__ import annotations

from typing import NamedTuple

from hallmark.answer.parity import Artefact, Changes, Cost, Live, Parity
from hallmark.base.figures import NONE, money, share, shown
from hallmark.base.outcomes import in_words
from hallmark.judge.decision import Decision, Source, Way

MOST = 2  # classes of failure named for a way, the most frequent first
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
    "Logits differ by",
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


def ways_table(decision: Decision) -> Table:
    """A row for each way; the one to use has a mark. The third measure is that of the kind of task."""
    ways = decision.ways
    main = next((way.main.words for way in ways if way.main), "Main measure")
    note = "Prices: in the currency of benchmark.price_per_hour."
    if any("batches" in (way.price_from, way.latency_from) for way in ways):
        note += " In batches: many at once, cheaper than on a server, with no latency."
    return Table(
        ("Way", "Records", "Exact match", main, "Fails most in", "Latency p95", "1,000 requests", "1,000 right"),
        [_way(way, way.name == decision.use) for way in ways],
        note,
    )


def _way(way: Way, use: bool) -> Cells:
    worst = sorted((one for one in way.failures if one.records), key=lambda one: -one.records)[:MOST]
    failures = [f"{in_words(one.name).lower()} {100 * one.records / way.records:.1f} %" for one in worst]
    unserved = "not served" if way.latency_from == "batches" else NONE
    prices = (way.price_per_1000, way.price_per_1000_right)
    return (
        f"{way.title}{' (use)' if use else ''}",
        str(way.records),
        share(way.exact_match) if way.exact_match else "labels only",
        share(way.main.value) if way.main else NONE,
        ", ".join(failures) or NONE,
        unserved if way.latency_p95_s is None else f"{way.latency_p95_s:.2f} s{FROM[way.latency_from]}",
        *(NONE if price is None else f"{money(price)}{FROM[way.price_from]}" for price in prices),
    )


def shipped_table(parity: Parity) -> Table:
    """A row for each artefact that answered."""
    note = ""
    if parity.artefacts:
        note = (
            f"Each answered the same {parity.records} records of the holdout, of {parity.groups} groups; of the evaluated answers "
            f"to these, {parity.right} are an exact match."
        )
    if any(artefact.logits for artefact, _ in parity.measured):
        note += " Logits: the largest difference from the model as it was evaluated, and the tokens at which another is likeliest."
    if any(artefact.name in UNPACKED for artefact, _ in parity.measured):
        note += " Of GGUF files the weights were scored; their speed is that of llama.cpp, which did not run."
    rows = [_artefact(parity, artefact, changes) for artefact, changes in parity.measured]
    return Table(SHIPPED, rows, " ".join(filter(None, (note, parity.left_out, callers(parity.live)))))


def _artefact(parity: Parity, artefact: Artefact, changes: Changes) -> Cells:
    cost, logits, differ = artefact.cost or Cost(), artefact.logits, NONE
    if logits:
        differ = f"{logits.largest_difference:.3g}"
        differ += f", {logits.argmax_changed} of {logits.tokens} tokens" if logits.argmax_changed else ""
    at_once = f" ({cost.at_once} at once)" if cost.at_once and cost.latency_p95_s is not None else ""
    return (
        artefact.words,
        f"{changes.texts} of {parity.records}",
        f"{changes.lost} lost, {changes.won} won" if changes.lost or changes.won else "as evaluated",
        differ,
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
        f"Exact match as evaluated: {share(found.evaluated)}. As callers get it, masked without what only the data tells, and "
        f"with their own values put back: {share(found.exact_match)}, {found.changes.lost} lost and {found.changes.won} won of "
        f"{found.records} records. {found.same} of the prompts are those that were evaluated; {found.leftover} answers hold what "
        f"is left of a placeholder and are not handed out; the masker refuses {refused or 'none'}."
    )
