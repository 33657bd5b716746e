"""Batches by tokens: every record once, within the budget, with the loss that the records have one by one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.model.batches import check_apart, packed_batches, padded_batches
from hallmark.model.loading import load_base
from tests.families import FAMILIES
from tests.rows import refused
from tests.test_sft import trainable
from tests.test_trainer import ROWS, losses, other_families, tiny_model, trainer_of, write_family
from tests.workspace import ROOT, report, stage

LENGTHS = st.lists(st.integers(1, 100), min_size=1, max_size=200)


@given(LENGTHS, st.integers(100, 400), st.integers(0, 3))
def test_padded_batches_hold_every_record_once_within_the_budget(lengths: list[int], budget: int, seed: int) -> None:
    batches = padded_batches(lengths, budget, seed)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(len(batch) * max(lengths[index] for index in batch) <= budget for batch in batches)
    assert batches == padded_batches(lengths, budget, seed)


def test_packed_batches_hold_every_record_once_and_are_nearly_full() -> None:
    lengths = [1 + number * number % 97 for number in range(300)]
    batches = packed_batches(lengths, 200, seed=3)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    tokens = [sum(lengths[index] for index in batch) for batch in batches]
    assert max(tokens) <= 200
    assert sum(tokens) > 0.98 * 200 * (len(batches) - 1)
    assert batches == packed_batches(lengths, 200, seed=3)
    assert packed_batches([7], 7, seed=3) == [[0]]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_packed_records_have_the_loss_and_gradients_of_padded_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, power: float, chunked: bool
) -> None:
    import torch

    from hallmark.model import trainer

    monkeypatch.setattr(trainer, "in_chunks", lambda base: chunked)
    base = tiny_model(tmp_path, attention="sdpa")
    made = trainer_of("sft", base, tmp_path)
    made.length_power, made.mean_weight = power, 2.0
    padded = made.data_collator(ROWS)
    packed = replace(made.data_collator, padding_free=True)(ROWS)
    assert packed["input_ids"].shape == (1, sum(len(row["input_ids"]) for row in ROWS))
    for whole in (False, True):  # the loss of a batch alone, and its share of a step with as much again
        found = []
        for batch in (padded, packed):
            items = 2 * made._get_num_items_in_batch([batch], made.args.device) if whole else None
            found.append(losses(made, batch, items))
        (due, expected), (loss, gradients) = found
        torch.testing.assert_close(loss, due, rtol=1e-5, atol=0)
        torch.testing.assert_close(gradients, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("packing", [True, pytest.param(False, marks=pytest.mark.full)])
def test_the_stage_trains_on_batches_by_tokens(tmp_path: Path, packing: bool) -> None:
    changes = {"sft.batch_tokens": 256, "sft.packing": packing, "sft.attention": "sdpa", "sft.max_length": 256}
    changes |= {"sft.max_steps": None, "sft.epochs": 1.5, "sft.gradient_accumulation_steps": 2}
    folder = trainable(tmp_path, changes)
    said = stage(folder, "sft").stderr
    found = report(folder, "sft")
    assert found["batches"] > 4
    assert found["steps"] == -(-3 * -(-found["batches"] // 2) // 2)
    assert f"{found['steps']} of {found['steps']} steps in" in said
    assert found["tokens"]["train"] < found["batches"] * 256


@pytest.mark.parametrize("family", [*FAMILIES, "mistral", "falcon"])
def test_these_models_keep_packed_records_apart(tmp_path: Path, family: str) -> None:
    write_family(family, tmp_path)
    check_apart(load_base(tmp_path, dtype="bfloat16", attention="sdpa", device="cpu"))


@pytest.mark.parametrize("family", ["opt", "bloom", "mamba"])
def test_a_model_that_would_mix_packed_records_is_refused(family: str) -> None:
    from transformers import AutoModelForCausalLM

    config = other_families()[family]
    config.initializer_range = 0.1  # with smaller random weights, attention changes next to nothing
    with refused(field="sft.packing"):
        check_apart(AutoModelForCausalLM.from_config(config, attn_implementation="eager"))


@pytest.mark.parametrize("packing", [False, True])
def test_the_plan_counts_the_batches_that_the_trainer_makes(packing: bool) -> None:
    from hallmark.params.loader import load_params
    from hallmark.plan.advice import candidates
    from hallmark.plan.batches import in_batches, largest, step_count

    changes = {"batch_tokens": 512, "max_length": 128, "packing": packing, "attention": "sdpa", "epochs": 2.0}
    changes |= {"gradient_accumulation_steps": 2}
    sft = load_params(ROOT / "params.yaml").sft.model_copy(update=changes)
    pairs = [(20 + number * number % 100, 1 + number % 9) for number in range(150)]
    lengths = [whole for whole, _ in pairs]
    made = (packed_batches if packing else padded_batches)(lengths, 512, 7)
    planned = in_batches(pairs, sft, 4, 7)
    assert len(planned) == len(made)
    assert step_count(len(pairs), len(planned), sft) == 2 * -(-len(made) // 2)
    biggest = largest(pairs, sft, 150, 7)
    assert 450 < biggest.records * biggest.tokens <= 512
    assert (biggest.records == 1) == packing
    smaller = [values for values in candidates(sft, "cuda") if "batch_tokens" in values]
    first = [(values["batch_tokens"], values["gradient_accumulation_steps"]) for values in smaller[:2]]
    assert first == [(256, 4), (128, 8)]
    assert min(values["batch_tokens"] for values in smaller) == 128
