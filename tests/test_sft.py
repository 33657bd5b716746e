"""The training stage on the tiny model: the right loss and gradients, the same bytes twice, nothing cut silently."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.base.files import TRAIN, VALIDATION
from hallmark.base.records import schema, write_records
from hallmark.commands.tune import LOSS
from tests.rows import refused
from tests.test_trainer import tiny_model, trainer_of
from tests.workspace import change_params, make_tiny_workspace, report, stage

USER = {"role": "user", "content": "2024-03-05 my kettle is broken, I want 49.90 back"}
ANSWER = {"role": "assistant", "content": '{"intent":"refund","amount":49.9}'}


def some_records(count: int, repeat: int = 1) -> pl.DataFrame:
    rows = [
        {
            "id": f"T-{number}",
            "group": f"C-{number % 5}",
            "prompt": [{"role": "user", "content": f"{number} {USER['content']} " * repeat}],
            "completion": [ANSWER],
        }
        for number in range(count)
    ]
    return pl.DataFrame(rows, schema=schema())


@cache
def quantized(overrides: str) -> Path:
    """A workspace in which `base` and `quantize` ran with these params, made once in this process: not to be changed."""
    folder = make_tiny_workspace(Path(tempfile.mkdtemp()) / "repo", json.loads(overrides))
    atexit.register(shutil.rmtree, folder.parent, ignore_errors=True)
    stage(folder, "base")
    stage(folder, "quantize")
    return folder


def trainable(folder: Path, overrides: dict[str, Any] | None = None) -> Path:
    """A workspace where `sft` is the next stage to run."""
    changes = overrides or {}
    read_before = {key: changes[key] for key in changes if key[:4] != "sft." or key in ("sft.method", "sft.dtype")}
    shutil.copytree(quantized(json.dumps(read_before, sort_keys=True)), folder, dirs_exist_ok=True)
    change_params(folder, changes)
    write_records(folder / TRAIN, some_records(24))
    write_records(folder / VALIDATION, some_records(6))
    return folder


@pytest.mark.full
def test_weights_dequantized_once_give_the_same_adapter_up_to_rounding(tmp_path: Path) -> None:
    """Dense weights have a kernel of their own; in float32 what it rounds otherwise is far below any difference of weights."""
    import torch
    from safetensors.torch import load_file

    folder = trainable(tmp_path, {"sft.dequantize_once": True, "sft.dtype": "float32", "sft.keep": "last"})
    adapters = []
    for once in (True, False):
        change_params(folder, {"sft.dequantize_once": once})
        stage(folder, "sft")
        adapters.append(load_file(folder / "models/sft/adapter_model.safetensors"))
    torch.testing.assert_close(*adapters, rtol=1e-4, atol=1e-6)


def test_training_changes_the_adapter_and_lowers_the_loss(tmp_path: Path) -> None:
    folder = trainable(tmp_path, {"sft.max_steps": 12, "sft.eval_steps": 4, "sft.learning_rate": 0.01})
    said = stage(folder, "sft").stderr
    assert said.count("sft: 12 of 12 steps in ") == 1
    curve = pl.read_csv(folder / "reports/sft_curve.csv").filter(pl.col("split") == "validation").sort("step")
    assert curve["step"].to_list() == [0, 4, 8, 12]
    followed = [float(loss) for loss in LOSS.findall(said)]
    assert followed == curve["loss"].to_list()[1:], "tune follows it by its log"
    assert curve["loss"][-1] < 0.8 * curve["loss"][0]
    assert report(folder, "sft")["validation_loss"] == curve["loss"][-1]


def test_a_record_too_long_is_named_never_cut(tmp_path: Path) -> None:
    folder = trainable(tmp_path, {"sft.max_length": 128})
    train = pl.concat([some_records(8), some_records(1, repeat=9).with_columns(id=pl.lit("T-long"))])
    write_records(folder / TRAIN, train)
    result = stage(folder, "sft", check=False)
    assert result.returncode == 1
    assert "record 'T-long'" in result.stderr and "run `dvc repro split`" in result.stderr
    assert not (folder / "models/sft").exists()


@given(st.lists(st.integers(1, 500), min_size=1, max_size=300), st.integers(1, 8))
def test_every_record_comes_once_per_epoch_in_a_batch_of_similar_lengths(lengths: list[int], batch_size: int) -> None:
    from hallmark.model.trainer import LengthSampler

    sampler = LengthSampler(lengths, batch_size, seed=3)
    first, second = list(sampler), list(sampler)
    assert sorted(first) == sorted(second) == list(range(len(lengths)))
    assert list(LengthSampler(lengths, batch_size, seed=3)) == first
    if len(lengths) > 200 and len(set(lengths)) > 100:
        assert first != second


@pytest.mark.parametrize("power", [0, 0.5])
def test_a_record_weighs_as_a_power_of_its_answer_s_length(tmp_path: Path, power: float) -> None:
    from hallmark.model.loading import IGNORED

    base = tiny_model(tmp_path)
    made = trainer_of("sft", base, tmp_path, trainer={"length_power": power})
    rows = list(made.train_dataset)
    weights = [sum(label != IGNORED for label in row["labels"]) ** power for row in rows]
    assert made.mean_weight == pytest.approx(sum(weights) / len(rows))

    def loss(rows: list[Any], **options: Any) -> float:
        return float(made.compute_loss(made.model, made.data_collator(rows), **options).detach())

    made.length_power = 1  # all tokens of a record weigh the same: its mean
    means = [loss([row]) for row in rows]
    made.length_power = power
    due = sum(weight * mean for weight, mean in zip(weights, means, strict=True)) / sum(weights)
    assert loss(rows) == pytest.approx(due, rel=1e-5)
    assert loss(rows, num_items_in_batch=2 * len(rows)) == pytest.approx(due / 2, rel=1e-5)


def test_gradients_after_a_validation_are_those_before_it(tmp_path: Path) -> None:
    """bitsandbytes repacks 4-bit weights in eval mode on some CPUs, for a kernel without a backward pass."""
    import torch
    from peft import LoraConfig, get_peft_model

    base = tiny_model(tmp_path / "tiny", dtype="bfloat16", nf4=True)
    torch.manual_seed(0)
    model = get_peft_model(base, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))
    tokens = torch.arange(3, 35).reshape(2, 16)

    def gradients() -> list[torch.Tensor]:
        model.train()
        model.zero_grad()
        model(input_ids=tokens, labels=tokens).loss.backward()
        return [parameter.grad.clone() for parameter in model.parameters() if parameter.requires_grad]

    before = gradients()
    model.eval()
    with torch.no_grad():
        model(input_ids=tokens)
    after = gradients()
    assert any(gradient.abs().sum() > 0 for gradient in before)
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))


def test_a_run_that_diverges_is_an_error_and_replaces_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Params refuse such a rate; here it is put past them."""
    from hallmark.base.files import sha256_folder
    from hallmark.params.loader import load_params
    from stages.sft import run as run_sft

    folder = trainable(tmp_path, {"sft.method": "lora"})
    (folder / "models/sft").mkdir()
    (folder / "models/sft/training.json").write_text("an earlier one", encoding="utf-8")
    before = {name: sha256_folder(folder / name) for name in ("models", "reports")}
    monkeypatch.chdir(folder)
    params = load_params()
    bad = params.model_copy(update={"sft": params.sft.model_copy(update={"learning_rate": 1e38})})
    with refused(field="sft.learning_rate"):
        run_sft(bad)
    assert {name: sha256_folder(folder / name) for name in ("models", "reports")} == before


def test_an_adapter_that_is_no_number_is_never_written() -> None:
    import torch

    from hallmark.model.tuning import check_trained

    model = torch.nn.Linear(2, 2)
    check_trained(model, "dpo")
    with torch.no_grad():
        model.bias[0] = float("nan")
    with refused(field="dpo.learning_rate"):
        check_trained(model, "dpo")
    with refused(field="sft.learning_rate"):
        check_trained(torch.nn.Linear(2, 2), "sft", {"weight": torch.tensor([float("inf")])})


def test_target_modules_that_fit_nothing_are_an_error() -> None:
    from hallmark.model.lora import check_regex

    for modules in ("(", "evil"):
        with refused(field="sft.lora.target_modules"):
            check_regex(modules, ["model.layers.0.mlp.up_proj"])
    check_regex(r".*up_proj", ["model.layers.0.mlp.up_proj"])
