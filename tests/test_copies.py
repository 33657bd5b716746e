"""What stands in the raw input stands in the masked one, whatever its kind, spelling, level, style and language."""

from __future__ import annotations

import re
from datetime import date
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.mask.caseless_names import flat
from hallmark.mask.copies import Standing
from hallmark.mask.date_values import _ROWS, Reader
from hallmark.mask.dates import DATE
from hallmark.mask.live import LiveMasker
from hallmark.mask.masking import Drafts, Masker
from hallmark.mask.restoring import restore
from hallmark.mask.rules import Found
from hallmark.mask.spans import Draft
from hallmark.mask.surrogates import canonical
from hallmark.params.loader import load_params
from tests.rows import mask_with
from tests.test_planted import masker_with
from tests.workspace import ROOT

KEY = bytes(32)
NAMES = ["Rosa Miller", "Bo Lind", "Ines Okafor", "Tom O'Hara"]
MONTHS = {language: rows[0].split() for language, rows in _ROWS.items()}
INTRODUCED = {"en": "My name is", "es": "Me llamo", "de": "Ich heisse", "fr": "Je m'appelle", "it": "Mi chiamo"}


@cache
def masker(level: str, style: str, language: str) -> Masker:
    """A masker by rules alone; dates become other dates in both styles."""
    moved = {"DATE_TIME": "surrogate", "DATE_OF_BIRTH": "surrogate"}
    return Masker(mask_with(level=level, style=style, language=language, actions=moved, allow_patterns=[]), key=KEY)


def day_in_words(day: date, language: str) -> str:
    month = MONTHS[language][day.month - 1].title()
    return f"{month} {day.day}, {day.year}" if language == "en" else f"{day.day} {month} {day.year}"


@st.composite
def records(draw: st.DrawFn) -> tuple[str, list[str], str]:
    """A text, what a target copies of it in spellings of its own, and the language."""
    language = draw(st.sampled_from(sorted(MONTHS)))
    sentences, values = [], []
    days = draw(st.lists(st.dates(date(1960, 1, 1), date(2025, 12, 28)), max_size=3, unique=True))
    for day in days:
        form = draw(st.sampled_from(["words", "%Y-%m-%d", "%d.%m.%Y"]))
        sentences.append(f"{day_in_words(day, language) if form == 'words' else day.strftime(form)}: -.")
        values.append(day.isoformat())
    for name in draw(st.lists(st.sampled_from(NAMES), max_size=2, unique=True)):
        sentences.append(f"{INTRODUCED[language]} {name}.")
        values.append(draw(st.sampled_from([name, name.upper(), name.split()[0]])))
    for number in draw(st.lists(st.integers(0, 99), max_size=2, unique=True)):
        sentences.append(f"Tel. +1 202-555-01{number:02d}!")
        values.append(draw(st.sampled_from([f"+1 202-555-01{number:02d}", f"+1 (202) 555 01{number:02d}"])))
    for number in draw(st.lists(st.integers(10, 99), max_size=2, unique=True)):
        sentences.append(f"ann{number}@acme-tools.io;")
        values.append(f"ann{number}@acme-tools.io")
    draw(st.randoms()).shuffle(sentences)
    return " ".join(sentences), values, language


@given(records(), st.sampled_from(["direct", "quasi", "all"]), st.sampled_from(["placeholder", "surrogate"]))
def test_a_copied_value_stays_and_comes_back(row: tuple[str, list[str], str], level: str, style: str) -> None:
    text, values, language = row
    mask = masker(level, style, language)
    record = Drafts([text], values, copies=len(values), name=text)
    mask.find([record])
    masked, *after = [one.text for one in mask.render(record)]
    before, later = Standing(text, values, mask.dates), Standing(masked, after, mask.dates)
    by_value: dict[Any, str] = {}
    for old, new in zip(values, after, strict=True):
        assert before.of(old), (text, old)
        assert later.of(new), (masked, old, new)
        part = " " not in old and old.title() in {name.split()[0] for name in NAMES}  # of a name: it comes back whole
        if not part:
            assert canonical(restore(new, record.values)) == canonical(old), (masked, new)
        if new != old and style == "surrogate":
            assert by_value.setdefault(canonical(new), old) == old or part
        if old[:4].isdigit():
            date.fromisoformat(new)


