"""The caller's own values, put back into an answer: only for the stand-ins of his request, each once; dates and numbers in any spelling."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from hallmark.base.document import strings
from hallmark.mask.date_values import Day, Reader
from hallmark.mask.dates import DATE
from hallmark.mask.identity_values import Joined, tokens_of
from hallmark.mask.kinds import KINDS, PLACEHOLDER, short
from hallmark.mask.surrogates import SHORTEST_NUMBER, canonical, in_the_form_of

if TYPE_CHECKING:
    from ahocorasick_rs import AhoCorasick

# A string of a JSON document, and the colon after one that is a key. In a valid document no other quotes stand.
_STRING = re.compile(r'("[^"\\]*(?:\\.[^"\\]*)*")(\s*:)?')
_HALF = re.compile("[\ud800-\udfff]")
_JOINS = frozenset(".,:/-")  # between two digits: "47" is no value of its own in "47.50"
_READER = json.JSONDecoder(parse_int=str, parse_float=str)  # only whether it is JSON counts

Place = tuple[int, int, str]  # start, end, and the stand-in, or what replaces it


@dataclass(frozen=True, slots=True, kw_only=True)
class Masked:
    """Messages and tools as the model is asked, and what each stand-in in them stands for.

    `values` are of this request alone, and never leave the process.
    """

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None
    values: Mapping[str, str]
    day_first: bool = False  # how dates in numbers are read

    def restored(self, text: str) -> str:
        """An answer with the caller's own values in it again; in a JSON answer, escaped as JSON needs it."""
        return restore(text, self.values, self.day_first) if self.values else text

    def leftover(self, text: str) -> list[str]:
        """What an answer would still hold of placeholders once it is `restored`: nobody may get it.

        What the caller wrote himself is no leftover, whatever it looks like; a system message is nobody's data.
        """

        def given() -> Iterator[str]:
            yield from self.values.values()
            own = [message for message in self.messages if message["role"] != "system"]
            yield from map(self.restored, strings([own, self.tools], keys=True))

        return leftover(self.restored(text), given(), self.values)


def restore(text: str, values: Mapping[str, str], day_first: bool = False) -> str:
    """The answer with its stand-ins replaced by their values: the longest at each place, and nothing twice.

    If the answer is JSON, it stays so: values are put into its texts, not into its keys, and written as JSON writes
    them. In any other text they stand as the caller wrote them.
    """
    stand_ins = _StandIns(values, day_first)
    if not _is_json(text):
        return stand_ins.replaced(text)

    def filled(string: re.Match[str]) -> str:
        if string[2]:
            return string[0]
        before = json.loads(string[1])
        after = stand_ins.replaced(before)
        return string[0] if after == before else _written(after)

    return _STRING.sub(filled, text)


def leftover(text: str, given: Iterable[str], stand_ins: Iterable[str] = ()) -> list[str]:
    """The placeholders in a text, and what is left of damaged ones, that stand in none of the texts that were `given`.

    A damaged one has the whole name of a kind, or of one of the request's `stand_ins`: `<PERSON_1`, `PERSON_1>`, `PERSON_1`,
    `<PERSON_`, and `<PERSON` where a text or a value in quotes ends. Whole ones count with any name
    (`<STEP_2>`); other words in brackets, such as tags, do not.
    """
    names = frozenset(stand_in[1:-1].rpartition("_")[0] for stand_in in stand_ins if PLACEHOLDER.fullmatch(stand_in))
    texts = [json.loads(string[1]) for string in _STRING.finditer(text)] if _is_json(text) else [text]
    found = {match[0] for each in texts for match in _pieces(names).finditer(each)}
    for words in given if found else ():
        found = {piece for piece in found if piece not in words}
    return sorted(found)


@lru_cache(maxsize=64)
def _pieces(names: frozenset[str]) -> re.Pattern[str]:
    """Finds whole and damaged placeholders of the kinds and of these names; whole ones of any name."""
    known = "|".join(sorted(names | set(map(short, KINDS)), key=lambda name: (-len(name), name)))
    return re.compile(
        rf"<[A-Z][A-Z_]*_[0-9]+>?|<(?:{known})_(?![A-Z])|<(?:{known})(?![^\"'\n])"
        rf"|(?<![A-Za-z0-9_])(?:{known})_[0-9]+(?![A-Za-z0-9_])>?"
    )


def appear(stand_ins: Collection[str], text: str) -> set[str]:
    """Those of the stand-ins that stand in the text."""
    return {stand_in for _, _, stand_in in _StandIns(dict.fromkeys(stand_ins, "")).places(text)}


