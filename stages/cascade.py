"""Let the tuned model answer what it is sure of, and hand over the rest: `python -m stages.cascade`.

On the calibration part, which serves nothing else, one third of the groups fits a score, and the probability that an
answer of that score is right, and the others bound the share of wrong answers from a threshold on. The holdout then says how well the scores order
answers, what the threshold does, and whether tuned model and fallback together are better than either alone.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict

from hallmark.base.files import REPORTS, write_json
from hallmark.base.measured import measured
from hallmark.base.stats import ClusterBootstrap, Interval
from hallmark.judge.calibration import by_hash, fit, reliability
from hallmark.judge.cascade import HUMAN, AskedRisk, AtThreshold, CascadeReport, Fit, Part, System
from hallmark.judge.risk import NOT_REACHED, Answers, Bound, bound, mean_interval
from hallmark.judge.risk_curve import Curve, area_difference, curve
from hallmark.judge.scores import RAW, Calibrated, raw_scores
from hallmark.params.loader import Params, run_with_params
from hallmark.task.predictions import CALIBRATION, Prediction, paired, read_predictions

log = logging.getLogger("cascade")

SHOWN = ("mean", "least", "sum")  # of the raw scores, those with a curve of their own
Predictions = Sequence[Prediction]


def run(params: Params) -> None:
    """Read the tuned model's answers to calibration part and holdout, and the fallback's; write reports/cascade.json."""
    with measured("cascade"):
        report = judged(params, read_predictions("tuned"), read_predictions(CALIBRATION))
        write_json(REPORTS / "cascade.json", asdict(report))
    log.info("%s", " ".join(filter(None, (report.words, report.order_words))))


def judged(params: Params, tuned: Predictions, calibration: Predictions) -> CascadeReport:
    """The report; what can't be said is left out, with the reason in words."""
    settings = params.cascade
    bootstrap = bootstrap_of(tuned, params)
    curves = curves_of(tuned, params) if not missing(tuned) else []
    empty = CascadeReport(
        applies=False,
        words=f"No cascade: {why_not(params, tuned, calibration)}.",
        confidence=settings.confidence,
        max_risk=settings.max_risk,
        fallback=settings.fallback,
        human_price=settings.human_price,
        records=len(tuned),
        groups=bootstrap.clusters,
        curves=curves,
        order=None,
        order_words="",
        fit=None,
        reliability=None,
        risks=[],
        system=None,
        handed_over=None,
    )
    if missing(tuned) or missing(calibration) or len({row.group for row in calibration}) < 2:
        return empty
    fitted, kept = parts(calibration, params.seed)
    score, methods = fit(
        raw_of(fitted), [row.exact_match for row in fitted], [row.group for row in fitted], params.seed
    )
    of_calibration = [[score.of(raw) for raw in raw_of(rows)] for rows in (fitted, kept)]
    scores = [score.of(raw) for raw in raw_of(tuned)]
    wrong = [not row.exact_match for row in tuned]
    order = area_difference([raw[0] for raw in raw_of(tuned)], scores, wrong, bootstrap)
    asked = dict.fromkeys([*([settings.max_risk] if settings.max_risk is not None else []), *settings.report_risks])
    ordering, bounding = (
        Answers(of_part, [not row.exact_match for row in rows], [row.group for row in rows])
        for of_part, rows in zip(of_calibration, (fitted, kept), strict=True)
    )
    risks = [
        asked_risk(risk, bound(ordering, bounding, risk, settings.confidence), tuned, scores, score, params)
        for risk in asked
    ]
    threshold = risks[0].bound.threshold if settings.max_risk is not None else None
    goes_out = [threshold is not None and one >= threshold for one in scores]
    return CascadeReport(
        **vars(empty)
        | {
            "applies": settings.max_risk is not None,
            "words": empty.words if settings.max_risk is None else risks[0].words,
            "curves": [*curves, curve("calibrated", scores, wrong, bootstrap)],
            "order": order,
            "order_words": in_order(order, params.compare.confidence),
            "fit": Fit(part_of(fitted), part_of(kept), methods, score),
            "reliability": reliability([score.probability(one) for one in scores], [not error for error in wrong]),
            "risks": risks,
            "system": None if threshold is None else system(tuned, goes_out, params),
            "handed_over": None
            if threshold is None
            else [row.id for row, out in zip(tuned, goes_out, strict=True) if not out],
        }
    )


def why_not(params: Params, tuned: Predictions, calibration: Predictions) -> str:
    """Why no threshold can be asked for, in words."""
    for rows, where in ((tuned, "the holdout"), (calibration, "the calibration part")):
        if lacking := missing(rows):
            return f"{lacking} of {len(rows)} answers to {where} have no log-probabilities (eval.engine gives none)"
    if not calibration:
        return "there is no calibration part (split.calibration is 0)"
    if len({row.group for row in calibration}) < 2:
        return "the calibration part has one group, and it takes two at least"
    return "none is asked for (cascade.max_risk is null)"


def missing(rows: Predictions) -> int:
    """How many answers have no log-probabilities."""
    return sum(row.confidence is None for row in rows)


def raw_of(rows: Predictions) -> list[tuple[float, ...]]:
    """The raw scores of answers that have log-probabilities."""
    return [raw_scores(row.confidence) for row in rows if row.confidence is not None]


def parts(rows: Predictions, seed: int) -> tuple[list[Prediction], list[Prediction]]:
    """A third of the groups, for the score and the order of thresholds, and the rest, for the bounds alone.

    Which group goes where depends on its name and the seed alone, so nothing about its records can favour a bound.
    """
    order = by_hash([row.group for row in rows], seed, "cascade")
    first = {*order[: max(1, round(len(order) / 3))]}
    return [row for row in rows if row.group in first], [row for row in rows if row.group not in first]


