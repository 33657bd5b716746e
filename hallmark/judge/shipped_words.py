"""What ships and how it answers, in words: one table for the terminal, the model card and the report page."""

from __future__ import annotations

from typing import Any

from hallmark.answer.parity import Artefact, Cost, Live, Logits, Parity
from hallmark.judge import rule_words as say

Cells = tuple[str, ...]
HEAD: Cells = (
    "What ships",
    "Texts changed",
    "Exact match",
    "Logits differ by",
    "On disk",
    "In memory",
    "p95",
    "Tokens/s",
)
NONE = "-"


def rows(parity: Parity) -> list[Cells]:
    """A row for each artefact that answered, under `HEAD`."""
    return [
        (
            artefact.words,
            f"{changes.texts} of {parity.records}",
            f"{changes.lost} lost, {changes.won} won" if changes.lost or changes.won else "as evaluated",
            _logits(artefact.logits),
            *_cost(artefact.cost or Cost()),
        )
        for artefact, changes in parity.measured
    ]


def for_page(parity: Parity | None) -> dict[str, Any] | None:
    """The table as the page shows it; None if nothing was to be compared."""
    if parity is None or not (parity.artefacts or parity.live):
        return None
    return {"head": HEAD, "rows": rows(parity), "note": note(parity)}


def _logits(logits: Logits | None) -> str:
    if logits is None:
        return NONE
    changed = f", {logits.argmax_changed} of {logits.tokens} tokens" if logits.argmax_changed else ""
    return f"{logits.largest_difference:.3g}{changed}"


def _cost(cost: Cost) -> Cells:
    at_once = f" ({cost.at_once} at once)" if cost.at_once else ""
    return (
        _amount(cost.disk_mib, "{:,.0f} MiB"),
        _amount(cost.memory_mib, "{:,.0f} MiB"),
        _amount(cost.latency_p95_s, "{:.2f} s") + (at_once if cost.latency_p95_s is not None else ""),
        _amount(cost.tokens_per_second, "{:.3g}"),
    )


def _amount(value: float | None, form: str) -> str:
    return NONE if value is None else form.format(value)


def note(parity: Parity) -> str:
    """What the table is about, and what it leaves out, in sentences."""
    text = (
        f"Each answered the same {parity.records} records of the holdout, of {parity.groups} groups; of the evaluated answers "
        f"to these, {parity.right} are an exact match."
        if parity.artefacts
        else ""
    )
    if any(artefact.logits for artefact, _ in parity.measured):
        text += " Logits: the largest difference from the model as it was evaluated, and the tokens at which another is likeliest."
    if any(unpacked(artefact) for artefact, _ in parity.measured):
        text += " Of GGUF files the weights were scored; their speed is that of llama.cpp, which did not run."
    return " ".join(filter(None, (text, parity.left_out, callers(parity.live))))


def callers(live: Live | None) -> str:
    """What callers get, next to what was evaluated, in sentences; empty if nobody asked for it."""
    if live is None:
        return ""
    if (found := live.found) is None:
        return f"What callers get was not measured: {live.reason}."
    refused = ", ".join(f"{count} ({code})" for code, count in found.refused.items())
    return (
        f"Exact match as evaluated: {say.share(found.evaluated)}. As callers get it, masked without what only the data tells, and "
        f"with their own values put back: {say.share(found.exact_match)}, {found.changes.lost} lost and {found.changes.won} won of "
        f"{found.records} records. {found.same} of the prompts are those that were evaluated; {found.leftover} answers hold what "
        f"is left of a placeholder and are not handed out; the masker refuses {refused or 'none'}."
    )


def unpacked(artefact: Artefact) -> bool:
    """Whether it was run by another program than its users'."""
    return artefact.name in ("q8_0", "q4_k_m")
