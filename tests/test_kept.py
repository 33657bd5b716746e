"""Where values stand in a text, in any spelling; and the patterns that masking leaves alone, and never more than these."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.base.errors import HallmarkError
from hallmark.base.patterns import Pattern
from hallmark.mask.allowed_places import Kept, Place, allowed_spans, merged, near_places, outside, places

ADDRESS = "NO.53 55,57 & 59, Jalan Sagu 18, Taman Daya, 81100 Johor Bahru, Johor."


def spots(text: str, values: list[str]) -> list[Place]:
    """The places of the values, or else of near spellings."""
    found = places(text, values)
    near = [place for value in values if value not in found for place in near_places(text, value)]
    return merged([*(place for of in found.values() for place in of), *near])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (ADDRESS, "NO.53 55,57 & 59, JALAN SAGU 18,\nTAMAN DAYA,\n81100 JOHOR BAHRU,\nJOHOR"),
        ("Book Ta .K (Taman Daya) Sdn Bhd", "BOOK TA.K(TAMAN DAYA) SDN BHD"),
        ("Café Zoë", "CAFE ZOE"),
        ("25/12/2018", "25-12-2018"),
        ("1,239.50", "1.239,50"),
    ],
)
def test_a_value_is_found_in_another_spelling(value: str, text: str) -> None:
    around = f"xx {text}, yy"
    assert [around[start:end] for start, end in spots(around, [value])] == [text]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("9.00", "19.00 9.000 900 9 0 1.9.00 9.00.1"),
        ("2018", "555-2018 and 4539 1488 2018 6467 and 25/12/2018 and a2018"),
        ("Ann", "Annex, Joann, ann3"),
        ("7", "7 of 7"),
        ("...", "anything ..."),
    ],
)
def test_a_part_of_a_word_or_number_is_not_the_value(value: str, text: str) -> None:
    assert spots(text, [value]) == []


def test_an_amount_may_stand_next_to_its_currency() -> None:
    assert places("RM9.00, 12.50EUR", ["9.00", "12.50"]) == {"9.00": [(2, 6)], "12.50": [(8, 13)]}


WORDS = st.lists(st.sampled_from(["Elm", "STRASSE", "Zoë", "o", "bhd", "Ann"]), min_size=2, max_size=6)


@given(WORDS, st.lists(st.sampled_from([" ", "\n", ", ", "-", ",\n  ", ". "]), min_size=6, max_size=6), st.data())
def test_every_spelling_of_words_is_found_whole(words: list[str], gaps: list[str], data: st.DataObject) -> None:
    cases = [data.draw(st.sampled_from([str.lower, str.upper, str.title]))(word) for word in words]
    spelled = "".join(word + gap for word, gap in zip(cases, gaps, strict=False))[: -len(gaps[len(words) - 1])]
    text = f"12 {spelled} 34"
    assert (3, 3 + len(spelled)) in places(text, [" ".join(words)])[" ".join(words)]


@given(
    st.text("ab 1.,-<\n", max_size=40),
    st.lists(st.text("ab 1.,-", max_size=6), max_size=4),
    st.integers(0, 40),
    st.integers(1, 9),
)
def test_places_are_sorted_and_disjoint_and_what_is_outside_of_them_holds_none_of_them(
    text: str, values: list[str], start: int, length: int
) -> None:
    spans = spots(text, values)
    assert spans == merged(spans)
    assert all(low < high for low, high in spans)
    end = min(start + length, len(text))
    if start < end:
        kept = {at for low, high in spans for at in range(low, high)}
        rest = outside(text, start, end, spans)
        assert all(start <= low < high <= end and kept.isdisjoint(range(low, high)) for low, high in rest)
        masked = {at for low, high in rest for at in range(low, high)}
        assert all(not text[at].isalnum() for at in set(range(start, end)) - kept - masked)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("NO.53 55,57 & 59, JALAN SAGO 18,\nTAMAN DAVA,\n81100 JOHOR BAHRU,\nJOHOR", True),  # two slips of OCR
        ("NO.53 55,57 & 59, JALAN SAGU 18,\nTAMANDAYA,\n81100 JOHOR BARU,\nJOHOR", True),
        ("NO.53 55,57 & 58, JALAN SAGO 18,\nTAMAN DAYA,\n81100 JOHOR BAHRU,\nJOHOR", False),  # another number
        ("NO.53 55,57 & 59, Jalan Mawar 18, Taman Ria, 81100 Kota Tinggi, Johor", False),  # another street
        ("NO.53 55,57 & 59, JALAN SAGO 18", False),
    ],
)
def test_a_long_value_is_found_with_a_few_other_letters(text: str, found: bool) -> None:
    around = f"xx {text}, yy 53"
    assert [around[start:end] for start, end in spots(around, [ADDRESS])] == [text] * found


@pytest.mark.parametrize(("unit", "times"), [("a", 100_000), ("a ", 5_000), ("1 ", 5_000), ("a1", 5_000)])
def test_the_time_is_in_proportion_to_the_text(unit: str, times: int) -> None:
    start = time.process_time()
    spots(unit * 2 * times, [unit * times, unit * 3])
    assert time.process_time() - start < 5  # with the automaton that the library chooses for few patterns, 20 seconds


def test_patterns_match_whole_words_and_end_in_time() -> None:
    text = "NL-20931 xNL-20931 NL-209312 NL-20931."
    assert allowed_spans(text, [Pattern(r"NL-\d{5}", "mask.allow_patterns"), Pattern("z*", "x")]) == [(0, 8), (29, 37)]
    assert Kept([r"NL-\d{5}"]).blanked("NL-20931, Ann") == "________, Ann"
    with pytest.raises(HallmarkError, match=r"mask\.allow_patterns"), pytest.MonkeyPatch.context() as patch:
        patch.setattr("hallmark.base.patterns.SECONDS", 0.05)
        Kept(["(a+)+b"]).spans("a" * 40)
