"""What a training step computes: no attention mask, TRL's chunked head off a CPU, dtypes that outlast a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hallmark.model.loading import load_base, load_tokenizer
from tests.families import FAMILIES, SIZES, make_family
from tests.tiny import make_tiny_base

ROWS = [
    {"input_ids": list(range(5, 5 + length)), "labels": [-100] * start + list(range(5 + start, 5 + length))}
    for length, start in ((30, 21), (12, 9), (25, 4), (7, 6))
]
PAIRS = [
    {"prompt_ids": [1, *range(5, 9 + number)], "chosen_ids": [20 + number, 2], "rejected_ids": [30, 31 + number, 2]}
    for number in range(4)
]


def tiny_model(folder: Path, dtype: str = "float32", attention: str = "eager", nf4: bool = False) -> Any:
    """The tiny model on a CPU, made in the folder."""
    return load_base(make_tiny_base(folder), dtype=dtype, attention=attention, device="cpu", nf4=nf4)


def trainer_of(
    kind: str,
    base: Any,
    folder: Path,
    trainer: dict[str, Any] | None = None,
    rows: list[dict[str, Any]] | None = None,
    **options: Any,
) -> Any:
    """The trainer of `sft` or `dpo` over a base, whose adapters have random weights; `options` are TRL's arguments."""
    import datasets
    import torch
    from peft import LoraConfig, get_peft_model
    from trl import DPOConfig, SFTConfig

    from hallmark.model.pairs import PairTrainer
    from hallmark.model.trainer import CompletionTrainer

    dropout = options.pop("dropout", 0.0)
    shared = {"use_cpu": True, "bf16": base.dtype == torch.bfloat16, "report_to": "none", "max_length": None}
    shared |= {"output_dir": str(folder), "save_strategy": "no", "disable_tqdm": True, "max_steps": 2} | options
    torch.manual_seed(0)
    lora = LoraConfig(
        r=4, target_modules="all-linear", lora_dropout=dropout, init_lora_weights=False, task_type="CAUSAL_LM"
    )
    kinds = {"sft": (CompletionTrainer, SFTConfig, ROWS), "dpo": (PairTrainer, DPOConfig, PAIRS)}
    trainer_class, config, usual = kinds[kind]
    return trainer_class(
        model=get_peft_model(base, lora),
        args=config(**shared),
        train_dataset=datasets.Dataset.from_list(rows or usual),
        processing_class=load_tokenizer(folder),
        **(trainer or {}),
    )


def losses(made: Any, batch: dict[str, Any], items: int | None) -> tuple[Any, dict[str, Any]]:
    """The loss of a batch as a share of a step of that many items, and its gradients by the name of the adapter's matrix."""
    made.model.zero_grad()
    loss = made.compute_loss(made.model, batch, num_items_in_batch=items)
    loss.backward()
    return loss.detach(), {name: one.grad.clone() for name, one in made.model.named_parameters() if one.requires_grad}


def a_batch(trainer: Any) -> dict[str, Any]:
    batch = trainer.data_collator(list(trainer.train_dataset))
    assert not batch["attention_mask"].all(), "some records are padded"
    return batch


