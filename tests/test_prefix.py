"""Tokens that all records of a batch start with, computed once: the same loss and gradients, or not shared at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hallmark.model.loading import load_base
from hallmark.model.prefix import as_row, can_share
from tests.families import FAMILIES, make_family
from tests.test_trainer import losses, other_families, tiny_model, trainer_of, write_family


def records(shared: int, *prompts_and_answers: tuple[int, int]) -> list[dict[str, Any]]:
    """Records that start with the same tokens, each with the rest of a prompt and an answer of its own."""
    rows = []
    for number, (prompt, answer) in enumerate(prompts_and_answers):
        ids = [*range(5, 5 + shared), *range(60 + 50 * number, 60 + 50 * number + prompt + answer)]
        rows.append({"input_ids": ids, "labels": [-100] * (shared + prompt) + ids[shared + prompt :]})
    return rows


BATCHES = {
    "most": (records(20, (6, 5), (1, 9), (9, 2)), 20),
    "none": (records(0, (6, 5), (1, 9), (9, 2)), 0),
    "the prompt": (records(12, (0, 5), (0, 3)), 11),  # a state of its own before the first label
    "one record": (records(0, (4, 3)), 3),
    "nothing but the answer differs": (
        [{"input_ids": [5, 6, 7, last], "labels": [-100, -100, 7, last]} for last in (8, 9)],
        1,
    ),
}


@pytest.mark.parametrize("batch", BATCHES)
def test_a_row_shares_what_comes_before_the_state_of_the_first_label(tmp_path: Path, batch: str) -> None:
    rows, due = BATCHES[batch]
    made = trainer_of("sft", tiny_model(tmp_path), tmp_path)
    padded = made.data_collator(rows)
    row = as_row(padded["input_ids"], padded["labels"], "eager")
    assert row.shared == due
    tokens = due + len(rows) * (padded["input_ids"].shape[1] - due)
    assert row.input_ids.shape == row.labels.shape == row.position_ids.shape == (1, tokens)
    labelled = padded["labels"][:, 1:] != -100
    assert row.labels[0, 1:][row.labels[0, 1:] != -100].tolist() == padded["labels"][:, 1:][labelled].tolist()


@pytest.mark.parametrize(
    ("family", "attention"), [*((family, "eager") for family in FAMILIES), ("phi-3.5-mini", "sdpa")]
)
def test_loss_and_gradients_are_those_of_records_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str, attention: str
) -> None:
    import torch

    from hallmark.model import trainer

    made = trainer_of(
        "sft", load_base(make_family(family, tmp_path), dtype="float32", attention=attention, device="cpu"), tmp_path
    )
    made.length_power = 0.5
    assert made.shares
    for rows, _ in BATCHES.values():
        batch = made.data_collator(rows)
        made.shares = False
        items = len(batch["labels"])
        loss, gradients = losses(made, batch, items)
        made.shares = True
        for chunked in (False, True):  # as on a CPU, and as on a GPU
            monkeypatch.setattr(trainer, "in_chunks", lambda base, chunked=chunked: chunked)
            found = losses(made, batch, items)
            torch.testing.assert_close(found[0], loss, rtol=1e-5, atol=0)
            for name, gradient in gradients.items():
                largest = float(gradient.abs().max())
                torch.testing.assert_close(found[1][name], gradient, rtol=1e-4, atol=1e-5 * largest + 1e-9)


def test_layers_that_are_computed_again_read_records_one_by_one(tmp_path: Path) -> None:
    import torch

    base = tiny_model(tmp_path)
    made = trainer_of("sft", base, tmp_path)
    batch = made.data_collator(BATCHES["most"][0])
    due = losses(made, batch, len(batch["labels"]))
    base.activation_checkpointing_enable({"use_reentrant": False})
    base.enable_input_require_grads()
    made.model.train()
    torch.testing.assert_close(losses(made, batch, len(batch["labels"])), due, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("family", "attention"), [*((family, "eager") for family in (*FAMILIES, "opt")), ("phi-3.5-mini", "sdpa")]
)
def test_these_models_can_share_in_bf16(tmp_path: Path, family: str, attention: str) -> None:
    write_family(family, tmp_path)
    assert can_share(load_base(tmp_path, dtype="bfloat16", attention=attention, device="cpu"), 48)


def test_a_window_is_shared_only_by_records_that_fit_into_it() -> None:
    from transformers import AutoModelForCausalLM

    config = other_families()["mistral"]
    base = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    assert can_share(base, config.sliding_window)
    assert not can_share(base, config.sliding_window + 1)


@pytest.mark.parametrize("family", ["falcon", "mamba", "gemma2", "gpt_oss"])
def test_a_model_that_would_read_the_row_otherwise_does_not_share(family: str) -> None:
    from transformers import AutoModelForCausalLM, Gemma2Config, GptOssConfig

    from tests.families import SIZES

    experts = {"num_local_experts": 2, "num_experts_per_tok": 1, "head_dim": 32, "num_key_value_heads": 1}
    configs = other_families() | {
        "gemma2": Gemma2Config(**SIZES, num_key_value_heads=1, head_dim=32),  # caps the scores of its attention
        "gpt_oss": GptOssConfig(**SIZES | experts),  # a score that no token has
    }
    base = AutoModelForCausalLM.from_config(configs[family], attn_implementation="eager")
    assert not can_share(base, 16)
    assert base.config._attn_implementation == "eager"
