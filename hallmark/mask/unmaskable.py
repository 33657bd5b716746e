"""Private values where no stand-in can go: in a number, a tag or a key of JSON.

A number is private if it proves it (a card's check digit), if it is a value known of the customer or masked in the same
record, or if its key says so ("phone"). A tag or key is private if it holds a value that proves itself, or one of these.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from hallmark.mask.fields import kind_of_value
from hallmark.mask.identity_values import LONGEST, KnownValues
from hallmark.mask.lexicon import RUNS, fold, is_given_name, is_word
from hallmark.mask.rules import cards, structured
from hallmark.mask.second_check import in_name, residue
from hallmark.mask.spans import Draft
from hallmark.mask.surrogates import canonical

SHORTEST = 5  # digits of a number that can be a known value; shorter ones are amounts and counts
NAMED = 5  # digits of one that its key may name
WHOLE = 10**10  # a fraction below it is an amount; of one above it, the whole part may be a telephone number or a card
LONG = 9  # digits of one that can be a value masked elsewhere in the record: an amount may be masked there by mistake
MOST_LETTERS = 4  # in a value that is compared with a number by its digits ("DE", "ext")
# Kinds whose values many records share, or that name no one; NER also takes products for some of them.
SHARED = frozenset((
    "TITLE", "NRP", "AGE", "DATE_OF_BIRTH", "DATE_TIME", "ZIP_CODE", "LOCATION", "ORGANIZATION", "URL", "MISC", "PLACEHOLDER",
))  # fmt: skip


def digits_of(value: Any) -> str | None:
    """The digits of a number that is long enough to be private, else None; fractions count only if the number is huge."""
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) < 10 ** (SHORTEST - 1):
        return None
    if isinstance(value, float) and not (value.is_integer() or WHOLE <= abs(value) < float("inf")):
        return None
    return str(abs(int(value)))


def number_of(value: Any, key: str) -> str | None:
    """A number as it is compared, if it is long enough to be private or its key names it, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return digits_of(value) or (str(value) if kind_of_value(key, str(value), digits=NAMED) else None)


def number_kind(number: Draft, texts: Iterable[Draft], known: KnownValues | None) -> str | None:
    """The kind of private value that a number is, or None. `texts` are those of its record."""
    digits = number.text
    if any(found.end - found.start == len(digits) for found in cards(digits)):
        return "CREDIT_CARD"
    if known and (kind := known.number(digits)):
        return kind
    for text in texts if len(digits) >= LONG else ():
        for span in text.spans:
            value = text.text[span.start : span.end]
            if sum(map(str.isalpha, value)) <= MOST_LETTERS and _same(digits, re.sub(r"\D", "", value)):
                return span.kind
    return kind_of_value(number.key, digits, digits=NAMED)


def _same(one: str, other: str) -> bool:
    """Whether two runs of digits are one number, with or without the codes before it."""
    short, long = sorted((one.lstrip("0"), other.lstrip("0")), key=len)
    return len(short) >= LONG and long.endswith(short)


class Telling:
    """What would give a person away in the tags and keys of one record."""

    def __init__(self, texts: Iterable[Draft], known: KnownValues | None) -> None:
        self.values = dict(known.exact) if known else {}
        for text in texts:
            for span in text.spans:
                value = text.text[span.start : span.end]
                if span.kind not in SHARED and _sure(value):
                    self.values[canonical(value)] = span.kind

    def kinds(self, label: str, *, key: bool) -> list[str]:
        """The kinds of private values in a key or a tag."""
        formed, runs = _formed(label, key), _runs(label)
        return sorted(formed | {self.values[run] for run in runs if run in self.values})


def _sure(value: str) -> bool:
    """Whether a masked value is one wherever its letters stand: a full name or a number, not a word taken for a name."""
    words = [fold(word) for word in RUNS.findall(value)]
    if len("".join(words)) < 5:
        return False
    digits = any(map(str.isdigit, value)) or "@" in value
    return digits or len(words) > 1 or (is_given_name(words[0]) and not is_word(words[0]))


# What a tag may hold by the masker's rules; a number in one is more often a counter, which proves nothing (`in_name`).
_IN_TAGS = ("EMAIL_ADDRESS", "IP_ADDRESS", "MAC_ADDRESS", "US_SSN", "SECRET")


@lru_cache(maxsize=4096)
def _formed(label: str, key: bool) -> frozenset[str]:
    """The kinds of values in a label that prove themselves; an internet address names no one."""
    spellings = {label, label.replace("_", " ")}
    found = {span.kind for text in spellings for span in structured(text) if span.kind != "URL"}
    if not key:
        return frozenset(kind for kind in found if kind in _IN_TAGS).union(in_name(label))
    return frozenset(found.union(*(residue(text) for text in spellings)))


@lru_cache(maxsize=4096)
def _runs(label: str) -> frozenset[str]:
    """Every run of words in a label, joined."""

    def runs() -> Iterator[str]:
        tokens = [fold(token) for token in RUNS.findall(label)][:1000]
        for first in range(len(tokens)):
            for last in range(first, min(first + LONGEST, len(tokens))):
                yield "".join(tokens[first : last + 1])

    return frozenset(runs())
