"""What the page says of the data stages: what was masked, which duplicates were dropped, and how the split is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hallmark.base.reports import Report

ACRONYMS = {"IBAN", "ID", "IP", "MAC", "NRP", "SSN", "URL", "US", "UUID", "ZIP"}


@dataclass(frozen=True)
class MaskedKind:
    """A kind of private data: spans masked, spans labelled in the gold data, and what masking finds of these."""

    name: str
    masked: int
    labelled: int
    recall: float | None
    precision: float | None


@dataclass(frozen=True)
class DataStages:
    """Everything in that section of the page: the reports of three stages, and what follows from them."""

    mask: dict[str, Any]
    dedupe: dict[str, Any]
    split: dict[str, Any]
    kinds: list[MaskedKind]  # most frequent first
    lost: int  # records that the split drops


def read_data_stages() -> DataStages:
    """Read the reports of the data stages."""
    mask, dedupe, split = (Report(name).content for name in ("mask", "dedupe", "split"))
    gold = mask["gold"]
    labelled = gold["spans_by_kind"] if gold else {}
    kinds = [
        MaskedKind(
            in_words(kind),
            mask["spans"]["by_kind"].get(kind, 0),
            labelled.get(kind, 0),
            gold["recall_by_kind"].get(kind) if gold else None,
            gold["precision_by_kind"].get(kind) if gold else None,
        )
        for kind in {**mask["spans"]["by_kind"], **labelled}
    ]
    kinds.sort(key=lambda kind: (-kind.masked, kind.name))
    return DataStages(mask, dedupe, split, kinds, dedupe["rows"]["out"] - sum(split["rows"].values()))


def in_words(kind: str) -> str:
    """A kind of private data as people read it: `IBAN code`."""
    return " ".join(word if word in ACRONYMS else word.lower() for word in kind.split("_"))
