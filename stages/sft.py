"""Tune a LoRA adapter on the training records, by default over a 4-bit base (QLoRA): `python -m stages.sft`."""

from __future__ import annotations

import argparse
import logging
import tempfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallmark.base.errors import HallmarkError, run_stage
from hallmark.base.files import (
    BASE,
    REPORTS,
    SFT_ADAPTER,
    TRAIN,
    VALIDATION,
    atomic_folder,
    write_json,
    write_text,
)
from hallmark.base.machine import today
from hallmark.base.measured import measured
from hallmark.base.progress import Progress
from hallmark.base.reading import read_object
from hallmark.base.records import read_records
from hallmark.model.chat_template import tool_form
from hallmark.model.launch import is_worker, launch, rank, worker
from hallmark.model.loading import IGNORED, load_tokenizer
from hallmark.model.lora import lora_config
from hallmark.model.tuning import (
    adapter_hash,
    adapter_parameters,
    check_trained,
    load_frozen,
    outcome,
    quiet,
    run_trainer,
    save_adapter,
    step_count,
    tokenized,
    training_options,
)
from hallmark.params.loader import Params, load_params

if TYPE_CHECKING:
    import datasets
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger("sft")


def load_dataset(path: Path, tokenizer: PreTrainedTokenizerBase, params: Params) -> datasets.Dataset:
    """The records of a split in the form TRL trains on (`input_ids`, `labels`).

    A record is never truncated: `split` leaves no longer one than `sft.max_length` tokens. Only the completion's tokens have labels, including the token that ends the turn.
    """
    import datasets

    form, rows = tool_form(params.task, tokenizer), []
    records = read_records(path)
    with Progress("sft", len(records), f"{path.stem} records read", brief=True, silent=rank() != 0) as progress:
        for row in records.iter_rows(named=True):
            ids, start = tokenized(row, "completion", tokenizer, path, form)
            if len(ids) > params.sft.max_length:
                raise HallmarkError(
                    f"record '{row['id']}' is {len(ids)} tokens long, over sft.max_length = {params.sft.max_length}",
                    file=path,
                    field="prompt, completion",
                    remedy="run `dvc repro split`, which does with such records what split.too_long says",
                )
            rows.append({"input_ids": ids, "labels": [IGNORED] * start + ids[start:]})
            progress.add()
    if not rows:
        raise HallmarkError(
            "no record is left to train on",
            file=path,
            remedy="raise sft.max_length, or see reports/split.json for where the records went",
        )
    return datasets.Dataset.from_list(rows)


def training_arguments(params: Params, folder: str) -> Any:
    """TRL's `SFTConfig` for the `sft` block."""
    from trl import SFTConfig

    sft = params.sft
    options = training_options(sft, sft, folder, device=params.compute.device, seed=params.seed, validate=True)
    arguments = SFTConfig(**options)
    if is_worker() and params.sft.parallel.strategy == "fsdp" and params.compute.device == "cpu":
        from accelerate.utils import DistributedType

        # accelerate 1.15 silently treats FSDP on a CPU as DDP, although torch can shard there too.
        arguments.distributed_state.distributed_type = DistributedType.MULTI_GPU
    return arguments


def base_report() -> dict[str, Any]:
    """What `base` reported of the model; a HallmarkError unless it has its name, its revision and its context."""
    file, remedy = REPORTS / "base.json", "run `dvc repro base`, which makes it"
    report = read_object(file, remedy)
    for name in ("name", "revision"):
        if not isinstance(report.get(name), str):
            raise HallmarkError("not a text", file=file, field=name, remedy=remedy)
    context = report.get("context", 0)
    if context is not None and (isinstance(context, bool) or not isinstance(context, int) or context < 1):
        raise HallmarkError("not a length", file=file, field="context", remedy=remedy)
    return report


