"""Looking values up in a text: numbers and dates in their usual spellings, strings as runs of words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.task.evidence import Source, dates_in, numbers_in


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("EUR 1.249,90", {1249.9, 1.249, 249, 90}),
        ("$1,249.90 or 1 249", {1249.9, 1249}),
        ("order 2024-1077", {2024, 1077}),
        ("1.234", {1234, 1.234}),
    ],
)
def test_numbers_in_text_in_every_reading(text: str, numbers: set[float]) -> None:
    assert numbers <= set(numbers_in(text))


@pytest.mark.parametrize("text", ["2024-03-05", "5 March 2024", "March 5th, 2024", "5-Mar-2024"])
def test_a_date_is_found_in_its_usual_spellings(text: str) -> None:
    assert Source(f"It was {text}, I think").has("2024-03-05")
    assert not Source(f"It was {text}, I think").has("2024-04-06")


def test_a_date_of_another_year_is_not_that_date() -> None:
    assert not Source("5 March 2023").has("2024-03-05")
    assert list(dates_in("no date in version 1.2.3.4567 at 10:30")) != []  # loose on purpose: it only excuses


@pytest.mark.parametrize("value", ["red kettle", "Red KETTLE!", "kettle", "  red  kettle "])
def test_a_string_is_found_as_a_run_of_words(value: str) -> None:
    assert Source("My red\nkettle, the good one.").has(value)
    assert not Source("A kettle in red, or a reddish kettle-drum? Red-hot kettles.").has("red kettle")


@given(st.text(alphabet="0123456789.,' -/amrch"))
def test_reading_numbers_and_dates_never_raises(text: str) -> None:
    list(numbers_in(text))
    list(dates_in(text))


@pytest.mark.parametrize(
    ("value", "there"), [("9.50", True), ("12/05/2018", True), ("9.5", False), ("19.50", False), ("9", False)]
)
def test_an_amount_or_a_date_may_stand_next_to_letters(value: str, there: bool) -> None:
    assert Source("TOTAL RM9.50 DATE12/05/2018AT 10").has(value) == there
