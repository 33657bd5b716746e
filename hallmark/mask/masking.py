"""The masker: find private values in a record's texts and replace each by the same stand-in in all of them.

`Masker(params.mask)(text)` masks one text, for a server; `Masker.records` masks many records at once, for the stage.

Every recognizer (known values, our rules, Presidio's recognizers, NER) sees the text once, as a `View`. What any of them
finds and the params don't keep is masked: where two overlap, the higher score names the kind, and the rest of the other is
masked too. Then the values are looked for in all texts of the record, and the second check masks what is left.
"""

from __future__ import annotations

import gc
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from hallmark.base.document import changed, named
from hallmark.base.errors import HallmarkError
from hallmark.mask.allowed_places import Kept, merged, outside
from hallmark.mask.context import NO_SIGN, weighed
from hallmark.mask.copies import Spot, Standing, as_shown
from hallmark.mask.date_values import Reader
from hallmark.mask.fields import SCORE, fields, kind_of_value, label_places
from hallmark.mask.identity_values import KnownValues, tokens_of
from hallmark.mask.kinds import DATES, kind_of, masked_at
from hallmark.mask.lexicon import any_of, is_word
from hallmark.mask.ner import accept, may_be_name, truecase
from hallmark.mask.numbering import StandIns, same_day
from hallmark.mask.params import Mask
from hallmark.mask.people import person, whole_words
from hallmark.mask.plain_view import View, hidden, view
from hallmark.mask.prefilter import Filtered, compiled
from hallmark.mask.presidio_import import import_libraries
from hallmark.mask.rules import Found
from hallmark.mask.second_check import matches
from hallmark.mask.spans import UNKNOWN, Draft, Given, Readers, Span
from hallmark.mask.surrogates import canonical, uses_key
from hallmark.mask.unmaskable import number_kind, number_of

if TYPE_CHECKING:
    from hallmark.mask.ner_engines import NerEngine
    from hallmark.mask.recognizers import Recognizers

