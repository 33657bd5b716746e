"""Where values stand in a text, and the places that masking leaves alone: matches of `mask.allow_patterns`.

A value is found in any spelling that differs from it by case, accents, white space, line breaks or punctuation. Numbers
stay numbers: "9.00" is neither "900" nor a part of "19.00". A long value that isn't found, such as an address, is looked
for with a few other letters too, as OCR or a typist leaves them.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher
from functools import lru_cache
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Any, NamedTuple

from hallmark.base.patterns import Pattern
from hallmark.mask.lexicon import fold
from hallmark.mask.prefilter import compiled
from hallmark.mask.spans import EDGE, free
from hallmark.mask.unmaskable import digits_of

if TYPE_CHECKING:
    from ahocorasick_rs import AhoCorasick

Place = tuple[int, int]  # start and end in characters
LONG = 1_000  # letters and digits of a value that is searched alone
NEAR = 0.85  # share of its letters that a place must have in common with a value to be a near spelling of it
NEAR_LENGTHS = (
    24,
    300,
)  # letters and digits of a value that has near spellings: two people's names may be near each other
NEAR_WORDS = 5_000  # words of a text in which near spellings are looked for
NEAR_COMPARED = 2_000  # places of a text that are compared letter by letter
BLANK = "_"  # shown for what stays: it is part of no number, and neither joins nor ends one
_TOKEN = re.compile(r"\d+|[^\W\d_]+")
_BETWEEN_DIGITS = "|"  # stands between two numbers, in no folded word
_JOINS = frozenset(".,:/-'’")  # joins two runs of digits to one number


class _Folded(NamedTuple):
    """A text as its letters and digits alone, and the places of its words in both."""

    text: str
    spans: list[Place]  # of each word in the original
    firsts: dict[int, int]  # where a word starts in `text`: its number
    lasts: dict[int, int]  # where a word ends in `text`: its number


def _folded(text: str) -> _Folded:
    parts: list[str] = []
    folded = _Folded("", [], {}, {})
    at, number_before = 0, False
    for match in _TOKEN.finditer(text):
        is_number = match[0].isdecimal()
        if is_number and number_before:
            parts.append(_BETWEEN_DIGITS)
            at += 1
        word = fold(match[0])
        folded.firsts[at] = len(folded.spans)
        at += len(word)
        folded.lasts[at] = len(folded.spans)
        folded.spans.append(match.span())
        parts.append(word)
        number_before = is_number
    return folded._replace(text="".join(parts))


class _Spelling(NamedTuple):
    """A folded value: the values that it stands for, whether it has numbers in a row, and nothing but numbers."""

    values: list[str]
    numbers: bool
    only_numbers: bool


@lru_cache(maxsize=64)
def _automata(values: tuple[str, ...]) -> list[tuple[AhoCorasick, list[_Spelling]]]:
    """The automata that find the values, each with what its patterns stand for."""
    from ahocorasick_rs import AhoCorasick, Implementation

    by_text: dict[str, list[str]] = defaultdict(list)
    for value in dict.fromkeys(values):
        if len(folded := _folded(value).text) > 1:  # a letter or a digit stands everywhere
            by_text[folded].append(value)
    # To build one, of patterns that lie in each other, takes time in proportion to the square of their length; so does the
    # implementation that the library chooses for few patterns.
    short = [folded for folded in by_text if len(folded) <= LONG]
    groups = [*([short] if short else []), *([folded] for folded in by_text if len(folded) > LONG)]
    return [
        (
            AhoCorasick(group, implementation=Implementation.ContiguousNFA),
            [
                _Spelling(by_text[text], _BETWEEN_DIGITS in text, text.replace(_BETWEEN_DIGITS, "").isdecimal())
                for text in group
            ],
        )
        for group in groups
    ]


def places(text: str, values: Sequence[str]) -> dict[str, list[Place]]:
    """Where each of the values stands in the text, in order; values that don't are left out."""
    found: dict[str, list[Place]] = {}
    automata = _automata(tuple(values)) if values and text else []
    folded = _folded(text) if automata else _Folded("", [], {}, {})
    for automaton, spellings in automata:
        for pattern, start, end in automaton.find_matches_as_indexes(folded.text, overlapping=True):
            first, last = folded.firsts.get(start), folded.lasts.get(end)
            if first is None or last is None or not _whole(text, folded.spans, first, last, spellings[pattern]):
                continue
            for value in spellings[pattern].values:
                found.setdefault(value, []).append((folded.spans[first][0], folded.spans[last][1]))
    return found


