"""The stage `quantize`: the same weights as rounding while loading gives, in a folder that everything else accepts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hallmark.base.files import sha256_folder
from hallmark.base.model_folder import check_fit
from hallmark.model.adapter import TRAINING, check_trained_over, weights_in
from hallmark.model.loading import load_base, load_tokenizer, load_tuned
from hallmark.model.quantized import pin_rounding, write_quantized
from tests.families import FAMILIES, make_family
from tests.rows import refused
from tests.tiny import make_tiny_base, quantize
from tests.workspace import change_params, make_tiny_workspace, report, stage

PLAIN = {"attention": "eager", "device": "cpu"}


def same_tensors(folder: Path, model: object) -> None:
    """The folder's tensors are those of the model, bit for bit."""
    import torch

    written = load_base(folder, dtype=str(model.dtype).removeprefix("torch."), **PLAIN).state_dict()  # type: ignore[attr-defined]
    held = model.state_dict()  # type: ignore[attr-defined]
    assert written.keys() == held.keys()
    for name, tensor in held.items():
        assert written[name].dtype == tensor.dtype, name
        assert torch.equal(written[name].view(torch.uint8), tensor.view(torch.uint8)), name


@pytest.mark.parametrize(
    ("family", "dtype"), [*((family, "bfloat16") for family in FAMILIES), ("phi-3.5-mini", "float32")]
)
def test_its_tensors_are_those_of_a_base_rounded_while_it_is_loaded(tmp_path: Path, family: str, dtype: str) -> None:
    """Of every family: tied embeddings or not, biases, and matrices that hold several."""
    base = make_family(family, tmp_path / "base")
    folder = quantize(base, dtype=dtype)
    same_tensors(folder, load_base(base, dtype=dtype, nf4=True, **PLAIN).dequantize())  # type: ignore[operator]
    check_fit(folder)
    assert load_tokenizer(folder).get_vocab() == load_tokenizer(base).get_vocab()
    config, before = (json.loads((at / "config.json").read_text(encoding="utf-8")) for at in (folder, base))
    assert config == before | {"dtype": dtype}
    weights = {"model.safetensors", "config.json"}
    assert {name: at for name, at in sha256_folder(folder).items() if name not in weights} == {
        name: at for name, at in sha256_folder(base).items() if name not in weights
    }


def test_without_rounding_it_is_the_base_byte_for_byte_or_in_another_type(tmp_path: Path) -> None:
    base = make_tiny_base(tmp_path / "base")
    assert sha256_folder(quantize(base, nf4=False)) == sha256_folder(base)
    other = tmp_path / "other"
    other.mkdir()
    assert write_quantized(base, other, nf4=False, dtype="float32") == 0
    same_tensors(other, load_base(base, dtype="float32", **PLAIN))


def test_threads_change_nothing(tmp_path: Path) -> None:
    """The mean of a large matrix is otherwise split among them."""
    import torch

    base, found, before = make_tiny_base(tmp_path / "base"), [], torch.get_num_threads()
    for threads in (1, 3):
        torch.set_num_threads(threads)
        try:
            folder = tmp_path / str(threads)
            folder.mkdir()
            write_quantized(base, folder, nf4=True, dtype="bfloat16")
            assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(before)
        found.append(sha256_folder(folder))
    assert found[0] == found[1]
    environment: dict[str, str] = {}
    pin_rounding(environment)
    assert set(environment) <= {"ATEN_CPU_CAPABILITY"}


def test_the_stage_reports_its_files_and_follows_the_method(tmp_path: Path) -> None:
    folder = make_tiny_workspace(tmp_path)
    stage(folder, "base")
    said = stage(folder, "quantize")
    found = report(folder, "quantize")
    assert found["files"] == sha256_folder(folder / "models/quantized")
    assert found["method"] == "qlora" and 0 < found["rounded_parameters"] < report(folder, "base")["parameters"]
    assert (said.stdout, said.stderr.count("\n")) == ("", 1)
    change_params(folder, {"sft.method": "lora"})
    stage(folder, "quantize")
    assert sha256_folder(folder / "models/quantized") == sha256_folder(folder / "models/base")
    assert report(folder, "quantize")["rounded_parameters"] == 0


def test_an_adapter_is_loaded_over_its_own_weights_only(tmp_path: Path) -> None:
    base = make_tiny_base(tmp_path / "base")
    weights, adapter = quantize(base), tmp_path / "adapter"
    adapter.mkdir()
    record = {"base_precision": "nf4", "weights": weights_in(weights)}
    (adapter / TRAINING).write_text(json.dumps(record), encoding="utf-8")
    check_trained_over(adapter, weights)
    with refused(field="weights"):
        load_tuned(base, adapter, dtype="bfloat16", merge=True, **PLAIN)
    for odd in (7, [], {}, {"model.safetensors": None}):
        (adapter / TRAINING).write_text(json.dumps(record | {"weights": odd}), encoding="utf-8")
        with refused(field="weights"):
            check_trained_over(adapter, weights)
    (adapter / TRAINING).write_text('{"base_precision": "nf4"}', encoding="utf-8")
    check_trained_over(adapter, base)  # older ones don't say
