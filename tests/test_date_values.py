"""Dates in any spelling: which day they name, and another day in the same spelling."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.mask.date_values import _ROWS, Day, Reader, shift

DAYS = st.dates(date(1940, 1, 1), date(2029, 12, 31))
FORMS = [
    "{y:04d}-{m:02d}-{d:02d}",
    "{d:02d}.{m:02d}.{y:04d}",
    "{d}.{m}.{y:04d}",
    "{d} {month} {y:04d}",
    "{month} {d}, {y:04d}",
    "{d:02d}-{month}-{y:04d}",
    "{y:04d}-{m:02d}-{d:02d}T08:15:00Z",
]
EXACT = st.sampled_from(FORMS)
NAMES = st.sampled_from([(language, row) for language, rows in _ROWS.items() for row in rows])


def written(form: str, day: date, row: str) -> str:
    """A date in a form, with the month's name of a row of twelve."""
    return form.format(y=day.year, m=day.month, d=day.day, month=row.split()[day.month - 1])


@given(DAYS, EXACT, NAMES, st.sampled_from([str, str.upper, str.title]), st.integers(-20_000, 20_000))
def test_a_date_is_read_and_moved_in_its_own_spelling(
    day: date, form: str, names: tuple[str, str], case: type[str], days: int
) -> None:
    language, row = names
    reader = Reader(day_first=False, language=language)
    text = case(written(form, day, row))
    read = reader.read(text)
    assert read is not None
    assert (read.year, read.month, read.day) == (day.year, day.month, day.day)
    moved = read.moved(days)
    later = day + timedelta(days)
    assert moved is not None and (moved.year, moved.month, moved.day) == (later.year, later.month, later.day)
    again = reader.respelled(text, moved)
    assert reader.read(again) == moved
    back = moved.moved(-days)
    assert back is not None and reader.read(reader.respelled(again, back)) == read
    if "month" not in form:
        assert again == case(written(form, later, row)) or form == "{d}.{m}.{y:04d}"


@given(st.lists(DAYS, min_size=2, max_size=6, unique=True), st.text(max_size=5))
def test_the_dates_of_a_record_stay_different_in_order_and_as_far_apart(days: list[date], seed: str) -> None:
    read = [Day(day.year, day.month, day.day) for day in days]
    by = shift(read, seed)
    moved = [day.moved(by) for day in read]
    numbers = [day.ordinal() for day in moved if day]
    assert len(numbers) == len(days)
    assert len({number - day.toordinal() for number, day in zip(numbers, days, strict=True) if number}) == 1


@given(DAYS, DAYS, st.text(max_size=5))
def test_where_the_latest_date_lands_says_nothing_of_where_it_was(one: date, other: date, seed: str) -> None:
    landed = {Day(d.year, d.month, d.day).moved(shift([Day(d.year, d.month, d.day)], seed)) for d in (one, other)}
    assert len(landed) == 1


@given(
    st.lists(st.tuples(st.integers(1900, 2020), st.integers(1, 12)), min_size=2, unique=True), st.integers(-9999, 9999)
)
def test_months_and_years_stay_different(months: list[tuple[int, int]], days: int) -> None:
    assert len({Day(year, month, None).moved(days) for year, month in months}) == len(months)
    years = {year for year, _ in months}
    assert len({Day(year, None, None).moved(days) for year in years}) == len(years)


@given(st.text("0123456789 -/.,JanMyoctbrTZ:", max_size=24))
def test_any_text_is_read_or_not(text: str) -> None:
    reader = Reader(day_first=True)
    if (day := reader.read(text)) and (moved := day.moved(1234)):
        assert reader.read(reader.respelled(text, moved)) is not None


@pytest.mark.parametrize(
    ("text", "month_first", "day_first"),
    [
        ("05/06/2007", (5, 6), (6, 5)),
        ("28/06/2007", (6, 28), (6, 28)),
        ("06/28/2007", (6, 28), (6, 28)),
        ("05.06.2007", (6, 5), (6, 5)),
        ("2007-06-05", (6, 5), (6, 5)),
    ],
)
def test_which_number_is_the_month(text: str, month_first: tuple[int, int], day_first: tuple[int, int]) -> None:
    for order, expected in ((False, month_first), (True, day_first)):
        day = Reader(day_first=order).read(text)
        assert day and (day.month, day.day) == expected


@pytest.mark.parametrize(
    ("text", "moved"),
    [
        ("October 28th, 2007", "June 1st, 2007"),
        ("1/28/2007", "6/1/2007"),
        ("May 2007", "June 2007"),
        ("28. Oktober 2007", "1. Juni 2007"),
        ("28 fevrier 2007", "1 juin 2007"),
    ],
)
def test_spellings(text: str, moved: str) -> None:
    reader = Reader(day_first=False)
    day = reader.read(text)
    assert day
    new = Day(2007, 6 if day.month else None, 1 if day.day else None)
    assert reader.respelled(text, new) == moved
