"""Names of people by what stands before or after them: a title, a role, initials, other names, what only people do."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stages.privacy.lexicon import (
    first_names,
    fold,
    is_common,
    is_family_name,
    is_given_name,
    is_plain,
    is_stop,
    is_word,
    last_names,
    places,
    towns,
    word_list,
)
from stages.privacy.name_cues import (
    DOES,
    HYPHENED,
    INITIALED,
    JOB_AFTER_NAME,
    JOB_LINE,
    LISTED,
    MONTHS,
    NAME_PART,
    ROLED,
    SENTENCE_START,
    TITLED,
    TITLED_LOWER,
)
from stages.privacy.rules import Found

_CHAT = word_list("words/chat.txt")
_FIRMS = word_list("words/shops.txt") | word_list("words/company_forms.txt")
_PLACE_WORDS = frozenset(
    ["street", "road", "avenue", "lane", "square", "court", "hill", "park", "bridge", "county", "city"]
)
# Abbreviations in the form of initials.
_ABBREVIATED = frozenset(
    ["us", "uk", "un", "eu", "dc", "po", "ny", "la", "ad", "bc", "am", "pm", "ie", "eg", "st", "no", "usa", "uae", "sa"]
)
_WORD = re.compile(NAME_PART)
_MEMBER = re.compile(rf"{NAME_PART}(?: {NAME_PART})?")


def people(text: str) -> Iterator[Found]:
    """Names by what stands before or after them, and the titles and jobs of people."""
    yield from _titled(text)
    yield from _roled(text)
    yield from _initialed(text)
    yield from _listed(text)
    yield from _hyphened(text)
    for pattern in (JOB_LINE, JOB_AFTER_NAME):
        for match in pattern.finditer(text):
            if (len(match[1]) < 60 and "\n" in text) or pattern is JOB_AFTER_NAME:
                yield Found(*match.span(1), "TITLE", 0.5, "job")


def _titled(text: str) -> Iterator[Found]:
    for match in TITLED.finditer(text):
        end = _end(text, match.start(2), match.end(2))
        if end > match.start(2):  # the title is part of how the person is called
            yield Found(match.start(1), end, "PERSON", 0.72, "title")
    for match in TITLED_LOWER.finditer(text):
        words = match[2].split()
        name = [word for word in words if not is_word(fold(word))] or ([] if is_common(fold(words[0])) else words[:1])
        if name and words[0] == name[0] and not _CHAT.intersection(name):
            yield Found(match.start(1), match.start(2) + len(" ".join(name)), "PERSON", 0.66, "title")


def _roled(text: str) -> Iterator[Found]:
    """ "Judge Costa": the role stays, as it is not the person's name."""
    for match in ROLED.finditer(text):
        words = [fold(word[0]) for word in _WORD.finditer(match[1])]
        if not words or words[-1] in _FIRMS or words[-1] in _PLACE_WORDS or (words[0] in MONTHS):
            continue
        end = _end(text, match.start(1), match.end(1))
        known = [word in first_names() or word in last_names() or not is_word(word) for word in words]
        doubtful = is_common(words[0]) and (is_plain(words[0]) or words[0] not in last_names())
        if end > match.start(1) and known[0] and not (doubtful and (len(words) == 1 or not known[1])):
            yield Found(match.start(1), end, "PERSON", 0.6, "role")


def _initialed(text: str) -> Iterator[Found]:
    for match in INITIALED.finditer(text):
        initials = re.sub(r"[^^\W\d_]", "", match[0][: match.start(1) - match.start()])
        word = fold(match[1].split()[-1])
        opens = len(initials) == 1 and SENTENCE_START.search(text, max(0, match.start() - 4), match.start())
        if fold(initials) in _ABBREVIATED or len(word) < 3 or is_stop(word) or word in MONTHS or word in _FIRMS:
            continue
        if not is_common(word) or (word in last_names() and not opens):
            yield Found(*match.span(), "PERSON", 0.59, "initials")


def _listed(text: str) -> Iterator[Found]:
    """Lists of names: if half of them can be nothing else, the others are names too."""
    for match in LISTED.finditer(text):
        members = [
            (member.start(), member.end(), [fold(word) for word in member[0].split()])
            for member in _MEMBER.finditer(text, *match.span())
        ]
        sure = [is_given_name(words[0]) and words[0] not in towns() for *_, words in members]
        if sum(sure) * 2 < len(members):
            continue
        for start, end, words in members:
            name = words[0] in first_names() or words[0] in last_names() or not is_word(words[0])
            if name and " ".join(words) not in places() and not is_stop(words[0]) and words[0] not in MONTHS:
                yield Found(start, end, "PERSON", 0.57, "list")


def _hyphened(text: str) -> Iterator[Found]:
    for match in HYPHENED.finditer(text):
        parts = [fold(part) for part in match[0].split("-")]
        if all(part in last_names() or part in first_names() for part in parts):
            yield Found(*match.span(), "PERSON", 0.56, "double_name")


def does(word: str, after: str) -> bool:
    """Whether a word that may be a name is one, since what follows is what only people do ("Crystal will join")."""
    return (word in first_names("en") or is_family_name(word)) and word not in MONTHS and DOES.search(after) is not None


def _end(text: str, start: int, end: int) -> int:
    """The end of a name after a title: before a stop word or a word of an organisation or a place."""
    words = list(re.finditer(r"[^\s]+", text[start:end]))
    while words and len(words) > 1 and is_stop(fold(words[-1][0])):
        words.pop()
    if not words or (is_stop(fold(words[0][0])) and len(words[0][0]) > 2):
        return start
    last = words[-1][0]
    return start + words[-1].end() - (last.endswith(".") and len(last) > 3 and last.count(".") == 1)
