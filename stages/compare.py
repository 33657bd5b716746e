"""Compare the tuned model with base, linear model and comparators on the same records: `python -m stages.compare`.

It reads the predictions of all of them, and what `eval`, `classical` and `sft` report; it writes reports/comparison.json,
and reports/transitions.csv for DVC's confusion plot. `report` makes the page that shows this.

Everything is paired: records that a baseline did not answer don't count in its comparison. The verdict asks two things of
exact match: the interval of the difference, from a bootstrap that draws customers, must leave out zero (records of one
customer resemble each other), and the exact McNemar test on the records that changed must agree (it is better with
small counts).
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import asdict

from hallmark.answer.measures import measures_of
from hallmark.answer.predictions import answers_of, bootstrap_of
from hallmark.base.files import REPORTS, write_json
from hallmark.base.stats import ClusterBootstrap, judge, mcnemar
from hallmark.judge.comparison import (
    Against,
    AgainstModel,
    Alone,
    Change,
    Comparison,
    MeasureAlone,
    MeasureResult,
    Power,
)
from hallmark.judge.failures import failures, failures_alone, possible
from hallmark.judge.linear import against_linear
from hallmark.judge.online import online
from hallmark.judge.paired_records import slices, transitions, words, write_transitions
from hallmark.judge.reported import EVALUATED, constrained, read_metrics, records_read
from hallmark.judge.retrieval import retrieval
from hallmark.params.loader import Params, run_with_params
from hallmark.task.measure import Measure
from hallmark.task.predictions import ONLINE, Prediction, paired
from hallmark.task.task import Task

log = logging.getLogger("compare")

Predictions = Sequence[Prediction]


def run(params: Params) -> None:
    """Read the predictions of all models; write reports/comparison.json and reports/transitions.csv."""
    task = Task(params.task)
    tuned = answers_of("tuned", params)
    others = {name: answers_of(name, params) for name in ("base", *params.eval.comparators)}
    measures = measures_of(task, [row for rows in (tuned, *others.values()) for row in rows])
    bootstrap = bootstrap_of(tuned, params)
    models = [against(name, rows, tuned, params, task, measures) for name, rows in others.items()]
    linear = against_linear(others, tuned, task, params.compare, params.seed, records_read(params.sft))
    later = online(tuned, answers_of(ONLINE, params), params.compare, params.seed)
    comparison = Comparison(
        records=bootstrap.records,
        groups=bootstrap.clusters,
        confidence=params.compare.confidence,
        tuned=alone(tuned, bootstrap, params, task, measures),
        against=Against(base=models[0], classical=linear, comparators=models[1:]),
        constrained=constrained(),
        retrieval=retrieval(others["base"], tuned, task, params.eval.facts),
        online=later,
    )
    write_json(REPORTS / "comparison.json", asdict(comparison))
    write_transitions(REPORTS / "transitions.csv", others["base"], paired("base", others["base"], tuned))
    leads = (
        f"{model.name} {100 * model.exact_match.difference.value:+.1f} ({model.verdict.replace('_', ' ')})"
        for model in models
    )
    log.info("exact match, points ahead of: %s", ", ".join(leads))


def against(
    name: str, other: Predictions, tuned: Predictions, params: Params, task: Task, measures: Sequence[Measure]
) -> AgainstModel:
    """The tuned model against one that gave these answers, on the same records in the same order."""
    tuned = paired(name, other, tuned)
    opponent = "the base" if name == "base" else read_metrics(name).as_(EVALUATED).words or name
    bootstrap, settings = bootstrap_of(tuned, params), params.compare
    before, after = ([row.exact_match for row in rows] for rows in (other, tuned))
    difference, test = bootstrap.rate_difference(before, after), mcnemar(before, after)
    needed = bootstrap.records_needed(before, after, settings.min_detectable_effect, settings.power)
    verdict = judge(difference, test.p, 1 - settings.confidence)
    return AgainstModel(
        name=name,
        opponent=opponent,
        records=bootstrap.records,
        groups=bootstrap.clusters,
        verdict=verdict,
        words=words(verdict, opponent, before, after, difference, test, settings.confidence),
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
            difference_asked_for=settings.min_detectable_effect,
            power=settings.power,
            records_needed=needed,
            smallest_difference=None
            if needed is None
            else round(settings.min_detectable_effect * math.sqrt(needed / bootstrap.records), 6),
        ),
        measures=[both(measure, other, tuned, bootstrap) for measure in measures],
        failures=failures(other, tuned, bootstrap, possible(task, [row.target for row in tuned], params.eval.facts)),
        transitions=transitions(other, tuned),
        slices=slices(other, tuned, settings.confidence),
    )


def both(measure: Measure, other: Predictions, tuned: Predictions, bootstrap: ClusterBootstrap) -> MeasureResult:
    """A measure of both models and their paired difference, with intervals."""
    before, after = (measure.columns(rows) for rows in (other, tuned))
    return MeasureResult(
        name=measure.name,
        words=measure.words,
        other=bootstrap.interval(before, measure.statistic).rounded(),
        tuned=bootstrap.interval(after, measure.statistic).rounded(),
        difference=bootstrap.interval_of_difference(before, after, measure.statistic).rounded(),
    )


def alone(
    tuned: Predictions, bootstrap: ClusterBootstrap, params: Params, task: Task, measures: Sequence[Measure]
) -> Alone:
    """The measures and failures of the tuned model on all records, with intervals."""
    return Alone(
        measures=[
            MeasureAlone(
                name=measure.name,
                words=measure.words,
                given=measure.given(task),
                tuned=bootstrap.interval(measure.columns(tuned), measure.statistic).rounded(),
            )
            for measure in measures
        ],
        failures=failures_alone(tuned, bootstrap, possible(task, [row.target for row in tuned], params.eval.facts)),
    )


if __name__ == "__main__":
    run_with_params("compare", __doc__, run)
