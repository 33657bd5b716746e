"""Sentence embeddings: one vector for each text, of an encoder in a folder in the layout of sentence-transformers.

The folder says how a text becomes a vector: its encoder, how the vectors of the tokens are pooled, whether the result is
brought to length one, and how long a text may be. That is little enough to be done here with transformers alone. Only
safetensors are loaded, and never code. Words that training has not seen get a vector near those of words that mean the
same, which is what TF-IDF cannot do.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallmark.base.errors import HallmarkError
from hallmark.base.files import json_bytes, sha256_file
from hallmark.base.model_folder import (
    INDEX,
    WEIGHTS,
    check_config,
    check_files,
    check_finite,
    check_loaded,
    explained,
    weight_files,
)
from hallmark.base.reading import read_json, read_object
from hallmark.model.loading import check_growth

if TYPE_CHECKING:
    import numpy as np

    from hallmark.answer.params import Embeddings

MODULES, LIMITS, TOKENIZER = "modules.json", "sentence_bert_config.json", "tokenizer.json"
READABLE = (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"])
POOLINGS = {"mean": "mean", "mean_tokens": "mean", "cls": "cls", "cls_token": "cls"}
BATCH = 64  # texts; the longest come together, so that few tokens are padding
REMEDY = (
    "give the folder of a sentence-transformers model, complete: an encoder in safetensors with tokenizer.json, mean or "
    "cls pooling, and at most a Normalize after it"
)

log = logging.getLogger("embeddings")


@dataclass(frozen=True)
class Recipe:
    """How a folder makes a vector of a text."""

    encoder: Path  # the folder with the weights and the tokenizer
    pooling: str  # mean or cls
    normalised: bool
    longest: int  # in tokens, with those that begin and end a text
    lower: bool


def read_recipe(folder: Path, pinned: str | None) -> Recipe:
    """The recipe of a folder; a HallmarkError unless the files that the vectors depend on have this digest."""
    check_files(folder)
    modules = _modules(folder)
    encoder, pooling = folder / modules[0][1], folder / modules[1][1] / "config.json"
    weights = weight_files(encoder)
    index = [] if weights == [encoder / WEIGHTS] else [encoder / INDEX]
    used = [encoder / name for name in ("config.json", TOKENIZER, LIMITS)]
    found = digest(folder, [folder / MODULES, pooling, *used, *index, *weights])
    if found != pinned:
        raise HallmarkError(
            f"not the model that classical.embeddings pins: the digest of its files is {found}",
            file=folder,
            remedy="if it is the model that you want, set classical.embeddings.digest to that; if not, restore the folder",
        )
    limits = read_object(encoder / LIMITS, REMEDY)
    longest = limits.get("max_seq_length")
    positions = check_config(encoder, weights).get("max_position_embeddings")
    most = positions if isinstance(positions, int) else 2**20
    if not isinstance(longest, int) or isinstance(longest, bool) or not 3 <= longest <= most:
        problem = f"not a number of tokens between 3 and the {most} that the model can read"
        raise HallmarkError(problem, file=encoder / LIMITS, field="max_seq_length", remedy=REMEDY)
    return Recipe(encoder, _pooling(pooling), len(modules) > 2, longest, limits.get("do_lower_case") is True)


def _modules(folder: Path) -> list[tuple[str, str]]:
    """The kind and the folder of each module; libraries of different years write the kind with different prefixes."""
    listed = read_json(folder / MODULES, REMEDY)
    modules = []
    for module in listed if isinstance(listed, list) else []:
        kind, path = (module.get(key) if isinstance(module, dict) else None for key in ("type", "path"))
        if not isinstance(kind, str) or not isinstance(path, str) or not re.fullmatch(r"\w*", path, re.ASCII):
            raise HallmarkError("not a type and a folder below", file=folder / MODULES, field="path", remedy=REMEDY)
        modules.append((kind.rsplit(".", 1)[-1], path))
    kinds = [kind for kind, _ in modules]
    if kinds not in READABLE:
        problem = f"its modules are {', '.join(kinds)[:200] or 'none'}, which can't be computed here"
        raise HallmarkError(problem, file=folder / MODULES, remedy=REMEDY)
    return modules


def _pooling(file: Path) -> str:
    """mean or cls: older files have a flag for each way of pooling, newer ones name it."""
    config = read_object(file, REMEDY)
    named = config.get("pooling_mode")
    prefix = "pooling_mode_"
    flags = [key.removeprefix(prefix) for key, value in sorted(config.items()) if key.startswith(prefix) and value]
    ways = [named] if isinstance(named, str) else flags
    if len(ways) != 1 or ways[0] not in POOLINGS:
        problem = f"its pooling is {' and '.join(ways)[:200] or 'not given'}; known are mean and cls"
        raise HallmarkError(problem, file=file, remedy=REMEDY)
    return POOLINGS[ways[0]]


def digest(folder: Path, files: Sequence[Path]) -> str:
    """SHA-256 of the names and hashes of the files: one value that changes if a byte of any does."""
    hashes = {}
    for file in files:
        if not file.is_file():
            raise HallmarkError("no such file", file=file, remedy=REMEDY)
        hashes[file.relative_to(folder).as_posix()] = sha256_file(file)
    return hashlib.sha256(json_bytes(hashes)).hexdigest()


class Embedder:
    """The encoder and its tokenizer, loaded once. Call `set_up` of hallmark/base/compute.py first."""

    def __init__(self, settings: Embeddings, device: str) -> None:
        import torch
        from transformers import AutoModel, PreTrainedTokenizerFast

        self.recipe = read_recipe(Path(settings.folder), settings.digest)
        self.device = device
        folder = self.recipe.encoder
        check_finite(weight_files(folder), floats=set())
        check_growth(folder / TOKENIZER)
        with explained("no tokenizer can be loaded", folder / TOKENIZER, remedy=REMEDY):
            # From this file alone: the library's own choice of a class would read others, which the digest leaves out.
            self.tokenizer: Any = PreTrainedTokenizerFast(tokenizer_file=str(folder / TOKENIZER))
        with explained("no model can be loaded", folder, remedy=REMEDY):
            auto: Any = AutoModel  # the stubs don't know `output_loading_info`
            self.model, info = auto.from_pretrained(
                folder,
                dtype=torch.float32,
                attn_implementation="eager",
                device_map={"": device},
                output_loading_info=True,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
            )
        # Whether there is a pooler, a layer after the last one, is all the same: nothing here reads it.
        check_loaded(info | {key: _but_pooler(info[key]) for key in ("missing_keys", "unexpected_keys")}, folder)

    def vectors(self, texts: Sequence[str]) -> list[np.ndarray[Any, Any]]:
        """The vector of each text, in the given order."""
        import numpy as np
        import torch

        found: dict[int, np.ndarray[Any, Any]] = {}
        with explained("can't embed the texts", self.recipe.encoder, remedy=REMEDY), torch.inference_mode():
            tokens = self._tokens(texts)
            order = sorted(range(len(tokens)), key=lambda place: -len(tokens[place]))
            for start in range(0, len(order), BATCH):
                places = order[start : start + BATCH]
                # In double precision the solver gets as far with these as with TF-IDF.
                rows = self._pooled([tokens[place] for place in places]).double().cpu().numpy()
                found |= dict(zip(places, rows, strict=True))
        if not all(np.isfinite(row).all() for row in found.values()):
            raise HallmarkError(
                "the vector of a text is infinite or no number", file=self.recipe.encoder, remedy=REMEDY
            )
        log.info("%d texts embedded, at most %d tokens of each", len(texts), self.recipe.longest)
        return [found[place] for place in range(len(texts))]

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        given = [text.strip().lower() if self.recipe.lower else text.strip() for text in texts]
        if not given:
            return []
        cut: list[list[int]] = self.tokenizer(
            given, truncation=True, max_length=self.recipe.longest, padding=False
        ).input_ids
        return [ids or [self._pad()] for ids in cut]  # some tokenizers make nothing of an empty text

    def _pad(self) -> int:
        """Some encoders count positions by this token, so it must be theirs."""
        return getattr(self.model.config, "pad_token_id", None) or 0

    def _pooled(self, tokens: Sequence[list[int]]) -> Any:
        import torch

        wide = max(map(len, tokens))
        ids = torch.tensor([row + [self._pad()] * (wide - len(row)) for row in tokens], device=self.device)
        mask = torch.tensor([[1] * len(row) + [0] * (wide - len(row)) for row in tokens], device=self.device)
        states = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        if self.recipe.pooling == "cls":
            pooled = states[:, 0]
        else:
            weights = mask.unsqueeze(-1).to(states.dtype)
            pooled = (states * weights).sum(dim=1) / weights.sum(dim=1)
        return torch.nn.functional.normalize(pooled, dim=1) if self.recipe.normalised else pooled


def _but_pooler(names: Sequence[str]) -> list[str]:
    return [name for name in names if not re.match(r"(\w+\.)?pooler\.", name)]
