"""The made-up sentences that reports show: masked as the params say, and never a way to the repo's key."""

from __future__ import annotations

import json

import pytest

from hallmark.base.document import strings
from hallmark.mask.examples import SENTENCES, masked_examples
from hallmark.mask.masking import Masker
from hallmark.mask.second_check import in_name, residue
from tests.rows import mask_with

ALL = json.loads(SENTENCES.read_text(encoding="utf-8"))


@pytest.mark.parametrize("language", [*ALL, "nl"])
def test_the_sentences_are_in_the_language_of_the_texts(language: str) -> None:
    found = masked_examples(Masker(mask_with(language=language)))
    before = ["".join(piece[0] for piece in example["pieces"]) for example in found]
    assert before == ALL.get(language, ALL["en"])
    kinds = {piece[2] for example in found for piece in example["pieces"]}
    assert kinds >= {"PERSON", "EMAIL_ADDRESS", "PHONE_NUMBER", "CREDIT_CARD", "DATE_OF_BIRTH", None}
    shown = "".join(str(piece[1]) for example in found for piece in example["pieces"])
    assert "jensen" not in shown.lower() and "<EMAIL_1>" in shown
    assert len(found[-1]["pieces"]) == 1  # nothing is masked in the last


@pytest.mark.parametrize("language", ALL)
def test_no_sentence_holds_what_the_last_check_refuses(language: str) -> None:
    """`certify` looks for private data in mask.json and in the page too."""
    masker = Masker(mask_with(language=language))
    texts = [*ALL[language], *strings(masked_examples(masker), keys=True)]
    assert [text for text in texts if (residue if " " in text else in_name)(text, allow_reserved=True)] == []


def test_a_stand_in_does_not_tell_what_the_repos_key_makes_of_the_value() -> None:
    params = mask_with(style="surrogate")
    one, two = (Masker(params, key=key) for key in (b"a" * 32, b"b" * 32))
    assert masked_examples(one) == masked_examples(two)
    assert one("Hi, this is Maria Jensen.").text != two("Hi, this is Maria Jensen.").text


def test_a_kind_that_drops_the_record_is_said() -> None:
    found = masked_examples(Masker(mask_with(actions={"CREDIT_CARD": "drop"})))
    assert [example["dropped"] for example in found] == [False, False, True, False, False, False]
