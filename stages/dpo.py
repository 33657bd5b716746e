"""Train the tuned model to prefer the right answer over a rejected one (DPO), if enabled: `python -m stages.dpo`.

Without `dpo.enabled`, the adapter of `sft` is copied unchanged: the shipped adapter has one path, whichever stage made
it, so the later stages and the gate are the same for both. DVC can't switch a stage off by a param, and its cache
stores identical bytes only once.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

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
from hallmark.base.progress import Progress
from hallmark.base.records import read_records
from hallmark.model.adapter import base_precision, check_adapter, check_trained_over, load_adapter
from hallmark.model.chat_template import tool_form
from hallmark.model.loading import load_tokenizer
from hallmark.model.tuning import (
    adapter_hash,
    check_trained,
    diverged,
    load_frozen,
    outcome,
    quiet,
    run_trainer,
    save_adapter,
    step_count,
    tokenized,
    training_options,
)
from hallmark.params.loader import Params, run_with_params

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger("dpo")

ANSWERS: tuple[Literal["completion"], Literal["rejected"]] = ("completion", "rejected")
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


def load_pairs(
    path: Path, tokenizer: PreTrainedTokenizerBase, params: Params
) -> tuple[list[dict[str, Any]], Counter[str]]:
    """The records with a rejected answer in the form TRL trains on (`prompt_ids`, `chosen_ids`, `rejected_ids`), and how
    many records were left out, by cause.

    A pair is never truncated: one over `dpo.max_length` tokens is left out, unless `split` has stopped (`split.too_long`).
    Records whose rejected answer equals the completion (from a model that was right, say) make no pair.
    """
    rows: list[dict[str, Any]] = []
    left_out: Counter[str] = Counter()
    form = tool_form(params.task, tokenizer)
    records = read_records(path)
    with Progress("dpo", len(records), f"{path.stem} records read", brief=True) as progress:
        for row in records.iter_rows(named=True):
            progress.add()
            if row["rejected"] is None:
                left_out["without"] += 1
                continue
            if row["rejected"] == row["completion"]:
                left_out["same"] += 1
                continue
            (chosen, start), (rejected, _) = (tokenized(row, answer, tokenizer, path, form) for answer in ANSWERS)
            if max(len(chosen), len(rejected)) <= params.dpo.max_length:
                # Both start with the same prompt, which `tokenized` has checked.
                parts = {"prompt_ids": chosen[:start], "chosen_ids": chosen[start:], "rejected_ids": rejected[start:]}
                rows.append(parts)
            else:
                left_out["too_long"] += 1
    return rows, left_out


def load_training_pairs(
    tokenizer: PreTrainedTokenizerBase, params: Params
) -> tuple[list[dict[str, Any]], Counter[str]]:
    """The pairs of `train`; an error if there are none."""
    rows, left_out = load_pairs(TRAIN, tokenizer, params)
    if not rows:
        raise HallmarkError(
            f"no pair to learn from: {left_out['without']} records have no rejected answer, {left_out['same']} have one "
            f"that equals the completion, and {left_out['too_long']} are too long",
            file=TRAIN,
            field="rejected",
            remedy="name a raw column with rejected answers in data.rejected, or set dpo.enabled to false",
        )
    return rows, left_out


def train(params: Params) -> None:
    """Train the adapter of `sft` further with TRL's `DPOTrainer`."""
    from hallmark.base.compute import check_dtype, deterministic, fingerprint, set_up

    set_up(params.compute, params.seed)
    check_dtype(params.compute, params.sft.dtype, "sft.dtype")
    import datasets
    from trl import DPOConfig

    from hallmark.model.checkpoint import Checkpoints, key_of, remove
    from hallmark.model.pairs import PairTrainer
    from hallmark.model.trainer import Curve

    quiet()
    dpo, config = params.dpo, check_adapter(SFT_ADAPTER)
    precision = base_precision(SFT_ADAPTER)
    check_trained_over(SFT_ADAPTER, QUANTIZED)
    tokenizer = load_tokenizer(BASE)
    rows, left_out = load_training_pairs(tokenizer, params)
    measured_rows, validation_left_out = load_pairs(VALIDATION, tokenizer, params)
    pairs = datasets.Dataset.from_list(rows)
    validation = datasets.Dataset.from_list(measured_rows) if measured_rows else None
    model = load_adapter(load_frozen(params.sft, params.compute.device), SFT_ADAPTER, trainable=True)
    # The same name as in sft: under any other, PEFT fails to find the base's vocabulary.
    model.peft_config["default"].base_model_name_or_path = BASE.as_posix()
    curve, machine = Curve("dpo", MEASURES), fingerprint(params.compute)
    checkpoints = Checkpoints("dpo", params.sft.checkpoint_minutes, lambda: key_of("dpo", params, machine), curve)
    with measured("dpo") as measure, tempfile.TemporaryDirectory() as folder:
        trainer: Any = PairTrainer(
            model=model,
            args=DPOConfig(
                **training_options(
                    params.sft,
                    dpo,
                    folder,
                    device=params.compute.device,
                    seed=params.seed,
                    validate=bool(validation),
                ),
                loss_type=[dpo.loss],
                beta=dpo.beta,
                label_smoothing=dpo.label_smoothing,
            ),
            train_dataset=pairs,
            eval_dataset=validation,
            processing_class=tokenizer,
            callbacks=[curve],
        )
        start = adapter_hash(trainer.model)
        log.info("%d pairs, %d steps", len(pairs), step_count(trainer))
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
    report: dict[str, Any] = {
        "enabled": True,
        "pairs": {
            "train": len(rows),
            "validation": len(measured_rows),
            "same_left_out": left_out["same"] + validation_left_out["same"],
            "too_long_dropped": left_out["too_long"] + validation_left_out["too_long"],
        },
        **outcome(trainer, metrics, start),
        "validation": measures(before, after, dpo.beta) | {"loss": curve.validation[-1]["loss"]}
        if validation
        else None,
    }
    write_text(REPORTS / "dpo_curve.csv", curve.csv())
    write_json(REPORTS / "dpo.json", report | {"words": words(params, report)})
    remove("dpo")


def measures(before: Any, after: Any, beta: float) -> dict[str, float]:
    """Summary of the pairs' differences before and after: shares of the pairs, and TRL's mean reward margin in nats."""
    return {
        "likelier_before": round(float((before > 0).float().mean()), 6),
        "likelier_after": round(float((after > 0).float().mean()), 6),
        "reward_accuracy": round(float((after > before).float().mean()), 6),
        "reward_margin": round(float(beta * (after - before).mean()), 6),
    }


def words(params: Params, report: dict[str, Any]) -> str:
    """One sentence for the report page and the model card."""
    pairs, validation = report["pairs"], report["validation"]
    training = (
        f"After supervised tuning, DPO ({params.dpo.loss} loss, beta {params.dpo.beta:g}) on {pairs['train']} pairs of an "
        "answer and a rejected one"
    )
    if validation is None:
        return f"{training}; no validation record has a rejected answer to measure it with."
    return (
        f"{training}; of {pairs['validation']} validation pairs, the right answer was the likelier one in "
        f"{100 * validation['likelier_before']:.1f} % before and {100 * validation['likelier_after']:.1f} % after."
    )


if __name__ == "__main__":
    run_with_params("dpo", __doc__, run)
