"""Identifiers announced by a word next to them: medical records, policies, cases, bookings, licences, cards.

`identifiers(language)` is a finder for texts in that language and English. It looks at each number-like token and reads the
words before it backwards: signs and words for "number", a few fillers, then a cue of the lists in `words/`. No text is
searched for the cues themselves, so long lists cost nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

from hallmark.mask.dates import DATE
from hallmark.mask.lexicon import fold, is_word, word_list
from hallmark.mask.official_ids import official
from hallmark.mask.rules import DIGIT, Finder, Found

CUES = {
    "any": "words/cues_any.txt",
    "de": "words/cues_de.txt",
    "en": "words/cues_en.txt",
    "es": "words/cues_es.txt",
    "fr": "words/cues_fr.txt",
    "it": "words/cues_it.txt",
    "nl": "words/cues_nl.txt",
    "pt": "words/cues_pt.txt",
}
_NUMBER_WORDS = word_list("words/number_words.txt")
_FILLERS = word_list("words/cue_fillers.txt")
_PUBLIC = word_list("words/public_words.txt")
REACH = 72  # characters before a number in which its cue may stand
LONGEST_CUE = 4  # words
MOST_FILLERS = 4  # words between a cue and its number
LIST_LIMIT = 200  # numbers of one list
CARD_DIGITS = range(12, 20)


class Cue(NamedTuple):
    """A word or phrase that announces an identifier."""

    kind: str
    thing: bool  # a thing that has a number, not the name of a number
    ending: bool = False  # only the last four digits follow


class Announced(NamedTuple):
    """What the words before a number say about it."""

    cue: Cue
    numbered: bool  # a word or sign for "number" is among them
    label: bool  # a colon or equals sign is
    plural: bool  # "nos."


class Cues(NamedTuple):
    """The cues of some languages, and every word that can stand right before a number that one announces."""

    known: dict[str, Cue]
    last: frozenset[str]


@cache
def cues(language: str) -> Cues:
    """The cues for texts in a language and English; for a language without a list, those in English only."""
    found: dict[str, Cue] = {}
    for file in {CUES["any"], CUES["en"], CUES.get(language, CUES["en"])}:
        for entry in word_list(file):
            words, _, rest = entry.rpartition(": ")
            kind, *mark = rest.split(", ")
            found[_plain(words)] = Cue(kind.upper(), "thing" in mark, "ending" in mark)
    last = {cue.rpartition(" ")[2] for cue in found}
    short = {f"{word[: -len('nummer')]}nr" for word in last if word.endswith("nummer")}
    return Cues(found, frozenset(last | {f"{word}s" for word in last} | short | _NUMBER_WORDS | _FILLERS | {"º", "nº"}))


@cache
def every_cue() -> Cues:
    """The cues of all languages: keys and the heads of columns are often not in the language of the texts."""
    known = {name: cue for language in CUES for name, cue in cues(language).known.items()}
    return Cues(known, frozenset().union(*(cues(language).last for language in CUES)))


_KEYED = re.compile(r"(?!.*[ ][a-z]{3})#?(?:[A-Za-z]{1,8}[ _-]?)?(?=[^\W_]*\d)[A-Za-z\d ./_-]{1,40}")
_FILE = re.compile(r"\.[a-z]{2,4}", re.IGNORECASE)


def keyed_number(words: Sequence[str], value: str, least: int) -> str | None:
    """The kind of a number that stands under a key of these words, or None; it has at least that many digits."""
    if not _KEYED.fullmatch(value) or _FILE.fullmatch(value[-5:].lstrip("0123456789")):
        return None
    numbered = len(words) > 1 and words[-1] in _NUMBER_WORDS
    for first in range(len(words)):
        cue = every_cue().known.get(" ".join(words[first:])) or (
            every_cue().known.get(" ".join(words[first:-1])) if numbered else None
        )
        if cue is None or cue.ending or _PUBLIC.intersection(words[:first]):
            continue
        if cue.thing and not numbered and (first or any(map(str.islower, value))):
            return None  # "error_report", "file": "draft-2024-11"
        said = Announced(cue, numbered, True, False)
        fits = sum(map(str.isdigit, value)) >= (2 if _SPAN.search(value) else least) and _plausible(
            value, 0, len(value), said
        )
        return _kind(value, said) if fits else None
    return None


SCORE = 0.86  # above a telephone number: "policy number 53911/00" is none


def _plain(words: str) -> str:
    return re.sub(r"[^\w]+|_", " ", words).strip()


def identifiers(language: str) -> Finder:
    """A finder of identifiers in texts of that language: by cues, and by form and check digits."""
    known = cues(language)

    def find(text: str) -> Iterator[Found]:
        if DIGIT.may_match(text):
            yield from _cued(text, known)
            yield from official(text, language)

    return find


_TOKEN = re.compile(r"\d(?<!\d\d)(?<!\d[.,:]\d)[^\W_]{0,40}(?:[-/._][^\W_]{1,40}){0,8}")
_HEAD = re.compile(r"(?<![^\W_])(?:[^\W\d_]{1,8}[-/._]){0,3}[^\W\d_]{0,8}$")
_SPACED_HEAD = re.compile(r"(?<![^\W_])(?:[A-Z]{1,5}[ -]){1,3}$")
_LOW_HEAD = re.compile(r"(?<![^\W_])([a-z]{2,4})[ ]$")  # of one spelled in chat: "my id is hgy 675"
_LOW_TAIL = re.compile(r"[ ]([a-z]{1,3})(?![\w'’-])")
# "k 7 d q 2 2", not "4 x 5 x 6"
_SPELLED = re.compile(r"(?<![^\W_])(?!\d x \d)(?:[A-Za-z\d][ -]){4,33}[A-Za-z\d](?![^\W_]|[ ]?[%°$€£])")
_MORE = re.compile(
    r"[ ](?:(?=[^\W_]{0,3}\d)[^\W_]{1,20}(?:[-/._][^\W_]{1,20}){0,4}|[A-Z]{1,4}(?:[ ]\d[^\W_]{0,20}(?:[-/.][^\W_]{1,20}){0,4}|(?![\w'’-])))"
)
_NEXT = re.compile(r"[ ]?(?:[,;&/]|,?[ ](?:and|und|y|et|e|ou|or|o|oder))[ ]?\n?(?=[^\W_]{0,4}[-/.]?\d)", re.IGNORECASE)
_NOT_AFTER = re.compile(
    r"[.,:]\d|[ ]?(?:%|[$€£¥]|(?:°|km|kg|mg|ml|cm|mm|gb|mb|kb|years?|yrs?|months?|weeks?|days?|hours?|hrs?|minutes?|mins?|seconds?|"
    r"anos?|años?|meses|dias?|días?|semanas?|horas?|jahren?|monaten?|tagen?|stunden|ans|mois|jours|heures|anni|mesi|giorni|ore|"
    r"eur|euros?|usd|gbp|chf|dollars?|pounds?|people|persons|times|(?-i:x))\b)",
    re.IGNORECASE,
)
_MONEY_BEFORE = re.compile(r"(?:[$€£¥]|\b(?:EUR|USD|GBP|CHF|RM|Rs))[ ]?$")
_TIME = re.compile(r"\d{1,2}:\d\d(?::\d\d)?")
_LEFT = re.compile(r"[^\W\d_]+|[^\s]|\n")
_ORDINAL_SIGN = re.compile(r"\bn[.]?[º°]s?\.?|№", re.IGNORECASE)
_SPAN = re.compile(r"[^\W\d_]")


def _cued(text: str, known: Cues) -> Iterator[Found]:
    """The numbers next to a cue."""
    done = 0
    for spelled in _SPELLED.finditer(text):
        if sum(map(str.isdigit, spelled[0])) > 1 and (said := _announced(text, spelled.start(), known)):
            yield Found(*spelled.span(), _kind(spelled[0], said), SCORE, "identifier")
    for token in _TOKEN.finditer(text):
        if token.start() < done:
            continue
        start, end = _edges(text, max(done, token.start() - 30), token)
        said = _announced(text, start, known)
        if said is None and text[start - 1 : start] in (" ", "-"):
            wide = _SPACED_HEAD.search(text, max(done, start - 16), start)
            if wide and (said := _announced(text, wide.start(), known)):
                start = wide.start()
            low = _LOW_HEAD.search(text, max(done, start - 6), start)
            if low and said is None and not is_word(low[1]) and (said := _announced(text, low.start(), known)):
                start = low.start()
        if said is None:
            said = _named_after(text, start, end, known)
        if said is None:
            continue
        end = _whole(text, start, end, said)
        if not _plausible(text, start, end, said):
            continue
        yield Found(start, end, _kind(text[start:end], said), SCORE, "identifier")
        done = end
        for found in _listed(text, start, end, said):
            yield found
            done = found.end


def _edges(text: str, lowest: int, token: re.Match[str]) -> tuple[int, int]:
    """The token with the letters before its first digit, and without a full stop at its end."""
    head = _HEAD.search(text, lowest, token.start())
    return head.start() if head else token.start(), token.end()


def _whole(text: str, start: int, end: int, said: Announced) -> int:
    """The end of the number with the groups after its first one: "46 28 52938", "12 C 34/05"."""
    first = end
    for group in range(6):
        more = _MORE.match(text, end)
        if not more or _NOT_AFTER.match(text, more.end()) or DATE.match(text, end + 1):
            break
        digits = sum(map(str.isdigit, more[0]))
        closed = (said.label or group) and text[more.end() : more.end() + 1] in ("", "\n", ".", ",", ";")
        if digits < 2 and not more[0].strip().isupper() and not closed:
            break
        if (
            group < 2  # what has four groups may have a short last one: "3704 0044 0532 0130 07 by Friday"
            and digits == len(more[0]) - 1 < 3
            and re.match(r"[ ][a-z]{2}", text[more.end() : more.end() + 3])
            and not said.label
        ):
            break
        end = more.end()
    tail = _LOW_TAIL.match(text, end)
    if tail and text[start:end].islower() and not is_word(tail[1]) and not _NOT_AFTER.match(text, end):
        end = tail.end()
    compact = sum(map(str.isalnum, text[start:end]))
    return end if compact <= 34 else first


def _announced(text: str, start: int, known: Cues) -> Announced | None:
    """What the words before `start` say about the number there; None if they name nothing private."""
    begin = max(0, start - REACH)
    left = _REPLIES.sub(": ", text[begin:start])
    bare = left.rstrip(_PUNCTUATION)
    if not bare or not (bare[-1].isalpha() or bare[-1] in "°№" or "#" in left[len(bare) :]):
        return None
    end = _LAST_WORD.search(bare)
    if end and "#" not in left[len(bare) :] and fold(end[0]) not in known.last:
        return None
    left = _ORDINAL_SIGN.sub(" no ", left)
    tokens = [fold(match[0]) for match in _LEFT.finditer(left)]
    numbered = label = plural = False
    fillers, at = 0, len(tokens) - 1
    while at >= 0:
        word = tokens[at]
        found = _cue_at(tokens, at, known)
        if found:
            cue, first, many = found
            before = [other for other in tokens[max(0, first - 3) : first] if other not in _FILLERS]
            if before and (before[-1] in _PUBLIC):
                return None
            counted = bool(before) and before[-1] in _NUMBER_WORDS
            if many and (counted or not numbered):
                return None  # "number of claims: 1200"
            return Announced(cue, numbered or counted, label, plural or many)
        if word in _NUMBER_WORDS or word == "#":
            numbered = True
            plural = plural or word in ("nos", "nrs", "nums", "numbers", "numeros", "ids")
        elif word in ":=":
            label = True
        elif word == ".":
            if at == 0 or not (
                tokens[at - 1] in _NUMBER_WORDS or len(tokens[at - 1]) < 5 or tokens[at - 1][-2:] == "nr"
            ):
                return None
        elif word == "\n":
            if not label:
                return None
        elif word in _FILLERS and fillers < MOST_FILLERS:
            fillers += 1
        elif word not in "([\"'-|>*":
            break
        at -= 1
    if numbered and _OWN.search(" ".join(tokens[at + 1 :])):
        return Announced(Cue("ACCOUNT", False), True, label, plural)
    if (
        numbered
        and not fillers
        and _SIGNS.issuperset(word for word in tokens[at + 1 :] if word.isalpha())
        and _alone(tokens, at, begin)
    ):
        return Announced(Cue("ACCOUNT", True), False, False, plural)
    return None


_PUNCTUATION = " \t\n:=#([\"'-.|>*"
_REPLIES = re.compile(r"\?\s+[^\W\d_]:[ ](?:it['’]?s[ ])?$", re.IGNORECASE)  # who answers: "Plate? A: "
_LAST_WORD = re.compile(r"[^\W\d_]{1,40}$")


_OWN = re.compile(r"\b(?:my|his|her|their|mein|meine|mi|mon|mio) ids?\b")  # "my id is 4417"
# enough by themselves; "code" and "id" are not
_SIGNS = frozenset(("no", "nos", "nr", "nrs", "num", "nums", "n", "ref"))


def _alone(tokens: list[str], at: int, begin: int) -> bool:
    """Whether "no." stands without a word that it belongs to: in brackets, at the start, or after a word as "under"."""
    if at < 0:
        return begin == 0
    if tokens[at + 1] in "([" or tokens[at] in "\n;,":
        return next((word for word in reversed(tokens[: at + 1]) if word.isalpha()), "") not in _PUBLIC
    return tokens[at] in _FILLERS


def _cue_at(tokens: list[str], at: int, known: Cues) -> tuple[Cue, int, bool] | None:
    """The longest cue that ends at a token, its first token, and whether it is a plural."""
    if not tokens[at][:1].isalpha():
        return None
    for first in range(max(0, at - 2 * LONGEST_CUE), at + 1):
        words = tokens[first : at + 1]
        if not words[0].isalpha() or any(not word.isalpha() and word not in "'’-/." for word in words):
            continue
        phrase = " ".join(word for word in words if word.isalpha())
        if phrase in known.known:
            return known.known[phrase], first, False
        if phrase.endswith("nr") and (cue := known.known.get(f"{phrase[:-2]}nummer")):
            return cue, first, False
        if phrase.endswith("s") and (cue := known.known.get(phrase[:-1])):
            return cue, first, True
    return None


_AFTER = re.compile(
    r"[ ]?(?:[(=,]|(?:is|was|being|as|es|ist|est|è)\b)[ ](?P<of>the[ ](?:number|ref|reference|code|id)[ ](?:of|for|on)[ ])?(?:(?:my|our|the|your|his|her|their|mi|su|meine|mon|ma|la|il|mio)[ ])?(?P<cue>[^\W\d_]+(?:[ '’-][^\W\d_]+){0,4})",
    re.IGNORECASE,
)


def _named_after(text: str, start: int, end: int, known: Cues) -> Announced | None:
    """What the words after a number say about it: "12345678 is my policy number"."""
    after = _AFTER.match(text, end)
    if not after:
        return None
    tokens = [fold(word) for word in re.findall(r"[^\W\d_]+", after["cue"])]
    for last in range(min(LONGEST_CUE, len(tokens)) - 1, -1, -1):
        cue = known.known.get(" ".join(tokens[: last + 1]))
        if cue and tokens[0] not in _PUBLIC:
            numbered = after["of"] or (last + 1 < len(tokens) and tokens[last + 1] in _NUMBER_WORDS)
            return Announced(cue, True, False, False) if numbered or not cue.thing else None
    return None


def _plausible(text: str, start: int, end: int, said: Announced) -> bool:
    """Whether a token after a cue can be an identifier: no date, time, amount, quantity, version, year or small number."""
    value = text[start:end]
    digits = sum(map(str.isdigit, value))
    mixed = bool(_SPAN.search(value))
    if _NOT_AFTER.match(text, end) or _MONEY_BEFORE.search(text, max(0, start - 5), start):
        return False
    if _TIME.match(value) or ((date := DATE.match(text, start)) and date.end() >= end):
        return False
    if said.cue.ending:
        return bool(re.fullmatch(r"\d{4}", value))
    if said.cue.kind == "CREDIT_CARD" and not said.numbered and digits not in CARD_DIGITS:
        return False
    if said.numbered or (not said.cue.thing and said.label):
        return digits >= (2 if mixed or said.plural or not said.cue.thing else 3)
    if re.fullmatch(r"(?:19|20)\d\d|v?\d+(?:\.\d+)+|\d+(?:st|nd|rd|th|s|x|k|m|gb|mb|kb|am|pm|h)", value, re.IGNORECASE):
        return False
    if not said.cue.thing:
        return digits >= 3 - mixed
    parts = re.findall(r"\d+", value)
    if said.label:
        return digits >= 5 or (mixed and digits >= 3)
    return (
        (digits >= 6 and not value.endswith("000"))
        or (digits >= 5 and len(parts) > 1)
        or (mixed and digits >= (2 if value.isupper() and value.isalnum() else 3) and len(value) > 5)
    )


def _kind(value: str, said: Announced) -> str:
    digits = sum(map(str.isdigit, value))
    if said.cue.kind == "CREDIT_CARD":
        return "CREDIT_CARD" if digits in CARD_DIGITS or said.cue.ending else "ACCOUNT"
    return said.cue.kind


def _listed(text: str, start: int, end: int, said: Announced) -> Iterator[Found]:
    """The further numbers of a list: "nos. 1234/05, 1235/05 and 1236/05"."""
    form = _form(text[start:end])
    for _ in range(LIST_LIMIT):
        gap = _NEXT.match(text, end)
        token = _LISTED.match(text, gap.end()) if gap else None
        if not gap or not token or DATE.match(text, token.start()) or _NOT_AFTER.match(text, token.end()):
            return
        if not said.plural and _form(token[0]) != form:
            return
        end = token.end()
        yield Found(token.start(), end, _kind(token[0], said), SCORE, "identifier")


_LISTED = re.compile(r"[^\W_]{1,20}(?:[-/._][^\W_]{1,20}){0,6}")


def _form(value: str) -> str:
    """A number with its digits made equal, so that "1234/05" and "12345/06" are; alone, as many digits must be."""
    return re.sub(r"\d", "0", value) if value.isdigit() else re.sub(r"\d+", "0", value)
