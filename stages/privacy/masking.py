"""The masker: finds private values in a record's texts and puts the same stand-in for the same value in all of them.

`Masker(params.mask)(text)` masks one text, for a server; `Masker.records` masks many records at once, for the stage.

A text is read as a `View` in which everything masked so far is a blank. Known values and rules run until they find
nothing more in that view, then NER, until that too finds nothing. So masking a masked text changes nothing: its view is
the one that was searched last.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from stages.privacy.known import KnownValues
from stages.privacy.lexicon import fold, is_word
from stages.privacy.names import accept, truecase
from stages.privacy.normal import View, view
from stages.privacy.params import Mask
from stages.privacy.rules import Found
from stages.privacy.surrogates import PLACEHOLDER, SHORT, canonical, digest, placeholder, secret, surrogate

if TYPE_CHECKING:
    from presidio_anonymizer import AnonymizerEngine

    from stages.privacy.recognizers import Analyzer

BLANK = {"PERSON": "Mary"}  # what a masked value reads as while the rest is searched
OVERLAP = 200  # characters that two windows share
REPEATED = {
    "PERSON",
    "EMAIL_ADDRESS",
    "PHONE_NUMBER",
    "USERNAME",
    "SECRET",
    "ACCOUNT",
    "ORGANIZATION",
    "STREET_ADDRESS",
}
_WORD = re.compile(r"[^\W\d_][\w'’-]*")
_EDGE = " \t\r\n.,;:!?\"'()[]{}<>|*_/\\-–—…"


@dataclass
class Span:
    """A private span of one text, in characters of that text."""

    start: int
    end: int
    kind: str
    recognizer: str


@dataclass
class Masked:
    """A masked text, and the spans of the original that were masked."""

    text: str
    spans: list[Span]


@dataclass
class _Text:
    """One text under way. `given` are the placeholders it came with."""

    text: str
    full: bool  # False: a single value, on which NER guesses badly
    given: list[tuple[int, int]] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    rules_due: bool = True
    ner_due: bool = True

    def view(self) -> View:
        blanks = [(span.start, span.end, BLANK.get(span.kind, "it")) for span in self.spans]
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
                and span.kind in ("PERSON", "STREET_ADDRESS")
                and len(between) <= 4
                and not between.strip(" ,\t")
            ):
                last.end = span.end
            else:
                joined.append(span)
        return joined


def _blank_of(text: str) -> str:
    return BLANK.get(text[1:].rpartition("_")[0], "it")


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


class Masker:
    """Masks texts as `params` say. Loads its models on first use.

    `public` are values that anyone may see (a schema's enums): names and NER leave them alone.
    """

    def __init__(self, params: Mask, public: Iterable[str] = ()) -> None:
        self.params = params
        self.key = secret(params.secret)
        self._allowed = _phrases(params.allow)
        self._public = _phrases(public)
        # What small English models get wrong is known, and mended; what another model finds is taken as it is.
        self._small = params.language == "en" and params.ner.engine == "spacy"

    @cached_property
    def analyzer(self) -> Analyzer:
        """Presidio with our recognizers and the NER model, loaded once."""
        from stages.privacy.recognizers import Analyzer

        return Analyzer(self.params)

    @cached_property
    def anonymizer(self) -> AnonymizerEngine:
        """Presidio's engine that puts values in the place of spans."""
        from presidio_anonymizer import AnonymizerEngine

        return AnonymizerEngine()

    def load(self) -> None:
        """Load the models and word lists now; otherwise the first texts do."""
        self("Ask Rosa Miller from Leeds, 12 Elm Street, Oslo, Norway.")

    def __call__(self, text: str) -> Masked:
        """Mask one text."""
        return self.records([Record([text])])[0][0]

    def records(self, records: Sequence[Record]) -> list[list[Masked]]:
        """Mask the texts of each record; every record is numbered on its own."""
        self.find(records)
        return [self.render(record) for record in records]

    def find(self, records: Sequence[Record]) -> None:
        """Find the private spans of each record, in place."""
        while True:
            while any(text.rules_due for record in records for text in record.texts):
                for record in records:
                    self._rules(record)
            if not self._ner(records):
                return

    def _rules(self, record: Record) -> None:
        new: list[tuple[str, str]] = []
        for text in record.texts:
            if not text.rules_due:
                continue
            text.rules_due = False
            seen = text.view()
            found = [
                Found(one.start + offset, one.end + offset, *one[2:])
                for offset, window in windows(seen.text, self.params.window)
                for one in self.analyzer.rules(window)
            ]
            if record.known:
                found += record.known.find(seen.text)
            new += self._take(text, seen, found)
        self._repeat(record, new)

    def _ner(self, records: Sequence[Record]) -> bool:
        """Run NER where a word may be a name; whether it found anything."""
        due: list[tuple[Record, _Text, View, int, str]] = []
        for record in records:
            for text in record.texts:
                if text.ner_due and text.full:
                    seen = text.view()
                    due += [
                        (record, text, seen, offset, truecase(window) if self._small else window)
                        for offset, window in windows(seen.text, self.params.window)
                        if self._may_name(window)
                    ]
                text.ner_due = False
        distinct = {window: None for *_, window in due}
        results = dict(zip(distinct, self.analyzer.ner(list(distinct)), strict=True))
        any_new = False
        for record, text, seen, offset, window in due:
            found = [
                Found(one.start + offset, one.end + offset, *one[2:])
                for one in (accept(window, each) if self._small else each for each in results[window])
                if one is not None
            ]
            new = self._take(text, seen, found)
            self._repeat(record, new)
            any_new = any_new or bool(new)
        return any_new

    def _may_name(self, text: str) -> bool:
        """Whether a word is left that could be a name: NER is what takes the time."""
        if not self._small:
            return True
        return any(may_be_name(text, match) for match in _WORD.finditer(text))

    def _take(self, text: _Text, seen: View, found: Iterable[Found]) -> list[tuple[str, str]]:
        """Mask what may be masked of the spans found in the view; returns (kind, value) of the new ones."""
        kept = []
        allowed = [match.span() for match in self._allowed.finditer(seen.text)] if self._allowed else []
        public = [match.span() for match in self._public.finditer(seen.text)] if self._public else []
        for one in found:
            if self.params.actions.get(one.kind) == "keep":
                continue
            harmless = allowed + public if one.score < 0.7 else allowed
            if any(start <= one.start and one.end <= end for start, end in harmless):
                continue
            start, end = seen.source(one.start, one.end)
            kept.append(one._replace(start=start, end=end))
        return [(span.kind, text.text[span.start : span.end]) for span in text.add(kept)]

    def _repeat(self, record: Record, new: Iterable[tuple[str, str]]) -> None:
        """Mask the values just found wherever else they stand in the record."""
        values: dict[str, str] = {}
        for kind, value in new:
            if kind not in REPEATED or len(canonical(value)) < 4:
                continue
            values[value.lower()] = kind
            if kind == "PERSON":
                values |= {
                    part.lower(): kind for part in _WORD.findall(value) if len(part) > 3 and not is_word(fold(part))
                }
        for text in record.texts if values else ():
            lower = text.text.lower()
            if len(lower) == len(text.text):  # but for a few letters, such as a dotted capital I
                text.add(
                    [
                        Found(*span, kind, 0.9, "repeat")
                        for value, kind in values.items()
                        for span in _occurrences(lower, value)
                    ]
                )

    def render(self, record: Record, *, plain: bool = False) -> list[Masked]:
        """The record's texts with their spans replaced. `plain`: values that fit a schema's formats, numbered."""
        names = _Names(self, record, plain)
        return [Masked(self._replaced(text, names), text.spans) for text in record.texts]

    def _replaced(self, text: _Text, names: _Names) -> str:
        """The text with what stands for each span in its place. Each span is a kind of its own to Presidio's anonymizer:
        it works from the end, while we number from the start, and it would join neighbours of one kind."""
        if not text.spans:
            return text.text
        from presidio_anonymizer.entities import OperatorConfig, RecognizerResult

        spans, operators = [], {}
        for number, span in enumerate(text.spans):
            value = names.replacement(span.kind, text.text[span.start : span.end])
            spans.append(RecognizerResult(str(number), span.start, span.end, 1.0))
            operators[str(number)] = OperatorConfig("replace", {"new_value": value})
        return str(self.anonymizer.anonymize(text.text, spans, operators).text)

    def dropped(self, record: Record) -> bool:
        """Whether the record holds a kind whose action is to drop it."""
        return any(self.params.actions.get(span.kind) == "drop" for text in record.texts for span in text.spans)


class Record:
    """The texts of one record, masked together. `values` are single values, which NER does not read."""

    def __init__(self, texts: Sequence[str], values: Sequence[str] = (), known: KnownValues | None = None) -> None:
        self.texts = [_Text(text, True) for text in texts] + [_Text(value, False) for value in values]
        self.known = known
        for text in self.texts:
            text.given = [match.span() for match in PLACEHOLDER.finditer(text.text)]


class _Names:
    """What stands for each value of one record."""

    def __init__(self, masker: Masker, record: Record, plain: bool) -> None:
        self.masker, self.plain = masker, plain
        self.numbers: dict[str, dict[str, int]] = defaultdict(dict)
        self.people: list[tuple[list[str], int]] = []
        self.last: dict[str, int] = defaultdict(int)
        for text in record.texts:
            for start, end in text.given:
                name, _, number = text.text[start + 1 : end - 1].rpartition("_")
                self.last[name] = max(self.last[name], int(number))

    def replacement(self, kind: str, value: str) -> str:
        params = self.masker.params
        shown = view(value).text
        number = self._number(kind, shown)
        style = params.actions.get(kind, params.style)
        if self.plain:
            return surrogate(kind, digest(None, kind, str(number)), params.language)
        if style != "surrogate":
            return placeholder(kind, number)
        owner = next((words for words, known in self.people if known == number), None) if kind == "PERSON" else None
        full = surrogate(
            kind, digest(self.masker.key, kind, "".join(owner) if owner else canonical(shown)), params.language
        )
        words = fold(shown).split()
        if owner and len(words) < len(owner):  # a part of a name becomes that part of its surrogate
            first, _, rest = full.partition(" ")
            return first if words[0] == owner[0] else rest
        return full

    def _number(self, kind: str, value: str) -> int:
        key = canonical(value)
        known = self.numbers[kind]
        if key in known:
            return known[key]
        words = [canonical(word) for word in value.split()]
        if kind == "PERSON":
            for other, number in self.people:
                if set(words) <= set(other):
                    known[key] = number
                    return number
        name = SHORT.get(kind, kind)
        self.last[name] += 1
        known[key] = self.last[name]
        if kind == "PERSON":
            self.people.append((words, known[key]))
        return known[key]


def _phrases(phrases: Iterable[str]) -> re.Pattern[str] | None:
    words = sorted({phrase for phrase in phrases if phrase.strip()}, key=lambda phrase: (-len(phrase), phrase))
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, words))})(?!\w)", re.IGNORECASE) if words else None


