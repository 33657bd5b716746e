"""Train the tuned model to prefer the right answer over a rejected one (DPO), if enabled: `python -m stages.dpo`.

Reads the adapter of `sft`, the weights it was trained over, and of the parts `train` and `validation` the records that have
a rejected answer. Trains that adapter further on the pairs of `train`; the reference is the adapter as `sft` left it. Counts,
before and after, in how many pairs of `validation` the right answer is the likelier one. Writes `models/adapter`,
`reports/dpo.json`, the curve in `reports/dpo_curve.csv`, and what it took in `reports/measured/`.

Without `dpo.enabled`, the adapter of `sft` is copied unchanged: the shipped adapter has one path, whichever stage made
it, so the later stages and the gate are the same for both. DVC can't switch a stage off by a param, and its cache
stores identical bytes only once.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from typing import Any

from hallmark.base.errors import HallmarkError
from hallmark.base.files import (
    ADAPTER,
    BASE,
    QUANTIZED,
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
from hallmark.base.model_folder import check_files
from hallmark.model.adapter import base_precision, check_adapter, check_trained_over, load_adapter
from hallmark.model.loading import load_tokenizer
from hallmark.model.tokenized import tokenized_pairs
from hallmark.model.tuning import (
    adapter_hash,
    check_trained,
    diverged,
    dpo_arguments,
    load_frozen,
    outcome,
    quiet,
    run_trainer,
    save_adapter,
    step_count,
)
from hallmark.params.loader import Params, run_with_params

log = logging.getLogger("dpo")

MEASURES = ("loss", "rewards/margins", "rewards/accuracies")  # TRL's names; margins are in nats, scaled by dpo.beta


def run(params: Params) -> None:
    """Write `models/adapter`, `reports/dpo.json` and the curve; without `dpo.enabled`, a copy and an empty curve."""
    if not (SFT_ADAPTER / "adapter_config.json").exists():
        raise HallmarkError("no adapter", file=SFT_ADAPTER, remedy="run `dvc repro sft`, which makes it")
    if params.dpo.enabled:
        train(params)
        return
    check_files(SFT_ADAPTER)
    with measured("dpo"), atomic_folder(ADAPTER) as folder:
        shutil.copytree(SFT_ADAPTER, folder, dirs_exist_ok=True, copy_function=shutil.copyfile)
    write_text(REPORTS / "dpo_curve.csv", "step,split,loss,margins,accuracies\n")
    write_json(REPORTS / "dpo.json", {"enabled": False})
    log.info("off: the tuned model has the adapter of sft")


def train(params: Params) -> None:
    """Train the adapter of `sft` further with TRL's `DPOTrainer`."""
    from hallmark.base.compute import check_dtype, deterministic, fingerprint, set_up

    set_up(params.compute, params.seed)
    check_dtype(params.compute, params.sft.dtype, "sft.dtype")

    # These load torch, whose code paths are set from here on.
    import datasets

    from hallmark.model.checkpoint import Checkpoints, key_of, remove
    from hallmark.model.pairs import PairTrainer, measures, words
    from hallmark.model.trainer import Curve

    quiet()
    dpo = params.dpo

    # The adapter, which must fit the weights, and the pairs.
    config, precision = check_adapter(SFT_ADAPTER), base_precision(SFT_ADAPTER)
    check_trained_over(SFT_ADAPTER, QUANTIZED)
    tokenizer = load_tokenizer(BASE)
    rows, left_out = tokenized_pairs(TRAIN, tokenizer, params, needed=True)
    measured_rows, validation_left_out = tokenized_pairs(VALIDATION, tokenizer, params)
    validation = datasets.Dataset.from_list(measured_rows) if measured_rows else None

    model = load_adapter(load_frozen(params.sft, params.compute.device), SFT_ADAPTER, trainable=True)
    # The same name as in sft: under any other, PEFT fails to find the base's vocabulary.
    model.peft_config["default"].base_model_name_or_path = BASE.as_posix()

    curve, machine = Curve("dpo", MEASURES), fingerprint(params.compute)
    checkpoints = Checkpoints("dpo", params.sft.checkpoint_minutes, lambda: key_of("dpo", params, machine), curve)
    with measured("dpo") as measure, tempfile.TemporaryDirectory() as folder:
        trainer: Any = PairTrainer(
            model=model,
            args=dpo_arguments(params, folder, validate=bool(validation)),
            train_dataset=datasets.Dataset.from_list(rows),
            eval_dataset=validation,
            processing_class=tokenizer,
            callbacks=[curve],
        )
        start = adapter_hash(trainer.model)
        log.info("%d pairs, %d steps", len(rows), step_count(trainer))

        # Training, from the first step or from a checkpoint on, between two looks at the validation pairs.
        with deterministic("sft.attention", "set sft.attention to eager, which is deterministic everywhere"):
            before = trainer.differences() if validation else None
            metrics = run_trainer(trainer, curve, checkpoints.attach(trainer, folder))
            after = trainer.differences() if validation else None
        check_trained(trainer.model, "dpo")
        if after is not None and not bool(after.isfinite().all()):
            raise diverged("dpo", "a validation pair has no likelihood any more")

        measure["fingerprint"] = machine
        measure["date"] = today()
        measure["train_seconds"] = round(metrics["train_runtime"] + checkpoints.earlier_seconds, 1)
        with atomic_folder(ADAPTER) as adapter:
            named = str(config.base_model_name_or_path), config.revision  # as `sft` wrote them
            save_adapter(trainer.model, *named, precision, adapter)

    pairs = {
        "train": len(rows),
        "validation": len(measured_rows),
        "same_left_out": left_out["same"] + validation_left_out["same"],
        "too_long_dropped": left_out["too_long"] + validation_left_out["too_long"],
    }
    found = None
    if before is not None and after is not None:
        found = measures(before, after, dpo.beta) | {"loss": curve.validation[-1]["loss"]}
    report = {"enabled": True, "pairs": pairs, "validation": found, "words": words(dpo, pairs, found)}
    write_text(REPORTS / "dpo_curve.csv", curve.csv())
    write_json(REPORTS / "dpo.json", report | outcome(trainer, metrics, start))
    remove("dpo")  # the checkpoint
    log.info("%s", report["words"])


if __name__ == "__main__":
    run_with_params("dpo", __doc__, run)
