"""A text being masked and its masked spans, and how overlapping or adjacent spans are merged."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from hallmark.mask.kinds import KINDS, PLACEHOLDER, kind_of, short
from hallmark.mask.lexicon import RUNS, first_names, fold, is_common, is_stop, word_list
from hallmark.mask.params import Mask
from hallmark.mask.plain_view import View, view
from hallmark.mask.rules import Found

EDGE = " \t\r\n.,;:!?\"'()[]{}<>|*_/\\-–—…"  # stripped from the remaining parts of a span
_NEVER_NAMES = word_list("words/never_names.txt")
_BETWEEN = {"PERSON": " \t", "STREET_ADDRESS": " ,\t\r\n"}  # what may stand between two parts of one value
_IN_JSON = re.compile(r"[{,]\s{0,8}[\"'][^\"'\n]{1,64}[\"']\s{0,8}:")
_LINE_BREAK = re.compile(r"(?<!\\)\\[nrt]")  # as JSON writes it; elsewhere, "C:\nadia" may be a path
BLANK = "<MASKED_1>"  # what the second check sees instead of a masked value: it joins with nothing next to it

# Placeholders that were in a text before it was masked come from another masking tool, or hold a name (`<ROSA_MILLER_1>`). If
# its name is a kind's, one stays, and gets a number of its own; otherwise it is masked as a whole, as kind `PLACEHOLDER`.
UNKNOWN = "PLACEHOLDER"
_MAY_HOLD_ONE = re.compile(r"<[A-Z]|[^\x00-\x7f]|&[#A-Za-z]")


class Given(NamedTuple):
    """A placeholder that came with a text: where it is, its kind (None: no kind has that name), and how it reads."""

    start: int
    end: int
    kind: str | None
    reads: str


class Readers:
    """Finds placeholders in a text that is not masked yet. `public` are texts that anyone may see: they stay as they are."""

    def __init__(self, params: Mask, public: Iterable[str]) -> None:
        self.kinds = {short(name): name for name in KINDS} | {name: name for name in KINDS}
        self.kinds |= {rule.kind: rule.kind for rule in params.patterns}
        self.public = frozenset(text for text in public if PLACEHOLDER.fullmatch(text))

    def find(self, text: str) -> Iterator[Given]:
        """The placeholders in a text, as they look on a screen: `&lt;EMAIL_1&gt;` is one too."""
        if not _MAY_HOLD_ONE.search(text):
            return
        seen = view(text)
        for match in PLACEHOLDER.finditer(seen.text):
            name = match[0][1:-1].rpartition("_")[0]
            yield Given(*seen.source(*match.span()), self.kinds.get(name), match[0])


@dataclass
class Span:
    """A private span of one text, in characters of that text. `of`: the value it is a copy of, if spelled otherwise."""

    start: int
    end: int
    kind: str
    recognizer: str
    of: str | None = None

    def stands_for(self, text: str) -> str:
        """The value whose stand-in it gets."""
        return self.of if self.of is not None else text[self.start : self.end]


@dataclass
class Draft:
    """A text being masked, with the spans masked so far.

    `given` are the placeholders that it came with and that stay, `kept` the places that must not be masked; `key` is
    that of a single value, and `number` says that it is one.
    """

    text: str
    full: bool  # False: a single value, which NER can't classify well
    key: str = ""
    number: bool = False
    given: list[Given] = field(default_factory=list)
    kept: list[tuple[int, int]] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    written: list[tuple[int, int, str]] = field(
        default_factory=list
    )  # places, and what stands there once it is rendered

    def masked_place(self, place: int) -> int:
        """Where a place of the text, in no masked value, is in the rendered text."""
        return place + sum(len(new) - (end - start) for start, end, new in self.written if end <= place)

    def part(self, start: int, end: int) -> None:
        """Let no masked value reach over the gap from `start` to `end`: it becomes two."""
        for span in [one for one in self.spans if one.start < end and start < one.end]:
            self.spans.remove(span)
            if span.start < start:
                self.spans.append(replace(span, end=start, of=None))
            if end < span.end:
                self.spans.append(replace(span, start=end, of=None))
        self.spans.sort(key=lambda span: span.start)

    def view(self) -> View:
        """The text as recognizers should see it: a placeholder that it came with reads as what it stands for."""
        blanks = [(one.start, one.end, kind_of(one.kind or "").reads_as) for one in self.given]
        blanks += [(span.start, span.end, kind_of(span.kind).reads_as) for span in self.spans]  # of no known kind
        if "\\" in self.text and _IN_JSON.search(self.text):
            blanks += [(*escape.span(), "\n") for escape in _LINE_BREAK.finditer(self.text)]
        return view(self.text, sorted(blanks))

    def clear(self) -> list[str]:
        """The parts of the text that stay as they are."""
        parts, at = [], 0
        replaced: list[Span | Given] = [*self.spans, *self.given]
        for span in sorted(replaced, key=lambda span: span.start):
            parts.append(self.text[at : span.start])
            at = span.end
        return [*parts, self.text[at:]]

    def add(self, found: Iterable[Found]) -> list[Span]:
        """Add the parts of the spans (in characters of the text) that are not masked yet; returns the new spans."""
        new: list[Span] = []
        taken = sorted(
            [(span.start, span.end) for span in self.spans]
            + [(given.start, given.end) for given in self.given]
            + self.kept
        )
        for candidate in _merged(found):
            for start, end in free(taken, candidate.start, candidate.end):
                edge = " \t\r\n" if (start, end) == (candidate.start, candidate.end) else EDGE
                piece = self.text[start:end]
                start += len(piece) - len(piece.lstrip(edge))
                end -= len(piece) - len(piece.rstrip(edge)) if start < end else 0
                seen = any(map(str.isalnum, view(self.text[start:end]).text)) or candidate.recognizer == "hidden"
                if start >= end or not seen:
                    continue
                piece = self.text[start:end]
                part = (start, end) != (candidate.start, candidate.end)
                if part and (piece in "sS" or is_stop(fold(piece))):
                    continue  # what one recognizer left of "Rosa's" or "Rosa to Adam", and another did not
                found_name = candidate.kind == "PERSON" and candidate.recognizer not in ("deny_list", "known_value")
                if found_name and self._cut(candidate) and self._begins(start, end):
                    continue  # a value that stays leaves of "Add Ray Noble" a word that names no one
                new.append(Span(start, end, candidate.kind, candidate.recognizer))
                taken.insert(bisect_left(taken, (start, end)), (start, end))
        if new:
            self.spans = self._joined(sorted(self.spans + new, key=lambda span: span.start))
        return new

    def _cut(self, found: Found) -> bool:
        """Whether a place that must not be masked lies in what was found."""
        return any(low < found.end and found.start < high for low, high in self.kept)

    def _begins(self, start: int, end: int) -> bool:
        """Whether everyday words that begin a sentence, and that are no given names, stand there."""
        before = self.text[:start].rstrip(" \t\"'")
        words = [fold(word) for word in RUNS.findall(self.text[start:end])]
        return (not before or before[-1] in ".!?:\n") and all(
            word.isalpha() and is_common(word) and (word in _NEVER_NAMES or word not in first_names("en"))
            for word in words
        )

    def cover(self, start: int, end: int, kind: str, recognizer: str) -> None:
        """Mask a whole value of which parts may be masked already; they become part of it."""
        if any(low < end and start < high for low, high in self.kept) or any(
            one.start < end and start < one.end for one in self.given
        ):
            self.add([Found(start, end, kind, 0.9, recognizer)])
            return
        first = bisect_right(self.spans, start, key=lambda span: span.end)
        last = bisect_left(self.spans, end, key=lambda span: span.start)
        touched = self.spans[first:last]
        if any(span.start <= start and end <= span.end for span in touched):
            return
        for span in touched:
            start, end = min(start, span.start), max(end, span.end)
        self.spans[first:last] = [Span(start, end, kind, recognizer)]

    def blanked(self) -> tuple[str, list[tuple[int, int]]]:
        """The text with its masked spans blanked, and how to get back: (place in it, place in the text) of each piece."""
        pieces, starts, at, length = [], [], 0, 0
        for span in self.spans:
            starts.append((length, at))
            pieces += [self.text[at : span.start], BLANK]
            length += span.start - at
            starts.append((length, -1))
            length += len(BLANK)
            at = span.end
        starts.append((length, at))
        return "".join([*pieces, self.text[at:]]), starts

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
                and not between.strip(_BETWEEN.get(span.kind, " \t"))
            ):
                last.end = span.end
            else:
                joined.append(span)
        return joined


_WHOLE = ("field", "identifier")  # recognizers of whole values: what others find inside one is a part of it


def _merged(found: Iterable[Found]) -> list[Found]:
    """Overlapping spans of the same kind merged; the highest score first."""
    by_kind: dict[str, list[Found]] = defaultdict(list)
    found = list(found)
    whole = sorted((span.start, -span.end) for span in found if span.recognizer in _WHOLE)
    for span in found:
        at = bisect_right(whole, (span.start, -span.end - 1)) - 1  # the last longer one that starts no later
        if at < 0 or -whole[at][1] <= span.end or span.recognizer in _WHOLE:
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


def free(taken: Sequence[tuple[int, int]], start: int, end: int) -> list[tuple[int, int]]:
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
