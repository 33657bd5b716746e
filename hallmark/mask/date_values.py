"""The day that a date names, however it is written, and another day in the same spelling.

Dates are moved as clinical data are de-identified (Johnson et al., MIMIC-IV, 2023): all dates of a record by the same number
of days, so that different dates stay different, in order, and as far apart. Where the latest lands is drawn, and says nothing
of where it was.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache

from hallmark.mask.lexicon import fold

# Names of the twelve months, in one spelling a line: full names first, then abbreviations and other spellings.
_ROWS = {
    "en": ["january february march april may june july august september october november december",
           "jan feb mar apr may jun jul aug sep oct nov dec",
           "jan feb mar apr may jun jul aug sept oct nov dec"],
    "es": ["enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
           "ene feb mar abr may jun jul ago sep oct nov dic",
           "ene feb mar abr may jun jul ago setiembre oct nov dic"],
    "de": ["januar februar märz april mai juni juli august september oktober november dezember",
           "jan feb mrz apr mai jun jul aug sep okt nov dez",
           "jänner feber maerz april mai juni juli august sept oktober november dezember",
           "jan feb mär apr mai jun jul aug sep okt nov dez"],
    "fr": ["janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
           "janv févr mars avr mai juin juil août sept oct nov déc",
           "jan fév mars avr mai jun jui aoû sep oct nov déc"],
    "it": ["gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
           "gen feb mar apr mag giu lug ago set ott nov dic"],
}  # fmt: skip
_PART = re.compile(r"\d+|[^\W\d_]+")
_CLOCK = re.compile(
    r"(?:T|,?[ ]+(?:at |a las |um |à |alle )?)\d{1,2}:\d\d(?::\d\d(?:[.,]\d{1,6})?)?(?:Z|[+-]\d\d:?\d\d)?(?:[ ]?[ap]\.?m\b\.?)?$",
    re.IGNORECASE,
)
_AROUND = frozenset(("of", "the", "de", "del", "di", "d", "vom", "el", "le", "il", "st", "nd", "rd", "th", "er"))
_ENGLISH = re.compile(r"(?<=\d)(?:st|nd|rd|th)(?![^\W_])", re.IGNORECASE)
_FIRST, _DAYS = date(1950, 1, 1), 50 * 365  # where the latest date of a record may land
_NEVER = 2200  # a year from which on a date stands for none
_YOUNGEST = 30  # of two digits, the last year of this century


def month_names() -> set[str]:
    """Every spelling of a month, with and without accents."""
    names = {name for rows in _ROWS.values() for row in rows for name in row.split()}
    return names | {fold(name) for name in names}


@cache
def _months(language: str) -> dict[str, tuple[int, list[str]]]:
    """By folded name: the month, and all names of the year in that spelling; those of `language` go first."""
    found: dict[str, tuple[int, list[str]]] = {}
    for rows in (_ROWS.get(language, []), *_ROWS.values()):
        for row in rows:
            for number, name in enumerate(row.split(), 1):
                found.setdefault(fold(name), (number, row.split()))
    return found


@dataclass(frozen=True)
class Day:
    """A date as far as it is given: a day, or a month, of a year; a year; a day without its year. `clock`: the time behind it."""

    year: int | None
    month: int | None
    day: int | None
    clock: str = ""

    def ordinal(self) -> int | None:
        """The number of the day, or of one in the middle of what is given; None without a year."""
        if self.year is None:
            return None
        return date(self.year, self.month or 7, self.day or (15 if self.month else 1)).toordinal()

    def moved(self, days: int) -> Day | None:
        """That number of days later; what is given less exactly moves by whole months or years. None: out of the calendar."""
        try:
            if self.year is None:
                assert self.month is not None and self.day is not None
                in_year = (date(2000, self.month, self.day).timetuple().tm_yday - 1 + days) % 366
                day = date(2000, 1, 1) + timedelta(in_year)
                return Day(None, day.month, day.day, self.clock)
            if self.month is None:
                return Day(date(self.year + round(days / 365.2425), 1, 1).year, None, None, self.clock)
            if self.day is None:
                months = 12 * self.year + self.month - 1 + round(days / 30.436875)
                return Day(date(months // 12, 1, 1).year, months % 12 + 1, None, self.clock)
            day = date(self.year, self.month, self.day) + timedelta(days)
            return Day(day.year, day.month, day.day, self.clock)
        except (ValueError, OverflowError):
            return None


class Reader:
    """Reads dates. `day_first`: 05/06/2007 is in June; one with dots always is."""

    def __init__(self, day_first: bool, language: str = "en") -> None:
        self.day_first, self.language = day_first, language

    def read(self, text: str) -> Day | None:
        """The date that all of the text is, or None."""
        return parts[0] if (parts := self._parts(text)) else None

    def respelled(self, text: str, new: Day) -> str:
        """Another date as the text writes its own, which must be given as exactly."""
        parts = self._parts(text)
        assert parts is not None
        _, roles = parts
        numbers = [roles[role][0] for role in ("month", "day") if role in roles and roles[role][0].isdecimal()]
        padded = len(numbers) == 2 and all(len(number) == 2 for number in numbers)
        pieces, at = [], 0
        for role, match in sorted(roles.items(), key=lambda item: item[1].start()):
            old = match[0]
            value = getattr(new, role)
            if role == "year":
                written = f"{value % 100:02d}" if len(old) == 2 else f"{value:04d}"
            elif old.isdecimal():
                written = f"{value:02d}" if padded or old[0] == "0" else str(value)
            else:
                written = _cased(old, _months(self.language)[fold(old)][1][value - 1])
            pieces += [text[at : match.start()], written]
            at = match.end()
            if role == "day" and (suffix := _ENGLISH.match(text, at)):
                pieces.append(_cased(suffix[0], _ordinal(value)))
                at = suffix.end()
        return "".join([*pieces, text[at:]])

    def _parts(self, text: str) -> tuple[Day, dict[str, re.Match[str]]] | None:
        """The date, and where its year, month and day stand."""
        clock = _CLOCK.search(text)
        head = text[: clock.start()] if clock else text
        numbers: list[re.Match[str]] = []
        month = None
        for part in _PART.finditer(head):
            word = fold(part[0])
            if part[0].isdecimal():
                numbers.append(part)
            elif word in _months(self.language) and month is None:
                month = part
            elif word not in _AROUND:
                return None
        roles = self._named(head, numbers) if month is None else _with_month(numbers, month)
        if roles is None or any(len(number[0]) not in (1, 2, 4) for number in numbers):
            return None
        values = {role: self._value(role, match[0]) for role, match in roles.items()}
        clock_text = text[clock.start() :] if clock else ""
        day = Day(values.get("year"), values.get("month"), values.get("day"), clock_text)
        try:
            date(2000 if day.year is None else day.year, day.month or 1, day.day or 1)
        except ValueError:
            return None
        return day, roles

    def _named(self, head: str, numbers: list[re.Match[str]]) -> dict[str, re.Match[str]] | None:
        """The parts of a date in numbers alone."""
        if len(numbers) == 1 and len(numbers[0][0]) == 4:
            return {"year": numbers[0]}
        if len(numbers) != 3:
            return None
        first, second, third = numbers
        if len(first[0]) == 4:
            return {"year": first, "month": second, "day": third}
        if len(first[0]) > 2 or len(second[0]) > 2 or len(third[0]) not in (2, 4):
            return None
        dots = "." in head[first.end() : second.start()]
        if int(first[0]) > 12 or (int(second[0]) <= 12 and (dots or self.day_first)):
            return {"day": first, "month": second, "year": third}
        return {"month": first, "day": second, "year": third}

    def _value(self, role: str, text: str) -> int:
        if role == "month" and not text.isdecimal():
            return _months(self.language)[fold(text)][0]
        value = int(text)
        if role == "year" and len(text) == 2:
            value += 2000 if value <= _YOUNGEST else 1900
        return value


def _with_month(numbers: list[re.Match[str]], month: re.Match[str]) -> dict[str, re.Match[str]] | None:
    """The parts of a date that names its month."""
    if len(numbers) == 1:
        return {"month": month, "year" if len(numbers[0][0]) == 4 else "day": numbers[0]}
    if len(numbers) != 2:
        return None
    year, day = numbers if len(numbers[0][0]) == 4 else numbers[::-1]
    return {"year": year, "month": month, "day": day} if len(day[0]) < 3 and len(year[0]) != 1 else None


def _cased(old: str, new: str) -> str:
    """A word in the case of another, and without accents if that has lost its own."""
    new = fold(new) if old.isascii() else new
    return new.upper() if old.isupper() and len(old) > 1 else new.capitalize() if old[0].isupper() else new


def _ordinal(day: int) -> str:
    return "th" if 10 < day < 20 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")


def shift(days: Iterable[Day], seed: str) -> int:
    """By how many days the dates of a record move: the latest goes to one that `seed` draws, whatever it was."""
    # "9999-12-31" is no day that anything else is measured by.
    numbers = [number for day in days if day.year is not None and day.year < _NEVER and (number := day.ordinal())]
    latest = max(numbers, default=_FIRST.toordinal())
    drawn = int.from_bytes(hashlib.sha256(f"dates\0{seed}".encode()).digest()[:8], "big") % _DAYS
    return _FIRST.toordinal() + drawn - latest
