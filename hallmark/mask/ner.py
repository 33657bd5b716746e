"""Support for a small English NER model: choose and prepare its input, and discard its mistakes."""

from __future__ import annotations

import re

from hallmark.mask.caseless_names import is_printed, lines
from hallmark.mask.introduced_names import FORM_WORDS
from hallmark.mask.kinds import KINDS
from hallmark.mask.lexicon import (
    cities,
    countries,
    fold,
    is_common,
    is_given_name,
    is_misspelt,
    is_plain,
    is_product,
    is_word,
    places,
    products,
    towns,
    word_list,
)
from hallmark.mask.name_cues import (
    IN,
    JOB_HEADS,
    ORG,
    ORG_AFTER,
    ORG_CUE,
    PLACE_CUE,
    SENTENCE_START,
    STRONG_CUE,
    THING_ENDS,
    TOKEN,
    is_destination,
    is_of_thing,
)
from hallmark.mask.names import in_country, name_end, opens, things
from hallmark.mask.people import is_titled
from hallmark.mask.rules import Found

_NEVER_NAMES = word_list("words/never_names.txt")
_FIRMS = word_list("words/shops.txt")
_DEPARTMENTS = word_list("words/departments.txt")
_SALUTATIONS = word_list("words/salutations.txt")
_CAMEL = re.compile(r"[A-Z][a-z]+(?:[A-Z][a-z]+)+")
_SENTENCE = re.compile(r"(?:^|[.!?:\n>*\"'(•-])\s*$")


