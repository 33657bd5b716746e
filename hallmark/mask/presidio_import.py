"""Import Presidio and spaCy without PyTorch and transformers, which both load whenever they are there.

That takes four of six seconds in each process, and most NER models of spaCy need neither.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hallmark.base.reading import read_object
from hallmark.mask.params import Mask

HEAVY = ("torch", "transformers")


def import_libraries(params: Mask) -> None:
    """Import what masking with these params needs, and no more."""
    with _hidden(() if _deep(params) else HEAVY):
        import presidio_analyzer.predefined_recognizers  # noqa: F401
        import spacy  # noqa: F401


def complete(recognizers: Any) -> None:
    """Give a module of Presidio the libraries that it was imported without."""
    if recognizers.hf_pipeline is None:
        import torch
        from transformers import pipeline

        recognizers.hf_pipeline, recognizers.torch = pipeline, torch


def _deep(params: Mask) -> bool:
    """Whether the NER model is a transformer, of spaCy or not."""
    if params.ner.engine != "spacy":
        return params.ner.engine != "none"
    model = params.ner.model or "."
    spec = find_spec(model) if model.isidentifier() else None
    folders = [Path(model), *(Path(folder) for folder in (spec and spec.submodule_search_locations) or ())]
    files = [file for folder in folders for file in (folder / "meta.json", *sorted(folder.glob("*/meta.json")))]
    metas = (read_object(file, "use a whole spaCy model") for file in files if file.is_file())
    return any("transformer" in json.dumps(meta) for meta in metas)


@contextmanager
def _hidden(names: tuple[str, ...]) -> Iterator[None]:
    """Let an import of these libraries fail as if they were not installed, unless they are loaded already."""
    absent = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
