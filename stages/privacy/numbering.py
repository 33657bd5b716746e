"""The numbering of stand-ins: which values of a record are equal, and what replaces them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from stages.core.key import digest
from stages.privacy.given import UNKNOWN
from stages.privacy.kinds import short
from stages.privacy.lexicon import fold, titles
from stages.privacy.normal import view
from stages.privacy.params import Mask
from stages.privacy.surrogates import canonical, placeholder, surrogate


class StandIns:
    """The stand-ins for the values of one record. `plain`: numbered values that fit a schema's formats.

    `public` are placeholders that the schema lists: they stay, and no value gets one of them. `people` are all names in
    the record: a part of one, wherever it comes first, has the number of the whole.
    """

    def __init__(
        self, params: Mask, key: bytes | None, public: frozenset[str], plain: bool, people: Iterable[str] = ()
    ) -> None:
        self.params, self.key, self.public, self.plain = params, key, public, plain
        self.numbers: dict[str, dict[str, int]] = defaultdict(dict)
        self.names = sorted({tuple(_words(view(name).text)) for name in people}, key=lambda n: (-len(n), n))
        self.people: list[tuple[list[str], int]] = []
        self.last: dict[str, int] = defaultdict(int)

    def given(self, reads: str) -> str:
        """The new number of a placeholder that came with a text: it could be the number of one of ours, or private."""
        if reads in self.public:
            return reads
        name = reads[1:-1].rpartition("_")[0]
        known = self.numbers[name]
        if reads not in known:  # no key of a value has brackets
            known[reads] = self._next(name)
        return f"<{name}_{known[reads]}>"

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

    def _next(self, name: str) -> int:
        self.last[name] += 1
        while f"<{name}_{self.last[name]}>" in self.public:
            self.last[name] += 1
        return self.last[name]

    def _number(self, kind: str, value: str) -> int:
        key = value if kind == UNKNOWN else canonical(value)
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


def _words(name: str) -> list[str]:
    """The words of a name without its forms of address, so that "Mr Cede" is Franz Cede."""
    words = [canonical(word) for word in name.split()]
    return [word for word in words if word not in titles()] or words