def accept(text: str, candidate: Found) -> Found | None:
    """A span found by an English NER model, trimmed to the name, or None if it can't be what the model says.

    Small models mistake product names, order numbers and words in capitals for people and companies.
    """
    line = text.find("\n", candidate.start, candidate.end)
    if line > candidate.start:
        candidate = candidate._replace(end=line)  # the models include the start of the next line
    label = text.rfind(": ", candidate.start, candidate.end)
    if label > candidate.start:
        candidate = candidate._replace(start=label + 2)  # "Attn: Sales"
    tokens = [(match.start(), match.end(), match[0]) for match in TOKEN.finditer(text, candidate.start, candidate.end)]
    digits = re.search(r"\d", text[candidate.start : candidate.end])
    if not tokens:
        return None
    if digits and (
        candidate.kind != "ORGANIZATION"
        or re.search(r"[A-Z]+[ -]?[A-Z\d-]*\d{3}", text[candidate.start : candidate.end])
    ):
        return None
    while tokens and ((tokens[0][2][0].islower() and is_common(fold(tokens[0][2]))) or fold(tokens[0][2]) == "the"):
        tokens.pop(0)
    while tokens and candidate.kind == "ORGANIZATION" and fold(tokens[0][2]) in _SALUTATIONS:
        tokens.pop(0)
    if candidate.kind == "PERSON" and tokens:
        while tokens and opens(text, tokens[0]):
            tokens.pop(0)
        if tokens:
            end = name_end(text, tokens[0][0], tokens[-1][1])
            tokens = [token for token in tokens if token[0] < end]
    while tokens and (
        (tokens[-1][2][0].islower() and is_common(fold(tokens[-1][2]))) or fold(tokens[-1][2]) in FORM_WORDS
    ):
        tokens.pop()
    if not tokens:
        return None
    folded = [fold(token.rstrip(".")) for _, _, token in tokens]
    folded = [word.removesuffix("'s") for word in folded]
    start, end = tokens[0][0], max(tokens[-1][1], candidate.end if candidate.kind == "ORGANIZATION" else 0)
    before, after = text[max(0, start - 60) : start], text[end : end + 60]
    common = all(is_common(word) for word in folded)
    thing = folded[0] in things(text) and not is_titled(before)
    if candidate.kind in ("PERSON", "ORGANIZATION") and not STRONG_CUE.search(before) and not is_titled(before):
        if folded[-1] in THING_ENDS or is_of_thing(
            folded[0], before, after, alone=len(folded) == 1 and candidate.kind == "PERSON"
        ):
            return None
        if candidate.kind == "PERSON" and is_product(folded):
            return None  # "Dell Latitude"
    if thing and (candidate.kind in ("PERSON", "NRP") or (candidate.kind == "ORGANIZATION" and len(folded) == 1)):
        return None
    phrase = " ".join(folded)
    if phrase in _DEPARTMENTS or (phrase in products() and not STRONG_CUE.search(before)):
        return None
    large = phrase in countries() or phrase in cities()
    if (candidate.kind == "LOCATION" or not any(map(is_given_name, folded))) and is_destination(
        before, after, country=candidate.kind == "LOCATION" and large
    ):
        return None
    if candidate.kind == "PERSON" and before.endswith("(") and not any(is_given_name(word) for word in folded):
        return None  # a foreign term after its translation
    if len(folded) == 1 and not is_word(folded[0]) and not is_given_name(folded[0]) and is_misspelt(folded[0]):
        return None
    if candidate.kind == "PERSON" and ((common and not STRONG_CUE.search(before)) or text[start].islower()):
        return None
    named = ORG_CUE.search(before) or ORG_AFTER.search(after)
    if (
        candidate.kind == "ORGANIZATION"
        and not named
        and (_CAMEL.fullmatch(text[start:end]) or JOB_HEADS.fullmatch(folded[-1]))
    ):
        return None  # "ValueError", "ZebraDesigner": software; "Backend Developer": a job
    if candidate.kind == "ORGANIZATION" and not (
        named
        or ORG.search(text[start:end])
        or (any(not is_word(word) for word in folded) and not (len(folded) == 1 and len(folded[0]) < 5))
        or (len(folded) > 2 and not text[start:end].isupper() and not common)
        or (len(folded) > 1 and folded[-1] in _FIRMS)
    ):
        return None
    town = phrase in towns()
    if candidate.kind != "PERSON" and town and (IN.search(before) or in_country(after)) and text[start].isupper():
        return candidate._replace(start=start, end=end, kind="LOCATION")
    if candidate.kind == "LOCATION" and town and not is_plain(folded[0]) and not SENTENCE_START.search(before):
        return candidate._replace(start=start, end=end)
    plain = any(map(is_plain, folded)) or SENTENCE_START.search(before)
    if candidate.kind == "LOCATION" and common and plain and not (phrase in places() or PLACE_CUE.search(before)):
        return None
    if candidate.kind == "NRP" and (common or text[start].islower()):
        return None
    return candidate._replace(start=start, end=end)


_WORD = re.compile(r"[^\W\d_]+")


def _cased(word: re.Match[str]) -> str:
    """A word in capitals as a sentence would have it."""
    folded = fold(word[0])
    return word[0].lower() if is_word(folded) and not is_given_name(folded) else word[0].capitalize()


def truecase(text: str) -> str:
    """The text with all-capitals lines in normal case, so that NER can read them; its length is unchanged.

    In a text that is in capitals throughout, only a line with a given name gets any: NER takes every other word that it
    does not know for a name.
    """
    pieces, at, printed = [], 0, is_printed(text)
    for start, end, case in lines(text):
        if case == "upper":
            words = [fold(word) for word in _WORD.findall(text[start:end])]
            named = not printed or (any(map(is_given_name, words)) and not any(word in _FIRMS for word in words))
            line = _WORD.sub(_cased if named else lambda word: word[0].lower(), text[start:end])
            if len(line) == end - start:
                pieces += [text[at:start], line]
                at = end
    return "".join([*pieces, text[at:]])


def may_be_name(text: str, match: re.Match[str]) -> bool:
    """Whether a word of a text could be a name or part of one."""
    word = match[0]
    lower = fold(word)
    if not word[0].isupper() or lower in _NEVER_NAMES or word == KINDS["PERSON"].reads_as:
        return False
    opens_or_shouts = _SENTENCE.search(text, max(0, match.start() - 4), match.start()) or word.isupper()
    return not (is_word(lower) and opens_or_shouts)
