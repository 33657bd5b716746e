"""Private values that rules find by what stands next to them, and what looks like them and is none."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hallmark.mask.addresses import addresses
from hallmark.mask.fields import fields
from hallmark.mask.foreign import foreign_names
from hallmark.mask.jobs import jobs
from hallmark.mask.lexicon import EVERYDAY, is_word, raw_names, word_list
from hallmark.mask.marked import marked
from hallmark.mask.names import names
from hallmark.mask.rules import Finder, ages, cued

SURE = 0.45


def values(finder: Finder, text: str, kind: str) -> list[str]:
    """What is found of a kind at the levels below `all`, in order."""
    spans = {(one.start, one.end) for one in finder(text) if one.kind == kind and one.score >= SURE}
    return [text[start:end] for start, end in sorted(spans)]


FINDERS: dict[str, list[Finder]] = {
    "TITLE": [jobs],
    "AGE": [ages],
    "USERNAME": [marked, cued],
    "STREET_ADDRESS": [addresses],
    "LOCATION": [names, marked],
}
LINES = Path(__file__).with_name("masked_by_rules.txt").read_text(encoding="utf-8").splitlines()[1:]


@pytest.mark.parametrize("line", LINES)
def test_rules_find_what_is_marked_and_nothing_else_of_its_kind(line: str) -> None:
    kind, _, marks = line.partition(": ")
    text = re.sub("[{}]", "", marks)
    found = {value for finder in FINDERS[kind] for value in values(finder, text, kind)}
    assert found == set(re.findall("{(.*?)}", marks))


HEADS = st.sampled_from(sorted(word_list("words/jobs.txt")))
JOBS = HEADS | HEADS.map("senior {}".format) | HEADS.map(lambda head: f"{head.capitalize()}, civil (consulting)")
HELD = (
    "Interview with Rosa Miller, {} at Lumbre.", "Rosa Miller ({}) called.", "He was hired as a {}.", "My sister is a {}.",
    "Rosa Miller works as a {}.", "She became a {}.", "After years as a {}, he left.", "Occupation: {}",
)  # fmt: skip
BARE = (
    "We need a {} for the kitchen.", "Please ask a {}, or two.", "It works as a {}.", "A {} and a plumber came.",
    "The {} is broken.", "The job of a {}: to test.", "Export it as a {}.",
)  # fmt: skip


@given(JOBS, st.sampled_from(HELD), st.sampled_from(BARE))
def test_a_job_is_one_where_a_person_holds_it(job: str, held: str, bare: str) -> None:
    assert job in values(jobs, held.format(job), "TITLE")
    assert values(jobs, bare.format(job), "TITLE") == []


FIRST, LAST = (
    sorted(name.lower() for name in raw_names(part, "en_US") if name.isascii() and name.isalpha() and len(name) > 3)
    for part in ("first", "last")
)


@given(st.sampled_from(FIRST), st.sampled_from(LAST), st.integers(1, 99), st.sampled_from(sorted(EVERYDAY)))
def test_a_login_is_made_of_names(first: str, last: str, number: int, word: str) -> None:
    assume(not is_word(first + last))
    for login in (f"{first}.{last}", f"{first}_{last}{number}", f"{first}{last}", f"{first}{last}{number}"):
        assert values(marked, f"edited by {login} today", "USERNAME") == [login]
    assert values(marked, f"the user {word}, shipped for {word}", "USERNAME") == []


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ('{"password": "hunter77!"}', "SECRET", "hunter77!"),
        ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMIK7MD", "SECRET", "wJalrXUtnFEMIK7MD"),
        ("[09:15] rob_t: no", "USERNAME", "rob_t"),
        ("Case No. 3:21-cv-00419-JR.", "ACCOUNT", "3:21-cv-00419-JR"),
        ("in Norfolk NR21 0HU.", "ZIP_CODE", "NR21 0HU"),
        ("last four digits of your social?\nCustomer: 6621", "US_SSN", "6621"),
        ("Visa ************8812", "CREDIT_CARD", "************8812"),
        ("I live at Flat 9, Tudor Court", "STREET_ADDRESS", "Flat 9, Tudor Court"),
        ('{"city": "Trois-Rivières"}', "LOCATION", "Trois-Rivières"),
        ("a shop in South Kopan.", "LOCATION", "South Kopan"),
    ],
)
def test_a_form_or_key_gives_a_value_away(text: str, kind: str, value: str) -> None:
    assert values(lambda text: chain(fields(text), marked(text)), text, kind) == [value]


@pytest.mark.parametrize(
    "text",
    [
        "token: null",
        "use @property or @media here",
        "in 2024 Boston won",
        "Error 0x80070005 in version 14.2.1",
    ],
)
def test_nothing_is_given_away(text: str) -> None:
    assert [one for one in marked(text) if one.score >= SURE] == []


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("Neem contact op met dhr. Joost Verhoeven via", "PERSON", "dhr. Joost Verhoeven"),
        ("Gentile Sig.ra Ornella Brusati, la", "PERSON", "Sig.ra Ornella Brusati"),
        ("El demandante vive en Arequipa.", "LOCATION", "Arequipa"),
        ("Tenho 44 anos e moro", "AGE", "44"),
        ("Nacionalidad: peruana", "NRP", "peruana"),
        ("Beroep: loodgieter", "TITLE", "loodgieter"),
        ("Nom : Perrin\n", "PERSON", "Perrin"),
    ],
)
def test_other_languages(text: str, kind: str, value: str) -> None:
    assert value in values(foreign_names, text, kind)
