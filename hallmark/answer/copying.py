"""Where in a text the value of a field stands: told by what stood around the values of that field in the training records.

Nothing is known of any corpus but what these records show. Of each field it is counted how often a value began and ended
at the same words. Of a new text, the span wins at whose ends values began and ended most often.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

from hallmark.task.evidence import DAY_MONTH, GROUPED, MONTH_DAY, NUMBER, YEAR_FIRST, YEAR_LAST, dates_in, numbers_in

TOKEN = re.compile(r"[^\W\d_]+|\d+|\n|[^\w\s]|_")
MOST_TOKENS = 2000  # of a text; what follows is not looked at, so that a long text takes no longer
LONGEST = 40  # tokens of a value
REACH = 3  # tokens that are compared on either side of an end
SEEN = 3  # records in which a word must stand for a value that is not written out
SURE = 0.8  # share of them, and share of the word's records
MOST_READINGS = 9  # of a number or date
MOST_ENDS = 12  # likeliest places at which a value may begin, and at which it may end
KNOWN = 1.5  # how much likelier a span is that was a value of the field before, as a logarithm
Run = tuple[int, int]  # of tokens: from, up to


class Text:
    """A text in tokens, and where they are."""

    def __init__(self, text: str) -> None:
        self.text = text
        found = [match for _, match in zip(range(MOST_TOKENS), TOKEN.finditer(text), strict=False)]
        self.bounds = [match.span() for match in found]
        self.tokens = [match[0].casefold() for match in found]
        edge = ["<edge>"] * REACH
        self._padded = [*edge, *self.tokens, *edge]
        self._starting = {start: number for number, (start, _) in enumerate(self.bounds)}
        self._ending = {end: number for number, (_, end) in enumerate(self.bounds, 1)}

    def said(self, run: Run) -> str:
        return self.text[self.bounds[run[0]][0] : self.bounds[run[1] - 1][1]]

    def find(self, value: Any) -> list[Run]:
        """The runs of tokens that read as a value, whatever their case."""
        wanted = tokens_of(value)
        if not wanted or wanted[0] not in self._places:
            return []
        return [
            (start, start + len(wanted))
            for start in self._places[wanted[0]]
            if self.tokens[start : start + len(wanted)] == wanted
        ]

    @cached_property
    def _places(self) -> dict[str, list[int]]:
        places: dict[str, list[int]] = {}
        for number, token in enumerate(self.tokens):
            places.setdefault(token, []).append(number)
        return places

    @cached_property
    def numbers(self) -> list[tuple[Run, list[float]]]:
        """Every number with what it may be read as."""
        found = [(run, [*dict.fromkeys(numbers_in(said))]) for run, said in self._matches(GROUPED, NUMBER)]
        return [(run, readings) for run, readings in found if all(map(math.isfinite, readings))]

    @cached_property
    def dates(self) -> list[tuple[Run, list[tuple[int | None, int, int]]]]:
        """Every date with what it may be read as."""
        return [(run, [*dates_in(said)]) for run, said in self._matches(DAY_MONTH, MONTH_DAY, YEAR_FIRST, YEAR_LAST)]

    def _matches(self, *regexes: re.Pattern[str]) -> list[tuple[Run, str]]:
        found: dict[Run, str] = {}
        for match in (match for regex in regexes for match in regex.finditer(self.text)):
            first, last = self._starting.get(match.start()), self._ending.get(match.end())
            if first is not None and last is not None and first < last:
                found.setdefault((first, last), match[0])
        return sorted(found.items())

    def form(self, run: Run) -> str:
        """The text of a run, its digits and letters replaced: the same for all that is written in the same way."""
        return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d", "9", self.said(run)))

    @cached_property
    def around(self) -> list[tuple[list[tuple[str, ...]], list[tuple[str, ...]]]]:
        """For each place between two tokens: the tokens before it and those after it, in ever longer runs.

        The shortest of each is the shape of one token.
        """
        padded, found = self._padded, []
        for place in range(REACH, len(self.tokens) + REACH + 1):
            found.append(
                (
                    [("~", shape(padded[place - 1])), *(tuple(padded[place - n : place]) for n in range(1, REACH + 1))],
                    [("~", shape(padded[place])), *(tuple(padded[place : place + n]) for n in range(1, REACH + 1))],
                )
            )
        return found


def tokens_of(value: Any) -> list[str]:
    return [match[0].casefold() for match in TOKEN.finditer(str(value))]


def shape(token: str) -> str:
    return "a" if token[0].isalpha() else "9" * min(len(token), 4) if token[0].isdigit() else token


class Places:
    """How often something happened at places with the same tokens before and after."""

    def __init__(self) -> None:
        self.before: Counter[tuple[str, ...]] = Counter()
        self.after: Counter[tuple[str, ...]] = Counter()
        self.number = 0

    def add(self, around: tuple[list[tuple[str, ...]], list[tuple[str, ...]]]) -> None:
        self.before.update(around[0])
        self.after.update(around[1])
        self.number += 1


def likelihood(around: tuple[list[tuple[str, ...]], list[tuple[str, ...]]], these: Places, places: Places) -> float:
    """How likely a place is one of these, given what is before it and what is after it, as a logarithm."""
    usual = (these.number + 0.5) / (places.number + 1)
    found = -math.log(usual)
    for runs, among, every in (
        (around[0], these.before, places.before),
        (around[1], these.after, places.after),
    ):
        share = usual
        for run in runs:  # what a longer run of tokens says counts more, the more often it was seen
            if not (number := every[run]):
                break
            share = (among[run] + share) / (number + 1)
        found += math.log(share)
    return found


@dataclass(frozen=True)
class Mention:
    """A run of tokens, the value that it states, and how likely it is the field's."""

    run: Run
    value: Any
    score: float

    def overlaps(self, other: Mention) -> bool:
        """Whether the two share a token."""
        return self.run[0] < other.run[1] and other.run[0] < self.run[1]


