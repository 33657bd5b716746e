"""Regular expressions that are tried only on texts that hold what every match of theirs must hold, where one can begin.

`compiled` is `re.compile` with the same matches. From each expression it reads, once, sets of literals of which every match
holds one, and those with which one begins. One automaton (Aho-Corasick) finds the literals of all expressions in one pass
over a text, so that the many that can't match cost nothing, and the others little. RE2's FilteredRE2 and Hyperscan do the same.
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from itertools import chain
from math import prod

# No other module tells how `re` reads an expression; an operation that is not known here asks for nothing.
from re import _constants as ops  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from re._casefix import _EXTRA_CASES
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from ahocorasick_rs import AhoCorasick

Literals = frozenset[str]
# A text, the numbers of the sets of which it holds a literal, its digits, and the places of the literals by opening.
_Read = tuple[str, set[int], int, dict[int, list[list[int]]]]
DIGIT = "\\d"  # stands for any digit
_EMPTY: Literals = frozenset([""])
_MOST = 64  # literals that concatenation may make; more are asked for one part at a time
_CLASS = 12  # characters of a class that are read one by one
_LONGEST, _MOST_OPENINGS = 12, 2000  # characters of what an expression begins with, and how many it may be
_OFTEN = 0.1  # at how many characters of a text one may begin, at most, for the places to be looked for
_USELESS = 0.8  # how likely a text may hold one of the literals, at most, for it to be worth asking
# What `re` takes for the same letter as i, k and s if it ignores case, and `str.lower` does not.
_SAME = str.maketrans("İıſK", "iisk")
_DIGIT = re.compile(r"\d")
_SHORT, _KEPT = 1_000, 500  # characters of a text of which it is remembered what it holds, and how many such texts
_NO_TEXT = "\0no text"
# How often a character stands in a text, roughly; others hardly ever do.
_FREQUENT = {" ": 0.17, **dict.fromkeys("etaoinshr", 0.06), **dict.fromkeys("dlcumwfgypb", 0.02)}
_FREQUENT |= dict.fromkeys("kvjxqz.,'-:\n", 0.01)


class _Needs(NamedTuple):
    """What an expression matches: these literals and nothing else (if known); and sets of which it holds one each."""

    exact: Literals | None
    held: tuple[Literals, ...] = ()


class Filtered:
    """A compiled expression with its filter, for whole texts; what looks at one place of a text is faster without."""

    def __init__(self, pattern: str, flags: int = 0) -> None:
        self.regex = re.compile(pattern, flags)
        self._sets = _AUTOMATON.numbers(needed(pattern, flags))
        self._digits = fewest_digits(parser.parse(pattern, flags))
        self._opening = _AUTOMATON.opening(opening(pattern, flags))

    def may_match(self, text: str) -> bool:
        """Whether the text holds what every match must hold."""
        last = _AUTOMATON.last
        if last[0] is not text:
            last = _AUTOMATON.read(text)
        return self._digits <= last[2] and self._sets <= last[1]

    def finditer(self, text: str, start: int = 0, end: int = sys.maxsize) -> Iterator[re.Match[str]]:
        """All matches, in order."""
        last = _AUTOMATON.last  # as `may_match`, of which a text would take a hundred calls more
        if last[0] is not text:
            last = _AUTOMATON.read(text)
        if self._digits > last[2] or not self._sets <= last[1]:
            return iter(())
        if self._opening is None or end < len(text):
            return self.regex.finditer(text, start, end)
        return self._at(text, start, last[3].get(self._opening, ()))

    def _at(self, text: str, start: int, places: Iterable[list[int]]) -> Iterator[re.Match[str]]:
        """The matches that begin at one of these places."""
        for place in sorted(chain.from_iterable(places)):
            if place >= start and (found := self.regex.match(text, place)):
                yield found
                start = found.end()

    def match(self, text: str, start: int = 0, end: int = sys.maxsize) -> re.Match[str] | None:
        """The match at a place, if any."""
        return self.regex.match(text, start, end)

    def search(self, text: str, start: int = 0, end: int = sys.maxsize) -> re.Match[str] | None:
        """The first match, if any."""
        return next(self.finditer(text, start, end), None)


compiled = Filtered


def needed(pattern: str, flags: int = 0) -> list[Literals]:
    """Sets of literals in lower case: every match, and what it looks at around it, holds one of each."""
    needs = _sequence(parser.parse(pattern, flags))
    sets = [_shortest(literals) for literals in _asked(needs)]
    return list(dict.fromkeys(literals for literals in sets if _likely(literals) < _USELESS))


class _Automaton:
    """The literals of all expressions, and which sets of them the last text holds."""

    def __init__(self) -> None:
        self._sets: dict[Literals, int] = {}
        self._found: AhoCorasick | None = None
        self._members: list[list[int]] = []  # of each literal: the sets that it is in
        self._digits: list[int] = []  # the sets, and the openings, that any digit is in
        self._at_digits: list[int] = []
        self._openings: dict[Literals, int] = {}
        self._opened: list[list[int]] = []  # of each literal: the openings that it is in
        self._known: dict[str, _Read] = {}
        self.last: _Read = (_NO_TEXT, set(), 0, {})

    def numbers(self, sets: Sequence[Literals]) -> frozenset[int]:
        """The numbers of the sets, which are new or known."""
        self._forget()
        return frozenset(self._sets.setdefault(literals, len(self._sets)) for literals in sets)

    def opening(self, literals: Literals) -> int | None:
        """The number of an opening, which is new or known; None if there is none."""
        self._forget()
        return self._openings.setdefault(literals, len(self._openings)) if literals else None

    def _forget(self) -> None:
        self._found = None
        self._known, self.last = {}, (_NO_TEXT, set(), 0, {})

    def read(self, text: str) -> _Read:
        """What a text holds; that of the last one is in `last`, since many ask for it one after the other."""
        found = self._known.get(text)
        if found is None:
            found = (text, *self._held(text))
            if len(self._known) >= _KEPT:
                self._known.clear()
            if len(text) <= _SHORT:
                self._known[text] = found
        self.last = found = (text, *found[1:])
        return found

    def _held(self, text: str) -> tuple[set[int], int, dict[int, list[list[int]]]]:
        plain = text.lower()
        if not text.isascii():  # half a surrogate pair, which the automaton can't read, is in no literal
            plain = text.translate(_SAME).lower().encode(errors="replace").decode()
        automaton = self._found or self._built()
        found: dict[int, list[int]] = defaultdict(list)
        for literal, place, _ in automaton.find_matches_as_indexes(plain, overlapping=True):
            found[literal].append(place)
        digits = [digit.start() for digit in _DIGIT.finditer(text)]
        held = set(self._digits) if digits else set()
        opened = {number: [digits] for number in self._at_digits} if digits else {}
        for literal, places in found.items():
            held.update(self._members[literal])
            for number in self._opened[literal]:
                opened.setdefault(number, []).append(places)
        return held, len(digits), opened

    def _built(self) -> AhoCorasick:
        from ahocorasick_rs import AhoCorasick, Implementation

        members: dict[str, list[int]] = defaultdict(list)
        opened: dict[str, list[int]] = defaultdict(list)
        for numbered, of in ((self._sets, members), (self._openings, opened)):
            for held, number in numbered.items():
                for literal in held:
                    of[literal].append(number)
        self._digits, self._at_digits = members.pop(DIGIT, []), opened.pop(DIGIT, [])
        literals = list({**members, **opened}) or ["\0"]
        self._members, self._opened = [members[one] for one in literals], [opened[one] for one in literals]
        self._found = AhoCorasick(literals, implementation=Implementation.DFA)
        return self._found


_AUTOMATON = _Automaton()


# --- how an expression begins

_Begin = dict[str, bool]  # what matches begin with, in lower case, and whether what follows next is known


def opening(pattern: str, flags: int = 0) -> Literals:
    """Literals in lower case with one of which every match begins; none if that is not known, or not worth looking for."""
    begins: list[str] = []
    found = _begin(parser.parse(pattern, flags))
    for one in sorted(DIGIT if one[:1].isdecimal() else one.partition(DIGIT)[0] or one for one in found):
        if not begins or not one.startswith(begins[-1]):
            begins.append(one)
    often = sum(0.02 if one == DIGIT else prod(_FREQUENT.get(letter, 0.001) for letter in one) for one in begins)
    return frozenset(begins if often < _OFTEN and begins != [DIGIT] else ())


def _begin(parsed: Any) -> _Begin:
    begins: _Begin = {"": True}
    for op, value in parsed:
        more = _begin_of(op, value)
        going = [one for one, goes_on in begins.items() if goes_on and len(one) < _LONGEST]
        if not going or len(begins) + len(going) * len(more) > _MOST_OPENINGS:
            break
        longer: _Begin = {one: False for one in begins if one not in going}
        for one in going:
            for other, goes_on in more.items():
                longer[one + other] = longer.get(one + other, True) and goes_on
        begins = longer
    else:
        return begins
    return dict.fromkeys(begins, False)


def _begin_of(op: Any, value: Any) -> _Begin:
    if op in (ops.AT, ops.ASSERT, ops.ASSERT_NOT):
        return {"": True}
    if op is ops.BRANCH:
        branches = [_begin(branch) for branch in value[1]]
        return {one: all(branch.get(one, True) for branch in branches) for branch in branches for one in branch}
    if op in (ops.SUBPATTERN, ops.ATOMIC_GROUP):
        return _begin(value[-1] if op is ops.SUBPATTERN else value)
    if op in (ops.MAX_REPEAT, ops.MIN_REPEAT, ops.POSSESSIVE_REPEAT):
        least, most, inner = value
        begins = _begin(inner) if most == 1 else dict.fromkeys(_begin(inner), False)
        return begins if least else begins | {"": begins.get("", True)}
    needs = _one(op, value)
    if needs.exact:
        return dict.fromkeys(needs.exact, True)
    return {DIGIT if needs.held == (frozenset([DIGIT]),) else "": False}


# --- what an expression asks for


def fewest_digits(parsed: Any) -> int:
    """How many digits every match of a parsed expression has; what it only looks at is not counted."""
    return sum(_digits_of(op, value) for op, value in parsed)


def _digits_of(op: Any, value: Any) -> int:
    if op is ops.LITERAL:
        return chr(value).isdecimal()
    if op is ops.IN:
        return all(_is_digits(*member) for member in value)
    if op in (ops.SUBPATTERN, ops.ATOMIC_GROUP):
        return fewest_digits(value[-1] if op is ops.SUBPATTERN else value)
    if op is ops.BRANCH:
        return min(map(fewest_digits, value[1]))
    if op in (ops.MAX_REPEAT, ops.MIN_REPEAT, ops.POSSESSIVE_REPEAT):
        return value[0] * fewest_digits(value[-1])
    return 0


def _is_digits(op: Any, value: Any) -> bool:
    """Whether a member of a class matches digits alone."""
    first, last = value if op is ops.RANGE else (value, value)
    if op in (ops.LITERAL, ops.RANGE):
        return ord("0") <= first and last <= ord("9")
    return op is ops.CATEGORY and value is ops.CATEGORY_DIGIT


def _sequence(parsed: Any) -> _Needs:
    exact: Literals = _EMPTY
    known = True
    held: list[Literals] = []
    for op, value in parsed:
        needs = _one(op, value)
        held += needs.held
        joined = None
        if needs.exact is not None and (len(exact) * len(needs.exact) <= _MOST or 1 in (len(exact), len(needs.exact))):
            joined = frozenset(left + right for left in exact for right in needs.exact)
        if joined is not None:
            exact = joined
            continue
        known = False
        if "" not in exact:
            held.append(exact)
        exact = _EMPTY
        if needs.exact is not None and "" not in needs.exact:
            held.append(needs.exact)
    if known:
        return _Needs(exact, tuple(held))
    return _Needs(None, tuple(held if "" in exact else [*held, exact]))


def _one(op: Any, value: Any) -> _Needs:
    """What one element of an expression needs."""
    if op is ops.LITERAL:
        return _Needs(_letters(value))
    if op is ops.IN:
        return _class(value)
    if op is ops.SUBPATTERN:
        return _sequence(value[-1])
    if op is ops.ATOMIC_GROUP:
        return _sequence(value)
    if op is ops.BRANCH:
        return _branch([_sequence(branch) for branch in value[1]])
    if op in (ops.MAX_REPEAT, ops.MIN_REPEAT, ops.POSSESSIVE_REPEAT):
        least, most, inner = value
        needs = _sequence(inner)
        if least == most == 1:
            return needs
        if least == 0:
            return _Needs(needs.exact | _EMPTY if most == 1 and needs.exact is not None else None)
        return _Needs(None, tuple(_asked(needs)))
    if op is ops.ASSERT:  # what stands before or after it is in the text too
        return _Needs(_EMPTY, tuple(_asked(_sequence(value[1]))))
    if op in (ops.ASSERT_NOT, ops.AT):
        return _Needs(_EMPTY)
    return _Needs(None)


def _class(members: Any) -> _Needs:
    letters: set[str] = set()
    digits = other = False
    for op, value in members:
        first, last = value if op is ops.RANGE else (value, value)
        if op is ops.CATEGORY and value is ops.CATEGORY_DIGIT:
            digits = True
        elif op in (ops.LITERAL, ops.RANGE) and last - first < _CLASS:
            letters.update(*map(_letters, range(first, last + 1)))
        else:
            other = True
    if not other and (digits or letters) and all(letter.isdecimal() for letter in letters):
        return _Needs(None, (frozenset([DIGIT]),))
    return _Needs(None if other or digits or len(letters) > _CLASS else frozenset(letters))


def _letters(code: int) -> Literals:
    """What a character matches, as a text in lower case has it."""
    lower = chr(code).translate(_SAME).lower()
    return frozenset([lower, *(chr(other).translate(_SAME).lower() for other in _EXTRA_CASES.get(ord(lower), ()))])


def _branch(branches: Sequence[_Needs]) -> _Needs:
    """What one of several branches needs: of each branch the set that says most, and digits where all may need them."""
    exact = [branch.exact for branch in branches if branch.exact is not None]
    if len(exact) == len(branches) and not any(branch.held for branch in branches):
        return _Needs(reduce(frozenset.union, exact))
    held = []
    for likely in (_likely, _likely_without_digits):
        sets = [min(_asked(branch), key=likely, default=None) for branch in branches]
        if all(literals is not None for literals in sets):
            held.append(reduce(frozenset.union, [literals for literals in sets if literals is not None]))
    return _Needs(None, tuple(held))


def _asked(needs: _Needs) -> list[Literals]:
    """All sets of which a match holds a literal each."""
    exact = [] if needs.exact is None or "" in needs.exact else [needs.exact]
    return [*needs.held, *exact]


def _shortest(literals: Literals) -> Literals:
    """The literals without those that hold another: where they are, it is too."""
    kept: list[str] = []
    for literal in sorted(literals, key=lambda literal: (len(literal), literal)):
        if not any(other in literal for other in kept):
            kept.append(literal)
    return frozenset(kept)


def _likely(literals: Literals) -> float:
    """How likely a text of 200 characters holds one of the literals, roughly."""
    total = 0.0
    for literal in literals:
        chance = 0.3 if literal == DIGIT else 200.0
        for letter in literal if literal != DIGIT else "":
            chance *= _FREQUENT.get(letter, 0.001)
        total += min(chance, 1.0)
    return total


def _likely_without_digits(literals: Literals) -> float:
    return _likely(literals - {DIGIT})
