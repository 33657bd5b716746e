"""Let the tuned model answer what it is sure of, and hand over the rest: `python -m stages.cascade`.

It reads the tuned model's answers to the calibration part and the holdout, and the fallback's to the holdout; it writes
reports/cascade.json. The calibration part has no other use: a third of its groups serve to fit a score, and the
probability that an answer with that score is right; the others bound the share of wrong answers above a threshold. The
holdout then shows how well the scores order answers, what the threshold does, and whether tuned model and fallback
together are better than either alone.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, replace

from hallmark.answer.predictions import answers_of, bootstrap_of
from hallmark.base.betting import mean_interval
from hallmark.base.files import REPORTS, write_json
from hallmark.base.measured import measured
from hallmark.base.stats import Interval
from hallmark.judge.calibration import by_hash, fit, reliability
from hallmark.judge.cascade import (
    HUMAN,
    AskedRisk,
    AtThreshold,
    CascadeReport,
    Fit,
    Part,
    System,
    in_order,
    of_bound,
    of_system,
    why_not,
)
from hallmark.judge.risk import Answers, Bound, bound
from hallmark.judge.risk_curve import Curve, area_difference, curve
from hallmark.judge.scores import RAW, Calibrated, missing, raw_of
from hallmark.params.loader import Params, run_with_params
from hallmark.task.predictions import CALIBRATION, Prediction, paired

log = logging.getLogger("cascade")

SHOWN = ("mean", "least", "sum")  # of the raw scores, those with a curve of their own
Predictions = Sequence[Prediction]


def run(params: Params) -> None:
    """Read the tuned model's answers to calibration part and holdout, and the fallback's; write reports/cascade.json."""
    with measured("cascade"):
        report = judged(params, answers_of("tuned", params), answers_of(CALIBRATION, params))
        write_json(REPORTS / "cascade.json", asdict(report))
    log.info("%s", " ".join(filter(None, (report.words, report.order_words))))


def judged(params: Params, tuned: Predictions, calibration: Predictions) -> CascadeReport:
    """The report; what can't be said is left out, with the reason in words."""
    settings, bootstrap = params.cascade, bootstrap_of(tuned, params)
    report = CascadeReport(
        applies=False,
        words=f"No cascade: {why_not(tuned, calibration)}.",
        confidence=settings.confidence,
        max_risk=settings.max_risk,
        fallback=settings.fallback,
        human_price=settings.human_price,
        records=len(tuned),
        groups=bootstrap.clusters,
        curves=[] if missing(tuned) else raw_curves(tuned, params),
        order=None,
        order_words="",
        fit=None,
        reliability=None,
        risks=[],
        system=None,
        handed_over=None,
    )
    if missing(tuned) or missing(calibration) or len({row.group for row in calibration}) < 2:
        return report

    # The score is fitted to one part of the customers, and says how it orders the holdout, which no fit has seen.
    fitted, kept = parts(calibration, params.seed)
    score = fit(raw_of(fitted), right(fitted), [row.group for row in fitted], params.seed)
    scores, wrong = [score.of(raw) for raw in raw_of(tuned)], [not row.exact_match for row in tuned]
    order = area_difference([raw[0] for raw in raw_of(tuned)], scores, wrong, bootstrap)
    report = replace(
        report,
        curves=[*report.curves, curve("calibrated", scores, wrong, bootstrap)],
        order=order,
        order_words=in_order(order, params.compare.confidence),
        fit=Fit(part_of(fitted), part_of(kept), score),
        reliability=reliability([score.probability(one) for one in scores], right(tuned)),
    )

    # Each risk that is asked for gets its threshold from the other customers alone.
    ordering, bounding = (answers(rows, [score.of(raw) for raw in raw_of(rows)]) for rows in (fitted, kept))
    asked = dict.fromkeys([*([settings.max_risk] if settings.max_risk is not None else []), *settings.report_risks])
    bounds = [bound(ordering, bounding, risk, settings.confidence) for risk in asked]
    report = replace(report, risks=[asked_risk(found, tuned, scores, score, params) for found in bounds])
    if settings.max_risk is None:
        return report

    # The first risk is the one that the cascade runs at.
    report = replace(report, applies=True, words=report.risks[0].words)
    threshold = report.risks[0].bound.threshold
    if threshold is None:
        return report
    goes_out = [one >= threshold for one in scores]
    handed_over = [row.id for row, out in zip(tuned, goes_out, strict=True) if not out]
    return replace(report, system=system(tuned, goes_out, params), handed_over=handed_over)