def other_families() -> dict[str, Any]:
    """Configs of models that do more with a mask: sliding windows, positions and ALiBi biases counted from it."""
    from transformers import BloomConfig, FalconConfig, MambaConfig, MistralConfig, OPTConfig

    own_names = {"vocab_size": 320, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    return {
        "mistral": MistralConfig(**SIZES, num_key_value_heads=1, sliding_window=16),
        "opt": OPTConfig(**own_names, ffn_dim=128, word_embed_proj_dim=64, max_position_embeddings=128),
        "falcon": FalconConfig(**own_names, alibi=True),
        "bloom": BloomConfig(**own_names),
        "mamba": MambaConfig(vocab_size=320, hidden_size=64, num_hidden_layers=2),
    }


def write_family(family: str, folder: Path) -> None:
    """A tiny model of one of our families, or of the others."""
    from transformers import AutoModelForCausalLM

    if family in FAMILIES:
        make_family(family, folder)
    else:
        AutoModelForCausalLM.from_config(other_families()[family]).save_pretrained(folder)


@pytest.mark.parametrize("family", [*FAMILIES, "mistral", "opt", "falcon", "bloom"])
def test_padding_on_the_right_changes_no_byte_without_a_mask(tmp_path: Path, family: str) -> None:
    import torch

    tokens = torch.randint(8, 300, (3, 60), generator=torch.Generator().manual_seed(0))
    mask = torch.arange(60) < torch.tensor([[60], [41], [17]])
    tokens[~mask] = 0
    write_family(family, tmp_path)
    for dtype in ("float32", "bfloat16"):
        for attention in ("eager", "sdpa")[: 1 if family == "bloom" else 2]:
            model: Any = load_base(tmp_path, dtype=dtype, attention=attention, device="cpu")
            with torch.no_grad():
                masked, free = model(input_ids=tokens, attention_mask=mask).logits, model(input_ids=tokens).logits
            assert torch.equal(masked[mask], free[mask]), (dtype, attention)
            assert masked[mask].isfinite().all()


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_the_chunked_head_gives_the_same_loss_and_gradients(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, power: float
) -> None:
    """It is the head of a GPU, in tiles of 100 words of the vocabulary and 8 tokens, both of which end in a part."""
    import torch
    from trl.kernels import chunked_logprob
    from trl.trainer import utils

    from hallmark.model import trainer

    monkeypatch.setattr(utils, "_CHUNKED_LOGPROB_CHUNK_SIZE", 100)
    monkeypatch.setattr(chunked_logprob, "TOKEN_CHUNK_SIZE", 8)
    made = trainer_of("sft", tiny_model(tmp_path), tmp_path)
    made.length_power, made.mean_weight = power, 2.0
    found = []
    for chunked in (False, True):
        monkeypatch.setattr(trainer, "in_chunks", lambda base, chunked=chunked: chunked)
        found.append(losses(made, a_batch(made), 9))
    (ours, expected), (theirs, gradients) = found
    torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=0)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-5, atol=1e-5 * float(expected[name].abs().max()))
    assert max(gradient.abs().max() for gradient in gradients.values()) > 1e-3


def gradients_of_a_pass(trainer: Any, halves: int = 1) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """For each step of a pass: the gradients that it takes, and those of the same records given in one batch.

    `halves`: of how many texts a record is; a batch has the first of all its records, then the second of all.
    """
    import torch
    from transformers import TrainerCallback

    batches: list[Any] = []
    found: list[tuple[dict[str, Any], dict[str, Any]]] = []
    read = trainer.get_batch_samples

    def get_batch_samples(*arguments: Any) -> Any:
        batches[:], items = read(*arguments)
        return batches, items

    def in_one() -> dict[str, Any]:
        width = max(batch["input_ids"].shape[1] for batch in batches)
        return {
            name: torch.cat([
                torch.nn.functional.pad(
                    batch[name].chunk(halves)[half], (0, width - batch[name].shape[1]), value=-100 * (name == "labels")
                )
                for half in range(halves) for batch in batches
            ])
            for name in batches[0]
        }  # fmt: skip

    class Compare(TrainerCallback):
        def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
            taken = {name: one.grad.clone() for name, one in trainer.model.named_parameters() if one.requires_grad}
            found.append((taken, losses(trainer, in_one(), None)[1]))

    trainer.get_batch_samples = get_batch_samples
    trainer.add_callback(Compare())
    trainer.train()
    return found


ONE_PASS = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 3, "num_train_epochs": 1}
ONE_PASS |= {"max_steps": -1, "learning_rate": 0.0, "max_grad_norm": 0.0}


@pytest.mark.parametrize("records", [13, 15])
@pytest.mark.parametrize(
    ("kind", "options"), [*(("sft", {"length_power": power}) for power in (0, 0.5, 1)), ("dpo", {})]
)
@pytest.mark.full
def test_every_step_is_the_mean_over_its_records(
    tmp_path: Path, kind: str, options: dict[str, Any], records: int
) -> None:
    """7 batches of 2 records are steps of 3, 3 and 1, and the last has one record; 8 are steps of 3, 3 and 2."""
    import torch

    answers = [list(range(60, 61 + number * number % 11)) for number in range(records)]
    rows = [
        {"input_ids": [1, 5, 6, *answer], "labels": [-100] * 3 + answer}
        if kind == "sft"
        else {"prompt_ids": [1, *range(5, 7 + number)], "chosen_ids": answer, "rejected_ids": [30, 31 + number, 2]}
        for number, answer in enumerate(answers)
    ]
    base = tiny_model(tmp_path)
    steps = gradients_of_a_pass(trainer_of(kind, base, tmp_path, options, rows, **ONE_PASS), 1 + (kind == "dpo"))
    assert len(steps) == 3
    for taken, due in steps:
        torch.testing.assert_close(taken, due, rtol=1e-4, atol=1e-6)
        assert max(gradient.abs().max() for gradient in due.values()) > 1e-3
