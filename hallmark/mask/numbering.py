"""The numbering of stand-ins: which values of a record are equal, and what replaces them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

from hallmark.base.key import digest
from hallmark.mask.date_values import Day, Reader, shift
from hallmark.mask.kinds import DATES, short
from hallmark.mask.lexicon import fold, titles
from hallmark.mask.params import Mask
from hallmark.mask.plain_view import view
from hallmark.mask.spans import UNKNOWN, Draft
from hallmark.mask.surrogates import canonical, in_the_form_of, placeholder, surrogate

CODE = 3  # digits of the code of a country, at most
ATTEMPTS = 200  # surrogates that are drawn for a value before it gets a placeholder
SHORTEST_PHONE = 8  # digits of a number that is told by them


class StandIns:
    """The stand-ins for the values of one record. `texts`: all of its texts, with their spans.

    A value in two spellings has one stand-in. `public` are placeholders that the schema lists: they stay, and no value gets
    one of them. A part of a name, wherever it comes first, has the number of the whole. `seed` draws where dates move.
    """

    def __init__(
        self, params: Mask, key: bytes | None, public: frozenset[str], texts: Iterable[Draft], seed: str = ""
    ) -> None:
        self.params, self.key, self.public = params, key, public
        self.numbers: dict[str, dict[str, int]] = defaultdict(dict)
        self.people: list[tuple[list[str], int]] = []
        self.last: dict[str, int] = defaultdict(int)
        self.taken: dict[str, str] = {}  # by surrogate, or a part of one: the placeholder of the value that has it
        self.dates = Reader(params.day_first, params.language)
        values = [(span.kind, view(span.stands_for(text.text)).text) for text in texts for span in text.spans]
        names = {tuple(_words(value)) for kind, value in values if kind == "PERSON"}
        self.names = sorted(names, key=lambda n: (-len(n), n))
        self.phones = _with_codes({canonical(value) for kind, value in values if kind == "PHONE_NUMBER"})
        days = (self.dates.read(value) for kind, value in values if kind in DATES)
        self.days = shift((day for day in days if day), seed)

    def given(self, reads: str) -> str:
        """The new number of a placeholder that came with a text: it could be the number of one of ours, or private."""
        if reads in self.public:
            return reads
        name = reads[1:-1].rpartition("_")[0]
        known = self.numbers[name]
        if reads not in known:  # no key of a value has brackets
            known[reads] = self._next(name)
        return f"<{name}_{known[reads]}>"

    def replacement(self, kind: str, value: str, written: str) -> tuple[str, str]:
        """The stand-in of a value as it is written in a place, and its numbered placeholder; a name and its parts share one."""
        shown = view(value).text
        number = self._number(kind, shown)
        numbered = placeholder(kind, number)
        if self.params.actions.get(kind, self.params.style) != "surrogate":
            return numbered, numbered
        if kind in DATES:  # of those that can't be read ("the 3rd and 4th of May 2001"), no other spelling can be made
            return self._moved(shown, view(written).text) or numbered, numbered
        owner = next((words for words, known in self.people if known == number), None) if kind == "PERSON" else None
        full = self._surrogate(kind, "".join(owner) if owner else self._same(kind, shown), numbered)
        if full is None:
            return numbered, numbered
        words = fold(shown).split()
        if owner and len(words) < len(owner):  # a part of a name becomes the same part of its surrogate
            first, _, rest = full.partition(" ")
            full = first if words[0] == owner[0] else rest
        return full if kind == "IP_ADDRESS" else in_the_form_of(shown, full), numbered

    def _surrogate(self, kind: str, same: str, numbered: str) -> str | None:
        """The surrogate of a value, the next one if another has it or a part of it. None: all that are tried are taken."""
        for attempt in range(ATTEMPTS):
            found = surrogate(
                kind, digest(self.key, kind, f"{same}\0{attempt}" if attempt else same), self.params.language
            )
            first, _, rest = found.partition(" ") if kind == "PERSON" else (found, "", found)
            if all(self.taken.get(part, numbered) == numbered for part in (found, first, rest)):
                self.taken |= dict.fromkeys((found, first, rest), numbered)
                return found
        return None

    def _moved(self, value: str, written: str) -> str | None:
        day = self.dates.read(value)
        moved = day and day.moved(self.days)
        return self.dates.respelled(written, moved) if moved and self.dates.read(written) else None

    def _next(self, name: str) -> int:
        self.last[name] += 1
        while f"<{name}_{self.last[name]}>" in self.public:
            self.last[name] += 1
        return self.last[name]

    def _same(self, kind: str, value: str) -> str:
        """What is equal for all spellings of a value."""
        if kind == UNKNOWN:
            return value
        if kind in DATES and (day := self.dates.read(value)):
            return same_day(day)
        form = canonical(value)
        return self.phones.get(form, form) if kind == "PHONE_NUMBER" else form

    def _number(self, kind: str, value: str) -> int:
        key = self._same(kind, value)
        known = self.numbers[kind]
        if key in known:
            return known[key]
        words = _words(value)
        if kind == "PERSON":
            words = list(next((name for name in self.names if set(words) <= set(name)), words))
            for other, number in self.people:
                if set(words) <= set(other):
                    known[key] = number
                    return number
        known[key] = self._next(short(kind))
        if kind == "PERSON":
            self.people.append((words, known[key]))
        return known[key]


def _with_codes(phones: set[str]) -> dict[str, str]:
    """The telephone numbers that are one of the others without the code of its country, and which."""
    numbers = {form: form.lstrip("0") for form in sorted(phones) if form.isdecimal()}
    found: dict[str, str] = {}
    for short_form, digits in numbers.items():
        longer = {
            found.get(form, form)
            for form, other in numbers.items()
            if other.endswith(digits) and 0 <= len(other) - len(digits) <= CODE and form != short_form
        }
        if len(digits) >= SHORTEST_PHONE and len(longer) == 1 and short_form not in found.values():
            found[short_form] = longer.pop()
    return found


def same_day(day: Day) -> str:
    """A form of a date that is equal for all its spellings."""
    return f"{day.year}-{day.month}-{day.day} {' '.join(re.findall('[0-9]+', day.clock))}".strip()


def _words(name: str) -> list[str]:
    """The words of a name without its forms of address, so that "Mr Cede" is Franz Cede."""
    words = [canonical(word) for word in name.split()]
    return [word for word in words if word not in titles()] or words
