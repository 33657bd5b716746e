"""A text being masked with the spans that are masked in it, and how spans that overlap or touch become one."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from stages.privacy.kinds import kind_of
from stages.privacy.normal import View, view
from stages.privacy.rules import Found

_EDGE = " \t\r\n.,;:!?\"'()[]{}<>|*_/\\-–—…"  # not part of what is left of a span


@dataclass
class Span:
    """A private span of one text, in characters of that text."""

    start: int
    end: int
    kind: str
    recognizer: str


@dataclass
class Draft:
    """A text being masked: what of it is masked so far. `given` are the placeholders it came with."""

    text: str
    full: bool  # False: a single value, on which NER guesses badly
    given: list[tuple[int, int]] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    rules_due: bool = True
    ner_due: bool = True

    def view(self) -> View:
        """The text as it is searched next: everything masked is a blank."""
        blanks = [(span.start, span.end, kind_of(span.kind).reads_as) for span in self.spans]
        blanks += [(start, end, _blank_of(self.text[start:end])) for start, end in self.given]
        return view(self.text, sorted(blanks))

    def add(self, found: Iterable[Found]) -> list[Span]:
        """Take what is not masked yet of the spans found (in characters of the text); returns what is new."""
        new: list[Span] = []
        taken = sorted([(span.start, span.end) for span in self.spans] + self.given)
        for one in _united(found):
            for start, end in _free(taken, one.start, one.end):
                edge = " \t\r\n" if (start, end) == (one.start, one.end) else _EDGE
                piece = self.text[start:end]
                start += len(piece) - len(piece.lstrip(edge))
                end -= len(piece) - len(piece.rstrip(edge)) if start < end else 0
                if start >= end or not any(map(str.isalnum, self.text[start:end])):
                    continue
                new.append(Span(start, end, one.kind, one.recognizer))
                taken.insert(bisect_left(taken, (start, end)), (start, end))
        if new:
            self.spans = self._joined(sorted(self.spans + new, key=lambda span: span.start))
            self.rules_due = self.ner_due = True
        return new

    def _joined(self, spans: list[Span]) -> list[Span]:
        """Parts of one name or address that were found apart are one span."""
        joined = spans[:1]
        for span in spans[1:]:
            last = joined[-1]
            between = self.text[last.end : span.start]
            if (
                span.kind == last.kind
                and kind_of(span.kind).in_parts
                and len(between) <= 4
                and not between.strip(" ,\t")
            ):
                last.end = span.end
            else:
                joined.append(span)
        return joined


def _blank_of(text: str) -> str:
    return kind_of(text[1:].rpartition("_")[0]).reads_as


def _united(found: Iterable[Found]) -> list[Found]:
    """Overlapping spans of one kind as one; the surest first."""
    by_kind: dict[str, list[Found]] = defaultdict(list)
    for one in found:
        by_kind[one.kind].append(one)
    united = []
    for kind in by_kind:
        current: Found | None = None
        for one in sorted(by_kind[kind], key=lambda one: (one.start, -one.end)):
            if current is not None and one.start < current.end:
                best = max(current, one, key=lambda each: each.score)
                current = Found(current.start, max(current.end, one.end), kind, best.score, best.recognizer)
            else:
                if current is not None:
                    united.append(current)
                current = one
        if current is not None:
            united.append(current)
    return sorted(united, key=lambda one: (-one.score, one.start - one.end, one.start, one.kind))


def _free(taken: list[tuple[int, int]], start: int, end: int) -> list[tuple[int, int]]:
    """The parts of `start:end` that no interval of `taken` (sorted, disjoint) covers."""
    parts = []
    at = max(0, bisect_left(taken, (start, start)) - 1)
    for low, high in taken[at:]:
        if low >= end:
            break
        if high <= start:
            continue
        if low > start:
            parts.append((start, low))
        start = max(start, high)
    if start < end:
        parts.append((start, end))
    return parts
