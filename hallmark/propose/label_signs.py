"""Labels of which a person must say what they are: a default that stands for none, and two names of one class."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from hallmark.data.missing import is_blank
from hallmark.propose.codebooks import SUCCESSOR
from hallmark.propose.column_words import bare, says
from hallmark.propose.columns import Column, merged
from hallmark.propose.evidence import ENOUGH_GROUPS, LARGEST, SAME, TIED, guessed
from hallmark.task.values import folded

MOST_STATES = 12  # values of a column that may say how far the work is, or what a row is fit for
ELSEWHERE = 0.1  # share of the other labels' rows that may have the same value
ALIKE = 0.8  # share of the rows without a label
TOLD = 0.3  # share of its rows, beyond that of the other label's, by which a text tells a label from the other
SEVERAL = 3  # rows of a label from which on something is concluded
_SEVERAL = re.compile(r"[;|]| \+ ")  # of labels in one text
_WORD, _DIGITS = re.compile(r"[^\W\d_]{3,}"), re.compile(r"\d+")
_PART = re.compile(r"[^\W_]+|[^\w\s&/.,;:()'-]")
_FORMER = re.compile(
    r"(.+?)(?:\s*[(\[]([^()\[\]]+)[)\]]\s*|[_ -](old|obsolete|deprecated|legacy))", re.IGNORECASE
)  # and what its end says
_AND = re.compile(r"(?<=\w) (?:and|und|et|y|e|en|i|og|och|ja|&) (?=\w)")
NO = re.compile(r"\b(?:not?|non|un\w+|nicht|kein\w*|sans|sin|sem|senza|geen|ikke|inte|nie)\b")


def defaults(answers: Column, columns: Sequence[Column], texts: Sequence[Column]) -> tuple[list[str], list[str]]:
    """Labels that no text tells, and only these stand where another column has some value, or none: as of what nobody classified.

    The first surely stand for none, since rows without a label have that value too; the others may.
    """
    labels = _written(answers)
    counts = Counter(filter(None, labels))
    sure: set[str] = set()
    asked: set[str] = set()
    for column in columns if answers.is_label(3) and len(counts) > 2 else ():
        states = _written(column)
        if len({*states}) > MOST_STATES:
            states = ["given" if state else "" for state in states]
        both = Counter(zip(labels, states, strict=True))
        usual = {one: max({*states}, key=lambda state: both[one, state]) for one in counts}
        firm = [one for one, count in counts.items() if count >= SEVERAL and both[one, usual[one]] > SAME * count]
        alone = [one for one in firm if _is_alone(one, usual[one], both, counts)]
        if len(alone) != 1 or counts[alone[0]] > LARGEST * len(labels):
            continue  # a column that says so of several labels follows from them
        lacking = [state for label, state in zip(labels, states, strict=True) if not label]
        same = sum(state == usual[alone[0]] for state in lacking)
        (sure if len(lacking) >= SEVERAL and same > ALIKE * len(lacking) else asked).add(alone[0])
    if sure | asked:
        told = Counter((label.strip(), label == of) for label, of in zip(*guessed(texts, answers), strict=True))
        sure, asked = ({one for one in of if told[one, True] <= told[one, False]} for of in (sure, asked))
    return sorted(sure), sorted(asked - sure)


def _is_alone(label: str, state: str, both: Mapping[tuple[str, str], int], counts: Mapping[str, int]) -> bool:
    """Whether hardly any row of another label has a value, and no other label has it as often."""
    others = [(both[other, state], count) for other, count in counts.items() if other != label]
    rare = sum(has for has, _ in others) <= ELSEWHERE * sum(count for _, count in others)
    return rare and all(has <= count / 2 for has, count in others if count >= SEVERAL)


def same_class(answers: Column, columns: Sequence[Column], texts: Sequence[Column]) -> list[list[str]]:
    """Sets of labels that share most of their words, or of which one ends when the other begins, and the text doesn't tell which."""
    labels = [folded(label) for label in _written(answers)]
    counts = Counter(filter(None, labels))
    if not answers.is_label(3) or len(counts) < 3:
        return []
    words = {one: {bare(word)[:5] for word in _WORD.findall(one)} for one in counts}
    ends = [_ends(labels, column) for column in columns if column.form == "time"]
    spelled = dict(zip(labels, _written(answers), strict=True))
    taken: Counter[tuple[str, str]] | None = None
    sets: dict[str, list[str]] = {}
    for rare, usual in combinations(sorted(counts, key=lambda label: (counts[label], label)), 2):
        if _SEVERAL.search(spelled[rare] + spelled[usual]):
            continue
        signs = [(bool(NO.search(one)), _DIGITS.findall(one)) for one in (rare, usual)]  # `Pump 3`, `Pump 4` are two
        named = signs[0] == signs[1] and _share_most(words[rare], words[usual])
        if not named and not any(_take_turns(of, rare, usual) for of in ends):
            continue
        if taken is None:
            every = Column(answers.name, [folded(str(value or "")) for value in answers.values])
            taken = Counter(zip(*guessed(texts, every), strict=True))
        own, other = (taken[one, rare] / max(taken[one, rare] + taken[one, usual], 1) for one in (rare, usual))
        read = taken[rare, rare] + taken[rare, usual] > 0  # else too few rows for the text to say anything
        if own - other < TOLD if read else words[rare] >= words[usual] > set():
            joined = dict.fromkeys([*sets.get(rare, [rare]), *sets.get(usual, [usual])])
            sets |= {label: [*joined] for label in joined}
    return [[spelled[one] for one in of] for name, of in sets.items() if of[0] == name]


