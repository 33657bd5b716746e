"""The memory that `plan` foresees, next to what a real training holds: `python -m tests.bench.memory` (after `dvc repro quantize`)."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import Any

from hallmark.base.files import BASE, QUANTIZED
from hallmark.model.loading import IGNORED
from hallmark.params.loader import Params, load_params
from hallmark.plan.estimate import configuration
from hallmark.plan.memory import STEPS, Storages, fake, planned, training_peak
from hallmark.plan.work import Batch
from tests.bench.page import show, table


@dataclass(frozen=True)
class Shape:
    """A training: its batch, and the params of `sft` that differ from the reference's."""

    name: str
    batch: Batch
    settings: dict[str, Any]


SHAPES = (
    Shape("as shipped", Batch(4, 256, 64), {}),
    Shape("checkpointed, sdpa", Batch(4, 512, 64), {"gradient_checkpointing": True, "attention": "sdpa"}),
    Shape("4 bits kept", Batch(8, 128, 32), {"dequantize_once": False}),
)


def changed(params: Params, shape: Shape) -> Params:
    """The params with the settings of a shape, for two steps."""
    size = {"batch_size": shape.batch.records, "accumulation": 1, "max_steps": STEPS}
    return params.model_copy(update={"sft": params.sft.model_copy(update=shape.settings | size)})


def foreseen(params: Params, batch: Batch) -> int:
    """The peak in bytes that `plan` foresees on a CPU."""
    with fake():
        return training_peak(planned(configuration(BASE), params.sft, "cpu"), params.sft, batch, "cpu")


def held(params: Params, batch: Batch) -> int:
    """The peak in bytes of the storages alive in two steps of the trainer of `sft`, with real weights."""
    import datasets

    from hallmark.model.lora import lora_config
    from hallmark.model.trainer import CompletionTrainer
    from hallmark.model.tuning import adapter_parameters, load_frozen, sft_arguments

    labels = [IGNORED] * (batch.tokens - batch.labelled) + [1] * batch.labelled
    ids = ([3 + number, *[1] * (batch.tokens - 1)] for number in range(batch.records * STEPS))  # which share no token
    rows = [{"input_ids": tokens, "labels": labels} for tokens in ids]
    model = load_frozen(params.sft, "cpu")
    with tempfile.TemporaryDirectory() as folder:
        arguments = sft_arguments(params, folder)
        arguments.eval_strategy, arguments.eval_on_start = "no", False
        trainer: Any = CompletionTrainer(
            model=model,
            args=arguments,
            train_dataset=datasets.Dataset.from_list(rows),
            processing_class=tokenizer_of_base(),
            peft_config=lora_config(model, params.sft.lora),
        )
        for tensor in adapter_parameters(trainer.model).values():
            tensor.data = tensor.data.float()
        with Storages() as storages:
            for tensor in (*trainer.model.parameters(), *trainer.model.buffers()):
                storages.add(tensor)
            trainer.train()
    return storages.peak


def tokenizer_of_base() -> Any:
    """The tokenizer in `models/base`."""
    from hallmark.model.loading import load_tokenizer

    return load_tokenizer(BASE)


def main() -> None:
    """Print the peaks: each shape in a process of its own, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "shape", nargs="?", choices=[shape.name for shape in SHAPES], help="run one and print its peaks"
    )
    arguments = parser.parse_args()
    if not BASE.exists() or not QUANTIZED.exists():
        raise SystemExit(f"{BASE} or {QUANTIZED} is not there: run `dvc repro quantize` first")
    if arguments.shape:
        shape = next(shape for shape in SHAPES if shape.name == arguments.shape)
        params = changed(load_params(), shape)
        print(json.dumps([foreseen(params, shape.batch), held(params, shape.batch)]))
        return
    rows = []
    for shape in SHAPES:
        command = [sys.executable, "-m", "tests.bench.memory", shape.name]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        plan, real = json.loads(done.stdout.splitlines()[-1])
        size = f"{shape.batch.records} x {shape.batch.tokens}"
        rows.append([shape.name, size, round(plan / 2**20), round(real / 2**20), f"{plan / real - 1:+.1%}"])
    head = ["training of the reference's base", "records x tokens", "`plan`, MiB", "real, MiB", "difference"]
    text = (
        "`plan` counts the storages that a run without values would have; the same count in two steps of the real trainer, "
        "on the real weights, on a CPU. What libraries take on top is in neither.\n\n"
    )
    show("Memory foreseen by plan", text + table(head, rows))


if __name__ == "__main__":
    main()
