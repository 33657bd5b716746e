"""Compare the tuned model with the base and the linear model on the same records: `python -m stages.compare`.

Everything is paired. The verdict asks two things of exact match: the interval of the difference, from a bootstrap that
draws customers, must leave out zero (records of one customer resemble each other), and the exact McNemar test on the
records that changed must agree (it is better with small counts). `report` makes the page that shows this.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from stages.core.files import REPORTS, atomic, write_json
from stages.core.outcomes import FAILURES
from stages.core.reports import Report
from stages.evaluation.comparison import (
    Against,
    AgainstBase,
    Change,
    Comparison,
    Failing,
    FailureResult,
    GeneralResult,
    MeasureResult,
    NoiseFloor,
    Power,
    Retrieval,
    Slice,
    Transition,
)
from stages.evaluation.linear import against_linear
from stages.evaluation.measures import measures_of
from stages.evaluation.metrics import writable
from stages.evaluation.params import Compare, Eval
from stages.evaluation.possible import possible
from stages.evaluation.stats import ClusterBootstrap, Interval, McNemar, evidence, judge, mcnemar, newcombe_paired
from stages.params.loader import Params, run_with_params
from stages.tasks.predictions import BANDS, Prediction, check_paired, read_predictions
from stages.tasks.task import Task
from stages.training.params import Sft

log = logging.getLogger("compare")

CONTENT = ("hallucination", "wrong_value", "omission")  # classes of answers that can be read; the form is judged first
Predictions = Sequence[Prediction]


def run(params: Params) -> None:
    """Read the predictions of all models; write reports/comparison.json and reports/transitions.csv."""
    tuned = read_predictions("tuned")
    bootstrap = ClusterBootstrap(
        [row.group for row in tuned],
        confidence=params.compare.confidence,
        draws=params.compare.draws,
        seed=params.seed,
    )
    base = read_predictions("base")
    check_paired("base", base, "tuned", tuned)
    task = Task(params.task)
    against = Against(
        base=compare(base, tuned, bootstrap, params.compare, task, params.eval),
        classical=against_linear(base, tuned, task, params.compare, params.seed, records_read(params.sft)),
    )
    log.info(against.base.words)
    log.info(against.classical.words)
    comparison = Comparison(
        records=bootstrap.records,
        groups=bootstrap.clusters,
        confidence=params.compare.confidence,
        against=against,
        noise_floor=noise_floor(Report("eval/base/metrics", "eval@base"), params.compare.confidence),
        constrained=constrained(),
        general=general(),
        retrieval=retrieval(base, tuned),
    )
    write_json(REPORTS / "comparison.json", asdict(comparison))
    write_transitions(REPORTS / "transitions.csv", base, tuned)


def records_read(sft: Sft) -> int:
    """How many of the training records the tuned model was shown at least once: with few steps, not all."""
    report = Report("sft")
    passes, records = report.at("steps") * sft.passes, report.at("records", "train")
    if sft.batch_tokens is None:
        return int(min(passes * sft.batch_size, records))
    return round(min(passes / report.at("batches"), 1) * records)  # batches have different numbers of records


def compare(
    other: Predictions,
    tuned: Predictions,
    bootstrap: ClusterBootstrap,
    params: Compare,
    task: Task,
    scored: Eval,
) -> AgainstBase:
    """The tuned model against the base, on the same records in the same order."""
    before, after = ([row.exact_match for row in rows] for rows in (other, tuned))
    difference, test = bootstrap.rate_difference(before, after), mcnemar(before, after)
    needed = bootstrap.records_needed(before, after, params.difference, params.power)
    verdict = judge(difference, test.p, 1 - params.confidence)
    return AgainstBase(
        verdict=verdict,
        words=words(verdict, sum(before), sum(after), len(after), difference, test, params.confidence),
        exact_match=Change(
            other=round(sum(before) / len(before), 6),
            tuned=round(sum(after) / len(after), 6),
            difference=difference.rounded(),
            worst=bootstrap.rate_difference(before, [False] * len(after)).rounded(),
            lost=test.lost,
            won=test.won,
            p=float(f"{test.p:.6g}"),
        ),
        power=Power(
            difference_asked_for=params.difference,
            power=params.power,
            records_needed=needed,
            smallest_difference=None
            if needed is None
            else round(params.difference * math.sqrt(needed / bootstrap.records), 6),
        ),
        measures=measures(other, tuned, bootstrap, task, scored.spans),
        failures=failures(other, tuned, bootstrap, possible(task, [row.target for row in tuned], scored.facts)),
        transitions=transitions(other, tuned),
        slices=slices(other, tuned, params.confidence),
    )


def words(verdict: str, before: int, after: int, n: int, difference: Interval, test: McNemar, confidence: float) -> str:
    """The comparison in one line; `before` and `after` count the exact matches of `n` records."""
    start = {
        "better": "The tuned model beats the base",
        "worse": "The tuned model is worse than the base",
        "not_shown": "No difference between the tuned model and the base is shown",
    }[verdict]
    shown = evidence(verdict, difference, test, confidence)
    return f"{start}: exact match {after / n:.1%} against {before / n:.1%} of {n} records, {shown}"


def measures(
    other: Predictions, tuned: Predictions, bootstrap: ClusterBootstrap, task: Task, spans: Sequence[str]
) -> list[MeasureResult]:
    """Each measure of both models and their paired difference, with intervals."""
    results = []
    for measure in measures_of(task, [*other, *tuned], spans):
        before, after = (measure.columns(rows, spans) for rows in (other, tuned))
        results.append(
            MeasureResult(
                name=measure.name,
                words=measure.words,
                given=measure.given(task),
                other=bootstrap.interval(before, measure.statistic).rounded(),
                tuned=bootstrap.interval(after, measure.statistic).rounded(),
                difference=bootstrap.interval_of_difference(before, after, measure.statistic).rounded(),
            )
        )
    return results


def failures(
    other: Predictions, tuned: Predictions, bootstrap: ClusterBootstrap, can: dict[str, list[bool]]
) -> list[FailureResult]:
    """The rate of each failure class, and how far it grows. `can`: by class and record, whether it is possible."""
    both_valid = [before.schema_valid and after.schema_valid for before, after in zip(other, tuned, strict=True)]
    results = []
    for name in FAILURES:
        before, after = ([row.outcome == name for row in rows] for rows in (other, tuned))
        anywhere = [any(flags) for flags in zip(can[name], before, after, strict=True)]  # what happened was possible
        judged = [here and (name not in CONTENT or valid) for here, valid in zip(anywhere, both_valid, strict=True)]
        before_judged, after_judged = (
            [flag and counts for flag, counts in zip(flags, judged, strict=True)] for flags in (before, after)
        )
        results.append(
            FailureResult(
                name=name,
                other=bootstrap.rate(before).rounded(),
                tuned=bootstrap.rate(after).rounded(),
                difference=bootstrap.rate_difference(before, after).rounded(),
                possible=sum(anywhere),
                worst=bootstrap.rate(anywhere).rounded(),
                growth=bootstrap.rate_difference(before_judged, after_judged).rounded(),
                judged=sum(judged),
                worst_growth=bootstrap.rate_difference(before_judged, judged).rounded(),
            )
        )
    return results


def transitions(other: Predictions, tuned: Predictions) -> list[Transition]:
    """How many records went from each outcome to each outcome."""
    counts = Counter((before.outcome, after.outcome) for before, after in zip(other, tuned, strict=True))
    return [Transition(before, after, n) for (before, after), n in sorted(counts.items())]


def slices(other: Predictions, tuned: Predictions, confidence: float) -> list[Slice]:
    """Exact match by customer, tag and input length, with Newcombe's paired interval of the difference.

    Inside a slice records count as independent, and there are many slices: they show where to look, not proof.
    """
    members: dict[tuple[str, str], list[tuple[bool, bool]]] = {}
    for before, after in zip(other, tuned, strict=True):
        tags = [("tag", tag) for tag in after.tags or ()]
        for slice_ in [("group", after.group), ("length", after.length_band), *tags]:
            members.setdefault(slice_, []).append((before.exact_match, after.exact_match))
    results = []
    for (by, name), pairs in members.items():
        both, lost, won = (pairs.count(case) for case in ((True, True), (True, False), (False, True)))
        results.append(
            Slice(
                by=by,
                name=writable(name),
                records=len(pairs),
                other=round((both + lost) / len(pairs), 6),
                tuned=round((both + won) / len(pairs), 6),
                lost=lost,
                won=won,
                difference=newcombe_paired(both, lost, won, len(pairs), confidence).rounded(),
            )
        )
    return sorted(
        results,
        key=lambda row: (row.by, BANDS.index(row.name) if row.by == "length" else -row.records, row.name),
    )


def noise_floor(metrics: Report, confidence: float) -> NoiseFloor:
    """How much the base differs from itself: what `eval` reports of the records that the base answered `again`.

    Greedy decoding in the same batches gives the same bytes again (which is what `verify` checks), so a second run says
    something only if the batches differ, as they do in serving. Not measured if `eval` made no second run.
    """
    again = metrics.content.get("again")
    if not again:
        return NoiseFloor(measured=False)
    difference = newcombe_paired(0, again["lost"], again["won"], again["records"], confidence)
    return NoiseFloor(measured=True, **again, difference=difference.rounded())


def general() -> list[GeneralResult]:
    """Both models at the general tasks that `eval.general` names, one row per metric."""
    base, tuned = (
        {row["name"]: row["value"] for row in _metrics(model).get("general", ())} for model in ("base", "tuned")
    )
    return [GeneralResult(name, base[name], tuned[name]) for name in base if name in tuned]


def retrieval(base: Predictions, tuned: Predictions) -> Retrieval | None:
    """Of the failing records with context, those whose context lacks what was expected; None if no record has context."""
    failing = {}
    for model, rows in (("base", base), ("tuned", tuned)):
        failed = [row for row in rows if row.retrieved is not None and not row.exact_match]
        lacking = sum(not row.retrieved for row in failed)
        failing[model] = Failing(retrieval=lacking, model=len(failed) - lacking)
    judged = [row for row in tuned if row.retrieved is not None]
    return Retrieval(len(judged), sum(not row.retrieved for row in judged), **failing) if judged else None


def constrained() -> list[dict[str, Any]]:
    """What `eval` found of decoding within the schema's grammar, one row per model; empty if `eval.constrained` is 0."""
    rows = ((model, _metrics(model)) for model in ("base", "tuned"))
    return [{"name": model} | metrics["constrained"] for model, metrics in rows if "constrained" in metrics]


def _metrics(model: str) -> dict[str, Any]:
    content: dict[str, Any] = Report(f"eval/{model}/metrics", f"eval@{model}").content
    return content


def write_transitions(path: Path, other: Predictions, tuned: Predictions) -> None:
    """One line per record, `base,tuned`, for DVC's confusion plot."""
    pairs = (f"{before.outcome},{after.outcome}" for before, after in zip(other, tuned, strict=True))
    with atomic(path) as temporary:
        temporary.write_text("\n".join(["base,tuned", *pairs]) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    run_with_params("compare", __doc__, run)
