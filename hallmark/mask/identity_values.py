"""Known values: find what records call private in free text, however they are written there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, lru_cache

from hallmark.mask.lexicon import RUNS, fold, is_word, words_of
from hallmark.mask.rules import Found

_DIGITS = re.compile(r"\+?\d(?:[ ()./-]{0,3}\d){5,20}")
LONGEST = 12  # most tokens that can make up one value


@lru_cache(64)  # several look at a record's texts, one after the other
def tokens_of(text: str) -> Sequence[tuple[int, int, str]]:
    """The runs of letters and digits of a text: start, end, and the folded run."""
    if text.isascii():
        return tuple((*match.span(), match[0]) for match in RUNS.finditer(text.lower()))
    return tuple((*match.span(), fold(match[0])) for match in RUNS.finditer(text))


class KnownValues:
    """Finds given values regardless of case, word order, spacing and punctuation, even with a typo.

    `values` are (kind, value) pairs. Parts of a name are found on their own too, unless they are common words in lower
    case.
    """

    def __init__(self, values: Iterable[tuple[str, str]]) -> None:
        self.whole: list[tuple[str, str]] = []  # kind, letters and digits only
        self.names: list[tuple[str, list[str]]] = []  # kind, words
        self.numbers: list[tuple[str, str]] = []  # kind, digits
        self._alike: list[tuple[frozenset[str], frozenset[str]]] = []  # of each name: first letters, and what follows
        for kind, value in sorted(set(values)):
            tokens = [fold(token) for token in RUNS.findall(value)]
            compact = "".join(tokens)
            if len(compact) < 2:
                continue
            digits = re.sub(r"\D", "", value)
            if kind == "PHONE_NUMBER" and len(digits) >= 7:
                self.numbers.append((kind, digits))
            else:
                self.whole.append((kind, compact))
            if kind == "PERSON":
                parts = [token for token in tokens if len(token) > 1]
                self.names.append((kind, parts))
                long = [part for part in parts if len(part) > 4]
                self._alike.append((frozenset(part[0] for part in long), frozenset(part[1:] for part in long)))

    def __bool__(self) -> bool:
        return bool(self.whole or self.numbers)

    def find(self, text: str) -> Iterator[Found]:
        """Every occurrence of a known value in `text`."""
        if not self:
            return
        words = words_of(text)
        letters = "".join(words)
        joined: Joined | None = None
        for kind, compact in self.whole:
            if any(part in letters for part in parts_of(compact)):
                joined = joined or Joined(tokens_of(text))
                yield from _find_compact(joined, kind, compact)
        distinct = set(words)
        for at, (kind, parts) in enumerate(self.names):
            written = distinct.intersection(parts)
            firsts, tails = self._alike[at]
            if firsts:  # a typo keeps the first letter, or changes nothing else
                written |= {
                    word
                    for word in distinct
                    if len(word) > 3
                    and (word[0] in firsts or word[1:] in tails)
                    and any(_part(word, part, True) for part in parts)
                }
            tokens = tokens_of(text) if written else ()
            for place, (start, end, token) in enumerate(tokens):
                if token not in written:
                    continue
                # Two adjacent parts, in any order, are the name even if each is an everyday word.
                neighbours = [one[2] for one in (*tokens[max(0, place - 1) : place], *tokens[place + 1 : place + 2])]
                sure = token in parts and any(other in parts and other != token for other in neighbours)
                if sure or any(_part(token, part, text[start].isupper()) for part in parts):
                    yield Found(start, end, kind, 0.9, "known_value")
        if self.numbers:
            for match in _DIGITS.finditer(text):
                yield from self._number(match)

    def number(self, digits: str) -> str | None:
        """The kind of the known value that is written with these digits, leading zeros aside."""
        for match in _DIGITS.finditer(digits) if self.numbers else ():
            for found in self._number(match):
                return found.kind
        return next((kind for kind, compact in self.whole if compact.lstrip("0") == digits.lstrip("0")), None)

    @cached_property
    def exact(self) -> dict[str, str]:
        """What gives a person away in a name for something else, such as a tag: letters and digits only, and its kind.

        A value that is one everyday word is none: a customer may be called Long.
        """
        told = {compact: kind for kind, compact in self.whole if not is_word(compact)}
        told |= {part: kind for kind, parts in self.names for part in parts if len(part) > 2 and not is_word(part)}
        return told | {digits: kind for kind, digits in self.numbers}

    def _number(self, match: re.Match[str]) -> Iterator[Found]:
        digits = re.sub(r"\D", "", match[0])
        for kind, number in self.numbers:
            tail = min(len(digits.lstrip("0")), len(number.lstrip("0")), 9)
            one_off = len(digits) == len(number) >= 9 and sum(a != b for a, b in zip(digits, number, strict=True)) <= 1
            if (tail >= 7 and digits[-tail:] == number[-tail:]) or one_off or (len(number) >= 9 and number in digits):
                yield Found(*match.span(), kind, 1.0, "known_value")
                return


class Joined:
    """The letters and digits of a text without what is between them, and where each of its tokens starts and ends."""

    def __init__(self, tokens: Sequence[tuple[int, int, str]]) -> None:
        self.tokens = tokens
        self.text = "".join([token for _, _, token in tokens])
        self.start_of: dict[int, int] = {}
        self.end_of: dict[int, int] = {}
        at = 0
        for number, (_, _, token) in enumerate(tokens):
            self.start_of[at] = number
            at += len(token)
            self.end_of[at] = number


@lru_cache(2**12)
def parts_of(compact: str) -> list[str]:
    """Parts of a value of which a text holds one, however it spells the value; one more than it may have typos.

    A typo changes at most two letters next to each other, and so at most one of parts with a letter between them.
    """
    slack = 0 if len(compact) < 6 else 1 if len(compact) < 12 else 2
    if any(map(str.isdigit, compact)) and len(compact) < 10:
        slack = 0  # a different number means something else; it is not a typo
    size = (len(compact) - slack) // (slack + 1)
    return [compact[at * (size + 1) :][:size] for at in range(slack + 1)]


def _find_compact(joined: Joined, kind: str, compact: str) -> Iterator[Found]:
    """Runs of whole tokens that, when joined, equal the value or nearly do.

    Only runs with the same first or last character are compared, since `within_edits` accepts no others.
    """
    slack = len(parts_of(compact)) - 1
    lengths = range(len(compact) - slack, len(compact) + slack + 1)
    text, starts, ends = joined.text, joined.start_of, joined.end_of
    firsts = {start for start in starts if text[start] == compact[0]}
    firsts |= {end - length for end in ends if text[end - 1] == compact[-1] for length in lengths}
    for start in sorted(firsts & starts.keys()):
        first = starts[start]
        for length in lengths:
            last = ends.get(start + length)
            if last is None or last - first >= LONGEST:
                continue
            run = text[start : start + length]
            # A run that holds the value as whole words has others before or after it ("by Rosa Miller"), and no typo.
            at = start + run.find(compact)
            whole = at >= start and at in starts and at + len(compact) in ends
            typo = slack and not whole and not is_word(run) and within_edits(run, compact, slack)
            if run == compact or typo:
                yield Found(joined.tokens[first][0], joined.tokens[last][1], kind, 1.0, "known_value")
                break


@lru_cache(2**16)
def _part(token: str, part: str, capital: bool) -> bool:
    """Whether a word of a text is a given part of a name."""
    if token == part:
        return len(part) > 2 and (capital or not is_word(part))
    return (
        len(part) >= 5
        and len(token) >= 4
        and abs(len(token) - len(part)) <= 1
        and (token[0] == part[0] or token[1:] == part[1:])
        and not is_word(token)
        and within_edits(token, part, 1 if len(part) < 9 else 2)
    )


def within_edits(left: str, right: str, most: int) -> bool:
    """Whether at most `most` insertions, deletions, changes or swaps of neighbours turn one text into the other."""
    if abs(len(left) - len(right)) > most:
        return False
    if len(set(left) ^ set(right)) > 2 * most:
        return False  # an edit brings in one character and takes out another, at most
    if left[:1] != right[:1] and left[-1:] != right[-1:]:
        return False  # with both ends different, it is another word, not a typo
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        older, before, row = before, row, [i]
        for j, b in enumerate(right, 1):
            best = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and left[i - 2] == b:
                best = min(best, older[j - 2] + 1)
            row.append(best)
        if min(row) > most:
            return False
    return row[-1] <= most
