"""Labelled: the set of hand-marked texts is whole, and a bad mark ends in one clear error."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
from stdnum import iban, imei, luhn, verhoeff
from stdnum.br import cpf
from stdnum.es import dni
from stdnum.gb import nhs

from tests.labelled import KEEP, LEVELS, LabelError, Labelled, read, read_file


@pytest.fixture(scope="module")
def texts() -> list[Labelled]:
    return read()


def values(texts: list[Labelled], kind: str) -> list[str]:
    return [text.text[start:end] for text in texts for start, end, found in text.spans if found == kind]


def test_every_kind_occurs_and_no_text_is_there_twice(texts: list[Labelled]) -> None:
    assert {kind for text in texts for _, _, kind in text.spans} == set(LEVELS)
    assert {level for text in texts for level in text.levels} == {"direct", "quasi", "all"}
    assert len({text.text for text in texts}) == len(texts)
    assert all(len(text.spans) == len(text.levels) for text in texts)
    for text in texts:
        edges = sorted([(start, end) for start, end, _ in text.spans] + list(text.keep))
        assert all(end <= after for (_, end), (after, _) in pairwise(edges)), text.id


def test_numbers_have_the_right_check_digits(texts: list[Labelled]) -> None:
    assert all(iban.is_valid(value) for value in values(texts, "IBAN_CODE"))
    cards = [re.sub(r"\D", "", value) for value in values(texts, "CREDIT_CARD")]
    assert all(luhn.is_valid(card) for card in cards if len(card) > 4)
    ids = values(texts, "NATIONAL_ID")
    assert {dni.is_valid(v) for v in ids if re.fullmatch(r"\d{8}-?[A-Z]", v)} == {True}
    assert {nhs.is_valid(v) for v in ids if re.fullmatch(r"\d{3} \d{3} \d{4}", v)} == {True}
    assert {cpf.is_valid(v) for v in ids if re.fullmatch(r"\d{3}\.\d{3}\.\d{3}-\d\d", v)} == {True}
    assert {verhoeff.is_valid(v.replace(" ", "")) for v in ids if re.fullmatch(r"\d{4} \d{4} \d{4}", v)} == {True}
    phones = [v for v in values(texts, "ACCOUNT") if re.fullmatch(r"35\d{13}", v)]
    assert phones
    assert all(imei.is_valid(value) for value in phones)


def test_spans_and_values_to_keep(tmp_path: Path) -> None:
    file = tmp_path / "chat.txt"
    file.write_text(
        "# head\n\n=== chat-01 en\n[[PERSON|Ada]] buys [[KEEP|two]]\non [[DATE_TIME:all|3 May]].\n\n=== chat-02 it\nok\n",
        encoding="utf-8",
    )
    first, second = read_file(file)
    assert first == Labelled(
        "chat-01",
        "chat",
        "en",
        "Ada buys two\non 3 May.",
        ((0, 3, "PERSON"), (16, 21, "DATE_TIME")),
        ("direct", "all"),
        ((9, 12),),
    )
    assert (second.id, second.language, second.text, second.spans, second.keep) == ("chat-02", "it", "ok", (), ())


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("=== chat-01 en\n[[NAME|Ada]]", "chat.txt, chat-01, mark 1: NAME is no kind"),
        ("=== chat-01 en\n[[PERSON:all|Ada]]", "only LOCATION and DATE_TIME may be marked `:all`"),
        (f"=== chat-01 en\n[[{KEEP}|two]] [[PERSON|Ada [[PERSON|Lee]]]]", "mark 2: a mark inside a mark"),
        ("=== chat-01 en\n[[PERSON|Ada", r"chat-01: \[\[ or \]\] outside a mark"),
        ("=== chat-01 en\n[[PERSON|]]", "empty, or a blank at its edge"),
        ("=== chat-01 en\n[[PERSON|Ada,]]", "punctuation at its edge"),
        ("=== chat-01 en\n\n=== chat-02 en\nhi", "chat-01: there is no text"),
        ("=== chat-1 en\nhi", "line 1: a text starts with `=== chat-NN language`"),
        ("=== chat-01 xx\nhi", "the language is one of en, es"),
        ("hi", "line 1: before the first text, only comments"),
    ],
)
def test_a_bad_mark_ends_in_one_clear_error(tmp_path: Path, body: str, message: str) -> None:
    file = tmp_path / "chat.txt"
    file.write_text(body, encoding="utf-8")
    with pytest.raises(LabelError, match=message) as caught:
        read_file(file)
    assert "Ada" not in str(caught.value), "a value is never shown"
