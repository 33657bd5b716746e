"""Every base x machine that a repo can be stamped for, up to the trainer: no preset fails where it is put together.

The bases are tiny models of their families (`tests/families.py`), and the GPUs are made up: torch says that they are there,
and nothing is moved to them. What only a GPU can show is in `tests/gpu`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from hallmark.base.compute import VISIBLE
from hallmark.base.files import BASE
from hallmark.model.loading import load_tokenizer
from hallmark.params.loader import Params
from hallmark.params.presets import machines
from tests.families import FAMILIES, make_family
from tests.tiny import quantize

ROWS = [{"input_ids": [5, 6, 7, 8], "labels": [-100, -100, 7, 8]}] * 8
PAIRS = [{"prompt_ids": [5, 6], "chosen_ids": [7, 2], "rejected_ids": [8, 2]}] * 8
LAYERS = 2  # of a tiny model
OWN = "gemma-3-270m"  # the family that stands in for a base of one's own


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder for each base, with a tiny model of its family where a repo has its base."""
    folder = tmp_path_factory.mktemp("families")
    for name in FAMILIES:
        make_family(name, folder / name / BASE)
        quantize(folder / name / BASE)
    return {name: folder / name for name in FAMILIES} | {"own": folder / OWN}


@contextmanager
def gpus(count: int) -> Iterator[None]:
    """Let torch, transformers and accelerate believe that there are this many GPUs, as the environment shows; 0: a CPU."""
    from accelerate.state import AcceleratorState, GradientState

    import hallmark.model.pairs  # noqa: F401  # loads TRL, which looks at the machine before that is made up

    made_up = {
        "torch.cuda.is_available": lambda: True,
        "torch.cuda.device_count": lambda: len(os.environ[VISIBLE].split(",")) if VISIBLE in os.environ else count,
        "torch.cuda.set_device": lambda *_: None,
        "torch.cuda.current_device": lambda: 0,
        "torch.cuda.manual_seed_all": lambda *_: None,
        "torch.cuda.get_device_name": lambda *_: "a GPU",
        "torch.cuda.is_bf16_supported": lambda *_, **__: True,
        "transformers.trainer.Trainer._move_model_to_device": lambda *_: None,
    }
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    try:
        with mock.patch.dict(os.environ):
            patches = [mock.patch(name, value) for name, value in made_up.items()] if count else []
            for patch in patches:
                patch.start()
            try:
                yield
            finally:
                for patch in patches:
                    patch.stop()
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()


def params_of(base: str, machine: str, folder: Path) -> Params:
    """The params of a repo stamped for that base and machine, with adapters on the layers that a tiny model has."""
    from tests.test_presets import finished, loaded

    params = loaded(finished("text", base, machine), folder)
    few = params.sft.lora.model_copy(update={"layers": params.sft.lora.layers and LAYERS})
    return params.model_copy(update={"sft": params.sft.model_copy(update={"lora": few})})


@pytest.mark.parametrize(
    ("base", "machine"),
    [*((base, "gpu-24gb") for base in FAMILIES if base != OWN), *(("own", machine) for machine in machines())],
)
def test_both_trainers_are_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, families: dict[str, Path], base: str, machine: str
) -> None:
    params = params_of(base, machine, tmp_path)
    monkeypatch.chdir(families[base])
    sft, dpo = params.sft, params.dpo
    with gpus(0 if machine == "cpu" else 1):  # one for each process
        tuned = sft_trainer(params, tmp_path)
        assert (tuned.args.device.type, tuned.args.n_gpu) == (params.compute.device, int(machine != "cpu"))
        assert tuned.model.get_base_model().config._attn_implementation == sft.attention
        frozen = {type(weight).__name__ for weight in tuned.model.get_base_model().parameters()}
        assert ("Params4bit" in frozen) == (sft.method == "qlora" and not sft.dequantize_once)
        assert tuned.args.activation_checkpointing == sft.gradient_checkpointing
        batch = next(iter(tuned.get_train_dataloader().batch_sampler))
        assert len(batch) == min(sft.batch_size, len(ROWS))
        pairs = dpo_trainer(params, tmp_path)
        assert pairs.args.per_device_train_batch_size == dpo.batch_size
        assert pairs.args.device.type == params.compute.device


def sft_trainer(params: Params, folder: Path) -> Any:
    """What `sft` trains with, its base on the CPU."""
    import datasets

    from hallmark.model.lora import lora_config
    from hallmark.model.trainer import CompletionTrainer
    from hallmark.model.tuning import load_frozen, sft_arguments

    model = load_frozen(params.sft, "cpu")
    rows = datasets.Dataset.from_list(ROWS)
    return CompletionTrainer(
        model=model,
        args=sft_arguments(params, str(folder)),
        train_dataset=rows,
        eval_dataset=rows,
        processing_class=load_tokenizer(BASE),
        peft_config=lora_config(model, params.sft.lora),
        length_power=params.sft.length_power,
    )


def dpo_trainer(params: Params, folder: Path) -> Any:
    """What `dpo` trains with, over the base with a new adapter."""
    import datasets
    from peft import get_peft_model
    from trl import DPOConfig

    from hallmark.model.lora import lora_config
    from hallmark.model.pairs import PairTrainer
    from hallmark.model.tuning import load_frozen, training_options

    model = load_frozen(params.sft, "cpu")
    options = training_options(
        params.sft, params.dpo, str(folder), device=params.compute.device, seed=params.seed, validate=True
    )
    pairs = datasets.Dataset.from_list(PAIRS)
    return PairTrainer(
        model=get_peft_model(model, lora_config(model, params.sft.lora)),
        args=DPOConfig(**options, loss_type=[params.dpo.loss], beta=params.dpo.beta),
        train_dataset=pairs,
        eval_dataset=pairs,
        processing_class=load_tokenizer(BASE),
    )
