"""Private values that rules find by what stands next to them, and what looks like them and is none."""

from __future__ import annotations

from itertools import chain

import pytest

from hallmark.mask.fields import fields
from hallmark.mask.foreign import foreign_names
from hallmark.mask.jobs import jobs
from hallmark.mask.marked import marked
from hallmark.mask.rules import Finder, ages

SURE = 0.45


def values(finder: Finder, text: str, kind: str) -> list[str]:
    """What is found of a kind at the levels below `all`, in order."""
    spans = {(one.start, one.end) for one in finder(text) if one.kind == kind and one.score >= SURE}
    return [text[start:end] for start, end in sorted(spans)]


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("She works as a school nurse at the clinic.", "school nurse"),
        ("Tobias Klein, audiologist, on Monday", "audiologist"),
        ("Rosa Miller is the founder of Lumbre.", "founder"),
        ("We hired her as a cytogeneticist after May.", "cytogeneticist"),
        ("As a patent examiner at Lumbre I travel.", "patent examiner"),
        ("Rosa Miller, a police officer from Leeds", "police officer"),
    ],
)
def test_a_job_is_found(text: str, title: str) -> None:
    assert title in values(jobs, text, "TITLE")


@pytest.mark.parametrize(
    "text",
    [
        "The driver is not installed.",
        "Use the print manager, please.",
        "My model is broken.",
        "As a customer at Lumbre I pay.",
        "It works as a charm.",
    ],
)
def test_a_thing_is_no_job(text: str) -> None:
    assert values(jobs, text, "TITLE") == []


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("a driver aged sixty-eight, slipped", "sixty-eight"),
        ("Popescu, 46, succeeds him", "46"),
        ("The claimant, Mrs Popescu, is 59.", "59"),
        ("Patient Rosa Miller is 69 and well", "69"),
    ],
)
def test_an_age_in_words_or_by_a_name_is_found(text: str, age: str) -> None:
    assert values(ages, text, "AGE") == [age]


@pytest.mark.parametrize(
    "text",
    [
        "He was one of seven.",
        "Step, 12, is next",
        "Python (3)",
        "The printer (job, 19)",
        "when it was seven degrees",
        "Build is 69 and fine",
    ],
)
def test_a_count_is_no_age(text: str) -> None:
    assert values(ages, text, "AGE") == []


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