def windows(text: str, size: int) -> Iterator[tuple[int, str]]:
    """Pieces of at most `size` characters that overlap and end between words, each with its offset."""
    start = 0
    while len(text) - start > size:
        end = max(text.rfind(" ", start + size // 2, start + size), text.rfind("\n", start + size // 2, start + size))
        end = end if end > 0 else start + size
        yield start, text[start:end]
        overlap = min(OVERLAP, size // 4)
        space = text.find(" ", end - overlap, end)
        start = space + 1 if space > 0 else end - overlap
    yield start, text[start:]


def _occurrences(text: str, value: str) -> Iterator[tuple[int, int]]:
    """Where `value` stands in `text` as a word of its own."""
    at = text.find(value)
    while at >= 0:
        end = at + len(value)
        if not (at and text[at - 1].isalnum()) and not text[end : end + 1].isalnum():
            yield at, end
        at = text.find(value, end)


_NOT_NAMES = frozenset(
    [
        "i",
        "i'm",
        "i've",
        "i'll",
        "i'd",
        "it",
        "ok",
        "okay",
        "mon",
        "tue",
        "wed",
        "thu",
        "fri",
        "sat",
        "sun",
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
        "january",
        "february",
        "march",
        "april",
        "may",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
        "jan",
        "feb",
        "mar",
        "apr",
        "jun",
        "jul",
        "aug",
        "sep",
        "sept",
        "oct",
        "nov",
        "dec",
        "am",
        "pm",
        "utc",
        "gmt",
        "re",
        "fw",
        "fwd",
        "cc",
        "bcc",
        "asap",
        "fyi",
        "eur",
        "usd",
        "gbp",
        "vat",
        "pdf",
        "csv",
        "url",
        "api",
        "usb",
        "pc",
        "tv",
        "vpn",
        "wifi",
        "sms",
        "pin",
        "app",
        "id",
    ]
)
_SENTENCE = re.compile(r"(?:^|[.!?:\n>*\"'(•-])\s*$")


def may_be_name(text: str, match: re.Match[str]) -> bool:
    """Whether a word of a text could be (part of) a name."""
    word = match[0]
    lower = fold(word)
    if lower in _NOT_NAMES or word == "Mary":
        return False
    if word[0].isupper():
        return not (
            is_word(lower) and (_SENTENCE.search(text, max(0, match.start() - 4), match.start()) or word.isupper())
        )
    return False
