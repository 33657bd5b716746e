"""What an answer copies from a text, masked as the text shows it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from hallmark.mask.allowed_places import Place, near_places, places
from hallmark.mask.date_values import Day, Reader
from hallmark.mask.dates import DATE
from hallmark.mask.lexicon import fold
from hallmark.mask.spans import Draft, Span
from hallmark.mask.surrogates import canonical


class Spot(NamedTuple):
    """A place of a text in which a value stands."""

    source: Draft
    place: Place

    @property
    def spans(self) -> list[Span]:
        """What is masked there, in order."""
        low, high = self.place
        return sorted(
            (span for span in self.source.spans if span.start < high and low < span.end), key=lambda span: span.start
        )

    @property
    def whole(self) -> bool:
        """Whether no masked value goes beyond the place."""
        return all(self.place[0] <= span.start and span.end <= self.place[1] for span in self.spans)


class Standing:
    """Where each of some values stands in a text, in any spelling."""

    def __init__(self, text: str, values: Sequence[str], dates: Reader) -> None:
        self.text, self.dates = text, dates
        self.found = places(text, values)
        self.near: set[str] = set()  # those that stand there with a few other letters only
        self.days: dict[Day, list[Place]] | None = None

    def of(self, value: str) -> list[Place]:
        """The places of a value; of a date also those that name its day otherwise, of a long value those with other letters."""
        if value in self.found:
            return self.found[value]
        day = self.dates.read(value)
        if day and day.day and day.year:
            self.found[value] = self._named(day)
        else:
            self.found[value] = near_places(self.text, value)
            self.near.add(value)
        return self.found[value]

    def _named(self, day: Day) -> list[Place]:
        if self.days is None:
            self.days = defaultdict(list)
            for match in DATE.finditer(self.text):
                if other := self.dates.read(match[0]):
                    for known in {other, replace(other, clock="")}:
                        self.days[known].append(match.span())
        return self.days.get(day) or self.days.get(replace(day, clock="")) or []


def as_shown(copy: Draft, spots: list[Spot], dates: Reader) -> list[Span]:
    """The spans of a copied value: none if it can be read in the text, else those of the place that it stands in."""
    masked = [spot for spot in spots if spot.spans]
    if not masked or (len(masked) < len(spots) and not copy.spans):
        return []
    spot = next((spot for spot in masked if spot.whole), masked[0])
    # a date inside of another value has no stand-in of its own
    if not spot.whole and not _same_letters(spot, copy.text):
        return copy.spans
    found: list[Span] = []
    for span in spot.spans:
        value = spot.source.text[span.start : span.end]
        low, high = _mapped(spot, span, copy.text)
        if low < high and (not found or low >= found[-1].end):
            part = copy.text[low:high]
            # A part of a name is masked as that part by itself.
            same = _same(dates, part, value) or (span.kind == "PERSON" and _words(part) <= _words(value))
            found.append(Span(low, high, span.kind, span.recognizer, None if same else value))
    known = {(span.start, span.end, span.kind): span for span in copy.spans}
    return [known.get((span.start, span.end, span.kind), span) if span.of is None else span for span in found]


def _mapped(spot: Spot, span: Span, copy: str) -> Place:
    """Where a value has what a span masks of a place; all of it, if it is spelled otherwise."""
    text, (start, end) = spot.source.text, spot.place
    if not _same_letters(spot, copy):
        return 0, len(copy)
    there, here = _letters(text[start:end]), _letters(copy)
    inside = [number for number, (_, at) in enumerate(there) if span.start <= start + at < span.end]
    if not inside:
        return 0, 0
    low, high = here[inside[0]][1], here[inside[-1]][1] + 1
    first, last = start + there[inside[0]][1], start + there[inside[-1]][1] + 1
    while low and first > span.start and copy[low - 1] == text[first - 1]:  # a plus, a bracket
        low, first = low - 1, first - 1
    while high < len(copy) and last < span.end and copy[high] == text[last]:
        high, last = high + 1, last + 1
    return low, high


def _same_letters(spot: Spot, copy: str) -> bool:
    """Whether a place has the letters and digits of a value: it may be spelled otherwise, as dates are."""
    start, end = spot.place
    return [letter for letter, _ in _letters(spot.source.text[start:end])] == [letter for letter, _ in _letters(copy)]


def _letters(text: str) -> list[tuple[str, int]]:
    """The folded letters and digits of a text, each with its place."""
    return [(letter, at) for at, char in enumerate(text) if char.isalnum() for letter in fold(char)]


def _words(name: str) -> set[str]:
    return {canonical(word) for word in name.split()}


def _same(dates: Reader, one: str, other: str) -> bool:
    """Whether two spellings are of one value, which then get one stand-in by themselves."""
    day = dates.read(one)
    return canonical(one) == canonical(other) or (day is not None and day == dates.read(other))
