"""Labelled private spans, by which masking is measured."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hallmark.base.errors import HallmarkError
from hallmark.base.reading import read_json_lines
from hallmark.mask.params import Mask
from hallmark.mask.record import BREAK, Work
from hallmark.mask.spans import Draft

Gold = dict[str, list[tuple[int, int, str]]]  # by record id: start, end, kind
FORM = (
    "write JSON lines with the texts id and kind (such as PERSON) and the whole numbers start and end, which count "
    "characters of the record's prompt (0 <= start < end)"
)


def gold_spans(path: Path, mask: Mask) -> Gold:
    """The gold spans, in characters of the record's prompt; those of several messages are joined by a line break."""
    if mask.markup != "none":
        problem = "its spans count characters of the text with its markup, which is masked without"
        raise HallmarkError(
            problem, file=path, param="mask.gold", remedy="set mask.gold to null, or mask.markup to none"
        )
    spans: Gold = defaultdict(list)
    for number, row in enumerate(read_json_lines(path, FORM), 1):
        name, span = _span(row, path, number)
        if span in spans[name]:
            raise HallmarkError("the same span again", file=path, row=number, remedy="keep one of the two")
        spans[name].append(span)
    if not spans:
        raise HallmarkError("has no rows", file=path, remedy="label some spans, or set mask.gold to null")
    return dict(spans)


def _span(row: dict[str, Any], path: Path, number: int) -> tuple[str, tuple[int, int, str]]:
    name, start, end, kind = (row.get(key) for key in ("id", "start", "end", "kind"))
    named = isinstance(name, str) and isinstance(kind, str) and re.fullmatch("[A-Z][A-Z_]*", kind)
    if not named or type(start) is not int or type(end) is not int or not 0 <= start < end:
        raise HallmarkError("not a gold span", file=path, row=number, remedy=FORM)
    return str(name), (start, end, str(kind))


@dataclass
class Measured:
    """What masking found of the gold spans."""

    gold: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    masked: Counter[str] = field(default_factory=Counter)  # spans that were masked
    right: Counter[str] = field(default_factory=Counter)  # of these, those that touch a gold span
    leaks: int = 0  # records with a gold span that is not masked as a whole

    def add(self, other: Measured) -> None:
        """Add another chunk's counts."""
        for name in ("gold", "found", "masked", "right"):
            getattr(self, name).update(getattr(other, name))
        self.leaks += other.leaks

    def count(self, work: Work, spans: Sequence[tuple[int, int, str]], file: str, source: str) -> None:
        """Count one record. `spans` are in characters of its prompt."""
        end, leak = 0, False
        for draft, first, at in _prompt(work):
            end = at + len(draft.text) - first
            parts = [(max(low, at), min(high, end), kind) for low, high, kind in spans]
            golden = [(low - at + first, high - at + first, kind) for low, high, kind in parts if low < high]
            own = [span for span in draft.spans if span.end > first]
            masked = {place for span in own for place in range(span.start, span.end)}
            for low, high, kind in golden:
                hit = masked.issuperset(range(low, high))
                self.gold[kind] += 1
                self.found[kind] += hit
                leak = leak or not hit
            labelled = {place for low, high, _ in golden for place in range(low, high)}
            for span in own:
                self.masked[span.kind] += 1
                self.right[span.kind] += not labelled.isdisjoint(range(span.start, span.end))
        self.leaks += leak
        if any(high > end for _, high, _ in spans):
            problem = f"a span ends past the end of the prompt of {source}"
            raise HallmarkError(problem, file=file, field="end", remedy=FORM)

    def report(self) -> dict[str, Any]:
        """The block `gold` of `reports/mask.json`."""
        return {
            "spans": self.gold.total(),
            "recall": _share(self.found.total(), self.gold.total()),
            "precision": _share(self.right.total(), self.masked.total()),
            "records_that_leak": self.leaks,
            "recall_by_kind": {kind: _share(self.found[kind], n) for kind, n in sorted(self.gold.items())},
            "spans_by_kind": dict(sorted(self.gold.items())),
            "precision_by_kind": {kind: _share(self.right[kind], n) for kind, n in sorted(self.masked.items())},
        }


def _prompt(work: Work) -> Iterator[tuple[Draft, int, int]]:
    """Of each text of the prompt: the draft, where the text starts in it (after the context), and where it starts in the prompt."""
    at = 0
    for number, draft in enumerate(work.texts):
        if draft is not None:
            asks = work.request.context and number == work.request.asks
            first = work.request.context + len(BREAK) if asks else 0
            yield draft, first, at
            at += len(draft.text) - first + 1


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None
