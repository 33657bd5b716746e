"""The masker's union: nothing that a part finds is lost, each level masks its kinds, one value has one stand-in."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.mask.masking import Drafts, Masker, windows
from hallmark.params.loader import load_params
from tests import labelled
from tests.rows import mask_with
from tests.workspace import ROOT


@pytest.fixture(scope="module")
def everything() -> Masker:
    """The masker at level all, with the spaCy model."""
    params = load_params(ROOT / "params.yaml").mask
    return Masker(params.model_copy(update={"level": "all", "allow": [], "allow_patterns": []}))


@pytest.fixture(scope="module")
def presidio() -> Any:
    """Presidio as it comes, with the same NER model."""
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import NlpEngineProvider

    model = load_params(ROOT / "params.yaml").mask.ner.model
    configuration = {"nlp_engine_name": "spacy", "models": [{"lang_code": "en", "model_name": model}]}
    nlp = NlpEngineProvider(nlp_configuration=configuration).create_engine()
    return AnalyzerEngine(nlp_engine=nlp, supported_languages=["en"])


def test_at_level_all_nothing_that_presidio_finds_is_left(everything: Masker, presidio: Any) -> None:
    texts = [text.text for text in labelled.read() if text.language == "en"][::4]
    texts += [
        "Caf\u00e9 of Jos\u00e9\u200b Marsh, 3 May",
        "“Rosa’s” flat &#64; 12 Elm St",
        "<PERSON_4> met Ana on Friday",
    ]
    count = 0
    for text in texts:
        covered = {at for span in everything(text).spans for at in range(span.start, span.end)}
        covered |= {at for match in re.finditer(r"<[A-Z_]+_\d+>", text) for at in range(*match.span())}
        for found in presidio.analyze(text, "en"):
            count += 1
            left = [at for at in range(found.start, found.end) if at not in covered and text[at].isalnum()]
            assert not left, (found, text[found.start : found.end])
    assert count > 100


# A little below what the rules alone find: the share of the marked values of a kind that are masked whole.
FLOORS = {
    "EMAIL_ADDRESS": 1.0, "IBAN_CODE": 1.0, "IP_ADDRESS": 1.0, "NATIONAL_ID": 0.92, "CREDIT_CARD": 0.9, "DATE_OF_BIRTH": 0.85,
    "PHONE_NUMBER": 0.85, "PERSON": 0.8, "ZIP_CODE": 0.75, "LOCATION": 0.57, "STREET_ADDRESS": 0.55, "ACCOUNT": 0.45, "TITLE": 0.44, "AGE": 0.35,
}  # fmt: skip


def test_no_change_of_a_rule_loses_what_was_found_in_the_labelled_texts() -> None:
    masker = Masker(mask_with(level="quasi"))
    marked, whole, keep, kept = Counter[str](), Counter[str](), 0, 0
    for text in labelled.read():
        masked = {at for span in masker(text.text).spans for at in range(span.start, span.end)}
        for start, end, kind in text.spans:
            marked[kind] += 1
            whole[kind] += masked.issuperset(at for at in range(start, end) if text.text[at].isalnum())
        keep += len(text.keep)
        kept += sum(masked.isdisjoint(range(*place)) for place in text.keep)
    assert {
        kind: whole[kind] / marked[kind] for kind, floor in FLOORS.items() if whole[kind] < floor * marked[kind]
    } == {}
    assert kept / keep >= 0.93, "of what has to stay"


@pytest.mark.parametrize(
    ("level", "masked"),
    [
        ("direct", ["Ina Zorblatt", "ina@acme-tools.io"]),
        ("quasi", ["Ina Zorblatt", "ina@acme-tools.io", "46", "Norway", "2003-04-05"]),
        ("all", ["Ina Zorblatt", "ina@acme-tools.io", "46", "Norway", "2003-04-05", "2026-03-01"]),
    ],
)
def test_each_level_masks_its_kinds(level: str, masked: list[str]) -> None:
    text = "My name is Ina Zorblatt, I am 46 and from Norway. Ordered 2003-04-05 and 2026-03-01; ina@acme-tools.io."
    found = Masker(mask_with(level=level))(text)
    assert sorted(text[span.start : span.end] for span in found.spans) == sorted(masked)


def test_a_threshold_of_a_kind_leaves_what_scores_lower() -> None:
    text = "Call 020 7946 0018 about it."
    assert "7946" not in Masker(mask_with())(text).text
    assert "7946" in Masker(mask_with(thresholds={"PHONE_NUMBER": 0.99}))(text).text
    with pytest.raises(ValueError, match=r"mask\.thresholds\.PHONE: there is no kind PHONE"):
        mask_with(thresholds={"PHONE": 0.5})


def test_identifiers_of_a_country_are_found_by_param() -> None:
    text = "Aadhaar-like 312345678909 here"
    plain, indian = Masker(mask_with(level="all")), Masker(mask_with(level="all", countries=["in"]))
    names = {one.name for one, _ in indian.recognizers.others} - {one.name for one, _ in plain.recognizers.others}
    assert {"InAadhaarRecognizer", "InPanRecognizer"} <= names
    assert "312345678909" not in indian(text).text


# --- one value, one stand-in


def test_a_number_that_means_something_else_stays() -> None:
    (masked, amount) = Masker(mask_with()).records([Drafts(["I am 46 years old and ordered 46 lamps"], ["46 lamps"])])[
        0
    ]
    assert masked.text == "I am <AGE_1> years old and ordered 46 lamps"
    assert amount.text == "46 lamps"


def test_what_the_second_check_finds_is_masked_and_named() -> None:
    masker = Masker(mask_with())
    masker.recognizers.finders.clear()
    masker.recognizers.others.clear()
    masked = masker("Write to ina@acme-tools.io or bo@acme-tools.io.")
    assert masked.text == "Write to <EMAIL_1> or <EMAIL_2>."
    assert {span.recognizer for span in masked.spans} == {"second_check"}


# --- windows, and the model


@given(st.text(st.sampled_from("ab .\n"), max_size=400), st.integers(20, 60), st.sampled_from([0, 10]))
def test_windows_hold_the_whole_text_in_order(text: str, size: int, overlap: int) -> None:
    at = 0
    for offset, window in windows(text, size, overlap):
        assert len(window) <= size
        assert offset <= at
        assert text[offset : offset + len(window)] == window
        at = max(at, offset + len(window))
    assert at == len(text)


def test_the_model_without_the_parts_it_does_not_read_finds_the_same(everything: Masker) -> None:
    import spacy

    from hallmark.mask.ner_engines import LABELS, UNUSED

    texts = [text.text for text in labelled.read() if text.language == "en"][:20]
    whole = spacy.load(load_params(ROOT / "params.yaml").mask.ner.model, exclude=UNUSED)
    assert "tok2vec" in whole.pipe_names
    assert everything.ner.nlp.pipe_names == ["ner"]  # type: ignore[union-attr]
    for doc, found in zip(whole.pipe(texts), everything.ner.find(texts), strict=True):  # type: ignore[union-attr]
        ents = [(ent.start_char, ent.end_char) for ent in doc.ents if ent.label_ in LABELS]
        assert [(span.start, span.end) for span in found] == ents


def test_masking_with_a_small_model_loads_no_deep_learning_library(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from hallmark.params.loader import load_params\n"
        "from hallmark.mask.masking import Masker; Masker(load_params(Path('params.yaml')).mask).load()\n"
        "print([name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
