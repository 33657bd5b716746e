"""Whether a text has a value: a string as a run of words, a number in any usual spelling, a date likewise."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from datetime import date
from functools import lru_cache
from typing import Any


class Source:
    """What the model could read, prepared once to look values up in it."""

    def __init__(self, text: str) -> None:
        self._text = unicodedata.normalize("NFKC", text)
        self._run = f" {' '.join(words_of(text))} "
        self._apart: str | None = None  # the same, letters and digits apart
        self._numbers: set[float] | None = None
        self._dates: set[tuple[int | None, int, int]] | None = None

    def has(self, value: Any) -> bool:
        """Whether the text has that string (as a run of words, or a date in another spelling) or that number."""
        if isinstance(value, str):
            words = words_of(value)
            verbatim = f" {' '.join(words)} " in self._run if words else value.strip() in self._text
            return verbatim or self._has_next_to_letters(words) or self._has_date(value)
        if self._numbers is None:
            self._numbers = set(numbers_in(self._text))
        return abs(value) in self._numbers

    def _has_next_to_letters(self, words: list[str]) -> bool:
        """Whether these words, several and all of them digits, stand there next to letters: the 9.50 of "RM9.50"."""
        if len(words) < 2 or not all(word.isdecimal() for word in words):
            return False
        if self._apart is None:
            self._apart = f" {' '.join(LETTERS_OR_DIGITS.findall(self._text))} "
        return f" {' '.join(words)} " in self._apart

    def _has_date(self, value: str) -> bool:
        try:
            day = date.fromisoformat(value[:10])
        except ValueError:
            return False
        if self._dates is None:
            self._dates = set(dates_in(self._text))
        return not self._dates.isdisjoint({(day.year, day.month, day.day), (None, day.month, day.day)})


@lru_cache(maxsize=1)
def source_of(text: str) -> Source:
    """The text prepared; a record may ask twice."""
    return Source(text)


LETTERS_OR_DIGITS = re.compile(r"\d+|[^\W\d]+")
GROUPED = re.compile(r"\d{1,3}(?:[ .,'\u2019\u00a0\u202f]\d{3})+(?!\d)(?:[.,]\d+)?")
NUMBER = re.compile(r"\d+(?:[.,]\d+)?")
NAMES = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
MONTHS = {name: number for number, name in enumerate(NAMES.split("|"), 1)}
MONTH = rf"({NAMES})[a-z]{{0,6}}\.?"
DAY = r"(\d{1,2})(?:st|nd|rd|th)?"
YEAR = r"(?:,? {1,2}(\d{4}))?"
YEAR_FIRST = re.compile(r"(?<!\d)(\d{4})[-./](\d{1,2})[-./](\d{1,2})(?!\d)")
YEAR_LAST = re.compile(r"(?<!\d)(\d{1,2})[-./](\d{1,2})(?:[-./](\d{4}|\d{2}))?(?!\d)")
DAY_MONTH = re.compile(rf"(?<!\d){DAY}[ -](?:of )?{MONTH}{YEAR.replace(' {1,2}', '[ -]')}", re.IGNORECASE)
MONTH_DAY = re.compile(rf"\b{MONTH} {DAY}\b{YEAR}", re.IGNORECASE)


def numbers_in(text: str) -> Iterator[float]:
    """Every number that the text may be read to have: `1.234,50` is 1234.5, and also 1.234 and 50."""
    for match in GROUPED.finditer(text):
        whole = re.sub(r"[ '\u2019\u00a0\u202f]", "", match[0])
        yield from _readings(whole)
    for match in NUMBER.finditer(text):
        yield from _readings(match[0])


def _readings(number: str) -> Iterator[float]:
    for thousands, decimal in ((",", "."), (".", ",")):
        read = number.replace(thousands, "").replace(decimal, ".")
        if read.count(".") <= 1:
            yield float(read)
    for part in re.split("[.,]", number):
        yield float(part)


def dates_in(text: str) -> Iterator[tuple[int | None, int, int]]:
    """Every date that the text may be read to have, as (year or None, month, day); English month names."""
    for match in YEAR_FIRST.finditer(text):
        yield int(match[1]), int(match[2]), int(match[3])
    for match in YEAR_LAST.finditer(text):
        first, second = int(match[1]), int(match[2])  # which of them is the month depends on the country
        year = None if match[3] is None else int(match[3]) + (2000 if len(match[3]) == 2 else 0)
        yield year, first, second
        yield year, second, first
    for match in DAY_MONTH.finditer(text):
        yield int(match[3]) if match[3] else None, MONTHS[match[2].lower()], int(match[1])
    for match in MONTH_DAY.finditer(text):
        yield int(match[3]) if match[3] else None, MONTHS[match[1].lower()], int(match[2])


def words_of(text: str) -> list[str]:
    """The words of a text, without case and punctuation."""
    return re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold())