def parts(rows: Predictions, seed: int) -> tuple[list[Prediction], list[Prediction]]:
    """A third of the groups, for the score and the order of thresholds, and the rest, for the bounds alone.

    Which group goes where depends on its name and the seed alone, so nothing about its records can favour a bound.
    """
    order = by_hash([row.group for row in rows], seed, "cascade")
    first = {*order[: max(1, round(len(order) / 3))]}
    return [row for row in rows if row.group in first], [row for row in rows if row.group not in first]


def part_of(rows: Predictions) -> Part:
    return Part(len(rows), len({row.group for row in rows}), sum(right(rows)))


def right(rows: Predictions) -> list[bool]:
    """Whether each answer is an exact match."""
    return [row.exact_match for row in rows]


def answers(rows: Predictions, scores: Sequence[float]) -> Answers:
    return Answers(scores, [not row.exact_match for row in rows], [row.group for row in rows])


def raw_curves(tuned: Predictions, params: Params) -> list[Curve]:
    """The curves of the raw scores on the holdout."""
    table = dict(zip(RAW, zip(*raw_of(tuned), strict=True), strict=True))
    wrong, bootstrap = [not row.exact_match for row in tuned], bootstrap_of(tuned, params)
    return [curve(name, table[name], wrong, bootstrap) for name in SHOWN]


def asked_risk(
    found: Bound, tuned: Predictions, scores: Sequence[float], score: Calibrated, params: Params
) -> AskedRisk:
    """What came of asking for a risk, on the calibration part and on the holdout."""
    at = probability = None
    if found.threshold is not None:
        at = at_threshold(tuned, [one >= found.threshold for one in scores], params)
        probability = score.probability(found.threshold)
    return AskedRisk(found.asked, found, probability, at, of_bound(found, probability, params.cascade.confidence))


def at_threshold(tuned: Predictions, goes_out: Sequence[bool], params: Params) -> AtThreshold:
    """Coverage and risk of the answers that go out."""
    answered = [row for row, out in zip(tuned, goes_out, strict=True) if out]
    wrong = [not row.exact_match for row in answered]
    customers = answers(answered, [1.0] * len(answered)).rates(0.0)
    return AtThreshold(
        answered=len(answered),
        groups=len(customers),
        coverage=bootstrap_of(tuned, params).rate(goes_out).rounded(),
        risk=bootstrap_of(answered, params).rate(wrong).rounded() if answered else Interval(0.0, 0.0, 1.0),
        customers=mean_interval(customers, params.compare.confidence).rounded(),
    )


def system(tuned: Predictions, goes_out: Sequence[bool], params: Params) -> System:
    """Tuned model and fallback as one, on the records that both answered."""
    name = params.cascade.fallback
    if name == HUMAN:
        rows, fallback = tuned, [True] * len(tuned)
    else:
        others = answers_of(name, params)
        rows, fallback = paired(name, others, tuned), right(others)
    out_of = {row.id: out for row, out in zip(tuned, goes_out, strict=True)}
    out, alone = [out_of[row.id] for row in rows], right(rows)
    together = [own if goes else other for goes, own, other in zip(out, alone, fallback, strict=True)]
    bootstrap = bootstrap_of(rows, params)
    found = System(
        fallback=name,
        records=bootstrap.records,
        groups=bootstrap.clusters,
        answered=sum(out),
        coverage=bootstrap.rate(out).rounded(),
        wrong=bootstrap.rate([goes and not own for goes, own in zip(out, alone, strict=True)]).rounded(),
        exact_match=bootstrap.rate(together).rounded(),
        tuned=bootstrap.rate(alone).rounded(),
        fallback_alone=bootstrap.rate(fallback).rounded(),
        over_tuned=bootstrap.rate_difference(alone, together).rounded(),
        over_fallback=bootstrap.rate_difference(fallback, together).rounded(),
        words="",
    )
    return replace(found, words=of_system(found))


if __name__ == "__main__":
    run_with_params("cascade", __doc__, run)