class Field:
    """What the training records show of one field: `values` are those that it has in each text, none where it has none."""

    def __init__(self, texts: Sequence[Text], values: Sequence[Sequence[Any]], every: Places) -> None:
        self.every = every
        said = [(text, value) for text, of in zip(texts, values, strict=True) for value in of]
        self.kind = _kind(said)
        self.starts, self.ends, self.lengths = Places(), Places(), Counter[int]()
        self.readings: dict[str, Counter[int]] = {}  # by form: which of the readings it was
        self.years: dict[int, Counter[int]] = {}  # by month
        self.spelt: dict[tuple[str, ...], Counter[Any]] = {}
        self.found = 0
        self.aliases: dict[str, Any] = {}
        unsaid = []
        for text, value in said:
            runs = self._runs(text, value)
            self.found += bool(runs)
            if not runs:
                unsaid.append((text, value))
            if isinstance(value, str):
                self.spelt.setdefault(tuple(tokens_of(value)), Counter())[value] += 1
            self._learn(text, runs)
        self.aliases = _aliases(unsaid)
        for text, value in unsaid:
            runs = [run for word, meant in self.aliases.items() if meant == value for run in text.find(word)]
            self.found += bool(runs)
            self._learn(text, runs)
        self.said = len(said)
        # Every value came again: then others are not to be expected.
        self.closed = all(spelt.total() > 1 for spelt in self.spelt.values())
        self.longest = min(max(self.lengths, default=0), LONGEST)

    def _learn(self, text: Text, runs: Sequence[Run]) -> None:
        for start, end in runs:
            self.starts.add(text.around[start])
            self.ends.add(text.around[end])
            self.lengths[end - start] += 1

    def _runs(self, text: Text, value: Any) -> list[Run]:
        if self.kind == "number":
            runs = []
            for run, readings in text.numbers:
                if value in readings:
                    runs.append(run)
                    self.readings.setdefault(text.form(run), Counter())[readings.index(value)] += 1
            return runs
        if self.kind == "date":
            day, runs = date.fromisoformat(value), []
            self.years.setdefault(day.month, Counter())[day.year] += 1
            for run, options in text.dates:
                for number, (year, month, of_month) in enumerate(options):
                    if (year or day.year, month, of_month) == (day.year, day.month, day.day):
                        runs.append(run)
                        self.readings.setdefault(text.form(run), Counter())[number] += 1
                        break
            return runs
        return text.find(value)

    def mentions(self, text: Text) -> list[Mention]:
        """What in a text may be the field's value, the likeliest first; of equally likely ones, the first."""
        if not self.starts.number:
            return []
        begins = [likelihood(around, self.starts, self.every) for around in text.around]
        stops = [likelihood(around, self.ends, self.every) for around in text.around]
        found = [
            Mention(run, value, begins[run[0]] + stops[run[1]] + extra)
            for run, value, extra in self._options(text, likeliest(begins), likeliest(stops))
        ]
        return sorted(found, key=lambda one: (-one.score, one.run))

    def _options(self, text: Text, begins: Sequence[int], stops: Sequence[int]) -> Iterator[tuple[Run, Any, float]]:
        for number, token in enumerate(text.tokens):
            if token in self.aliases:
                yield (number, number + 1), self.aliases[token], KNOWN
        if self.kind == "number":
            for run, readings in text.numbers:
                value = next(readings[number] for number in self._order(text, run) if number < len(readings))
                yield run, int(value) if value.is_integer() else value, 0.0
        elif self.kind == "date":
            for run, options in text.dates:
                for number in self._order(text, run):
                    if number < len(options) and (day := self._day(*options[number])):
                        yield run, day, 0.0
                        break
        elif self.closed:
            for tokens, spelt in self.spelt.items():
                yield from ((run, usual_first(spelt)[0], 0.0) for run in text.find(" ".join(tokens)))
        else:
            total = sum(self.lengths.values())
            weights = [math.log((self.lengths[n] + 0.5) / (total + 1)) for n in range(self.longest + 1)]
            for start in begins:
                for end in stops:
                    if not start < end <= start + self.longest or "\n" in text.tokens[start:end]:
                        continue
                    known = self.spelt.get(tuple(text.tokens[start:end]))
                    said = usual_first(known)[0] if known else text.said((start, end))
                    yield (start, end), said, weights[end - start] + (KNOWN if known else 0.0)

    def _order(self, text: Text, run: Run) -> list[int]:
        """The readings of what is written in this way, the most usual first."""
        seen = self.readings.get(text.form(run), Counter())
        return [*usual_first(seen), *(number for number in range(MOST_READINGS) if number not in seen)]

    def _day(self, year: int | None, month: int, day: int) -> str | None:
        """A date; without a year, in the year that is usual for the month."""
        years = self.years.get(month) or sum(self.years.values(), Counter())
        try:
            return date(usual_first(years)[0] if year is None else year, month, day).isoformat()
        except ValueError:
            return None