def respelled(sets: Sequence[Sequence[str]], answers: Column) -> dict[str, str]:
    """Labels of such a set by its most frequent one, if only accents, endings, signs, spaces or an `and` make them differ."""
    counts = Counter(map(folded, _written(answers)))
    spelled = {folded(label): label for label in merged(answers.keys)}
    usual = [(spelled[folded(max(of, key=lambda label: counts[folded(label)]))], of) for of in sets]
    same = {
        folded(label): main
        for main, of in usual
        for label in of
        if folded(label) != folded(main) and _same_words(label, main)
    }
    return {key.strip(): same[folded(key)] for key in answers.keys if folded(key) in same}


def renamed(names: Mapping[str, str]) -> dict[str, str]:
    """The names of codes, but for a former code that of its successor.

    `Late (old)` and `late_old` are `Late`, and `Tardy (old, replaced by 3)` is code 3, if there is one.
    """
    current = {folded(name): name for name in names.values()} | {
        key: name for key, name in names.items() if key.isdecimal()
    }
    found = {**names}
    for key, name in names.items():
        base, *ends = of.groups("") if (of := _FORMER.fullmatch(name)) else ("",)
        said = "".join(ends)
        ones = (
            [folded(base), *(_DIGITS.findall(said) if SUCCESSOR.search(said) else ())] if says(said, "outdated") else ()
        )
        found[key] = next((current[one] for one in ones if one in current), name)
    return found


def _same_words(one: str, other: str) -> bool:
    words = [[bare(word) for word in _PART.findall(_AND.sub(" ", folded(label)))] for label in (one, other)]
    if "".join(words[0]) == "".join(words[1]):
        return True
    pairs = [sorted(pair, key=len) for pair in zip(*words, strict=False)] if len(words[0]) == len(words[1]) else []
    return bool(pairs) and all(
        long == short or (len(long) > 4 and long[:-1] == short and long[-1] in "aeinrsx") for short, long in pairs
    )


def _share_most(few: set[str], many: set[str]) -> bool:
    """Whether of two labels' words one has all of the other's, or half of all are shared: `Man. handling`, `Manual handling`."""
    few, many = sorted((few, many), key=len)
    shared = sum(any(one.startswith(other) or other.startswith(one) for other in many) for one in few)
    return shared > 0 and (shared == len(few) or 2 * shared >= len(few) + len(many) - shared)


def _ends(labels: Sequence[str], column: Column) -> dict[str, tuple[str, str]]:
    """The first and the last day of each label that has several rows with one."""
    days: dict[str, list[str]] = {}
    for label, value in zip(labels, column.values[:TIED], strict=True):
        if label and (day := _day(value)):
            days.setdefault(label, []).append(day)
    return {label: (min(of), max(of)) for label, of in days.items() if len(of) >= ENOUGH_GROUPS}


def _take_turns(ends: Mapping[str, tuple[str, str]], one: str, other: str) -> bool:
    """Whether one of two labels ends when the other begins, and most labels have days before and after."""
    if not {one, other} <= ends.keys():
        return False
    (_, last), (first, _) = sorted((ends[one], ends[other]))
    through = sum(start <= last and end >= first for start, end in ends.values())
    return last <= first and 2 * through > len(ends) and ends[one] != ends[other]


def _written(column: Column) -> list[str]:
    return ["" if is_blank(value) else str(value).strip() for value in column.values[:TIED]]


def _day(value: Any) -> str:
    """A date that sorts as a text, of one that has the year first or last; "" if it is none."""
    text = str(value or "").strip()
    if re.match(r"(?:19|20)\d\d\D?\d\d", text):
        return text
    parts = re.match(r"(\d\d?)[./-](\d\d?)[./-]((?:19|20)\d\d)(.*)", text)
    return "{2}-{1:0>2}-{0:0>2}{3}".format(*parts.groups()) if parts else ""
