"""Names in sentences, in lines of chat, on receipts and in other scripts; and what only looks like one."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.mask.caseless_names import lines
from hallmark.mask.chat import LONGEST, chat
from hallmark.mask.kinds import KINDS
from hallmark.mask.lexicon import cities, first_names
from hallmark.mask.masking import Drafts, Masker
from hallmark.mask.names import names
from hallmark.mask.ner import accept, truecase
from hallmark.mask.plain_view import view
from hallmark.mask.rules import Found
from tests.rows import mask_with

QUASI = Masker(mask_with(level="quasi"))


def found(text: str) -> dict[str, str]:
    """What names and chat find in a text, with the longest span where two overlap: each value and its kind."""
    text = view(text).text
    spans = sorted([*names(text), *chat(text)], key=lambda span: (span.start, -span.end, -span.score))
    values: dict[str, str] = {}
    end = 0
    for span in spans:
        if span.start >= end:
            values[text[span.start : span.end]] = span.kind
            end = span.end
    return values


def test_the_fields_of_a_record_speak_of_one_person() -> None:
    (alone,) = QUASI.records([Drafts(["Sales in Norway rose."])])
    (together,) = QUASI.records([Drafts(["Sales in Norway rose.", "Ask Anna Kowalska."])])
    assert alone[0].spans == []
    assert [span.kind for span in together[0].spans] == ["LOCATION"]


RECEIPT = "MERIDIAN STATIONERY SDN BHD\nNO. 12 HARBOUR ROAD\nCASHIER: SITI\nQTY RM\nREG 0012\nTOTAL INCL GST\nRM 12.00\nCASH\n"


@pytest.mark.parametrize(
    ("text", "span", "kind", "value"),
    [
        ("He wrote to Berger-Lundin in Kassel.", (12, 25), "PERSON", "Berger-Lundin"),
        ("It is called a draft (Vertragsentwurf) there.", (22, 37), "PERSON", None),
        ("The Aurora printer broke.", (4, 10), "PERSON", None),
        ("A taxi from Gatwick to Luton.", (12, 19), "LOCATION", None),
        ("They appealed to the Constitutional Council.", (21, 43), "ORGANIZATION", "Constitutional Council"),
        ("Is the Glasgow Coma Scale used?", (7, 25), "ORGANIZATION", None),
        ("Then comes Lake Victoria too.", (16, 24), "PERSON", None),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_ner_says_is_accepted_or_not(text: str, span: tuple[int, int], kind: str, value: str | None) -> None:
    accepted = accept(text, Found(*span, kind, 0.5, "spacy"))
    assert (accepted and text[accepted.start : accepted.end]) == value


def test_ner_reads_a_receipt_without_capitals_and_a_letter_with_them() -> None:
    assert truecase(RECEIPT.replace("SITI", "CN")).islower()
    assert truecase("PLEASE CALL ROSA LINDQVIST TODAY") == "please call Rosa Lindqvist today"


WORDS = st.sampled_from(
    [*sorted(first_names("en"))[::400], "the", "my", "name", "is", "password", "account", "Mr", "Judge", "A.", "said", "2015", "4494",
     "from", "to", "Paris", "SDN", "BHD", "in", "our", "founders:", "and", "さん", "我叫", "السيد", "\n", ",", "(", "van", "de"]
)  # fmt: skip
TEXTS = st.lists(WORDS, max_size=25).map(" ".join) | st.text(max_size=80)


@given(TEXTS)
def test_every_span_is_in_the_text_and_of_a_kind(text: str) -> None:
    for span in [*names(text), *chat(text)]:
        assert 0 <= span.start < span.end <= len(text)
        assert span.kind in KINDS
        assert 0.45 <= span.score < 1
    assert len(truecase(text)) == len(text)
    assert [text[start:end] for start, end, _ in lines(text)] == [
        line for line in text.split("\n") if any(char.isupper() or char.islower() for char in line)
    ]


@given(st.lists(st.text(string.ascii_lowercase + string.digits, min_size=1, max_size=9), min_size=1, max_size=12))
def test_chat_reads_any_words_and_only_short_lines(words: list[str]) -> None:
    line = " ".join(words)
    ends = [(span.start, span.end) for span in chat(line)]
    for start, end in ends:
        assert start == 0 or line[start - 1] == " "
        assert end == len(line) or line[end] == " "
    assert not list(chat(line + " word" * LONGEST))
    assert not list(chat(f"{line}\n{line}"))


@given(st.sampled_from(sorted(cities())), st.sampled_from(sorted(cities())))
def test_no_city_of_a_trip_is_masked(start: str, end: str) -> None:
    assert found(f"i need a flight from {start} to {end} please") == {}
