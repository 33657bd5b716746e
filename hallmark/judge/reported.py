"""What `eval` and `sft` report of the models, as far as their comparison takes it over or rests on it."""

from __future__ import annotations

from typing import Any

from hallmark.base.files import REPORTS
from hallmark.base.reports import Report
from hallmark.model.params import Sft
from hallmark.task.predictions import metrics_of, stage_of


def read_metrics(model: str) -> Report:
    """The metrics.json of a model."""
    return Report(metrics_of(model).relative_to(REPORTS).with_suffix("").as_posix(), stage_of(model))


def passes_per_step(sft: Sft) -> int:
    """Forward passes of a step, those of all processes together."""
    return sft.gradient_accumulation_steps * sft.parallel.processes


def records_read(sft: Sft) -> int:
    """How many of the training records the tuned model was shown at least once: with few steps, not all."""
    report = Report("sft")
    passes, records = report.at("steps") * passes_per_step(sft), report.at("records", "train")
    if sft.batch_tokens is None:
        return int(min(passes * sft.batch_size, records))
    return round(min(passes / report.at("batches"), 1) * records)  # batches have different numbers of records


def constrained() -> list[dict[str, Any]]:
    """What `eval` found of decoding within the schema's grammar, one row per model; empty if `eval.constrained` is 0."""
    rows = ((model, read_metrics(model).content) for model in ("base", "tuned"))
    return [{"name": model} | metrics["constrained"] for model, metrics in rows if "constrained" in metrics]