OVERLAP = 200  # characters that two windows share where a text has no line or sentence to end one
THRESHOLD = 0.45  # lowest score of what is masked, at any level but `all`
SHORTEST = 4  # letters and digits of a value that is looked for in the whole record
# A word that the schema lists is no private value of these kinds, however sure a recognizer is; the model must see it.
NAME_LIKE = frozenset(("PERSON", "LOCATION", "ORGANIZATION", "TITLE", "NRP", "MISC"))
KEPT_RESULTS = 20_000  # texts whose rule findings are remembered: in chat, most turns are there many times
_WORD = re.compile(r"[^\W\d_][\w'’-]*")
# A tag of HTML: its frame stays, since half a tag spoils the text; the values of its attributes don't.
TAG = re.compile(
    r"(?P<opens></?(?:a|abbr|address|article|b|big|blockquote|body|br|button|caption|center|code|col|dd|del|div|dl|dt|em|font|"
    r"footer|form|h[1-6]|head|header|hr|html|i|iframe|img|input|ins|label|li|link|main|mark|meta|nav|ol|option|p|pre|q|s|section|"
    r"select|small|span|strike|strong|style|sub|sup|table|tbody|td|textarea|tfoot|th|thead|title|tr|u|ul|video)(?=[\s/>]))"
    r"[^<>]{0,1000}?(?P<closes>/?>)",
    re.IGNORECASE,
)
_INTEGER = re.compile(r"0|[1-9]\d{0,17}")
_JSON_NUMBER = re.compile(r"(?<![-+\d.eE])-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_ITEMS = r"(?:(?:-?\d[\d.eE+-]*|true|false|null|\"[^\"\n]{0,200}\")\s{0,8},\s{0,8}){0,40}"
_BEFORE_JSON = re.compile(
    rf"(?:[\"']\s{{0,8}}:\s{{0,8}}(?:\[[^\[\]{{}}]{{0,400}})?|(?:\[|[}}\]]\s{{0,8}},)\s{{0,8}}{_ITEMS})$"
)
_DIGITS = "-+.0123456789eE"  # what a number of JSON is made of
_ESCAPE = re.compile(r"\\u[\da-fA-F]{4}")
_AFTER_JSON = re.compile(r"\s{0,8}[,}\]]")


class Slot(NamedTuple):
    """A single value of a document: its text, the key that it stands under, and whether it is a number."""

    text: str
    key: str = ""
    number: bool = False


class Masked(NamedTuple):
    """A masked text, and the masked spans of the original."""

    text: str
    spans: list[Span]


class Drafts:
    """The texts of one record, masked together.

    `values` are single values, which NER skips (`Masker.slots_of` finds those of a document). The first `copies` of them may be copied from the texts. `name` draws where the dates of the record move.
    """

    def __init__(
        self,
        texts: Sequence[str],
        values: Sequence[Slot | str] = (),
        known: KnownValues | None = None,
        copies: int = 0,
        name: str = "",
    ) -> None:
        self.texts = [Draft(text, True) for text in texts]
        slots = [Slot(value) if isinstance(value, str) else value for value in values]
        self.texts += [Draft(slot.text, False, slot.key, slot.number) for slot in slots]
        self.copies = self.texts[len(texts) :][:copies]
        self.known, self.name = known, name
        self.values: dict[str, str] = {}  # by stand-in, as it was first written; once it is rendered


class Masker:
    """Masks texts according to `params`. Loads its models on first use.

    `public` are values that anyone may see (a schema's enums): name rules and NER ignore them. `key` is the repo's key
    (`hallmark/base/key.py`), without which only dates get surrogates.
    """

    def __init__(self, params: Mask, public: Iterable[str] = (), key: bytes | None = None) -> None:
        if uses_key(params) and key is None:
            raise HallmarkError(
                "surrogates are made with the repo's key, and none was given",
                param="mask.style",
                remedy="give the masker the key that read_key(params.data, surrogates=True) returns",
            )
        self.params, self.key = params, key
        self.kept = Kept(params.allow_patterns)
        self.public = frozenset(public)
        self._through = [_phrases(params.allow), _phrases(self.public)]
        self._readers = Readers(params, self.public)
        self.dates = Reader(params.day_first, params.language)
        self._everything = params.level == "all"
        # The mistakes of small English models are known and corrected; the findings of other models are used unchanged.
        self._small = params.language == "en" and params.ner.engine == "spacy"
        self._remembered: dict[str, list[Found]] = {}

    def slots_of(self, document: Any) -> list[Slot]:
        """The single values of a document that are masked: texts that aren't public, and numbers long enough to be private."""
        return [slot for key, item in named(document) if (slot := self._slot(item, key)) is not None]

    def filled(self, document: Any, masked: Iterator[str]) -> Any:
        """The document with its slots' masked texts in it, in their order; a number stays one unless it is private."""

        keys = (key for key, _ in named(document))

        def fill(value: Any) -> Any:
            if (slot := self._slot(value, next(keys))) is None:
                return value
            text = next(masked)
            if not slot.number:
                return text
            return value if text == slot.text else int(text) if _INTEGER.fullmatch(text) else text

        return changed(document, fill)

    def _slot(self, value: Any, key: str) -> Slot | None:
        if isinstance(value, str):
            return None if value in self.public else Slot(value, key)
        number = number_of(value, key)
        return None if number is None else Slot(number, key, True)

    @cached_property
    def recognizers(self) -> Recognizers:
        """Our rules and Presidio's recognizers, loaded once."""
        import_libraries(self.params)
        from hallmark.mask.recognizers import Recognizers

        return Recognizers(self.params, self.threshold)

    @cached_property
    def ner(self) -> NerEngine | None:
        """The NER model, loaded once."""
        if self.params.ner.engine == "none":
            return None
        import_libraries(self.params)
        from hallmark.mask.ner_engines import load_engine

        return load_engine(self.params)

    def load(self) -> None:
        """Load the models and word lists now instead of with the first text."""
        self("Ask Rosa Miller from Leeds, 12 Elm Street, Oslo, Norway.")
        gc.collect()
        gc.freeze()  # what is loaded now stays: no collection looks at it again

    def threshold(self, kind: str) -> float:
        """The lowest score at which a finding of that kind is masked; above 1 if the kind is not masked at all."""
        if self.params.actions.get(kind) == "keep" or not masked_at(self.params.level, kind):
            return 2.0
        return self.params.thresholds.get(kind, 0.0 if self._everything else THRESHOLD)

    def __call__(self, text: str) -> Masked:
        """Mask one text."""
        return self.records([Drafts([text])])[0][0]

    def records(self, records: Sequence[Drafts]) -> list[list[Masked]]:
        """Mask the texts of each record; placeholders are numbered per record."""
        self.find(records)
        return [self.render(record) for record in records]

    def find(self, records: Sequence[Drafts]) -> None:
        """Find the private spans of each record and store them in it."""
        for record in records:
            for text in record.texts:
                text.kept = self._stays(record, text.text)
        texts = [text for record in records for text in record.texts if not text.number]
        for text in texts:
            self._read_given(text)
        seen = [text.view() for text in texts]
        named = self._names(texts, seen)
        at = 0
        for record in records:
            new: list[tuple[str, str]] = []
            read = [text for text in record.texts if not text.number]
            found = [
                [*self._rules(text, seen[number], record.known), *named[number]] for number, text in enumerate(read, at)
            ]
            at += len(read)
            if not self._everything:
                found = weighed([text.text for text in read], found)
            for text, spans in zip(read, found, strict=True):
                new += self._take(text, spans)
            self._repeat(record, new)
            self._repeat(record, self._numbers(record))
            self._second_check(record)
            for text in read:
                _widen(text)
            self._agree(record)
            self._copy(record)

    def _stays(self, record: Drafts, text: str) -> list[tuple[int, int]]:
        """What must not be masked; what identifies the customer goes before what the params let through."""
        kept = self.kept.spans(text)
        if kept and record.known:
            known = merged((span.start, span.end) for span in record.known.find(text))
            kept = [part for place in kept for part in outside(text, *place, known)]
        for tag in TAG.finditer(text) if "<" in text else ():
            kept += [tag.span("opens"), tag.span("closes")]
        return kept

    def _read_given(self, text: Draft) -> None:
        """Tell the placeholders that came with the text from those that masking puts in."""
        found = list(self._readers.find(text.text))
        text.given = [one for one in found if one.kind or one.reads in self._readers.public]
        if len(text.given) < len(found):
            unknown = [Found(one.start, one.end, UNKNOWN, 1.0, "given") for one in found if one not in text.given]
            text.add(self._sifted(text.text, unknown))

    def _rules(self, text: Draft, seen: View, known: KnownValues | None) -> list[Found]:
        """What rules, Presidio's recognizers and known values find, in characters of the text."""
        found = self._remembered.get(seen.text)
        if found is None:
            rules = chain(self._in_windows(seen.text), fields(seen.text))
            found = list(self._sifted(seen.text, rules))
            if len(seen.text) < 500:
                if len(self._remembered) >= KEPT_RESULTS:
                    self._remembered.clear()
                self._remembered[seen.text] = found
        if known:
            found = [*found, *self._sifted(seen.text, known.find(seen.text))]
        shown = seen.text
        if kind := kind_of_value(text.key, shown.strip()) if text.key else None:
            found = [*found, *self._sifted(shown, [Found(0, len(shown), kind, SCORE, "field")])]
        placed = [_placed(seen, span) for span in found]
        carried = (Found(start, end, "SECRET", 1.0, "hidden") for start, end in hidden(text.text))
        placed += self._sifted(text.text, carried)
        # Nothing of what Presidio finds in the raw text is lost.
        if self._everything and len(seen.text) != len(text.text):
            placed += self._sifted(text.text, self.recognizers.presidio(text.text))
        return placed

    def _in_windows(self, text: str) -> Iterator[Found]:
        for offset, window in windows(text, self.params.window, OVERLAP):
            for span in self.recognizers.find(window):
                yield span._replace(start=span.start + offset, end=span.end + offset)

    def _names(self, texts: Sequence[Draft], seen: Sequence[View]) -> list[list[Found]]:
        """What NER finds in each text, in characters of the text."""
        found: list[list[Found]] = [[] for _ in texts]
        if self.ner is None:
            return found
        pending: list[tuple[int, View, int, str, str]] = []  # text, view, offset, window, the window as NER reads it
        for number, (text, shown) in enumerate(zip(texts, seen, strict=True)):
            if not text.full:
                continue
            views = [View(text.text) if len(shown.text) == len(text.text) and not text.given else shown]
            if self._everything and views[0] is shown:
                views.append(View(text.text))
            for each in views:
                for offset, window in windows(each.text, self.params.window, 0):
                    for reads in self._readings(window):
                        pending.append((number, each, offset, window, reads))
        distinct = list(dict.fromkeys(reads for *_, reads in pending))
        results = dict(zip(distinct, self.ner.find(distinct), strict=True))
        for number, shown, offset, window, reads in pending:
            spans = self._accepted(window, reads, results[reads])
            moved = (span._replace(start=span.start + offset, end=span.end + offset) for span in spans)
            found[number] += [_placed(shown, span) for span in self._sifted(shown.text, moved)]
        return found

    def _readings(self, window: str) -> list[str]:
        """How NER reads a window: as it is, and without capitals that say nothing. None at all if it can hold no name."""
        if not self._small:
            return [window]
        if self._everything:
            return list(dict.fromkeys([window, truecase(window)]))
        return [truecase(window)] if any(may_be_name(window, word) for word in _WORD.finditer(window)) else []

    def _accepted(self, window: str, reads: str, results: Iterable[Found]) -> Iterator[Found]:
        for span in results:
            if span.kind == "DATE_TIME" and not self._everything:
                continue  # which dates are private below that level, rules decide
            if not self._small:
                yield span
                continue
            if span.kind != "DATE_TIME" and (accepted := accept(reads, span)) is not None:
                yield accepted
            if self._everything and reads == window:
                yield span._replace(score=0.4)  # what is accepted names the kind

    def _sifted(self, text: str, found: Iterable[Found]) -> Iterator[Found]:
        """Those that are to be masked: of a kind and score that the params mask, and of no value that they let through."""
        places: list[list[tuple[int, int]]] = []  # of what they let through
        for given in found:
            guessed = given.recognizer not in ("known_value", "deny_list")
            span = person(text, given) if guessed and given.kind == "PERSON" else given
            if span is None or span.score < self.threshold(span.kind):
                continue
            if guessed and span.kind != "PERSON" and not span.recognizer.startswith("pattern"):
                span = whole_words(text, span)
            named = guessed and span.kind in NAME_LIKE
            places = places or [[match.span() for match in one.finditer(text)] if one else [] for one in self._through]
            labels = label_places(text) if named else ()
            label = labels[bisect_right(labels, (span.start, len(text))) - 1] if labels else (0, 0)
            harmless = chain([label], *places[: 2 if named or span.score < 0.7 else 1])
            if not any(start <= span.start and span.end <= end for start, end in harmless):
                yield span

    def _take(self, text: Draft, found: Iterable[Found]) -> list[tuple[str, str]]:
        """Mask the spans found in a text; returns (kind, value) of the new ones."""
        text.add(found)
        return [(span.kind, text.text[span.start : span.end]) for span in text.spans]

    def _repeat(self, record: Drafts, new: Iterable[tuple[str, str]]) -> None:
        """Mask newly found values wherever else they stand in the record, however broken into lines or punctuated.

        A value that means another thing elsewhere (an age, a form of address) is masked only where it is a whole field.
        """
        values: dict[str, list[tuple[list[str], str]]] = {}  # by first token: the tokens and the kind
        whole: dict[str, str] = {}
        done: set[tuple[str, str]] = set()  # a long text repeats its values: each is looked for once
        for kind, value in new:
            whole[canonical(value)] = kind
            tokens = [token for *_, token in tokens_of(value)]
            if not kind_of(kind).repeated or sum(map(len, tokens)) < SHORTEST or (kind, value) in done:
                continue
            done.add((kind, value))
            values.setdefault(tokens[0], []).append((tokens, kind))
            if kind == "PERSON":
                for part in tokens if len(tokens) > 1 else ():
                    if len(part) > 3 and not is_word(part):
                        values.setdefault(part, []).append(([part], kind))
        for text in record.texts if whole else ():
            if text.number:
                continue
            if not text.full and (field_kind := whole.get(canonical(text.text))):
                text.cover(0, len(text.text), field_kind, "repeat")
                continue
            for start, end, kind in _occurrences(text, values):
                before = text.text[max(0, start - 2) : start]
                sign = kind == "PHONE_NUMBER" and before.endswith("+") and not before[0].isalnum()
                text.cover(start - sign, end, kind, "repeat")

    def _numbers(self, record: Drafts) -> list[tuple[str, str]]:
        """Mask the numbers that are private; returns (kind, digits) of them."""
        new = []
        for text in record.texts:
            if not text.number or text.spans or not (kind := number_kind(text, record.texts, record.known)):
                continue
            masked = ((span.kind, other.text[span.start : span.end]) for other in record.texts for span in other.spans)
            if kind != "LOCATION" or self._everything or any(of not in NO_SIGN or text.text in it for of, it in masked):
                new += self._take(text, self._sifted(text.text, [Found(0, len(text.text), kind, 1.0, "number")]))
        return new

    def _second_check(self, record: Drafts) -> None:
        """Mask what the second check still finds in a text."""
        for text in record.texts:
            for _ in range(3):  # masking one value can show another
                if text.number or not (new := list(self._left(text))):
                    break
                text.add(new)
                self._repeat(record, [(span.kind, text.text[span.start : span.end]) for span in new])

    def _left(self, text: Draft) -> Iterator[Found]:
        shown, pieces = text.blanked()
        for start, end, kind in matches(shown):
            at, source = pieces[bisect_right(pieces, (start, len(text.text))) - 1]
            if source < 0:
                continue
            found = Found(source + start - at, min(source + end - at, len(text.text)), kind, 1.0, "second_check")
            if not any(low < found.end and found.start < high for low, high in text.kept):
                yield from self._sifted(text.text, [found])

    def _agree(self, record: Drafts) -> None:
        """Give equal values of a record one kind, that of the first, so that they get one stand-in.

        A kind with an action of its own stays.
        """
        kinds: dict[str, str] = {}
        for text in record.texts:
            for span in (span for span in text.spans if span.kind not in self.params.actions):
                value = text.text[span.start : span.end]
                day = self.dates.read(view(value).text) if span.kind in DATES else None
                span.kind = kinds.setdefault(same_day(day) if day else canonical(value), span.kind)

    def _copy(self, record: Drafts) -> None:
        """Mask what an answer copies from the texts as they show it: what stands there stands in the answer, and nothing else.

        Else the two may be masked differently: a part of a name here and all of it there, a year with a cue and without.
        """
        copies = [copy for copy in record.copies if not copy.number]
        sources = [text for text in record.texts if text.full] if copies else []
        values = [copy.text for copy in copies]
        standing = [(source, Standing(source.text, values, self.dates)) for source in sources]
        for copy in copies:
            if spots := [Spot(source, place) for source, there in standing for place in there.of(copy.text)]:
                copy.spans = as_shown(copy, spots, self.dates)

    def render(self, record: Drafts) -> list[Masked]:
        """The record's texts with their spans replaced; what each stand-in stands for is in `record.values` then."""
        record.values = {}
        for text in record.texts:
            text.written = []
        if not any(text.spans or text.given for text in record.texts):
            return [Masked(text.text, []) for text in record.texts]
        stand_ins = StandIns(self.params, self.key, self._readers.public, record.texts, record.name)
        meant: dict[str, set[str]] = {}
        masked = []
        for text in record.texts:
            pieces, at = [], 0
            replaced: list[Span | Given] = [*text.spans, *text.given]
            for span in sorted(replaced, key=lambda span: span.start):
                value = text.text[span.start : span.end]
                if isinstance(span, Given):
                    stand_in, means = stand_ins.given(span.reads), span.reads
                else:
                    stand_in, means = stand_ins.replacement(span.kind, span.stands_for(text.text), value)
                quoted = not _INTEGER.fullmatch(stand_in) and _is_json_number(text.text, span.start, span.end)
                written = f'"{stand_in}"' if quoted else stand_in
                pieces += [text.text[at : span.start], written]
                text.written.append((span.start, span.end, written))
                record.values.setdefault(stand_in, value)
                meant.setdefault(stand_in, set()).add(means)
                at = span.end
            masked.append(Masked("".join([*pieces, text.text[at:]]), text.spans))
        for stand_in in (stand_in for stand_in, means in meant.items() if len(means) > 1):
            del record.values[stand_in]  # a surrogate of two values
        return masked

    def dropped(self, record: Drafts) -> bool:
        """Whether the record contains a kind whose action is `drop`."""
        return any(self.params.actions.get(span.kind) == "drop" for text in record.texts for span in text.spans)


def _placed(view: View, span: Found) -> Found:
    """A span of a view in characters of the text behind it."""
    start, end = view.source(span.start, span.end)
    return span._replace(start=start, end=end)


def _widen(text: Draft) -> None:
    """Let spans take in the whole of a number of JSON and of an escape that they would cut: half of one spoils the text."""
    escapes = [match.span() for match in _ESCAPE.finditer(text.text)] if "\\u" in text.text else []
    for span in list(text.spans):
        start, end = span.start, span.end
        if not text.text[start:end].strip(_DIGITS):
            before, after = text.text[max(0, start - 40) : start], text.text[end : end + 40]
            whole = start - len(before) + len(before.rstrip(_DIGITS)), end + len(after) - len(after.lstrip(_DIGITS))
            start, end = whole if _is_json_number(text.text, *whole) else (start, end)
        for low, high in escapes[max(0, bisect_right(escapes, (start,)) - 1) : bisect_right(escapes, (end,))]:
            if low < start < high:
                start = low
            if low < end < high:
                end = high
        if (start, end) != (span.start, span.end):
            text.cover(start, end, span.kind, span.recognizer)


def _is_json_number(text: str, start: int, end: int) -> bool:
    """Whether a value is a number of JSON, in whose place only a text can stand in quotes."""
    number = _JSON_NUMBER.fullmatch(text, start, end)
    return bool(number and _AFTER_JSON.match(text, end) and _BEFORE_JSON.search(text, max(0, start - 420), start))


def _phrases(phrases: Iterable[str]) -> Filtered | None:
    words = any_of({phrase for phrase in phrases if phrase.strip()})
    return compiled(rf"(?<!\w)(?:{words})(?!\w)", re.IGNORECASE) if words else None


_ENDS = re.compile(r"\n\s*\n|\n|[.!?]\s")


def windows(text: str, size: int, overlap: int) -> Iterator[tuple[int, str]]:
    """Pieces of at most `size` characters, each with its offset: up to the end of a paragraph, line or sentence.

    With `overlap`, each begins that many characters (or a quarter of `size`) before the end of the last; without, only one
    that had to end within a sentence does.
    """
    start = 0
    while len(text) - start > size:
        ends = list(_ENDS.finditer(text, start + size // 2, start + size))
        best = max(ends, key=lambda end: (end[0].count("\n"), end.end()), default=None)
        end = best.end() if best else text.rfind(" ", start + size // 2, start + size) + 1 or start + size
        yield start, text[start:end]
        back = min(overlap if best else OVERLAP, size // 4)
        space = text.find(" ", end - back, end) if back else -1
        start = space + 1 if space > 0 else end - back
    yield start, text[start:]


def _occurrences(text: Draft, values: dict[str, list[tuple[list[str], str]]]) -> Iterator[tuple[int, int, str]]:
    """The places of a text whose letters and digits are those of a value, the longest value first at each."""
    tokens = tokens_of(text.text) if values else ()
    at = 0
    while at < len(tokens):
        best: tuple[list[str], str] | None = None
        for parts, kind in values.get(tokens[at][2], ()):
            if (best is None or len(parts) > len(best[0])) and [
                word for *_, word in tokens[at : at + len(parts)]
            ] == parts:
                best = parts, kind
        if best is None:
            at += 1
            continue
        yield tokens[at][0], tokens[at + len(best[0]) - 1][1], best[1]
        at += len(best[0])
