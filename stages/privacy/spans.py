"""A text being masked and its masked spans, and how overlapping or adjacent spans are merged."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from stages.privacy.given import Given
from stages.privacy.kept import outside
from stages.privacy.kinds import kind_of
from stages.privacy.normal import View, view
from stages.privacy.rules import Found

_EDGE = " \t\r\n.,;:!?\"'()[]{}<>|*_/\\-–—…"  # stripped from the remaining parts of a span


@dataclass
class Span:
    """A private span of one text, in characters of that text."""

    start: int
    end: int
    kind: str
    recognizer: str


@dataclass
class Draft:
    """A text being masked, with the spans masked so far.

    `given` are the placeholders that it came with and that stay; `kept` are the places that masking leaves
    alone; `cue` has the words before a number of a JSON value.
    """

    text: str
    full: bool  # False: a single value, which NER can't classify well
    cue: str | None = None
    given: list[Given] = field(default_factory=list)
    kept: list[tuple[int, int]] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    rules_pending: bool = True
    ner_pending: bool = True

    def view(self) -> View:
        """The text for the next search: everything masked is blanked out."""
        blanks = [(span.start, span.end, kind_of(span.kind).reads_as) for span in self.spans]
        blanks += [(one.start, one.end, kind_of(one.kind or "").reads_as) for one in self.given]
        return view(self.text, sorted(blanks))

    def add(self, found: Iterable[Found]) -> list[Span]:
        """Add the parts of the spans (in characters of the text) that are not masked yet; returns the new spans."""
        new: list[Span] = []
        masked: list[Span | Given] = [*self.spans, *self.given]
        taken = sorted((span.start, span.end) for span in masked)
        for candidate in _merged(self._outside(found)):
            for start, end in _free(taken, candidate.start, candidate.end):
                edge = " \t\r\n" if (start, end) == (candidate.start, candidate.end) else _EDGE
                piece = self.text[start:end]
                start += len(piece) - len(piece.lstrip(edge))
                end -= len(piece) - len(piece.rstrip(edge)) if start < end else 0
                if start >= end or not any(map(str.isalnum, self.text[start:end])):
                    continue
                new.append(Span(start, end, candidate.kind, candidate.recognizer))
                taken.insert(bisect_left(taken, (start, end)), (start, end))
        if new:
            self.spans = self._joined(sorted(self.spans + new, key=lambda span: span.start))
            self.rules_pending = self.ner_pending = True
        return new

    def _outside(self, found: Iterable[Found]) -> Iterator[Found]:
        """The parts of the spans that don't stay; what identifies the customer goes before what the task needs."""
        for span in found:
            if not self.kept or span.recognizer == "known_value":
                yield span
                continue
            for start, end in outside(self.text, span.start, span.end, self.kept):
                yield span._replace(start=start, end=end)

    def _joined(self, spans: list[Span]) -> list[Span]:
        """The spans, with separately found parts of one name or address joined."""
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


def _merged(found: Iterable[Found]) -> list[Found]:
    """Overlapping spans of the same kind merged; the highest score first."""
    by_kind: dict[str, list[Found]] = defaultdict(list)
    for span in found:
        by_kind[span.kind].append(span)
    merged = []
    for kind in by_kind:
        current: Found | None = None
        for span in sorted(by_kind[kind], key=lambda span: (span.start, -span.end)):
            if current is not None and span.start < current.end:
                best = max(current, span, key=lambda overlapping: overlapping.score)
                current = Found(current.start, max(current.end, span.end), kind, best.score, best.recognizer)
            else:
                if current is not None:
                    merged.append(current)
                current = span
        if current is not None:
            merged.append(current)
    return sorted(merged, key=lambda span: (-span.score, span.start - span.end, span.start, span.kind))


def _free(taken: list[tuple[int, int]], start: int, end: int) -> list[tuple[int, int]]:
    """The parts of `start:end` not covered by the intervals in `taken` (sorted, disjoint)."""
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