def _whole(text: str, spans: list[Place], first: int, last: int, spelling: _Spelling) -> bool:
    """Whether the words from `first` to `last` are no part of a longer word or number."""
    for before, after in ((first - 1, first), (last, last + 1)):
        if before < 0 or after == len(spans):
            continue
        (start, low), (high, _) = spans[before], spans[after]
        if low == high and not spelling.numbers:  # an amount or a date may stand next to a letter: "RM9.00"
            return False
        if spelling.only_numbers and high - low == 1 and text[start].isdecimal() and text[high].isdecimal():
            gap = text[low]
            if gap in _JOINS or (gap == " " and not spelling.numbers):
                return False
    return True


@lru_cache(maxsize=256)  # the masker and the count of what it did ask the same
def near_places(text: str, value: str) -> list[Place]:
    """Where the text has a long value but for some letters, in order and disjoint; its numbers must be the same.

    Takes time in proportion to the words of the text times those of the value, both of which are bounded.
    """
    wanted = [fold(match[0]) for match in _TOKEN.finditer(value[: 4 * NEAR_LENGTHS[1]])]
    joined = "".join(wanted)
    if not NEAR_LENGTHS[0] <= len(joined) <= NEAR_LENGTHS[1]:
        return []
    matches = list(islice(_TOKEN.finditer(text), NEAR_WORDS))
    words = [fold(match[0]) for match in matches]
    known, numbers = set(wanted), [word for word in wanted if word.isdecimal()]
    at = list(accumulate(map(len, words), initial=0))  # where each word starts in the folded text
    hits = list(accumulate((word in known for word in words), initial=0))
    matcher = SequenceMatcher(None, "", joined, autojunk=False)
    found: list[tuple[float, int, int]] = []
    compared = 0
    for first in range(len(words)):
        whole = at[first] + len(joined)  # where the value would end
        for end in {bisect_left(at, whole), bisect_right(at, whole) - 1}:
            if not first < end <= len(words) or 2 * (hits[end] - hits[first]) < len(wanted):
                continue
            start, stop = matches[first].start(), matches[end - 1].end()
            if text[start - 1 : start].isalnum() or text[stop : stop + 1].isalnum():  # in the middle of a word
                continue
            if [word for word in words[first:end] if word.isdecimal()] != numbers:
                continue
            if compared == NEAR_COMPARED:
                break
            compared += 1
            matcher.set_seq1("".join(words[first:end]))
            if matcher.quick_ratio() >= NEAR and (ratio := matcher.ratio()) >= NEAR:
                found.append((ratio, first, end))
    taken: list[tuple[int, int]] = []
    for _, first, end in sorted(found, key=lambda one: (-one[0], one[1], one[2])):
        if all(end <= start or stop <= first for start, stop in taken):
            taken.append((first, end))
    return [(matches[first].start(), matches[end - 1].end()) for first, end in sorted(taken)]


class Kept:
    """What masking leaves alone: the matches of some patterns."""

    def __init__(self, regexes: Sequence[str]) -> None:
        self.patterns = [(compiled(regex), Pattern(regex, "mask.allow_patterns")) for regex in regexes]

    def spans(self, text: str) -> list[Place]:
        """The places of the matches in the text, sorted and disjoint."""
        patterns = [pattern for filtered, pattern in self.patterns if filtered.may_match(text)]
        return allowed_spans(text, patterns) if patterns else []

    def blanked(self, text: str) -> str:
        """The text with nothing readable, of the same length, for each of these places."""
        shown, at = [], 0
        for start, end in self.spans(text):
            shown += [text[at:start], BLANK * (end - start)]
            at = end
        return "".join([*shown, text[at:]])

    def hidden(self, value: Any) -> Any:
        """A text or number without them, for the second check."""
        digits = digits_of(value)
        if digits is not None:
            return None if self.spans(digits) else value
        return self.blanked(value) if isinstance(value, str) else value


def allowed_spans(text: str, patterns: Sequence[Pattern]) -> list[Place]:
    """The matches of the patterns, sorted and disjoint, but for those in the middle of a word or number."""
    matches = (match.span() for pattern in patterns for match in pattern.finditer(text))
    return merged(
        (start, end)
        for start, end in matches
        if start < end
        and not (text[start].isalnum() and text[start - 1 : start].isalnum())
        and not (text[end - 1].isalnum() and text[end : end + 1].isalnum())
    )


def merged(spans: Iterable[Place]) -> list[Place]:
    """The spans, sorted, with those that overlap made one."""
    joined: list[Place] = []
    for start, end in sorted(spans):
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def outside(text: str, start: int, end: int, kept: Sequence[Place]) -> list[Place]:
    """What is left of a found span without the kept ones, which are sorted and disjoint: no part of a word, no edges.

    A span that no kept one touches is returned as it is.
    """
    parts = free(kept, start, end)
    if parts == [(start, end)]:
        return parts
    trimmed = []
    for low, high in parts:
        piece = text[low:high]
        if any(map(str.isalnum, piece)):
            trimmed.append((low + len(piece) - len(piece.lstrip(EDGE)), high - len(piece) + len(piece.rstrip(EDGE))))
    return trimmed
