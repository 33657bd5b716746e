"""Private values that rules find, and what looks like them and is none: the lines of masked_by_rules.txt, and jobs and logins."""

from __future__ import annotations

import re
from functools import partial
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hallmark.mask.addresses import addresses
from hallmark.mask.chat import chat
from hallmark.mask.fields import fields
from hallmark.mask.foreign import foreign_names
from hallmark.mask.identifiers import CUES, identifiers
from hallmark.mask.jobs import jobs
from hallmark.mask.lexicon import EVERYDAY, is_word, raw_names, word_list
from hallmark.mask.marked import marked
from hallmark.mask.masking import Masker
from hallmark.mask.names import names
from hallmark.mask.plain_view import view
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
    "jobs": jobs,
    "marked": marked,
    "names": names,
    "phones": phones,
    "structured": structured,
    "sentences": lambda text: chain(names(text), chat(text)),
    "second_check": lambda text: (Found(*one, 1.0, "check") for one in matches(text)),
    **{f"identifiers_{language}": identifiers(language) for language in CUES},
    **{f"names_{language}": partial(foreign_names, language=language) for language in CUES},
}
LINES = Path(__file__).with_name("masked_by_rules.txt").read_text(encoding="utf-8").splitlines()
MASKERS = {level: Masker(mask_with(level=level, allow_patterns=[])) for level in ("quasi", "all")}


def values(text: str, of: str, kind: str) -> list[str]:
    """The texts that a finder or a level finds of a kind (or of all), in order; none of them lies in another."""
    found = MASKERS[of](text).spans if of in MASKERS else [one for one in FINDERS[of](text) if one.score >= SURE]
    spans = {(one.start, one.end) for one in found if kind in ("", one.kind)}
    outer = [one for one in spans if not any(two[0] <= one[0] and one[1] <= two[1] for two in spans - {one})]
    return [text[start:end] for start, end in sorted(outer)]


@pytest.mark.parametrize("line", [line for line in LINES if line and line[0] != "#"])
def test_what_is_marked_is_found_whole_and_nothing_else(line: str) -> None:
    head, _, text = line.partition(": ")
    by, _, kind = head.partition(" ")
    text = view(text.replace(r"\n", "\n")).text if by == "sentences" else text.replace(r"\n", "\n")
    plain, marks = re.sub("[⟦⟧]", "", text), re.findall("⟦(.*?)⟧", text, re.DOTALL)
    for together in by.split("&"):
        assert {value for one in together.split("+") for value in values(plain, one, kind)} == {*marks}


HEADS = st.sampled_from(sorted(word_list("words/jobs.txt")))
JOBS = HEADS | HEADS.map("senior {}".format) | HEADS.map(lambda head: f"{head.capitalize()}, civil (consulting)")
HELD = (
    "Interview with Rosa Miller, {} at Lumbre.",
    "Rosa Miller ({}) called.",
    "He was hired as a {}.",
    "My sister is a {}.",
    "Rosa Miller works as a {}.",
    "She became a {}.",
    "After years as a {}, he left.",
    "Occupation: {}",
)
BARE = (
    "We need a {} for the kitchen.",
    "Please ask a {}, or two.",
    "It works as a {}.",
    "A {} and a plumber came.",
    "The {} is broken.",
    "The job of a {}: to test.",
    "Export it as a {}.",
)


@given(JOBS, st.sampled_from(HELD), st.sampled_from(BARE))
def test_a_job_is_one_where_a_person_holds_it(job: str, held: str, bare: str) -> None:
    assert job in values(held.format(job), "jobs", "TITLE")
    assert values(bare.format(job), "jobs", "TITLE") == []


FIRST, LAST = (
    sorted(name.lower() for name in raw_names(part, "en_US") if name.isascii() and name.isalpha() and len(name) > 3)
    for part in ("first", "last")
)


@given(st.sampled_from(FIRST), st.sampled_from(LAST), st.integers(1, 99), st.sampled_from(sorted(EVERYDAY)))
def test_a_login_is_made_of_names(first: str, last: str, number: int, word: str) -> None:
    assume(not is_word(first + last))
    for login in (f"{first}.{last}", f"{first}_{last}{number}", f"{first}{last}", f"{first}{last}{number}"):
        assert values(f"edited by {login} today", "marked", "USERNAME") == [login]
    assert values(f"the user {word}, shipped for {word}", "marked", "USERNAME") == []
