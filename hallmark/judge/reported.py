"""What reports take over from others: of `eval` and `sft` for the comparison, and the few measures that DVC's commands show."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hallmark.base.files import REPORTS
from hallmark.base.reports import Count, Loss, Report, Some, shape
from hallmark.judge.benchmarked import Level
from hallmark.judge.comparison import Comparison
from hallmark.judge.verdict import Verdict
from hallmark.model.params import Sft
from hallmark.task.predictions import metrics_of, stage_of

TRAINED = shape(
    steps=Count, records=shape(train=Some), batches=(Some, 1), kept_step=Count, validation_loss=Loss,
    stopped_early=bool, undertrained=bool,
)  # fmt: skip
DPO = shape(words=(str | None, None))  # None: dpo is off
# Values that a field of the targets copies from its input, and how many a caller would still get after masking.
COPIED: Any = dict[str, shape(copied=Count, found_after=Count, lost=Count, different=shape(before=Count, after=Count))]  # type: ignore[misc]
EVALUATED = shape(words=(str | None, None), constrained=(dict[str, Any] | None, None))


def read_metrics(model: str) -> Report:
    return Report(metrics_of(model).relative_to(REPORTS).with_suffix("").as_posix(), stage_of(model))


def passes_per_step(sft: Sft) -> int:
    """Forward passes of a step, those of all processes together."""
    return sft.gradient_accumulation_steps * sft.parallel.processes


def records_read(sft: Sft) -> int:
    """How many of the training records the tuned model was shown at least once: with few steps, not all."""
    report = Report("sft").as_(TRAINED)
    passes, records = report.steps * passes_per_step(sft), report.records.train
    if sft.batch_tokens is None:
        return int(min(passes * sft.batch_size, records))
    return round(min(passes / report.batches, 1) * records)  # batches have different numbers of records


def constrained() -> list[dict[str, Any]]:
    """What `eval` found of decoding within the schema's grammar, one row per model; empty if `eval.constrained` is 0."""
    rows = {model: read_metrics(model).as_(EVALUATED).constrained for model in ("base", "tuned")}
    return [{"name": model} | found for model, found in rows.items() if found]


OTHERS = 2  # measures besides exact match: with more than ten values, nobody finds the one that changed


def headline(result: Verdict, floors: Iterable[str], comparison: Comparison, level: Level, sft: Any) -> dict[str, Any]:
    """At most ten values by a short name, what matters first. Rates and differences are shares of 1, times seconds.

    The measures are exact match and the first two others of `floors`, those that the gate asks for. `over_base` and
    `over_linear`: how far the tuned model is ahead in exact match, and in records with all labels right, of those that
    both answered.
    """
    base, linear, tuned = comparison.against.base, comparison.against.classical.right, comparison.of_tuned
    measured = {row.name: row.tuned.value for row in comparison.tuned.measures if not row.given}
    others = [name for name in floors if name in measured and name != "exact_match"][:OTHERS]
    return {
        "verdict": result.verdict,
        "exact_match": measured["exact_match"],
        **{name: measured[name] for name in others},
        "over_base": base.exact_match.difference.value,
        **({"over_linear": linear.difference.value} if linear else {}),
        "unsafe_answer": tuned.rates["unsafe_answer"].value,
        "validation_loss": sft.validation_loss,
        "latency_p95_s": level.latency_s.p95,
        "requests_per_s": level.requests_per_second,
    }
