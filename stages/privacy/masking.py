"""The masker: find private values in a record's texts and replace each by the same stand-in in all of them.

`Masker(params.mask)(text)` masks one text, for a server; `Masker.records` masks many records at once, for the stage.

A text is searched as a `View` in which everything masked so far is blanked out. Known values and rules run until they
find nothing more in that view, then NER, until it finds nothing either. So masking a masked text changes nothing: its
view is the one searched last.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from stages.core.errors import HallmarkError
from stages.privacy.given import UNKNOWN, Given, Readers
from stages.privacy.kept import Kept
from stages.privacy.kinds import kind_of
from stages.privacy.known import KnownValues
from stages.privacy.lexicon import any_of, fold, is_word
from stages.privacy.ner import accept, may_be_name, truecase
from stages.privacy.normal import View
from stages.privacy.numbering import StandIns
from stages.privacy.params import Mask
from stages.privacy.rules import Found
from stages.privacy.spans import Draft, Span
from stages.privacy.surrogates import canonical
from stages.privacy.unmaskable import number_kind

if TYPE_CHECKING:
    from presidio_anonymizer import AnonymizerEngine

    from stages.privacy.recognizers import Analyzer

OVERLAP = 200  # characters that two windows share
_WORD = re.compile(r"[^\W\d_][\w'’-]*")


@dataclass
class Masked:
    """A masked text, and the masked spans of the original."""

    text: str
    spans: list[Span]


class Masker:
    """Masks texts according to `params`. Loads its models on first use.

    `public` are values that anyone may see (a schema's enums): name rules and NER ignore them. `key` is the repo's key
    (`stages/core/key.py`), without which there are no surrogates.
    """

    def __init__(self, params: Mask, public: Iterable[str] = (), key: bytes | None = None) -> None:
        if params.surrogates and key is None:
            raise HallmarkError(
                "surrogates are made with the repo's key, and none was given",
                param="mask.style",
                remedy="give the masker the key that read_key(params.data, surrogates=True) returns",
            )
        self.params, self.key = params, key
        self._allowed = _phrases(params.allow)
        self.kept = Kept(params.allow_patterns)
        self._public = _phrases(public)
        self._readers = Readers(params, public)
        # The mistakes of small English models are known and corrected; the findings of other models are used unchanged.
        self._small = params.language == "en" and params.ner.engine == "spacy"

    @cached_property
    def analyzer(self) -> Analyzer:
        """Presidio with our recognizers and the NER model, loaded once."""
        from stages.privacy.recognizers import Analyzer

        return Analyzer(self.params)

    @cached_property
    def anonymizer(self) -> AnonymizerEngine:
        """Presidio's engine that replaces spans by values."""
        from presidio_anonymizer import AnonymizerEngine

        return AnonymizerEngine()

    def load(self) -> None:
        """Load the models and word lists now instead of with the first text."""
        self("Ask Rosa Miller from Leeds, 12 Elm Street, Oslo, Norway.")

    def __call__(self, text: str) -> Masked:
        """Mask one text."""
        return self.records([Record([text])])[0][0]

    def records(self, records: Sequence[Record]) -> list[list[Masked]]:
        """Mask the texts of each record; placeholders are numbered per record."""
        self.find(records)
        return [self.render(record) for record in records]

    def find(self, records: Sequence[Record]) -> None:
        """Find the private spans of each record and store them in it."""
        for record in records:
            for text in record.texts:
                text.kept = self.kept.spans(text.text, record.keep)
                self._read_given(text)
        while True:
            while any(text.rules_pending for record in records for text in record.texts):
                for record in records:
                    self._rules(record)
            found = self._ner(records)
            numbers = [self._numbers(record) for record in records]
            if not found and not any(numbers):
                return

    def _read_given(self, text: Draft) -> None:
        """Tell the placeholders that came with the text from those that masking puts in."""
        found = list(self._readers.find(text.text))
        text.given = [one for one in found if one.kind or one.reads in self._readers.public]
        if len(text.given) < len(found):
            unknown = [Found(one.start, one.end, UNKNOWN, 1.0, "given") for one in found if one not in text.given]
            self._take(text, View(text.text), unknown)

    def _rules(self, record: Record) -> None:
        new: list[tuple[str, str]] = []
        for text in record.texts:
            if not text.rules_pending:
                continue
            text.rules_pending = False
            if text.cue is not None:
                continue
            seen = text.view()
            found = [
                span._replace(start=span.start + offset, end=span.end + offset)
                for offset, window in windows(seen.text, self.params.window)
                for span in self.analyzer.rules(window)
            ]
            if record.known:
                found += record.known.find(seen.text)
            new += self._take(text, seen, found)
        self._repeat(record, new)

    def _ner(self, records: Sequence[Record]) -> bool:
        """Run NER on windows that may contain names; returns whether it found anything new."""
        pending: list[tuple[Record, Draft, View, int, str]] = []
        for record in records:
            for text in record.texts:
                if text.ner_pending and text.full:
                    seen = text.view()
                    pending += [
                        (record, text, seen, offset, truecase(window) if self._small else window)
                        for offset, window in windows(seen.text, self.params.window)
                        if self._may_name(window)
                    ]
                text.ner_pending = False
        distinct = {window: None for *_, window in pending}
        results = dict(zip(distinct, self.analyzer.ner(list(distinct)), strict=True))
        any_new = False
        for record, text, seen, offset, window in pending:
            found = [
                span._replace(start=span.start + offset, end=span.end + offset)
                for span in (accept(window, result) if self._small else result for result in results[window])
                if span is not None
            ]
            new = self._take(text, seen, found)
            self._repeat(record, new)
            any_new = any_new or bool(new)
        return any_new

    def _numbers(self, record: Record) -> bool:
        """Mask the numbers that are private, and their digits wherever they stand; returns whether there were any."""
        new = []
        for text in record.texts:
            if text.cue is not None and not text.spans and (kind := number_kind(text, record.texts, record.known)):
                new += self._take(text, View(text.text), [Found(0, len(text.text), kind, 1.0, "number")])
        self._repeat(record, new)
        return bool(new)

    def _may_name(self, text: str) -> bool:
        """Whether any word could be a name: skipping NER, the slow part, saves time."""
        if not self._small:
            return True
        return any(may_be_name(text, match) for match in _WORD.finditer(text))

    def _take(self, text: Draft, seen: View, found: Iterable[Found]) -> list[tuple[str, str]]:
        """Mask the spans found in the view, except allowed ones; returns (kind, value) of the new spans."""
        to_mask = []
        allowed = [match.span() for match in self._allowed.finditer(seen.text)] if self._allowed else []
        public = [match.span() for match in self._public.finditer(seen.text)] if self._public else []
        for span in found:
            if self.params.actions.get(span.kind) == "keep":
                continue
            harmless = allowed + public if span.score < 0.7 else allowed
            if any(start <= span.start and span.end <= end for start, end in harmless):
                continue
            start, end = seen.source(span.start, span.end)
            to_mask.append(span._replace(start=start, end=end))
        return [(new.kind, text.text[new.start : new.end]) for new in text.add(to_mask)]

    def _repeat(self, record: Record, new: Iterable[tuple[str, str]]) -> None:
        """Mask the newly found values everywhere else in the record."""
        values: dict[str, str] = {}
        for kind, value in new:
            if not kind_of(kind).repeated or len(canonical(value)) < 4:
                continue
            values[value.lower()] = kind
            if kind == "PERSON":
                values |= {
                    part.lower(): kind for part in _WORD.findall(value) if len(part) > 3 and not is_word(fold(part))
                }
        for text in record.texts if values else ():
            lower = text.text.lower()
            if text.cue is None and len(lower) == len(
                text.text
            ):  # true except for a few letters, such as a dotted capital I
                text.add(
                    [
                        Found(*span, kind, 0.9, "repeat")
                        for value, kind in values.items()
                        for span in _occurrences(lower, value)
                    ]
                )

    def render(self, record: Record, *, plain: bool = False) -> list[Masked]:
        """The record's texts with their spans replaced. `plain`: by numbered values that fit a schema's formats."""
        stand_ins = StandIns(self.params, self.key, self._readers.public, plain)
        return [Masked(self._replaced(text, stand_ins), text.spans) for text in record.texts]

    def _replaced(self, text: Draft, stand_ins: StandIns) -> str:
        """The text with each span replaced by its stand-in.

        Each span is passed to Presidio's anonymizer as its own kind, because it would merge neighbours of the same kind,
        and because it works from the end while we number from the start.
        """
        if not text.spans and not text.given:
            return text.text
        from presidio_anonymizer.entities import OperatorConfig, RecognizerResult

        spans, operators = [], {}
        replaced: list[Span | Given] = [*text.spans, *text.given]
        for number, span in enumerate(sorted(replaced, key=lambda span: span.start)):
            if isinstance(span, Given):
                value = stand_ins.given(span.reads)
            else:
                value = stand_ins.replacement(span.kind, text.text[span.start : span.end])
            spans.append(RecognizerResult(str(number), span.start, span.end, 1.0))
            operators[str(number)] = OperatorConfig("replace", {"new_value": value})
        return str(self.anonymizer.anonymize(text.text, spans, operators).text)

    def dropped(self, record: Record) -> bool:
        """Whether the record contains a kind whose action is `drop`."""
        return any(self.params.actions.get(span.kind) == "drop" for text in record.texts for span in text.spans)


class Record:
    """The texts of one record, masked together.

    `values` are single values, which NER skips; a pair is the digits of a number and the words before it. `keep` are
    values that stay wherever they stand, in any spelling (`stages/privacy/kept.py`).
    """

    def __init__(
        self,
        texts: Sequence[str],
        values: Sequence[str | tuple[str, str]] = (),
        known: KnownValues | None = None,
        keep: Sequence[str] = (),
    ) -> None:
        self.texts = [Draft(text, True) for text in texts]
        self.texts += [
            Draft(value, False) if isinstance(value, str) else Draft(value[0], False, value[1]) for value in values
        ]
        self.known, self.keep = known, keep


def _phrases(phrases: Iterable[str]) -> re.Pattern[str] | None:
    words = {phrase for phrase in phrases if phrase.strip()}
    return re.compile(rf"(?<!\w)(?:{any_of(words)})(?!\w)", re.IGNORECASE) if words else None


def windows(text: str, size: int) -> Iterator[tuple[int, str]]:
    """Overlapping pieces of at most `size` characters that end between words, each with its offset."""
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
    """The spans where `value` occurs in `text` as a separate word."""
    at = text.find(value)
    while at >= 0:
        end = at + len(value)
        if not (at and text[at - 1].isalnum()) and not text[end : end + 1].isalnum():
            yield at, end
        at = text.find(value, end)