def part_of(rows: Predictions) -> Part:
    """What a part has."""
    return Part(len(rows), len({row.group for row in rows}), sum(row.exact_match for row in rows))


def bootstrap_of(rows: Predictions, params: Params) -> ClusterBootstrap:
    """The bootstrap that draws the groups of these records, as `compare` does."""
    settings = params.compare
    return ClusterBootstrap(
        [row.group for row in rows], confidence=settings.confidence, draws=settings.draws, seed=params.seed
    )


def curves_of(tuned: Predictions, params: Params) -> list[Curve]:
    """The curves of the raw scores on the holdout, and of the agreement of samples on the records that have it."""
    table = dict(zip(RAW, zip(*raw_of(tuned), strict=True), strict=True))
    wrong, bootstrap = [not row.exact_match for row in tuned], bootstrap_of(tuned, params)
    curves = [curve(name, table[name], wrong, bootstrap) for name in SHOWN]
    if sampled := [row for row in tuned if row.agreement is not None]:
        agreement = [row.agreement or 0.0 for row in sampled]
        errors = [not row.exact_match for row in sampled]
        curves.append(curve("agreement", agreement, errors, bootstrap_of(sampled, params)))
    return curves


def in_order(difference: Interval, confidence: float) -> str:
    """Whether the calibrated score is worth having, in a sentence."""
    found = f"area {difference.value:+.4f}, {confidence:.0%} interval {difference.low:+.4f} to {difference.high:+.4f}"
    if difference.high < 0:
        return f"The calibrated score orders answers better than the mean log-probability ({found})."
    if difference.low > 0:
        return f"The calibrated score orders answers worse than the mean log-probability ({found})."
    return f"The calibrated score orders answers no better than the mean log-probability, as far as is shown ({found})."


def asked_risk(
    risk: float, found: Bound, tuned: Predictions, scores: Sequence[float], score: Calibrated, params: Params
) -> AskedRisk:
    """What came of asking for a risk, on the calibration part and on the holdout."""
    at = probability = None
    if found.threshold is not None:
        at = at_threshold(tuned, [one >= found.threshold for one in scores], params)
        probability = score.probability(found.threshold)
    return AskedRisk(risk, found, probability, at, in_words(found, probability, params.cascade.confidence))


def at_threshold(tuned: Predictions, goes_out: Sequence[bool], params: Params) -> AtThreshold:
    """Coverage and risk of the answers that go out."""
    answered = [row for row, out in zip(tuned, goes_out, strict=True) if out]
    wrong = [not row.exact_match for row in answered]
    customers = Answers([1.0] * len(answered), wrong, [row.group for row in answered]).rates(0.0)
    return AtThreshold(
        answered=len(answered),
        groups=len(customers),
        coverage=bootstrap_of(tuned, params).rate(goes_out).rounded(),
        risk=bootstrap_of(answered, params).rate(wrong).rounded() if answered else Interval(0.0, 0.0, 1.0),
        customers=mean_interval(customers, params.compare.confidence).rounded(),
    )


def in_words(found: Bound, probability: float | None, confidence: float) -> str:
    """What came of asking for a risk, in a sentence or two."""
    asked = f"{100 * found.asked:g} %"
    if probability is not None:
        return (
            f"With {100 * confidence:g} % confidence, at most {asked} of the answers that a customer gets are wrong, on average "
            f"over customers who get any, if the model answers from a score of {found.threshold:.4g} on, a probability of {probability:.2g}. That is "
            f"{found.coverage:.1%} of the records, and {found.groups} customers, of those kept for bounds."
        )
    if found.outcome == NOT_REACHED:
        return (
            f"No threshold for {asked}: even the answers that look surest are wrong too often ({found.risk:.1%} of the answers "
            f"of each of {found.groups} customers, on average)."
        )
    needed = f"about {found.groups_needed}" if found.groups_needed is not None else f"more than {found.fewest}"
    return (
        f"No threshold for {asked} can be shown yet: {found.groups} customers of those kept for bounds get an "
        f"answer, and {needed} are needed (at least {found.fewest}, if none gets a wrong one)."
    )


def system(tuned: Predictions, goes_out: Sequence[bool], params: Params) -> System:
    """Tuned model and fallback as one, on the records that both answered."""
    name = params.cascade.fallback
    if name == HUMAN:
        rows, right = tuned, [True] * len(tuned)
    else:
        others = read_predictions(name)
        rows, right = paired(name, others, tuned), [row.exact_match for row in others]
    out_of = {row.id: out for row, out in zip(tuned, goes_out, strict=True)}
    out, alone = [out_of[row.id] for row in rows], [row.exact_match for row in rows]
    together = [own if goes else other for goes, own, other in zip(out, alone, right, strict=True)]
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
        fallback_alone=bootstrap.rate(right).rounded(),
        over_tuned=bootstrap.rate_difference(alone, together).rounded(),
        over_fallback=bootstrap.rate_difference(right, together).rounded(),
        words="",
    )
    return System(**vars(found) | {"words": of_system(found)})


def of_system(found: System) -> str:
    """The cascade in a sentence."""
    rest = "a person, taken to be always right," if found.fallback == HUMAN else found.fallback
    return (
        f"Of {found.records} records, the tuned model answers {found.coverage.value:.1%} and {rest} the rest: exact match "
        f"{found.exact_match.value:.1%} (tuned model alone {found.tuned.value:.1%}, fallback alone "
        f"{found.fallback_alone.value:.1%}); {found.wrong.value:.1%} of all records get a wrong answer of the tuned model."
    )


if __name__ == "__main__":
    run_with_params("cascade", __doc__, run)
