"""The tables of the page that say what to use, and what ships."""

from __future__ import annotations

from typing import Any

from hallmark.answer.parity import Parity
from hallmark.judge import decision_words, shipped_words
from hallmark.judge.decision import Decision


def decided(decision: Decision | None) -> dict[str, Any]:
    """What the page shows of the decision; nothing if there is none yet."""
    if decision is None:
        return {"decision": None}
    table = {"ways_head": decision_words.head(decision), "ways": decision_words.rows(decision)}
    return {"decision": decision, "ways_note": decision_words.note(decision)} | table


def shipped(parity: Parity | None) -> dict[str, Any] | None:
    """The table of what ships; None if nothing was to be compared."""
    if parity is None or not (parity.artefacts or parity.live):
        return None
    return {"head": shipped_words.HEAD, "rows": shipped_words.rows(parity), "note": shipped_words.note(parity)}
