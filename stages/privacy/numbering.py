"""The numbering of stand-ins: which values of a record are equal, and what replaces them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from stages.core.key import digest
from stages.privacy.kinds import short
from stages.privacy.lexicon import fold
from stages.privacy.normal import view
from stages.privacy.params import Mask
from stages.privacy.spans import Draft
from stages.privacy.surrogates import canonical, placeholder, surrogate


class StandIns:
    """The stand-ins for the values of one record. `plain`: numbered values that fit a schema's formats."""

    def __init__(self, params: Mask, key: bytes | None, texts: Iterable[Draft], plain: bool) -> None:
        self.params, self.key, self.plain = params, key, plain
        self.numbers: dict[str, dict[str, int]] = defaultdict(dict)
        self.people: list[tuple[list[str], int]] = []
        self.last: dict[str, int] = defaultdict(int)
        for text in texts:
            for start, end in text.given:
                name, _, number = text.text[start + 1 : end - 1].rpartition("_")
                self.last[name] = max(self.last[name], int(number))

    def replacement(self, kind: str, value: str) -> str:
        """The stand-in of a value, equal for all its spellings; a name and its parts share a number."""
        params = self.params
        shown = view(value).text
        number = self._number(kind, shown)
        style = params.actions.get(kind, params.style)
        if self.plain:
            return surrogate(kind, digest(None, kind, str(number)), params.language)
        if style != "surrogate":
            return placeholder(kind, number)
        owner = next((words for words, known in self.people if known == number), None) if kind == "PERSON" else None
        full = surrogate(kind, digest(self.key, kind, "".join(owner) if owner else canonical(shown)), params.language)
        words = fold(shown).split()
        if owner and len(words) < len(owner):  # a part of a name becomes the same part of its surrogate
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
        name = short(kind)
        self.last[name] += 1
        known[key] = self.last[name]
        if kind == "PERSON":
            self.people.append((words, known[key]))
        return known[key]
