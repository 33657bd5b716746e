"""The kinds of private data are those of one list, and each has a stand-in of its own."""

from __future__ import annotations

import ast
import json
import re

import pytest

from hallmark.mask.kinds import DATES, KINDS, PLACEHOLDER, listed, short
from hallmark.mask.second_check import residue
from hallmark.mask.surrogates import LOCALES, placeholder, surrogate
from tests.workspace import ROOT

# Names in capitals in the room's code that are not kinds: labels of NER models, and the roles in chat.
# Labels of NER models, parts of Presidio's names, and what is no kind at all.
OTHER_NAMES = {"PER", "ORG", "GPE", "LOC", "FAC", "NORP", "DATE", "TIME", "SCORE", "NFKC", "NFKD"}
OTHER_NAMES |= {"AKIA", "ASIA"}  # how keys of a cloud start
OTHER_NAMES |= {"STOP_WORDS"}  # of spaCy
OTHER_NAMES |= {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"}  # variables of the environment, Ray's too
OTHER_NAMES |= {"RAY_USAGE_STATS_ENABLED", "RAY_IGNORE_UNHANDLED_ERRORS", "RAY_ENABLE_UV_RUN_RUNTIME_ENV"}


def test_the_code_names_no_other_kind() -> None:
    """A kind under another name would have no surrogate, and no action of params.yaml would reach it."""
    files = [*sorted((ROOT / "hallmark/mask").glob("*.py")), ROOT / "hallmark/records/reading.py"]
    named = {
        node.value
        for file in files
        if file.name != "kinds.py"
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and re.fullmatch(r"[A-Z][A-Z_]+[A-Z]", str(node.value))
    }
    assert named - set(KINDS) == OTHER_NAMES


def test_gold_spans_and_samples_name_no_other_kind() -> None:
    named = set()
    for file in [*ROOT.glob("data/gold/spans.jsonl"), *ROOT.glob("template/choices/kinds/*/gold/spans.jsonl")]:
        named |= {json.loads(line)["kind"] for line in file.read_text(encoding="utf-8").splitlines()}
    for file in [ROOT / "stages/records.py", *ROOT.glob("template/choices/kinds/*/records.py")]:
        named |= {*re.findall(r'"([A-Z_]{2,})": ', file.read_text(encoding="utf-8"))}
    assert named <= set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_placeholder_and_a_surrogate(kind: str) -> None:
    assert PLACEHOLDER.fullmatch(placeholder(kind, 12))
    if kind in DATES:  # which move
        return
    values = {surrogate(kind, seed.to_bytes(8, "big") * 4, "en") for seed in range(50)}
    assert len(values) > 3
    for value in values:
        assert not re.match(rf"(?:{kind}|{short(kind)})-\d", value, re.IGNORECASE), "what an unknown kind gets"
        assert residue(value, allow_reserved=True) == []
    for language in LOCALES:
        assert surrogate(kind, b"01234567" * 4, language).strip()


@pytest.mark.parametrize("engine", ["transformers", "gliner"])
def test_the_labels_of_other_tools_become_listed_kinds(engine: str) -> None:
    from presidio_analyzer.nlp_engine import NerModelConfiguration
    from presidio_analyzer.predefined_recognizers import HuggingFaceNerRecognizer

    labels = {
        "transformers": HuggingFaceNerRecognizer.DEFAULT_LABEL_MAPPING,
        "gliner": NerModelConfiguration().model_to_presidio_entity_mapping,
    }[engine]
    found = {kind: listed(kind) for kind in {*labels.values(), "EMAIL", "ID", "B-WHATEVER"}}
    assert set(found.values()) <= set(KINDS)
    assert found | {"PERSON": "PERSON", "EMAIL": "EMAIL_ADDRESS", "B-WHATEVER": "MISC"} == found
