"""Training compared with the usual script, on the reference's records: `python -m tests.bench.sft` (after `dvc repro split`)."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import polars as pl

from hallmark.base.files import BASE, TRAIN, VALIDATION
from hallmark.base.reading import read_object
from hallmark.model.loading import IGNORED, load_tokenizer
from hallmark.params.loader import load_params
from tests.bench.page import show, table

SECONDS = 720  # of training, for the usual script: about one pass
EVERY = {
    "usual": 2,
    "ours": 10,
    "alone": 2,
}  # steps between two looks at the validation loss, which the clock does not count
NAMES = {"usual": "the usual script", "ours": "`stages.sft`", "alone": "`stages.sft`, its step size and batch"}
STEP_SIZE, BATCH, ACCUMULATION = 2e-4, 4, 8  # of the usual script


def main() -> None:
    """Print the comparison: each side in a process of its own, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("side", nargs="?", choices=NAMES, help="run one side and print its curve")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of training, the most for each side")
    parser.add_argument("--results", type=Path, help="folder with a file SIDE.json of each side that was run by itself")
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(curve(arguments.side, arguments.seconds)))
        return
    if arguments.results:
        show("SFT", words({side: read_object(arguments.results / f"{side}.json") for side in NAMES}))
        return
    if not TRAIN.exists() or not BASE.exists():
        raise SystemExit(f"{TRAIN} or {BASE} is not there: run `dvc repro base split` first")
    found: dict[str, Any] = {}
    for side in NAMES:
        command = [sys.executable, "-m", "tests.bench.sft", side, "--seconds", str(arguments.seconds)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found[side] = json.loads(done.stdout.splitlines()[-1])
    show("SFT", words(found))


def words(found: dict[str, Any]) -> str:
    """The section: speed, loss and memory of each side."""
    speeds = {side: run["tokens"] / run["seconds"] for side, run in found.items()}
    rows = [
        [
            NAMES[side],
            speeds[side],
            speeds[side] / speeds["usual"],
            f"{run['curve'][-1][1]:.3f} after {run['seconds']:.0f} s",
            round(run["memory_mib"]),
        ]
        for side, run in found.items()
    ]
    return (
        "The reference's records and its base. The usual script is TRL's `SFTTrainer` with LoRA of rank 16 on PEFT's default "
        "matrices, bf16 autocast over fp32 weights and gradient checkpointing; ours is `params.yaml` unchanged. Validation "
        "loss: nats per completion token, computed the same way for all, and not counted in the time. Tokens are those of "
        "whole records, also where a batch computes those it shares once.\n\n"
        f"{table(['', 'tokens/s', 'times', 'last validation loss', 'peak MiB'], rows)}"
    )


def curve(side: str, limit: float) -> dict[str, Any]:
    """Train; the validation loss by seconds of training, and what was trained on in how long."""
    import resource

    import datasets

    from hallmark.base.compute import set_up

    params = load_params()
    set_up(params.compute, params.seed)
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as folder:
        trainer = usual(params, folder) if side == "usual" else ours(params, folder, alone=side == "alone")
        watch = stopwatch(trainer, EVERY[side], limit)
        trainer.add_callback(watch)
        trainer.train()
    return {
        "curve": watch.curve,
        "seconds": watch.curve[-1][0],
        "tokens": watch.tokens,
        "steps": trainer.state.global_step,
        "of": trainer.state.max_steps,
        "memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def usual(params: Any, folder: str) -> Any:
    """What a tutorial does."""
    import datasets
    import torch
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM
    from trl import SFTConfig, SFTTrainer

    rows = pl.read_parquet(TRAIN).select("prompt", "completion").to_dicts()
    return SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(BASE, dtype=torch.float32, local_files_only=True),
        args=SFTConfig(
            output_dir=folder,
            per_device_train_batch_size=BATCH,
            gradient_accumulation_steps=ACCUMULATION,
            num_train_epochs=3,
            learning_rate=STEP_SIZE,
            bf16=True,
            use_cpu=params.compute.device == "cpu",
            gradient_checkpointing=True,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        ),
        train_dataset=datasets.Dataset.from_list(rows),
        processing_class=load_tokenizer(BASE),
        peft_config=LoraConfig(r=16, lora_alpha=32, task_type="CAUSAL_LM"),
    )


def ours(params: Any, folder: str, *, alone: bool = False) -> Any:
    """What `stages.sft` does; `alone`: with the usual script's step size, its schedule and its batches."""
    from hallmark.model.lora import lora_config
    from hallmark.model.plateau import Plateau
    from hallmark.model.tokenized import tokenized_records
    from hallmark.model.trainer import CompletionTrainer
    from hallmark.model.tuning import adapter_parameters, load_frozen, sft_arguments, step_count

    tokenizer = load_tokenizer(BASE)
    model = load_frozen(params.sft, "cpu")
    if alone:
        fixed = {"batch_size": BATCH, "gradient_accumulation_steps": ACCUMULATION, "learning_rate": STEP_SIZE}
        fixed |= {"epochs": 3, "lr_scheduler": "linear", "warmup_ratio": 0.0, "max_steps": None}
        params = params.model_copy(update={"sft": params.sft.model_copy(update=fixed)})
    arguments = sft_arguments(params, folder)
    arguments.eval_strategy, arguments.eval_on_start = "no", False
    trainer: Any = CompletionTrainer(
        model=model,
        args=arguments,
        train_dataset=tokenized_records(TRAIN, tokenizer, params),
        processing_class=tokenizer,
        peft_config=lora_config(model, params.sft.lora),
        length_power=params.sft.length_power,
    )
    sft = params.sft
    if sft.lr_scheduler == "warmup_stable_decay":
        trainer.plateau = Plateau(step_count(trainer), sft.warmup_ratio, sft.decay_ratio, None)
    for tensor in adapter_parameters(trainer.model).values():
        tensor.data = tensor.data.float()
    return trainer


def stopwatch(trainer: Any, every: int, limit: float) -> Any:
    """A callback that times the steps, and stops training after the given seconds of them."""
    import torch
    from transformers import TrainerCallback

    from hallmark.model.tokenized import tokenized_records

    rows = tokenized_records(VALIDATION, load_tokenizer(BASE), load_params())

    def loss(model: Any) -> float:
        """Nats a completion token, over all validation records."""
        model.eval()
        total, count = 0.0, 0
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            for row in rows:
                labels = torch.tensor(row["labels"][1:])
                kept = labels != IGNORED
                logits = model(input_ids=torch.tensor([row["input_ids"]]), use_cache=False).logits[0, :-1][kept]
                total += float(torch.nn.functional.cross_entropy(logits.float(), labels[kept], reduction="sum"))
                count += int(kept.sum())
        model.train()
        return total / count

    class Stopwatch(TrainerCallback):
        def __init__(self) -> None:
            self.curve: list[tuple[float, float]] = []
            self.spent, self.tokens = 0.0, 0

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.curve.append((0.0, loss(trainer.model)))
            self.since = time.perf_counter()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            spent = self.spent + time.perf_counter() - self.since
            if spent > limit:
                control.should_training_stop = True
            if state.global_step % every == 0 or control.should_training_stop or state.global_step == state.max_steps:
                self.spent = spent
                self.curve.append((round(spent, 1), loss(trainer.model)))
                print(f"{spent:.0f} s: {self.curve[-1][1]:.4f}", file=sys.stderr, flush=True)
                self.since = time.perf_counter()

    watch = Stopwatch()
    collate = trainer.data_collator

    def counted(examples: Any) -> Any:
        watch.tokens += sum(len(example["input_ids"]) for example in examples)
        return collate(examples)

    trainer.data_collator = counted
    return watch


if __name__ == "__main__":
    main()