def run(params: Params) -> None:
    """Train on `train`, watch `validation`; write `models/sft`, `reports/sft.json` and the curve."""
    from hallmark.base.compute import check_dtype, deterministic, fingerprint, set_up

    set_up(params.compute, params.seed)
    device = own_device(params)
    check_dtype(params.compute, params.sft.dtype, "sft.dtype")
    from hallmark.model.batches import check_apart
    from hallmark.model.checkpoint import Checkpoints, key_of, remove
    from hallmark.model.keep import Keep
    from hallmark.model.trainer import CompletionTrainer, Curve
    from hallmark.plan.advice import check_training

    quiet()
    sft, base = params.sft, base_report()
    writes, sharded = rank() == 0, is_worker() and sft.parallel.strategy == "fsdp"
    if base["context"] and sft.max_length > base["context"]:
        raise HallmarkError(
            f"{sft.max_length} tokens, but the base model reads at most {base['context']}",
            param="sft.max_length",
            remedy=f"set it to at most {base['context']}",
        )
    tokenizer = load_tokenizer(BASE)
    train, validation = (load_dataset(file, tokenizer, params) for file in (TRAIN, VALIDATION))
    if params.compute.device == "cuda":
        check_training(params, BASE, train)
    model = load_frozen(sft, device, sharded=sharded)
    if sft.packing:
        check_apart(model)
    losses = Curve("sft", ["loss"])
    keep, machine = Keep(sft, losses), fingerprint(params.compute, sft.parallel.processes, sft.parallel.strategy)
    checkpoints = Checkpoints("sft", sft.checkpoint_minutes, lambda: key_of("sft", params, machine), losses, keep)
    measurement: AbstractContextManager[dict[str, Any]] = measured("sft") if writes else nullcontext({})
    with measurement as measure, tempfile.TemporaryDirectory() as folder:
        trainer: Any = CompletionTrainer(
            model=model,
            args=training_arguments(params, folder),
            train_dataset=train,
            eval_dataset=validation,
            processing_class=tokenizer,
            peft_config=lora_config(model, params.sft.lora),
            length_power=sft.length_power,
            batch_tokens=sft.batch_tokens,
            packing=sft.packing,
            callbacks=[losses, keep],
        )
        for tensor in adapter_parameters(trainer.model).values():
            # TRL 1.16 rounds the adapter of a base held in 4 bits to bf16. It starts from the same values over the same
            # weights written out; in bf16 it can't stay, since that would round away AdamW's small steps.
            tensor.data = (tensor.data.bfloat16() if sft.method == "qlora" else tensor.data).float()
        start, steps = adapter_hash(trainer.model), step_count(trainer)
        total = sum(map(len, trainer.train_dataset["input_ids"]))
        if is_worker():
            prepare_worker(trainer, params)
        if writes:
            log.info("%d records, %d tokens per epoch, %d steps", len(train), total, steps)
        checkpoint = checkpoints.attach(trainer, folder)
        with deterministic("sft.attention", "set sft.attention to eager, which is deterministic everywhere"):
            metrics = run_trainer(trainer, losses, checkpoint)
        whole = keep.restore(trainer.model, sharded=sharded)
        check_trained(trainer.model, "sft", whole)
        report = outcome(trainer, metrics, start)
        if is_worker():
            trainer.accelerator.end_training()
        if not writes:
            return
        seconds = metrics["train_runtime"] + checkpoints.earlier_seconds
        measure["fingerprint"] = machine
        measure["date"] = today()
        measure["train_seconds"] = round(seconds, 1)
        measure["tokens_per_second"] = round(total * metrics["epoch"] / seconds, 1)
        with atomic_folder(SFT_ADAPTER) as adapter:
            precision = "nf4" if sft.method == "qlora" else sft.dtype
            # Weights from a package or a folder are not those of the hub's repo, whatever their name.
            on_hub = base.get("source") == "hub"
            name, revision = (base["name"], base["revision"]) if on_hub else (f"./{BASE.as_posix()}", None)
            save_adapter(trainer.model, name, revision, precision, adapter, whole)
    write_json(
        REPORTS / "sft.json",
        report
        | {
            "method": sft.method,
            "records": {"train": len(train), "validation": len(validation)},
            "tokens": {
                "train": total,
                "completion": sum(label != IGNORED for row in trainer.train_dataset["labels"] for label in row),
            },
            **keep.report(steps),
        }
        | ({"batches": len(trainer.token_batches)} if sft.batch_tokens else {}),
    )
    write_text(REPORTS / "sft_curve.csv", losses.csv())
    remove("sft")


def own_device(params: Params) -> str:
    """The device of this process; with several GPUs, each process has its own."""
    import torch

    if params.compute.device == "cpu" or not is_worker():
        return params.compute.device
    if torch.cuda.device_count() < params.sft.parallel.processes:
        raise HallmarkError(
            f"{params.sft.parallel.processes} processes, but torch sees {torch.cuda.device_count()} CUDA devices",
            param="sft.parallel.processes",
            remedy="set it to the number of GPUs, or fewer",
        )
    torch.cuda.set_device(rank())
    return f"cuda:{rank()}"


def prepare_worker(trainer: Any, params: Params) -> None:
    """Extra set-up of a process that is one of several: its own random numbers, and sums that FSDP does not round."""
    import torch

    torch.manual_seed(params.seed + rank())  # for dropout; initial adapter values and batches are drawn already
    if params.sft.parallel.strategy == "fsdp" and params.sft.dtype == "bfloat16":
        from torch.distributed.fsdp import MixedPrecisionPolicy

        # accelerate's own policy would also sum gradients and return losses in bf16.
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
        trainer.accelerator.state.fsdp_plugin.mixed_precision_policy = policy


def main(arguments: argparse.Namespace) -> None:
    """Command line without options of its own. Starts several processes if params ask for them."""
    params = load_params(arguments.params)
    if is_worker():
        with worker():
            run(params)
    elif params.sft.parallel.processes > 1:
        launch("stages.sft", ["--params", str(arguments.params)], params.sft, params.compute)
    else:
        run(params)


if __name__ == "__main__":
    run_stage("sft", __doc__, main)
