"""Tune a LoRA adapter on the training records, by default over a 4-bit base (QLoRA): `python -m stages.sft`.

Reads the parts `train` and `validation` of the split, the base's tokenizer and report, and the weights of `quantize`, which
stay as they are. Trains a new adapter on the completions of all records of `train`, none truncated. Measures the loss on
`validation` before, on the way and after: it says which adapter is kept (`sft.keep`) and when to stop
(`sft.early_stopping_patience`).
Writes `models/sft`, `reports/sft.json`, the losses in `reports/sft_curve.csv`, and what it took in `reports/measured/`.

A training that was killed continues at its checkpoint (hallmark/model/checkpoint.py). If `sft.parallel` asks for several
processes, the stage starts itself once for each (hallmark/model/launch.py); only the first of them writes.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from hallmark.base.errors import run_stage
from hallmark.base.files import BASE, REPORTS, SFT_ADAPTER, TRAIN, VALIDATION, atomic_folder, write_json, write_text
from hallmark.base.machine import today
from hallmark.base.measured import measured
from hallmark.model.launch import is_worker, launch, own_device, prepare_worker, rank, worker
from hallmark.model.loading import load_tokenizer
from hallmark.model.lora import lora_config
from hallmark.model.tokenized import tokenized_records
from hallmark.model.tuning import (
    adapter_hash,
    base_report,
    check_context,
    check_trained,
    hold_adapter_in_fp32,
    load_frozen,
    outcome,
    quiet,
    run_trainer,
    save_adapter,
    sft_arguments,
    source_of,
    step_count,
)
from hallmark.params.loader import Params, load_params

log = logging.getLogger("sft")


def run(params: Params) -> None:
    """Train on `train`, watch `validation`; write `models/sft`, `reports/sft.json` and the curve."""
    from hallmark.base.compute import check_dtype, deterministic, fingerprint, set_up

    set_up(params.compute, params.seed)
    sft, device = params.sft, own_device(params.sft, params.compute)
    check_dtype(params.compute, sft.dtype, "sft.dtype")

    # These load torch, whose code paths are set from here on.
    from hallmark.model.batches import check_apart
    from hallmark.model.checkpoint import Checkpoints, key_of, remove
    from hallmark.model.keep import Keep
    from hallmark.model.plateau import Plateau
    from hallmark.model.trainer import CompletionTrainer, Curve
    from hallmark.plan.advice import check_training

    quiet()
    writes, sharded = rank() == 0, is_worker() and sft.parallel.strategy == "fsdp"

    # The data and all that can be refused before the weights are loaded, which takes longest.
    base = base_report()
    check_context(base, sft.max_length)
    tokenizer = load_tokenizer(BASE)
    train, validation = (tokenized_records(file, tokenizer, params, silent=not writes) for file in (TRAIN, VALIDATION))
    if params.compute.device == "cuda":
        check_training(params, BASE, train)

    # The weights, which are not trained.
    model = load_frozen(sft, device, sharded=sharded)
    if sft.packing:
        check_apart(model)

    # What watches the training: its losses, the adapter to keep, a checkpoint now and then.
    losses = Curve("sft", ["loss"], may_stop=sft.early_stopping_patience is not None)
    keep, machine = Keep(sft, losses), fingerprint(params.compute, sft.parallel.processes, sft.parallel.strategy)
    checkpoints = Checkpoints("sft", sft.checkpoint_minutes, lambda: key_of("sft", params, machine), losses, keep)

    measurement: AbstractContextManager[dict[str, Any]] = measured("sft") if writes else nullcontext({})
    with measurement as measure, tempfile.TemporaryDirectory() as folder:
        # A new adapter on the weights.
        trainer: Any = CompletionTrainer(
            model=model,
            args=sft_arguments(params, folder, sharded=sharded),
            train_dataset=train,
            eval_dataset=validation,
            processing_class=tokenizer,
            peft_config=lora_config(model, sft.lora),
            length_power=sft.length_power,
            batch_tokens=sft.batch_tokens,
            packing=sft.packing,
            callbacks=[losses, keep],
        )
        hold_adapter_in_fp32(trainer.model, sft.method)
        start, steps, counts = adapter_hash(trainer.model), step_count(trainer), trainer.counts()
        if sft.lr_scheduler == "warmup_stable_decay":
            trainer.plateau = keep.plateau = Plateau(
                steps, sft.warmup_ratio, sft.decay_ratio, sft.early_stopping_patience
            )
        if is_worker():
            prepare_worker(trainer, sft, params.seed)
        if writes:
            log.info("%d records, %d tokens per epoch, %d steps", len(train), counts["tokens"]["train"], steps)
            if keep.plateau is not None and not keep.plateau.can_end(sft.eval_steps):
                log.warning(
                    "sft.early_stopping_patience: %d changes nothing: with sft.eval_steps: %d, too few validations come before "
                    "the learning rate falls anyway; lower one of them",
                    sft.early_stopping_patience,
                    sft.eval_steps,
                )

        # Training, from the first step or from a checkpoint on; then back to the adapter that is kept.
        checkpoint = checkpoints.attach(trainer, folder)
        with deterministic("sft.attention", "set sft.attention to eager, which is deterministic everywhere"):
            metrics = run_trainer(trainer, losses, checkpoint)
        whole = keep.restore(trainer.model, sharded=sharded)
        check_trained(trainer.model, "sft", whole)
        report = {"method": sft.method} | counts | outcome(trainer, metrics, start)
        if is_worker():
            trainer.accelerator.end_training()
        if not writes:
            return

        seconds = metrics["train_runtime"] + checkpoints.earlier_seconds
        measure["fingerprint"] = machine
        measure["date"] = today()
        measure["train_seconds"] = round(seconds, 1)
        measure["tokens_per_second"] = round(counts["tokens"]["train"] * metrics["epoch"] / seconds, 1)
        with atomic_folder(SFT_ADAPTER) as adapter:
            precision = "nf4" if sft.method == "qlora" else sft.dtype
            save_adapter(trainer.model, *source_of(base), precision, adapter, whole)
    if keep.report(steps)["undertrained"]:
        longer = f"sft.max_steps: {2 * steps}" if sft.max_steps else f"sft.epochs: {2 * metrics['epoch']:g}"
        log.warning(
            "undertrained: the validation loss still fell when the training ended; twice as long (%s) would take about "
            "%.0f minutes",
            longer,
            2 * seconds / 60,
        )
    write_json(REPORTS / "sft.json", report | keep.report(steps))
    write_text(REPORTS / "sft_curve.csv", losses.csv())
    remove("sft")  # the checkpoint
    found = keep.report(steps)
    log.info("validation loss %.4f, the adapter of step %d of %d", found["validation_loss"], found["kept_step"], steps)


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
