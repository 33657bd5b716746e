"""Sentence embeddings as one more candidate of `classical`: pooled as the folder says, pinned, and chosen on validation."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hallmark.answer import embeddings as module
from hallmark.answer.embeddings import Embedder
from hallmark.answer.params import Embeddings
from hallmark.base.compute import set_up
from hallmark.base.errors import HallmarkError
from hallmark.base.files import HOLDOUT, TRAIN, VALIDATION, write_json
from hallmark.base.reading import read_json
from hallmark.params.loader import Params
from stages import classical
from tests.rows import refused
from tests.test_classical import PARAMS, by_endings, params_of, write_split
from tests.tiny import byte_level_bpe

TEXTS = ["where is the parcel", "refund", "", "my kettle arrived broken and I want my money back, please, " * 9]
LONGEST = 24


def make_encoder(folder: Path, pooling: str = "mean_tokens", normalised: bool = True, pooler: bool = True) -> Path:
    """A random two-layer BERT in the layout of sentence-transformers."""
    import torch
    from tokenizers.processors import TemplateProcessing
    from transformers import BertConfig, BertModel

    tokenizer = byte_level_bpe(["[PAD]", "[CLS]", "[SEP]"])
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)])
    tokenizer.enable_truncation(8)  # as published ones have it, which must not count
    tokenizer.enable_padding(length=8)
    config = BertConfig(
        vocab_size=320,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        pad_token_id=0,
        initializer_range=0.5,  # spread enough that two texts get two vectors
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = BertModel(config, add_pooling_layer=pooler)
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    kinds = ["models.Transformer", "models.Pooling", *(["models.Normalize"] if normalised else [])]
    paths = ["", "1_Pooling", "2_Normalize"]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.{kind}"}
        for i, (kind, path) in enumerate(zip(kinds, paths, strict=False))
    ]
    write_json(folder / "modules.json", modules)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": LONGEST, "do_lower_case": False})
    flags = {f"pooling_mode_{way}": way == pooling for way in ("cls_token", "max_tokens", "mean_tokens")}
    write_json(folder / "1_Pooling/config.json", {"word_embedding_dimension": 32, **flags})
    return folder


def change(file: Path, **fields: Any) -> None:
    write_json(file, read_json(file) | fields)


def error_of(folder: Path, pinned: str | None) -> HallmarkError:
    with refused() as raised:
        Embedder(Embeddings(folder=str(folder), digest=pinned), "cpu")
    return raised.value


def digest_of(folder: Path) -> str:
    """What a user pastes: the error prints it."""
    return error_of(folder, None).problem.rsplit(" ", 1)[-1]


def embedder(folder: Path) -> Embedder:
    set_up(PARAMS.compute, PARAMS.seed)
    return Embedder(Embeddings(folder=str(folder), digest=digest_of(folder)), "cpu")


def by_hand(folder: Path, text: str, pooling: str, normalised: bool) -> np.ndarray[Any, Any]:
    """One text alone, without padding."""
    import torch
    from tokenizers import Tokenizer
    from transformers import BertModel

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    ids = tokenizer.encode(text.strip()).ids
    ids = ids if len(ids) <= LONGEST else [*ids[: LONGEST - 1], ids[-1]]  # the last one ends the text
    with torch.inference_mode():
        states = BertModel.from_pretrained(folder).eval()(torch.tensor([ids])).last_hidden_state[0].double().numpy()
    pooled = states[0] if pooling == "cls_token" else states.mean(axis=0)
    return np.asarray(pooled / np.linalg.norm(pooled) if normalised else pooled)


@pytest.mark.parametrize(
    ("pooling", "normalised"), [("mean_tokens", True), ("mean_tokens", False), ("cls_token", True)]
)
def test_a_vector_is_what_the_folder_says_whatever_is_embedded_with_it(
    tmp_path: Path, pooling: str, normalised: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_encoder(tmp_path / "encoder", pooling, normalised)
    monkeypatch.setattr(module, "BATCH", 3)  # one batch with padding, and one without
    vectors = embedder(folder).vectors(TEXTS)
    assert len(vectors) == len(TEXTS)
    for text, vector in zip(TEXTS, vectors, strict=True):
        np.testing.assert_allclose(vector, by_hand(folder, text, pooling, normalised), atol=1e-5)
    assert np.linalg.norm(vectors[0] - vectors[1]) > 0.1
    again = embedder(folder).vectors(TEXTS)
    assert [vector.tobytes() for vector in again] == [vector.tobytes() for vector in vectors]
    assert embedder(folder).vectors([]) == []


def test_lower_case_is_made_if_the_folder_says_so(tmp_path: Path) -> None:
    folder = make_encoder(tmp_path / "encoder")
    # Each alone: on some processors the rows of one batch differ in their last bits.
    (upper,), (lower,) = (embedder(folder).vectors([text]) for text in ("Refund", "refund"))
    assert np.linalg.norm(upper - lower) > 0.1
    change(folder / "sentence_bert_config.json", do_lower_case=True)
    (same,) = embedder(folder).vectors(["Refund"])
    assert np.array_equal(same, lower)


def test_a_changed_file_is_another_model(tmp_path: Path) -> None:
    folder = make_encoder(tmp_path / "encoder")
    pinned = digest_of(folder)
    (folder / "README.md").write_text("Not read, so not pinned.", encoding="utf-8")
    assert digest_of(folder) == pinned
    names = ("config.json", "tokenizer.json", "modules.json", "sentence_bert_config.json", "1_Pooling/config.json")
    for name in (*names, "model.safetensors"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[:-1] + b"\x01" if name.endswith(".safetensors") else content + b" ")
        assert pinned not in error_of(folder, pinned).problem
        (folder / name).write_bytes(content)


def only_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def two_poolings(folder: Path) -> None:
    change(folder / "1_Pooling/config.json", pooling_mode_max_tokens=True)


def a_dense_layer(folder: Path) -> None:
    modules = read_json(folder / "modules.json")
    write_json(
        folder / "modules.json", [*modules[:2], {"path": "2_Dense", "type": "sentence_transformers.models.Dense"}]
    )


def out_of_the_folder(folder: Path) -> None:
    modules = read_json(folder / "modules.json")
    write_json(folder / "modules.json", [modules[0] | {"path": "../other"}, *modules[1:]])


def a_tensor_less(folder: Path) -> None:
    from safetensors.numpy import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    del tensors["encoder.layer.1.output.dense.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (only_pickle, "pickle"),
        (two_poolings, "max_tokens and mean_tokens"),
        (a_dense_layer, "Dense"),
        (out_of_the_folder, "a folder below"),
        (a_tensor_less, "encoder.layer.1.output.dense.weight"),
    ],
)
def test_a_folder_that_cannot_be_computed_is_one_error(
    tmp_path: Path, damage: Callable[[Path], None], problem: str
) -> None:
    folder = make_encoder(tmp_path / "encoder")
    damage(folder)
    error = error_of(folder, None)
    if error.problem.startswith("not the model that classical.embeddings pins"):
        error = error_of(folder, error.problem.rsplit(" ", 1)[-1])
    assert problem in error.problem
    assert error.file is not None and Path(error.file).is_relative_to(folder)


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    """Labels that the ending of a word tells: the random encoder reads bytes, so it has a chance, and words have none."""
    monkeypatch.chdir(tmp_path)
    for path, part in ((TRAIN, by_endings(80)), (VALIDATION, by_endings(20, 500)), (HOLDOUT, by_endings(40, 700))):
        write_split(path, *part)
    make_encoder(tmp_path / "encoder")
    pinned = Embeddings(folder="encoder", digest=digest_of(Path("encoder")))
    found = params_of(tmp_path, "classification", {"enum": ["refund", "delivery"]}, None)
    settings = found.classical.model_copy(update={"chars": None, "min_records": 1, "embeddings": pinned})
    return found.model_copy(update={"classical": settings})


def test_it_is_one_more_candidate_and_can_be_the_bar(params: Params) -> None:
    classical.run(params)
    files = [Path("reports/eval/classical", name) for name in ("predictions.jsonl", "metrics.json")]
    first = [file.read_bytes() for file in files]
    found = read_json(files[1])
    words, embedded = found["candidates"]
    assert (words["name"], embedded["name"]) == ("words", "embeddings")
    assert words["validation"] < embedded["validation"]
    assert (found["chosen"], found["chosen_on"]) == ("embeddings", 20)
    rows = [json.loads(line) for line in files[0].read_text(encoding="utf-8").splitlines()]
    assert sum(row["exact_match"] for row in rows) / len(rows) == embedded["holdout"]
    classical.run(params)
    assert [file.read_bytes() for file in files] == first
