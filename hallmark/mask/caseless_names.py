"""Names in a line without informative capitals (all lower case, or all upper case), by word lists and cues alone."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from hallmark.mask.lexicon import (
    any_of,
    cities,
    countries,
    first_names,
    fold,
    is_common,
    is_given_name,
    is_stop,
    is_word,
    last_names,
    products,
    word_list,
)
from hallmark.mask.name_cues import (
    ABBREVIATIONS,
    DATED,
    DOES,
    MONTHS,
    PERSON_AFTER,
    PERSON_CUE_LOWER,
    TOKEN,
    is_destination,
    is_related,
)
from hallmark.mask.rules import Found

_FIRMS = word_list("words/shops.txt") | word_list("words/company_forms.txt")
_FORMS = word_list("words/company_forms.txt")
# Forms of three letters or more: "AS" and "CO" may be other words of a line of capitals.
_FORM = re.compile(
    r"(?<![^\W_])(?:"
    + any_of({form.upper() for form in _FORMS if len(form.replace(" ", "")) > 2})
    + r"|CO\.?,? (?:LTD|INC|LLC)|S\.?A\.?|A\.?G\.?|B\.?V\.?|S/B)(?![^\W_])(?:(?<!COMPANY)|(?![ ](?:NAME|NO|NUMBER|REG)(?![^\W_])))\.?"
)
_SENTENCE_END = re.compile(r"(?<=[^\W_]{4})[.!?:;]\s|(?<=\d)[.,]\s")
_IN_NAMES = frozenset(("a", "and", "for", "i", "in", "of", "on", "the", "us"))  # of a firm's name, if not first
_NAME_START = re.compile(r"[^\W\d_]|\d+ (?=[^\W\d_])")
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_NUMBERED = re.compile(r"(?<!\S)\S*\d\S*")
Word = tuple[int, int, str]  # start, end, folded


def lines(text: str) -> Iterator[tuple[int, int, str]]:
    """The lines, each marked as all capitals ("upper"), all lower case ("lower") or normal ("mixed")."""
    if text.islower():
        yield from ((line.start(), line.end(), "lower") for line in re.finditer(r"[^\n]*[^\W\d_][^\n]*", text))
        return
    printed = is_printed(text)
    for line in re.finditer(r"[^\n]+", text):
        capitals = sum(map(str.isupper, line[0]))
        typed = _NUMBERED.sub("", line[0]) if capitals else ""  # "K0881" says nothing of the names next to it
        small = sum(map(str.islower, line[0]))
        upper = capitals > 4 * small and (printed or capitals > 7)
        if capitals + small:
            lower = small and (not typed or typed.islower())
            yield line.start(), line.end(), "lower" if lower else "upper" if upper else "mixed"


def is_printed(text: str) -> bool:
    """Whether a text of several lines is in capitals throughout, as what a till prints is."""
    head = text[:4000] if "\n" in text else ""
    capitals = sum(map(str.isupper, head))
    return capitals > 30 and capitals > 4 * sum(map(str.islower, head))


def flat(text: str, start: int, end: int, lower: bool) -> Iterator[Found]:
    """Names in a line without informative capitals.

    In lower case, a given name among other words is masked only with a family name or a cue: it may be any word, and
    every second chat has a "thank you alex" to the agent. In upper case, a line with a word of shops and firms is a
    firm's name or address.
    """
    starts, given = _place_starts(), first_names()
    words = _WORD.findall(text, start, end) if lower and text.isascii() and "-" not in text else starts
    if starts.isdisjoint(words) and given.isdisjoint(words):
        return
    tokens = [(*match.span(), match[0].rstrip(".")) for match in TOKEN.finditer(text, start, end)]
    if not (lower and text.isascii()):
        tokens = [(first, last, fold(word)) for first, last, word in tokens]
    firm = not lower and any(word in _FIRMS for *_, word in tokens)
    if not lower:
        yield from _companies(text, start, end)
    at = 0
    while at < len(tokens):
        word = tokens[at][2]
        if word not in starts and word not in given and "-" not in word:
            at += 1  # no place or name starts here
            continue
        for length in (3, 2, 1) if word in starts else ():
            part = tokens[at : at + length]
            phrase = " ".join(word for *_, word in part)
            if len(part) < length or not any(phrase in listed for listed in (countries(), cities(), products())):
                continue
            if phrase in countries() and not _goes(text, start, part, country=True):
                yield Found(part[0][0], part[-1][1], "LOCATION", 0.55, "place")
                at += length
                break
            if length > 1 or phrase not in first_names() or phrase in products() or _goes(text, start, part):
                at += length
                break
        else:
            stop = at + 1 if firm else _name_end(text, start, tokens, at, lower)
            if stop > at and not firm:
                first, last = tokens[at][0], tokens[stop - 1][1]
                last -= text[last - 1] == "." and len(tokens[stop - 1][2]) > 1
                yield Found(first, last, "PERSON", 0.6, "name_list")
            at = max(stop, at + 1)


@cache
def _place_starts() -> frozenset[str]:
    """The first words of countries, cities and products."""
    return frozenset(name.split()[0] for listed in (countries(), cities(), products()) for name in listed)


def _companies(text: str, start: int, end: int) -> Iterator[Found]:
    """The names of companies in a line of capitals, up to their legal form; a form alone ends the line above."""
    at = start
    for form in _FORM.finditer(text, start, end):
        first = _NAME_START.search(text, at, form.start())
        if first is None and at == start and start > 1:
            above = text.rfind("\n", 0, start - 1) + 1
            first = _NAME_START.search(text, above, start - 1)
        if first is not None:
            begin = _named_from(text, first.start(), form.start())
            if form.end() - begin < 100:
                yield Found(begin, form.end(), "ORGANIZATION", 0.73, "company_form")
        at = form.end()


def _named_from(text: str, start: int, end: int) -> int:
    """Where the name before a company's form begins: after the last full stop, date, or word of a sentence ("BOUGHT IT FROM")."""
    begin = start
    for match in _SENTENCE_END.finditer(text, start, end):
        begin = match.end()
    for number, match in enumerate(TOKEN.finditer(text, begin, end)):
        if number > 1 and (word := fold(match[0].rstrip("."))) not in _IN_NAMES and is_stop(word):
            begin = match.end()
    name = _NAME_START.search(text, begin, end)
    return name.start() if name else start


