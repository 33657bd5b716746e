"""The masker's union: nothing that a part finds is lost, each level masks its kinds, one value has one stand-in."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hallmark.mask.kinds import KINDS, LEVELS
from hallmark.mask.masking import Masker, Record, windows
from hallmark.mask.params import Mask
from hallmark.params.loader import load_params
from tests import labelled
from tests.test_mask import settings_with
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
    found = Masker(settings_with(level=level))(text)
    assert sorted(text[span.start : span.end] for span in found.spans) == sorted(masked)


def test_each_kind_has_a_level() -> None:
    assert {kind.level for kind in KINDS.values()} == set(LEVELS)


def test_a_threshold_of_a_kind_leaves_what_scores_lower() -> None:
    text = "Call 020 7946 0018 about it."
    assert "7946" not in Masker(settings_with())(text).text
    assert "7946" in Masker(settings_with(thresholds={"PHONE_NUMBER": 0.99}))(text).text
    with pytest.raises(ValueError, match=r"mask\.thresholds\.PHONE: there is no kind PHONE"):
        settings_with(thresholds={"PHONE": 0.5})


def test_identifiers_of_a_country_are_found_by_param() -> None:
    text = "Aadhaar-like 312345678909 here"
    plain, indian = Masker(settings_with(level="all")), Masker(settings_with(level="all", countries=["in"]))
    names = {one.name for one, _ in indian.recognizers.others} - {one.name for one, _ in plain.recognizers.others}
    assert {"InAadhaarRecognizer", "InPanRecognizer"} <= names
    assert "312345678909" not in indian(text).text


# --- one value, one stand-in


def placeholders(masked: list[Any]) -> list[list[str]]:
    return [re.findall(r"<[A-Z_]+_\d+>", text.text) for text in masked]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Ship it to 12 Elm Street,\nSpringfield, Norway. Thanks", "12 ELM STREET, SPRINGFIELD, NORWAY"),
        ("My name is Ina\nZorblatt", "ina zorblatt"),
        ("Mail ina@acme-tools.io please", "INA@ACME-TOOLS.IO"),
        ("I am 46 years old", "46"),
        ("Policy number AB-12/345.", "ab 12 345"),
    ],
)
def test_a_value_of_the_text_and_of_a_field_has_one_stand_in(text: str, value: str) -> None:
    in_text, in_field = placeholders(Masker(settings_with()).records([Record([text], [value])])[0])
    assert in_field == in_text[: len(in_field)] != []
    assert len(in_text) == len(in_field) == 1


def test_a_number_that_means_something_else_stays() -> None:
    (masked, amount) = Masker(settings_with()).records(
        [Record(["I am 46 years old and ordered 46 lamps"], ["46 lamps"])]
    )[0]
    assert masked.text == "I am <AGE_1> years old and ordered 46 lamps"
    assert amount.text == "46 lamps"


def test_the_first_name_that_comes_before_the_whole_has_its_number() -> None:
    masked = Masker(settings_with())("Ina here. My name is Ina Zorblatt, ask for Bo Marsh or Ms Zorblatt.").text
    assert re.findall(r"<PERSON_\d>", masked) == ["<PERSON_1>", "<PERSON_1>", "<PERSON_2>", "<PERSON_1>"]


def test_what_the_second_check_finds_is_masked_and_named() -> None:
    masker = Masker(settings_with())
    masker.recognizers.finders.clear()
    masker.recognizers.others.clear()
    masked = masker("Write to ina@acme-tools.io or bo@acme-tools.io.")
    assert masked.text == "Write to <EMAIL_1> or <EMAIL_2>."
    assert {span.recognizer for span in masked.spans} == {"second_check"}


# --- windows, and the model


@settings(max_examples=80)
@given(st.text(st.sampled_from("ab .\n"), max_size=400), st.integers(20, 60), st.sampled_from([0, 10]))
def test_windows_hold_the_whole_text_in_order(text: str, size: int, overlap: int) -> None:
    at = 0
    for offset, window in windows(text, size, overlap):
        assert len(window) <= size
        assert offset <= at
        assert text[offset : offset + len(window)] == window
        at = max(at, offset + len(window))
    assert at == len(text)


def test_a_window_ends_with_a_sentence_and_is_not_read_twice() -> None:
    text = "One two three four. " * 20
    pieces = list(windows(text, 100, 0))
    assert "".join(window for _, window in pieces) == text
    assert all(window.endswith(". ") for _, window in pieces[:-1])


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


def test_one_masker_for_each_level_has_its_params() -> None:
    params = load_params(ROOT / "params.yaml").mask
    assert params.level == "quasi"
    with pytest.raises(ValueError, match="level"):
        Mask.model_validate(params.model_dump() | {"level": "some"})


def test_masking_with_a_small_model_loads_no_deep_learning_library(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from hallmark.params.loader import load_params\n"
        "from hallmark.mask.masking import Masker; Masker(load_params(Path('params.yaml')).mask).load()\n"
        "print([name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