def likeliest(scores: Sequence[float]) -> list[int]:
    """The likeliest places, in their order."""
    return sorted(sorted(range(len(scores)), key=lambda place: (-scores[place], place))[:MOST_ENDS])


def usual_first(counts: Mapping[Any, float]) -> list[Any]:
    """What was counted, the most frequent first; of equally frequent ones, the first by text."""
    return sorted(counts, key=lambda one: (-counts[one], str(one)))


def _kind(said: Sequence[tuple[Text, Any]]) -> str:
    values = [value for _, value in said]
    if values and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return "number"
    if values and all(map(_is_day, values)) and 2 * sum(bool(text.find(value)) for text, value in said) < len(said):
        return "date"
    return "text"


def _is_day(value: Any) -> bool:
    try:
        return isinstance(value, str) and date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


def _aliases(unsaid: Sequence[tuple[Text, Any]]) -> dict[str, Any]:
    """Words that stand for a value that no text writes out: they go with it, and with no other."""
    having: dict[str, Counter[Any]] = {}
    number: Counter[Any] = Counter()
    for text, value in unsaid:
        number[value] += 1
        for token in dict.fromkeys(text.tokens):
            having.setdefault(token, Counter())[value] += 1
    aliases = {}
    for token in sorted(having):
        counts = having[token]
        value = usual_first(counts)[0]
        if counts[value] >= max(SEEN, SURE * number[value]) and counts[value] >= SURE * counts.total():
            aliases[token] = value
    return aliases