class _StandIns:
    """Finds stand-ins in texts: placeholders by their form, surrogates by their letters, both as whole words."""

    def __init__(self, values: Mapping[str, str], day_first: bool = False) -> None:
        self.values, self.dates = values, Reader(day_first)
        self.others = [stand_in for stand_in in values if stand_in and not PLACEHOLDER.fullmatch(stand_in)]
        self.automaton = _automaton(self.others) if self.others else None

    def replaced(self, text: str) -> str:
        pieces, at = [], 0
        exact = [(start, end, self.values[stand_in]) for start, end, stand_in in self.places(text)]
        for start, end, value in sorted([*exact, *self._respelled(text)], key=lambda place: (place[0], -place[1])):
            if start >= at:
                pieces += [text[at:start], value]
                at = end
        return "".join([*pieces, text[at:]])

    def places(self, text: str) -> Iterator[Place]:
        for match in PLACEHOLDER.finditer(text):
            if match[0] in self.values:
                yield *match.span(), match[0]
        if self.automaton is not None:
            # Half of a surrogate pair, which a model may write as an escape, is no text to a library.
            text = _HALF.sub("\ufffd", text)
            for number, start, end in self.automaton.find_matches_as_indexes(text, overlapping=True):
                if not _continues(text, start - 1, start) and not _continues(text, end, end - 1):
                    yield start, end, self.others[number]

    def _respelled(self, text: str) -> Iterator[Place]:
        """Where the answer writes a made-up number or date in a spelling of its own: the value, in that spelling."""
        joined = Joined(tokens_of(text)) if self.numbers else None
        for stand_in in self.numbers:
            assert joined is not None
            form = canonical(stand_in)
            start = joined.text.find(form)
            while start >= 0:
                first, last = joined.start_of.get(start), joined.end_of.get(start + len(form))
                if first is not None and last is not None:
                    low, high = joined.tokens[first][0], joined.tokens[last][1]
                    if not _continues(text, low - 1, low) and not _continues(text, high, high - 1):
                        yield low, high, in_the_form_of(text[low:high], self.values[stand_in])
                start = joined.text.find(form, start + 1)
        for match in DATE.finditer(text) if self.days else ():
            day = self.dates.read(match[0])
            if day and (old := self.days.get(day)):
                yield *match.span(), self.dates.respelled(match[0], old)

    @cached_property
    def numbers(self) -> list[str]:
        """The stand-ins that an answer may write with other marks in them."""
        return [stand_in for stand_in in self.others if _is_number(stand_in)]

    @cached_property
    def days(self) -> dict[Day, Day]:
        """By day of a made-up date, the caller's; also without the clock behind it, if that leaves one."""
        read = self.dates.read
        days = {day: old for new in self.others if (day := read(new)) and (old := read(self.values[new])) and old.day}
        bare: dict[Day, set[Day]] = {}
        for day, old in days.items():
            bare.setdefault(replace(day, clock=""), set()).add(replace(old, clock=""))
        return {day: olds.pop() for day, olds in bare.items() if len(olds) == 1} | days


def _is_number(stand_in: str) -> bool:
    """Whether it is a number or code that an answer may write with other marks in it."""
    form = canonical(stand_in)
    return len(form) >= SHORTEST_NUMBER and 2 * sum(map(str.isdigit, form)) > len(form)


def _automaton(stand_ins: Sequence[str]) -> AhoCorasick:
    from ahocorasick_rs import AhoCorasick, Implementation

    return AhoCorasick(stand_ins, implementation=Implementation.ContiguousNFA)


def _continues(text: str, outer: int, inner: int) -> bool:
    """Whether the word or number whose edge is at `inner` goes on at `outer`."""
    if not 0 <= outer < len(text):
        return False
    next_to, edge = text[outer], text[inner]
    if not _of_word(edge):
        return False
    beyond = 2 * outer - inner
    joined = next_to in _JOINS and edge.isdigit() and 0 <= beyond < len(text) and text[beyond].isdigit()
    return _of_word(next_to) or joined


def _of_word(letter: str) -> bool:
    return letter.isalnum() or letter == "_"


def _is_json(text: str) -> bool:
    """Whether it is a JSON document that can hold a text."""
    if text.lstrip()[:1] not in ("{", "[", '"'):
        return False
    try:
        _READER.decode(text)
    except (ValueError, RecursionError):
        return False
    return True


def _written(text: str) -> str:
    """A text as JSON has it; half of a surrogate pair, which no answer can hold as it is, stays an escape."""
    return json.dumps(text, ensure_ascii=bool(_HALF.search(text)))