def _goes(text: str, start: int, part: list[Word], country: bool = False) -> bool:
    """Whether a trip goes there."""
    before, after = text[max(start, part[0][0] - 60) : part[0][0]], text[part[-1][1] : part[-1][1] + 20]
    return is_destination(before, after, country=country)


def _name_end(text: str, start: int, tokens: list[Word], at: int, lower: bool) -> int:
    """The end of the name that starts at a word, in words; `at` if none does."""
    low, high, name = tokens[at]
    known = is_given_name(name) and (name in first_names("en") or not is_word(name))
    known = known and not is_month(text, tokens[at]) and name not in ABBREVIATIONS
    before = text[max(start, low - 40) : low]
    related = name in first_names() and is_related(before)
    if not known and not related:
        return at
    stop = at + 1
    while (
        stop < len(tokens)
        and text[tokens[stop - 1][1] : tokens[stop][0]].strip(" .") == ""
        and _follows(tokens[stop][2])
    ):
        stop += 1
    cued = lower and PERSON_CUE_LOWER.search(before) is not None
    if lower and stop == at + 1 and len(tokens) > 2 and not (related or cued):
        after = text[high : high + 40]
        if not (PERSON_AFTER.search(after) or DOES.search(after)):
            return at
    if cued and stop == at + 1 and stop + 1 < len(tokens) and text[high : tokens[stop][0]] == " ":
        last, after = tokens[stop][2], tokens[stop + 1][2]  # "to marcus bell by mistake"
        stop += last in last_names() and not is_stop(last) and is_stop(after)
    return stop


def is_month(text: str, token: Word) -> bool:
    """Whether a word is used as a month rather than as a name."""
    start, end, word = token
    return word in MONTHS and bool(
        re.match(r"\.?,? ?\d", text[end : end + 4]) or DATED.search(text, max(0, start - 12), start)
    )


def _follows(word: str) -> bool:
    """Whether a word after a given name belongs to the name."""
    return (
        (len(word) == 1 and word.isalpha() and word not in "ai")
        or (word in last_names() and not is_common(word))
        or is_given_name(word)
        or (len(word) > 2 and not is_word(word))
    ) and word not in products()
