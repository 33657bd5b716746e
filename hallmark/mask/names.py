"""Names that lists and the words next to them tell, in the languages of `words/`: what an NER model misses in letters,
chats and forms.

Two signs name a person: a word before the name (a title, a role, a greeting, "my name is"), or a given and a family name
of the lists. In a text without capitals, a word counts as a name if it is in a list and is no other word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import pairwise

from hallmark.mask.lexicon import (
    any_of,
    cities,
    countries,
    first_names,
    fold,
    is_common,
    is_given_name,
    is_plain,
    is_stop,
    is_word,
    last_names,
    products,
    titles,
    word_list,
)
from hallmark.mask.rules import Found


def _capitals() -> str:
    """A class of the letters that are written as capitals, in every script that has them."""
    points = [code for code in range(0x41, 0xAB00) if unicodedata.category(chr(code)) in ("Lu", "Lt")]
    runs: list[list[int]] = []
    for code in points:
        if runs and code == runs[-1][1] + 1:
            runs[-1][1] = code
        else:
            runs.append([code, code])
    return "[" + "".join(chr(first) + (f"-{chr(last)}" if last > first else "") for first, last in runs) + "]"


UP = _capitals()
_PARTICLE = r"(?:van|von|der|den|de|del|della|di|da|dos|das|do|du|la|le|el|al|bin|ibn|ter|ten|zu|af|av)"
_PART = rf"{UP}[^\W\d_]*(?:['’-][^\W\d_]+)*"
_INITIALS = rf"{UP}\.(?:[ -]?{UP}\.){{0,3}}"
# A name in the usual spelling: "Costa", "Franz Cede", "A. Demetriades", "J.R. de la Cruz".
_NAME = re.compile(
    rf"(?:{_INITIALS}[ ]?{_PART}|{_PART})(?:[ \u00a0]{{1,2}}(?:{_INITIALS}(?=[ ])|(?:{_PARTICLE}[ ]){{0,2}}{_PART})){{0,4}}"
)
_LOWER_NAME = re.compile(r"[^\W\d_]{2,}(?:['’-][^\W\d_]+)*(?:[ ][^\W\d_]{2,}(?:['’-][^\W\d_]+)*){0,2}")
_RUN = re.compile(
    rf"(?<![\w@.#/-]){_PART}(?:[ \u00a0]{{1,2}}(?:{UP}\.[ ]|(?:{_PARTICLE}[ ]){{1,2}})?{_PART}){{0,5}}(?![\w@])"
)
_INITIALED = re.compile(rf"(?<![\w.]){_INITIALS}[ ]?((?:{_PARTICLE}[ ])?{UP}[^\W\d_]{{2,}}(?:-{UP}[^\W\d_]+)?)")
_TOKEN = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
MONTHS = word_list("words/months.txt")
_DAYS = MONTHS | word_list("words/weekdays.txt")
_RELATIONS = word_list("words/relations.txt")
_FORMS = word_list("words/company_forms.txt")
_GROUPS = word_list("words/groups.txt")
_BEFORE = dict(entry.rsplit(": ", 1) for entry in word_list("words/people_before.txt"))
# English words before a name, as `words/people_before.txt` has them for other languages.
_SAID = (
    "my name is|name is|name's|i am|i'm|im|this is|it's|called|named|speaking with|spoke (?:to|with)|signed(?: by)?|on behalf of|"
    "dear|hi|hello|hey|good (?:morning|afternoon|evening)|attn:?|attention:|(?:full |first |last |customer |contact |patient )?name:|"
    "(?:kind |best |warm )?regards|sincerely|yours(?: truly| sincerely| faithfully)?|cheers|thanks|thank you|best(?: wishes)?|love"
)
_CUE = re.compile(
    rf"(?<![^\W_])(?:{_SAID}|{any_of([*(cue for cue, kind in _BEFORE.items() if kind != 'title'), *word_list('words/introductions.txt')])})"
    r"(?![\w'’])[,:.!]{0,2}(?:[ \u00a0]|\r?\n[ >]{0,8}){1,3}",
    re.IGNORECASE,
)
_TITLES = titles() | {cue for cue, kind in _BEFORE.items() if kind == "title"}
_TITLE = re.compile(rf"(?<![^\W_])(?:{any_of(_TITLES)})\.?[ \u00a0](?=[^\W\d_])", re.IGNORECASE)
_ROLES = _RELATIONS | word_list("words/person_roles.txt")
_ROLE = re.compile(rf"(?<![^\W_])(?:{any_of(_ROLES)})[ ](?=[^\W\d_])", re.IGNORECASE)
_ORG_END = any_of(form for form in _FORMS if len(form) > 1)
_ORG = re.compile(
    rf"(?<![\w-]){UP}[\w&'’.-]{{0,40}}(?:,?[ ](?:&|and|of|{UP}[\w&'’.-]{{0,40}})){{0,5}},?[ ](?i:{_ORG_END})(?![\w-])\.?"
)
_JOB_WORDS = word_list("words/jobs.txt") | word_list("words/jobs_foreign.txt")
_JOB = rf"(?:[\w/&'’-]+[ ]){{0,3}}?(?:{any_of(_JOB_WORDS)}|\w{{3,}}(?:ographer|ologist|ician))s?"
# "works as a nurse", "we hired her as a cook", "I'm a school nurse", "my wife, a district nurse,", "Occupation: roofer"
_DOES = re.compile(
    r"(?<![^\W_])(?:(?:work(?:s|ed|ing)?|employed|appointed|hired|trained|training|qualified|retired|joined|promoted|years|then)(?:[ ]\w+){0,2}?[ ](?:as|to(?:[ ]be)?)(?:[ ]an?|[ ]the|[ ]our)?"
    r"|(?:i am|i'm|he is|he's|she is|she's|who is|he was|she was|who was|i was|became|becomes)(?:[ ](?:an?|the|our))?"
    rf"|(?:{any_of(_RELATIONS)}|claimant|patient|applicant|defendant|witness)(?:[ ](?:is|was)|['’]s|,)[ ]an?"
    r"|former|retired|(?:job title|occupation|profession|beruf|profesi[oó]n|professione|beroep|profiss[aã]o)[ ]?(?::|is)?)[ ]+"
    rf"(?P<job>{_JOB})(?![\w'’-])",
    re.IGNORECASE,
)
_MEMBER = re.compile(
    rf"(?<![^\W_])(?:i am|i'm|im|he is|he's|she is|she's|is|was|as)[ ](?:an?[ ])?(?P<group>{any_of(_GROUPS)})(?![\w'’-])(?![ ](?!and|but|or|who|by|woman|man|citizen|national)[a-z])",
    re.IGNORECASE,
)
# How a name is introduced in scripts that have no capitals, and in Russian.
_SCRIPTS = [
    re.compile(form)
    for form in (
        r"(?:我叫|我是|名叫|姓名[:：])(?P<n>[\u4e00-\u9fff]{2,4})(?![\u4e00-\u9fff]{3})",
        r"(?:私は|名前は)(?P<n>[\u3040-\u30ff\u4e00-\u9fff]{2,8}?)(?=です|と申)",
        r"(?P<n>[\u30a1-\u30ff\u4e00-\u9fff]{1,8})(?=さん|様|くん)",
        r"(?:이름은|저는) (?P<n>[\uac00-\ud7a3]{2,4}?)(?=입니다|이에요|예요|이고)",
        r"(?:اسمي|أنا) (?P<n>[\u0620-\u064a]{2,}(?: (?!و)[\u0620-\u064a]{2,})?)",
        r"(?:שמי|קוראים לי) (?P<n>[\u05d0-\u05ea]{2,}(?: (?!ו)[\u05d0-\u05ea]{2,})?)",
        r"(?:मेरा नाम|मैं) (?P<n>[\u0900-\u097f]{2,}(?: [\u0900-\u097f]{2,})?)(?= है| हूँ)",
        r"(?:ชื่อ)(?P<n>[\u0e00-\u0e7f]{2,20})",
        r"სახელია (?P<n>[\u10d0-\u10ff]{2,}(?: [\u10d0-\u10ff]{2,})?)",
        r"[Мм]еня зовут (?P<n>[А-ЯЁ][а-яё]+(?: [А-ЯЁ][а-яё]+){0,2})",
    )
]
_LOGIN = re.compile(
    r"(?<![\w@./-])(?=[^\W\d_]+(?:[._]\w|\d))[^\W\d_]{1,20}(?:[._][^\W\d_]{2,20}){0,2}\d{0,4}(?![\w@/(]|[.-]\w)"
)


def names(text: str, language: str = "en") -> Iterator[Found]:
    """People, and what a text says of who they are: organisations, places, groups, jobs."""
    low = text.islower()
    yield from _after_cues(text, english=language == "en")
    yield from _listed_lower(text) if low else _listed(text, alone=language == "en")
    for match in _INITIALED.finditer(text):
        word = fold(match[1].split()[-1])
        if not is_common(word) or word in last_names():
            yield Found(*match.span(), "PERSON", 0.59, "initials")
    for match in _ORG.finditer(text):
        yield Found(*match.span(), "ORGANIZATION", 0.68, "company_form")
    for match in _DOES.finditer(text):
        yield Found(*match.span("job"), "TITLE", 0.55, "job")
    for match in _MEMBER.finditer(text):
        yield Found(*match.span("group"), "NRP", 0.6, "nationality")
    for form in _SCRIPTS if not text.isascii() else ():
        for match in form.finditer(text):
            yield Found(*match.span("n"), "PERSON", 0.7, "name_cue")
    for match in _LOGIN.finditer(text):
        parts = [fold(part) for part in re.split(r"[._\d]+", match[0]) if part]
        named = [part for part in parts if len(part) > 2 and (part in first_names() or part in last_names())]
        if (
            not all(map(is_word, named))
            and len(named) + sum(len(part) == 1 for part in parts) == len(parts)
            and not _DAYS.issuperset(parts)
        ):
            yield Found(*match.span(), "USERNAME", 0.6, "login")


def _after_cues(text: str, *, english: bool) -> Iterator[Found]:
    for match in _TITLE.finditer(text):
        if end := _name_at(text, match.end(), sure=True, english=english):
            yield Found(match.start(), end, "PERSON", 0.72, "title")  # a title is part of how a person is called
    for match in _ROLE.finditer(text):
        if end := _name_at(text, match.end(), sure=False, english=english):
            yield Found(match.end(), end, "PERSON", 0.6, "role")
    for match in _CUE.finditer(text):
        sure = "\n" in match[0] or match[0].rstrip()[-1:] == ":"
        if end := _name_at(text, match.end(), sure=sure, english=english):
            yield Found(match.end(), end, "PERSON", 0.66, "name_cue")


def _name_at(text: str, at: int, *, sure: bool, english: bool) -> int:
    """Where the name ends that starts there; 0 if none does.

    `sure`: it may start with a word that is also another. `english`: a word that no list has is a name; the words of other
    languages are not known here.
    """
    match = _NAME.match(text, at) or _LOWER_NAME.match(text, at)
    if match is None:
        return 0
    capital, end = match[0][0].isupper(), 0
    for number, word in enumerate(_TOKEN.finditer(text, *match.span())):
        folded = fold(word[0])
        known = folded in last_names() or folded in first_names()
        given = folded in first_names("en") or (number > 0 and known)
        fits = not is_common(folded) or (capital and given and not is_stop(folded) and (number > 0 or sure))
        if (
            folded in _DAYS
            or folded in _FORMS
            or folded in countries()
            or not (fits or re.fullmatch(_PARTICLE, word[0]))
        ):
            break
        if not known and not ((capital and english) or sure):
            break
        if not capital and is_word(folded):
            break
        end = word.end() if fits else end
    first = _TOKEN.match(text, at) if end and not sure else None
    return 0 if first and is_word(fold(first[0])) and fold(first[0]) not in first_names() else end


def _listed(text: str, *, alone: bool) -> Iterator[Found]:
    """Runs of words with capitals that are in the lists. `alone`: a given name is enough, since the words of the language are known."""
    for run in _RUN.finditer(text):
        words = [(word.start(), word.end(), fold(word[0])) for word in _TOKEN.finditer(text, *run.span())]
        folded = [word for *_, word in words]
        phrase = " ".join(folded)
        if phrase in countries() or phrase in cities():
            yield Found(*run.span(), "LOCATION", 0.52, "place")
            continue
        if phrase in products() or folded[-1] in _FORMS:
            continue
        last = len(words) - 1
        first = next((at for at in range(len(words)) if _starts_name(folded, at) and (alone or at < last)), None)
        if first is None:
            continue
        while first > 0 and not is_word(folded[first - 1]):  # "Thandiwe Rosa": what is no word is a part of the name
            first -= 1
        while last > first and is_common(folded[last]) and folded[last] not in last_names():
            last -= 1
        yield Found(words[first][0], words[last][1], "PERSON", 0.61 if last > first else 0.53, "name_list")


def _starts_name(folded: list[str], at: int) -> bool:
    """Whether a word of a run is a given name: one that is nothing else, or one with a family name after it."""
    word, after = folded[at], folded[at + 1] if at + 1 < len(folded) else ""
    if word in _DAYS or word in _GROUPS or word in countries():
        return False
    if is_given_name(word) and not (word in cities() and not after):
        return True
    return word in first_names("en") and len(word) > 2 and after in last_names() and not is_plain(after)


def _listed_lower(text: str) -> Iterator[Found]:
    """A given and a family name, both in the lists and no other words, in a text without capitals."""
    words = list(_TOKEN.finditer(text))
    for one, other in pairwise(words):
        given, family = fold(one[0]), fold(other[0])
        if (
            other.start() == one.end() + 1
            and given in _lower_names()
            and family in last_names()
            and not is_word(family)
        ):
            yield Found(one.start(), other.end(), "PERSON", 0.6, "name_list")


@cache
def _lower_names() -> frozenset[str]:
    return frozenset(name for name in first_names() if len(name) > 2 and not is_word(name))
