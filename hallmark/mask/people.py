"""Names of people by what stands before or after them: a title, a role, initials, other names, what only people do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from hallmark.mask.introduced_names import FORM_WORDS, introduced, of_names
from hallmark.mask.lexicon import (
    first_names,
    fold,
    is_common,
    is_contraction,
    is_family_name,
    is_given_name,
    is_plain,
    is_stop,
    is_word,
    last_names,
    places,
    titles,
    towns,
    word_list,
    words_of,
)
from hallmark.mask.name_cues import (
    DOES,
    HYPHENED,
    INITIALED,
    JOB_LINE,
    LED,
    LISTED,
    MONTHS,
    NAME_PART,
    NAMED,
    SENTENCE_START,
)
from hallmark.mask.prefilter import compiled
from hallmark.mask.rules import Found

_FIRMS = word_list("words/shops.txt") | word_list("words/company_forms.txt")
_PLACE_WORDS = frozenset(
    ["street", "road", "avenue", "lane", "square", "court", "hill", "park", "bridge", "county", "city"]
)
# Abbreviations in the form of initials.
_ABBREVIATED = frozenset(
    ["us", "uk", "un", "eu", "dc", "po", "ny", "la", "ad", "bc", "am", "pm", "ie", "eg", "st", "no", "usa", "uae", "sa"]
)
_KIN = word_list("words/relations.txt")
_ROLES = word_list("words/person_roles.txt") | _KIN
_LEADS = titles() | _ROLES
_ABBREVIATION = re.compile(r"(?:[^\W\d_]\. ?){3,}|[^\W\d_]")  # "D.I.Y." and "SR I" are no one's initials
_WORD = re.compile(NAME_PART)
# What is said to people only, and what may follow a name: not another noun ("ask Rose Hotel").
_TOLD = compiled(
    r"\b(?i:tell|told|ask|asked|thank|thanked|inform|informed|remind|reminded|phone|phoned|invite|invited) "
    rf"({NAME_PART})(?=[.,;!?]|$| (?:that|to|about|if|whether|and|or|for|at|when|why|how|what|again|please)\b)"
)
_VOCATIVE = compiled(rf", ({NAME_PART})(?=[!?])")
_LEAD_IN = re.compile(r"([^\W\d_]+): $")  # "our founders: "
_MEMBER = re.compile(rf"{NAME_PART}(?: {NAME_PART})?")


def people(text: str) -> Iterator[Found]:
    """Names by what stands before or after them, and the titles and jobs of people."""
    yield from introduced(text)
    for match in JOB_LINE.finditer(text) if "\n" in text else ():
        if _below_name(text, match):
            yield Found(*match.span(1), "TITLE", 0.5, "job")
    if text.islower():  # the others need capitals
        return
    yield from _led(text)
    yield from _initialed(text)
    yield from _listed(text)
    yield from _hyphened(text)
    # "Please tell Rose that it broke", "Don't go to town, Mark!"
    for pattern, score in ((_TOLD, 0.57), (_VOCATIVE, 0.52)):
        for match in pattern.finditer(text):
            if fold(match[1]) in first_names("en") and fold(match[1]) not in MONTHS and not is_stop(fold(match[1])):
                yield Found(*match.span(1), "PERSON", score, "told")


def _below_name(text: str, job: re.Match[str]) -> bool:
    """Whether a line that is a job stands below what can be a name, as in a signature."""
    above = text[max(job.start() - 120, 0) : job.start()].strip(" \t\n>?|*_-").rpartition("\n")[2].strip(" \t>?|*_-")
    if job[1].isupper() and " " not in job[1]:
        return False  # "CASHIER" on a receipt
    return len(job[1]) < 60 and 0 < len(above) < 60 and re.search(r"[\d:!?]", above) is None


def _led(text: str) -> Iterator[Found]:
    """ "Mr Franz Cede": a title is part of how a person is called. "Judge Costa": a role is not."""
    for match in () if _LEADS.isdisjoint(words_of(text)) else LED.finditer(text):
        word = fold(match[1])
        if word not in _LEADS:
            continue
        name = NAMED.match(text, match.end())
        end = _end(text, *name.span()) if name else 0
        if name is None or end <= name.start() or _ABBREVIATION.fullmatch(name[0]):
            continue
        shouted = match[1].isupper() and len(match[1]) > 1
        if shouted and all(is_common(fold(part[0])) for part in _WORD.finditer(name[0])):
            continue  # "HR Director"
        if word in titles():
            yield Found(match.start(), end, "PERSON", 0.72, "title")
        elif _is_known(name[0], match[1][0].isupper() and word in _KIN) and not match[2]:
            yield Found(name.start(), end, "PERSON", 0.6, "role")


def _is_known(name: str, kin: bool) -> bool:
    """Whether what follows a role is a name, not a thing: "Chief Executive", "Bishop Street"; but "Uncle Ray" is one."""
    words = [fold(word[0]) for word in _WORD.finditer(name)]
    if not words or words[-1] in _FIRMS or words[-1] in _PLACE_WORDS or words[0] in MONTHS:
        return False
    known = [word in first_names() or word in last_names() or not is_word(word) for word in words]
    doubtful = is_common(words[0]) and (is_plain(words[0]) or words[0] not in last_names())
    doubtful = doubtful and not (kin and words[0] in first_names("en") and not is_stop(words[0]))
    return known[0] and not (doubtful and (len(words) == 1 or not known[1]))


def _initialed(text: str) -> Iterator[Found]:
    for match in INITIALED.finditer(text):
        initials = re.sub(r"[^^\W\d_]", "", match[0][: match.start(1) - match.start()])
        word = fold(match[1].split()[-1])
        opens = len(initials) == 1 and SENTENCE_START.search(text, max(0, match.start() - 4), match.start())
        if fold(initials) in _ABBREVIATED or len(word) < 3 or is_stop(word) or word in MONTHS or word in _FIRMS:
            continue
        if not is_common(word) or (word in last_names() and not opens and not match[1].isupper()):
            yield Found(*match.span(), "PERSON", 0.59, "initials")


def _listed(text: str) -> Iterator[Found]:
    """Lists of names: if half of them can be nothing else, the others are names too."""
    for match in LISTED.finditer(text):
        members = [
            (member.start(), member.end(), [fold(word) for word in member[0].split()])
            for member in _MEMBER.finditer(text, *match.span())
        ]
        sure = [is_given_name(words[0]) and words[0] not in towns() for *_, words in members]
        led = _LEAD_IN.search(text, max(0, match.start() - 40), match.start())
        if sum(sure) * 2 < len(members) and not (led and fold(led[1]).removesuffix("s") in _ROLES):
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


_I_DO = re.compile(r"I [a-z]")  # "Williams Group I travel"
_WORDS = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_RUN_ON = re.compile(r"[\w.]*")
_POSSESSIVE = re.compile(r"['’]s", re.IGNORECASE)


def person(text: str, found: Found) -> Found | None:
    """What a recognizer took for a person, without what is no part of a name; None if nothing is left.

    "Rosa's" is Rosa, and "Rosa" of "Rosa.Kumar" is a part of a user name, which is masked whole. Contractions and what
    forms print before a value are no one, and a name ends where a word does.
    """
    start, end = found.start, found.end
    words = [word.span() for word in _WORDS.finditer(text, start, end)]
    if not words:
        return found
    user = _user_name(text, *words[-1]) or _user_name(text, *words[0])
    if user:
        kind = "USERNAME" if len(words) == 1 else found.kind
        return found._replace(start=min(start, user[0]), end=max(end, user[1]), kind=kind)
    while words and _is_no_one(text, *words[-1]):
        words.pop()
        end = words[-1][1] if words else start
    while words and _is_no_one(text, *words[0]):
        del words[0]
        start = words[0][0] if words else end
    if not words:
        return None
    if words[-1][1] == end and end - start > 3 and _POSSESSIVE.fullmatch(text, end - 2, end):
        end -= 2
    return whole_words(text, found._replace(start=start, end=end))


def _is_no_one(text: str, start: int, end: int) -> bool:
    word = fold(text[start:end])
    if word in FORM_WORDS or is_contraction(word) or _I_DO.match(text, start):
        return True
    return (_goes_on(text, start - 1) or _goes_on(text, end)) and not (word in first_names() or word in last_names())


def whole_words(text: str, found: Found) -> Found:
    """What a recognizer found, up to the end of a word of which it has a part."""
    start, end = found.start, found.end
    while end < len(text) and text[end - 1].isalpha() and text[end].isalpha() and text[end] < "\u0590":
        end += 1
    while start and text[start].isalpha() and text[start - 1].isalpha() and text[start - 1] < "\u0590":
        start -= 1
    return found if (start, end) == found[:2] else found._replace(start=start, end=end)


def _goes_on(text: str, at: int) -> bool:
    """Whether a word goes on there; scripts without blanks between words are left alone."""
    return 0 <= at < len(text) and text[at].isalnum() and text[at] < "\u0590"


def _user_name(text: str, start: int, end: int) -> tuple[int, int] | None:
    """The user name that a word is a part of: names joined by dots or underscores ("rosa.kumar"), or with digits."""
    edges = [text[at] for at in (start - 1, end) if 0 < at < len(text)]
    if not any(edge.isalnum() or edge in "._" for edge in edges):
        return None
    low, first = start, max(0, start - 64)  # in scripts without blanks, a run has no end
    while low > first and (text[low - 1].isalnum() or text[low - 1] in "._"):
        low -= 1
    run = _RUN_ON.match(text, low, end + 64)
    whole = run[0].rstrip("._") if run else ""
    high = low + len(whole)
    low = high - len(whole.lstrip("._"))
    parts = [fold(part) for part in re.split(r"[._\d]+", text[low:high]) if part]
    if len(parts) == 1 and not text[high - 1 : high].isdigit():
        return None
    return (low, high) if of_names(text[low:high]) else None


@lru_cache(2**14)
def is_login(word: str) -> bool:
    """Whether a word in lower case is made of someone's names, as many a user name is: "pwilliams", "anna.lopez", "rsingh04"."""
    parts = [part for part in re.split(r"[._\d-]+", word) if part]
    names = [part for part in parts if len(part) > 2 and (part in first_names() or part in last_names())]
    if all(part in MONTHS for part in parts) or "-" in word:
        return False  # "may2024", "made-up"
    if names and (len(parts) > 1 or word[-1].isdigit()):
        return all(part in names or len(part) < 3 for part in parts)
    return not names and any(not is_word(part) and _of_two(part) for part in parts)


def _of_two(word: str) -> bool:
    """Whether a word is an initial and a family name, or a given and a family name in either order."""
    if len(word) > 4 and (word[1:] in last_names() or (is_family_name(word[:-1]) and word[-1] != "s")):
        return True
    halves = [{word[:at], word[at:]} for at in range(3, len(word) - 2) if len(word) > 7]
    given, family = first_names("en"), last_names()
    return any(two & given and two & family and two <= given | family for two in halves)


def is_titled(before: str) -> bool:
    """Whether a title stands right before."""
    words = before.split()
    return bool(words) and fold(words[-1].rstrip(".")) in titles()


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