@pytest.mark.parametrize(
    ("text", "value", "masked", "copied"),
    [
        # a part of a masked value is masked as that value, in the text and in the target
        ("Mail ann@acme-tools.io", "ann", "Mail <EMAIL_1>", "<EMAIL_1>"),
        ("I am Rosa Miller.", "Rosa", "I am <PERSON_1>.", "<PERSON_1>"),
        ("Call (+1 202-555-0143)", "+1 202-555-0143", "Call (<PHONE_1>)", "<PHONE_1>"),
        # what can be read in the text can be read in the target
        ("I am Rosa Miller. It was in 2007.", "2007", "I am <PERSON_1>. It was in <DATE_1>.", "<DATE_1>"),
        ("Model 2007 is broken", "2007", "Model 2007 is broken", "2007"),
    ],
)
def test_the_target_is_masked_as_the_text_shows_it(text: str, value: str, masked: str, copied: str) -> None:
    rules = masker_with(allow_patterns=[])
    record = Drafts([text], [value], copies=1)
    rules.find([record])
    shown, target = [one.text for one in rules.render(record)]
    assert (shown, target) == (masked, copied)


@pytest.mark.parametrize(
    ("text", "kept", "left"),
    [("Add Ray Noble", "Ray Noble", []), ("Ray Noble 4711", "Ray Noble", ["4711"]), ("Bill Noble", "Noble", ["Bill"])],
)
def test_what_a_pattern_leaves_of_a_found_name_is_masked_if_it_may_be_private(
    text: str, kept: str, left: list[str]
) -> None:
    draft = Draft(text, True)
    draft.kept = [(text.index(kept), text.index(kept) + len(kept))]
    draft.add([Found(0, len(text), "PERSON", 0.9, "x")])
    assert [text[span.start : span.end] for span in draft.spans] == left


def test_two_spellings_of_one_telephone_number_have_one_placeholder_and_different_values_never_share_one() -> None:
    rules = masker_with(key=KEY, style="surrogate")
    cards = ["4539148803436467", "4929 3898 2154 7395", "5425233430109903", "4263982640269299", "4917484589897107"]
    masked = rules.records([Drafts([f"Card {card}." for card in cards])])[0]
    assert len({text.text for text in masked}) == len(cards)
    (one, two) = masker_with().records([Drafts(["Call +44 20 7946 0958.", "Phone: 020 7946 0958."])])[0]
    assert "<PHONE_1>" in one.text and "<PHONE_1>" in two.text


def live(text: str, **changes: Any) -> tuple[list[str], Any]:
    """The masked text of a request, and what puts the caller's values back."""
    params = load_params(ROOT / "params.yaml")
    masked, _ = LiveMasker(params.task, masker_with(allow_patterns=[], **changes).params, KEY)(
        [{"role": "user", "content": text}], None
    )
    return masked.messages[0]["content"], masked


def test_numbers_that_end_alike_are_not_one_number() -> None:
    text = "Anna: phone 555-1234. Bob: phone 212-555-1234. Eve: phone (415) 555-1234."
    shown, masked = live(text)
    assert masked.restored(shown) == text
    assert "555" not in shown


def test_a_moved_date_comes_back_in_the_spelling_of_the_answer() -> None:
    changes: dict[str, Any] = {"day_first": True, "actions": {"DATE_TIME": "surrogate"}}
    shown, masked = live("Ordered on 24/06/2007, sent on 22/07/2007, paid on 31/12/2012", **changes)
    days = [Reader(day_first=True).read(match[0]) for match in DATE.finditer(shown)]
    written = [f"{day.year}-{day.month:02d}-{day.day:02d}" for day in days if day]
    assert written[0] != "2007-06-24"
    assert [masked.restored(day) for day in written] == ["2007-06-24", "2007-07-22", "2012-12-31"]


@pytest.mark.parametrize("text", ["Due 0000-01-01", "From 2004-05-05 to 2006-01-02, end 9999-12-31"])
def test_odd_years_are_moved_or_get_a_placeholder(text: str) -> None:
    shown, masked = live(text, dates_before=None, actions={"DATE_TIME": "surrogate"})
    assert masked.restored(shown) == text
    assert not any(year in shown for year in re.findall(r"\d{4}(?=-\d\d-\d\d)", text))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("DOWN UNDER SDN BHD", "DOWN UNDER SDN BHD"),
        ("ABC STATIONERY LTD NO 12 HIGH ROAD", "ABC STATIONERY LTD"),
        ("I BOUGHT IT ON DEC 10, 2025. IT CAME FROM ACME TOOLS LTD", "ACME TOOLS LTD"),
        ("THE INVOICE HAS THE WRONG COMPANY NAME", None),
    ],
)
def test_a_company_in_capitals_is_its_name_and_no_sentence(text: str, found: str | None) -> None:
    spans = [text[one.start : one.end] for one in flat(text, 0, len(text), False) if one.kind == "ORGANIZATION"]
    assert spans == ([] if found is None else [found])
