"""The preference stage on the tiny model: disabled, it is a plain copy; enabled, it starts from the adapter of `sft`."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from safetensors.numpy import load_file

from hallmark.base.files import ADAPTER, BASE, SFT_ADAPTER, TRAIN, VALIDATION, sha256_folder
from hallmark.base.records import schema, write_records
from hallmark.model.chat_template import end_of_turn
from hallmark.model.loading import load_tokenizer
from hallmark.model.lora import lora_config
from hallmark.model.tokenized import tokenized_pairs, tokenized_records
from hallmark.model.tuning import adapter_parameters, load_frozen, save_adapter
from hallmark.params.loader import load_params
from tests.rows import refused
from tests.test_sft import ANSWER, some_records
from tests.tiny import CHAT_TEMPLATE, make_tiny_base, quantize
from tests.workspace import ROOT, change_params, make_tiny_workspace, make_workspace, report, run, stage

WORSE = {"role": "assistant", "content": '{"intent":"other","amount":null}'}
ON = {
    "dpo.enabled": True,
    "dpo.max_steps": 8,
    "dpo.eval_steps": 4,
    "dpo.learning_rate": 0.01,
    "dpo.gradient_accumulation_steps": 1,
    "sft.lora.dropout": 0.1,
    "sft.dequantize_once": False,
}


def with_pairs(count: int, *worse: Any) -> pl.DataFrame:
    """Records whose rejected answers are the given messages, in turn."""
    rejected = [None if one is None else [one] for one in worse] * count
    return some_records(count).with_columns(rejected=pl.Series(rejected[:count], dtype=schema()["rejected"]))


def with_adapter(folder: Path, overrides: dict[str, Any]) -> Path:
    """A workspace where `dpo` is the next stage to run, with an adapter of random weights as `sft` would leave it."""
    import torch
    from peft import get_peft_model

    make_tiny_workspace(folder, overrides)
    make_tiny_base(folder / BASE)
    write_records(folder / TRAIN, with_pairs(24, WORSE, WORSE, None))
    write_records(folder / VALIDATION, with_pairs(6, WORSE, None))
    with pytest.MonkeyPatch.context() as monkeypatch, torch.random.fork_rng():
        monkeypatch.chdir(folder)
        params = load_params()
        quantize(BASE, nf4=params.sft.method == "qlora", dtype=params.sft.dtype)
        torch.manual_seed(0)
        frozen = load_frozen(params.sft, "cpu")
        model = get_peft_model(frozen, lora_config(frozen, params.sft.lora))
        for tensor in adapter_parameters(model).values():
            torch.nn.init.normal_(tensor, std=0.05)
        SFT_ADAPTER.mkdir()
        precision = "nf4" if params.sft.method == "qlora" else params.sft.dtype
        save_adapter(model, "./models/base", None, precision, SFT_ADAPTER)
    return folder


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_adapter(tmp_path_factory.mktemp("dpo") / "repo", ON)


def curve(folder: Path, split: str) -> pl.DataFrame:
    return pl.read_csv(folder / "reports/dpo_curve.csv").filter(pl.col("split") == split)


def test_switched_off_it_copies_the_adapter_and_loads_nothing(tmp_path: Path) -> None:
    folder = make_workspace(tmp_path / "repo")
    (folder / SFT_ADAPTER).mkdir(parents=True)
    for name, content in (("adapter_config.json", b"{}\n"), ("adapter_model.safetensors", bytes(range(256)))):
        (folder / SFT_ADAPTER / name).write_bytes(content)
    code = (
        "import sys\nfrom stages import dpo\nfrom hallmark.params.loader import load_params\ndpo.run(load_params())\n"
        "print([name for name in ('torch', 'numpy', 'transformers', 'datasets', 'polars') if name in sys.modules])"
    )
    assert run(folder, "python", "-c", code).stdout.strip() == "[]"
    assert sha256_folder(folder / ADAPTER) == sha256_folder(folder / SFT_ADAPTER)
    assert report(folder, "dpo") == {"enabled": False}
    assert len(curve(folder, "train")) == 0
    shutil.rmtree(folder / SFT_ADAPTER)
    assert "run `dvc repro sft`" in stage(folder, "dpo", check=False).stderr


def weights_hash(file: Path) -> str:
    """The hash of a weights file, computed like `initial_adapter_sha256`."""
    weights = {name.replace(".weight", ".default.weight"): tensor for name, tensor in load_file(file).items()}
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].tobytes())
    return digest.hexdigest()


def check_run(tuned: Path, tmp_path: Path) -> Path:
    """Run the stage in this process and in a new one that differs in everything that must not matter; returns one folder."""
    results = []
    for name, environment in (("a", {}), ("b", {"PYTHONHASHSEED": "2", "TZ": "Asia/Tokyo", "LC_ALL": "C"})):
        folder = Path(shutil.copytree(tuned, tmp_path / name))
        stage(folder, "dpo", **environment)
        files = {file.name: file.read_bytes() for file in sorted((folder / ADAPTER).iterdir())}
        results.append((files, report(folder, "dpo"), (folder / "reports/dpo_curve.csv").read_bytes()))
    assert results[0] == results[1]
    files = results[0][0]
    before = {file.name: file.read_bytes() for file in sorted((folder / SFT_ADAPTER).iterdir())}
    assert {name for name in before if files.get(name) != before[name]} == {"adapter_model.safetensors"}
    assert files.keys() == before.keys()
    assert str(tmp_path).encode() not in b"".join(files.values())
    return folder


@pytest.mark.full
def test_two_processes_give_the_same_bytes_and_learn_the_pairs(tuned: Path, tmp_path: Path) -> None:
    folder = check_run(tuned, tmp_path)
    found = report(folder, "dpo")
    assert found["pairs"] == {"train": 16, "validation": 3, "same_left_out": 0, "too_long_dropped": 0}
    assert found["steps"] == 8
    # Of a 4-bit base too, it starts from the very weights of `sft`, not from their rounding to bf16.
    assert found["initial_adapter_sha256"] == weights_hash(folder / SFT_ADAPTER / "adapter_model.safetensors")
    for split in ("train", "validation"):
        rows = curve(folder, split).sort("step")
        assert rows["margins"][0] == 0, "it learns against what it starts from"
        assert rows["loss"][0] == pytest.approx(0.693147, abs=1e-6)
        assert rows["margins"][-1] > 0.5
        assert rows["accuracies"][-1] == 1
        assert rows["loss"][-1] < 0.5 * rows["loss"][0]
    assert curve(folder, "validation")["step"].to_list() == [0, 4, 8]
    assert found["validation"]["reward_accuracy"] == 1
    assert found["validation"]["reward_margin"] == pytest.approx(curve(folder, "validation")["margins"][-1], abs=0.02)


@pytest.mark.full
@pytest.mark.parametrize("changes", [{"dpo.loss": "ipo"}, {"dpo.loss": "robust", "dpo.label_smoothing": 0.1}])
def test_other_losses_without_a_validation_over_a_base_in_its_own_type(tmp_path: Path, changes: dict[str, Any]) -> None:
    tuned = with_adapter(tmp_path / "tuned", ON | {"sft.method": "lora", "sft.gradient_checkpointing": True} | changes)
    write_records(tuned / VALIDATION, with_pairs(6, None))
    folder = check_run(tuned, tmp_path)
    rows = curve(folder, "train").sort("step")
    assert (rows["margins"][0], rows["accuracies"][-1]) == (0, 1)
    assert rows["margins"][-1] > 0.1
    assert len(curve(folder, "validation")) == 0
    assert report(folder, "dpo")["validation"] is None


def test_what_is_read_off_a_pair_is_what_trls_own_head_reads_off(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM
    from trl.trainer.utils import add_fused_lm_head

    from hallmark.model.pairs import completion_log_probs

    make_tiny_base(tmp_path / "tiny")
    model: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "tiny", local_files_only=True)
    draw = torch.Generator().manual_seed(1)
    tokens = torch.randint(5, 90, (4, 20), generator=draw)
    labels = tokens.masked_fill(torch.arange(20) < torch.tensor([[3], [9], [15], [20]]), -100)  # the last has none
    batch = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens), "labels": labels, "use_cache": False}
    ours, gradients = completion_log_probs(model, **batch, fused_lm_head=True), []
    add_fused_lm_head(model, outputs=("log_probs", "entropy", "mean_logits", "is_top1"))
    theirs = model(**batch, fused_lm_head=True)
    for name in ("log_probs", "entropy", "mean_logits", "is_top1"):
        torch.testing.assert_close(ours[name], theirs[name])
    for output in (ours, theirs):
        model.zero_grad()
        output.log_probs.sum().backward()
        gradients.append(model.get_decoder().layers[0].mlp.up_proj.weight.grad.clone())
    torch.testing.assert_close(*gradients)
    assert gradients[0].abs().sum() > 0


def test_what_the_pairs_say_is_counted_pair_by_pair() -> None:
    import torch

    from hallmark.model.pairs import measures

    before, after = torch.tensor([1.0, -2.0, -1.0, 3.0]), torch.tensor([2.0, 1.0, -3.0, 3.5])
    assert measures(before, after, beta=0.1) == {
        "likelier_before": 0.5,
        "likelier_after": 0.75,
        "reward_accuracy": 0.75,
        "reward_margin": pytest.approx(0.0625),
    }


def test_a_record_without_a_pair_and_one_too_long_are_counted(
    tuned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(tuned, tmp_path / "repo"))
    monkeypatch.chdir(folder)
    tokenizer = load_tokenizer(BASE)
    long = WORSE | {"content": "no " * 400}
    write_records(TRAIN, with_pairs(10, None, ANSWER, WORSE, WORSE, long))
    change_params(folder, {"dpo.max_length": 300})
    rows, left_out = tokenized_pairs(TRAIN, tokenizer, load_params())
    assert left_out == {"without": 2, "same": 2, "too_long": 2}
    end = tokenizer.decode([end_of_turn(tokenizer)])
    for answer, due in (("rejected", WORSE), ("chosen", ANSWER)):
        assert [tokenizer.decode(row[f"{answer}_ids"]).split(end)[0] for row in rows] == [due["content"]] * 4
    write_records(TRAIN, with_pairs(6, None, ANSWER))
    with refused("rejected answer in stages/records.py", file=TRAIN, field="rejected"):
        tokenized_pairs(TRAIN, tokenizer, load_params(), needed=True)


def test_each_record_keeps_its_own_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In `sft` too: as lists, Arrow gave each tool the arguments of all others, and none where the first record had none."""
    tools = [
        json.dumps([{"type": "function", "function": {"name": name, "parameters": {"properties": {name: {}}}}}])
        for name in ("weather", "calendar")
    ]
    monkeypatch.chdir(tmp_path)
    TRAIN.parent.mkdir(parents=True)
    write_records(TRAIN, with_pairs(3, WORSE).with_columns(tools=pl.Series([None, *tools])))
    tokenizer, params = load_tokenizer(make_tiny_base(tmp_path / "tiny")), load_params(ROOT / "params.yaml")
    tokenizer.chat_template = "{% for tool in tools or [] %}{{ tool.function | tojson }}{% endfor %}" + CHAT_TEMPLATE
    said = [tokenizer.decode(ids) for ids in tokenized_records(TRAIN, tokenizer, params)["input_ids"]]
    found = [[name in text for name in ("weather", "calendar")] for text in said]
    assert found == [[False, False], [True, False], [False, True]]
    assert all(text.count("properties") == (text is not said[0]) for text in said)
    pairs, _ = tokenized_pairs(TRAIN, tokenizer, params)
    assert all(text.startswith(tokenizer.decode(row["prompt_ids"])) for row, text in zip(pairs, said, strict=True))
