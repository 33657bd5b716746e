"""Compare the tuned model with base, linear model and comparators on the same records: `python -m stages.compare`.

Everything is paired: what an opponent was not asked does not count in its comparison. The verdict asks two things of exact match: the interval of the difference, from a bootstrap that
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

from hallmark.answer.measures import measures_of
from hallmark.answer.params import Compare, Eval
from hallmark.base.errors import HallmarkError
from hallmark.base.files import REPORTS, atomic, write_json
from hallmark.base.outcomes import FAILURES
from hallmark.base.reports import Report
from hallmark.base.stats import ClusterBootstrap, Interval, McNemar, evidence, judge, mcnemar, newcombe_paired
from hallmark.judge.comparison import (
    Against,
    AgainstModel,
    Alone,
    Change,
    Comparison,
    FailureAlone,
    FailureResult,
    GeneralResult,
    MeasureAlone,
    MeasureResult,
    NoiseFloor,
    Power,
    Slice,
    Transition,
)
from hallmark.judge.failure_chances import possible
from hallmark.judge.linear import against_linear
from hallmark.judge.metrics import writable
from hallmark.judge.online import online
from hallmark.judge.retrieval import retrieval
from hallmark.model.params import Sft
from hallmark.params.loader import Params, run_with_params
from hallmark.task.measure import Measure
from hallmark.task.predictions import (
    BANDS,
    ONLINE,
    Prediction,
    metrics_of,
    paired,
    predictions_of,
    read_predictions,
    stage_of,
)
from hallmark.task.task import Task

log = logging.getLogger("compare")

CONTENT = ("hallucination", "wrong_value", "omission")  # classes of answers that can be read; the form is judged first
Predictions = Sequence[Prediction]


def run(params: Params) -> None:
    """Read the predictions of all models; write reports/comparison.json and reports/transitions.csv."""
    tuned, task = read_predictions("tuned"), Task(params.task)
    check_whole(tuned)
    others = {name: read_predictions(name) for name in ("base", *params.eval.comparators)}
    measures = measures_of(task, [row for rows in (tuned, *others.values()) for row in rows], params.eval.spans)
    bootstrap = bootstrap_of(tuned, params)
    models = [against(name, rows, tuned, params, task, measures) for name, rows in others.items()]
    linear = against_linear(others, tuned, task, params.compare, params.seed, records_read(params.sft))
    later = online(tuned, read_predictions(ONLINE), params.compare, params.seed)
    for words in [*(model.words for model in models), linear.words, *([later.words] if later else [])]:
        log.info(words)
    comparison = Comparison(
        records=bootstrap.records,
        groups=bootstrap.clusters,
        confidence=params.compare.confidence,
        tuned=alone(tuned, bootstrap, task, measures, params.eval),
        against=Against(base=models[0], classical=linear, comparators=models[1:]),
        noise_floor=noise_floor(Report("eval/base/metrics", "eval@base"), params.compare.confidence),
        constrained=constrained(),
        general=general(),
        retrieval=retrieval(others["base"], tuned, task, params.eval.facts),
        online=later,
    )
    write_json(REPORTS / "comparison.json", asdict(comparison))
    write_transitions(REPORTS / "transitions.csv", others["base"], paired("base", others["base"], tuned))


def check_whole(tuned: Predictions) -> None:
    """Raise unless the tuned model answered the whole holdout."""
    held_out = _metrics("tuned").get("held_out", len(tuned))
    if held_out != len(tuned):
        raise HallmarkError(
            f"has {len(tuned)} records of {held_out} in the holdout",
            file=predictions_of("tuned"),
            remedy="run `dvc repro eval@tuned`, which makes it",
        )


def bootstrap_of(rows: Predictions, params: Params) -> ClusterBootstrap:
    """The bootstrap that draws the groups of these records."""
    settings = params.compare
    groups = [row.group for row in rows]
    return ClusterBootstrap(groups, confidence=settings.confidence, draws=settings.draws, seed=params.seed)


def against(
    name: str, rows: Predictions, tuned: Predictions, params: Params, task: Task, measures: Sequence[Measure]
) -> AgainstModel:
    """The tuned model against one that answered these records."""
    both = paired(name, rows, tuned)
    opponent = "the base" if name == "base" else _metrics(name).get("words", name)
    return compare(name, opponent, rows, both, bootstrap_of(both, params), params.compare, task, params.eval, measures)


def records_read(sft: Sft) -> int:
    """How many of the training records the tuned model was shown at least once: with few steps, not all."""
    report = Report("sft")
    passes, records = report.at("steps") * sft.passes, report.at("records", "train")
    if sft.batch_tokens is None:
        return int(min(passes * sft.batch_size, records))
    return round(min(passes / report.at("batches"), 1) * records)  # batches have different numbers of records


def compare(
    name: str,
    opponent: str,
    other: Predictions,
    tuned: Predictions,
    bootstrap: ClusterBootstrap,
    params: Compare,
    task: Task,
    scored: Eval,
    measures: Sequence[Measure],
) -> AgainstModel:
    """The tuned model against another, on the same records in the same order."""
    before, after = ([row.exact_match for row in rows] for rows in (other, tuned))
    difference, test = bootstrap.rate_difference(before, after), mcnemar(before, after)
    needed = bootstrap.records_needed(before, after, params.difference, params.power)
    verdict = judge(difference, test.p, 1 - params.confidence)
    return AgainstModel(
        name=name,
        opponent=opponent,
        records=bootstrap.records,
        groups=bootstrap.clusters,
        verdict=verdict,
        words=words(verdict, opponent, sum(before), sum(after), len(after), difference, test, params.confidence),
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
        measures=differences(other, tuned, bootstrap, measures, scored.spans),
        failures=failures(other, tuned, bootstrap, possible(task, [row.target for row in tuned], scored.facts)),
        transitions=transitions(other, tuned),
        slices=slices(other, tuned, params.confidence),
    )


def words(
    verdict: str,
    opponent: str,
    before: int,
    after: int,
    n: int,
    difference: Interval,
    test: McNemar,
    confidence: float,
) -> str:
    """The comparison in one line; `before` and `after` count the exact matches of `n` records."""
    start = {
        "better": f"The tuned model beats {opponent}",
        "worse": f"The tuned model is worse than {opponent}",
        "not_shown": f"No difference between the tuned model and {opponent} is shown",
    }[verdict]
    shown = evidence(verdict, difference, test, confidence)
    return f"{start}: exact match {after / n:.1%} against {before / n:.1%} of {n} records, {shown}"


def alone(
    tuned: Predictions, bootstrap: ClusterBootstrap, task: Task, measures: Sequence[Measure], scored: Eval
) -> Alone:
    """The measures and failures of the tuned model on all records, with intervals."""
    can = possible(task, [row.target for row in tuned], scored.facts)
    results = []
    for name in FAILURES:
        failing = [row.outcome == name for row in tuned]
        anywhere = [any(flags) for flags in zip(can[name], failing, strict=True)]  # what happened was possible
        results.append(
            FailureAlone(
                name=name,
                records=sum(failing),
                tuned=bootstrap.rate(failing).rounded(),
                possible=sum(anywhere),
                worst=bootstrap.rate(anywhere).rounded(),
            )
        )
    return Alone(
        measures=[
            MeasureAlone(
                name=measure.name,
                words=measure.words,
                given=measure.given(task),
                tuned=bootstrap.interval(measure.columns(tuned, scored.spans), measure.statistic).rounded(),
            )
            for measure in measures
        ],
        failures=results,
    )


def differences(
    other: Predictions,
    tuned: Predictions,
    bootstrap: ClusterBootstrap,
    measures: Sequence[Measure],
    spans: Sequence[str],
) -> list[MeasureResult]:
    """Each measure of both models and their paired difference, with intervals."""
    results = []
    for measure in measures:
        before, after = (measure.columns(rows, spans) for rows in (other, tuned))
        results.append(
            MeasureResult(
                name=measure.name,
                words=measure.words,
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


def constrained() -> list[dict[str, Any]]:
    """What `eval` found of decoding within the schema's grammar, one row per model; empty if `eval.constrained` is 0."""
    rows = ((model, _metrics(model)) for model in ("base", "tuned"))
    return [{"name": model} | metrics["constrained"] for model, metrics in rows if "constrained" in metrics]


def _metrics(model: str) -> dict[str, Any]:
    name = metrics_of(model).relative_to(REPORTS).with_suffix("").as_posix()
    content: dict[str, Any] = Report(name, stage_of(model)).content
    return content


def write_transitions(path: Path, other: Predictions, tuned: Predictions) -> None:
    """One line per record, `base,tuned`, for DVC's confusion plot."""
    pairs = (f"{before.outcome},{after.outcome}" for before, after in zip(other, tuned, strict=True))
    with atomic(path) as temporary:
        temporary.write_text("\n".join(["base,tuned", *pairs]) + "\n", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    run_with_params("compare", __doc__, run)
