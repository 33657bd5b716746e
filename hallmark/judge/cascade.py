"""The cascade: the tuned model answers what it is sure of, and the rest goes to a fallback. What is reported and shipped.

`Shipped` is the content of `cascade.json` in a release: with it and the log-probabilities of an answer, whatever serves
the model decides whether the answer goes out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from hallmark.base.figures import percent, rate
from hallmark.base.params import Share
from hallmark.base.reports import Amount, Count
from hallmark.base.stats import Interval
from hallmark.judge.calibration import Reliability
from hallmark.judge.risk import BOUNDED, NOT_REACHED, Bound
from hallmark.judge.risk_curve import Curve
from hallmark.judge.scores import RAW, Calibrated, Number, missing, raw_scores
from hallmark.task.predictions import Confidence, Prediction

HUMAN = "human"  # the fallback that is always right


@dataclass(frozen=True)
class Part:
    """Records of the calibration part, their groups, and how many the tuned model got right."""

    records: Count
    groups: Count
    right: Count


@dataclass(frozen=True)
class Fit:
    """The calibrated score, what it was fitted to, and the part that is kept for bounds."""

    fitted: Part
    kept: Part
    score: Calibrated


@dataclass(frozen=True)
class AtThreshold:
    """On the holdout: how many records and groups get an answer, and how many of these answers are wrong.

    `risk`: of the answers (groups drawn, as everywhere); `customers`: the mean over customers of the share of their
    answers that is wrong, which is what the bound is about, with an interval that holds for any number of customers.
    """

    answered: Count
    groups: Count
    coverage: Interval
    risk: Interval
    customers: Interval


@dataclass(frozen=True)
class AskedRisk:
    """A risk, its threshold with the bound, in words too, and what that threshold does on the holdout (None: none).

    `probability`: that an answer with the score of the threshold is right.
    """

    risk: float
    bound: Bound
    probability: float | None
    holdout: AtThreshold | None
    words: str


@dataclass(frozen=True)
class System:
    """Tuned model and fallback as one, on the records that both answered; a person is taken to be always right.

    `wrong`: records to which the tuned model gives a wrong answer that goes out; those of the fallback are what else
    `exact_match` lacks. Differences: the cascade less the tuned model, or the fallback, alone.
    """

    fallback: str
    records: Count
    groups: Count
    answered: Count
    coverage: Interval
    wrong: Interval
    exact_match: Interval
    tuned: Interval
    fallback_alone: Interval
    over_tuned: Interval
    over_fallback: Interval
    words: str


@dataclass(frozen=True)
class CascadeReport:
    """All of reports/cascade.json. `applies`: whether a threshold could be asked for; `words` says why not, or what it is.

    `risks`: those asked for, `cascade.max_risk` first. `handed_over`: the records of the holdout that go to the fallback,
    by id, in its order; None if there is no threshold for `max_risk`. `human_price`: of one answer by a person.
    """

    applies: bool
    words: str
    confidence: Share
    max_risk: float | None
    fallback: str
    human_price: Amount | None
    records: Count
    groups: Count
    curves: list[Curve]
    order: Interval | None
    order_words: str
    fit: Fit | None
    reliability: Reliability | None
    risks: list[AskedRisk]
    system: System | None
    handed_over: list[str] | None

    @property
    def chosen(self) -> AskedRisk | None:
        """What came of asking for `max_risk`."""
        return self.risks[0] if self.applies and self.risks else None

    @property
    def threshold(self) -> float | None:
        """The lowest score at which the tuned model answers; None if there is none."""
        return self.chosen.bound.threshold if self.chosen and self.chosen.bound.outcome == BOUNDED else None


@dataclass(frozen=True)
class Shipped:
    """The content of cascade.json: how sure the model must be to answer, how that is computed, and what it rests on."""

    version: Literal[1]
    raw_scores: list[str]
    score: Calibrated
    threshold: Number
    max_risk: Share
    confidence: Share
    groups: Annotated[int, Field(ge=1)]
    fallback: str


@dataclass(frozen=True)
class Decision:
    """Of one answer: its score (None: it has none), the probability that it is right, and whether it goes out."""

    score: float | None
    probability: float
    answer: bool


def shipped(report: CascadeReport) -> dict[str, Any] | None:
    """What a release says of its cascade; None if there is no threshold."""
    chosen, threshold = report.chosen, report.threshold
    if chosen is None or threshold is None or report.fit is None:
        return None
    return asdict(
        Shipped(
            version=1,
            raw_scores=[*RAW],
            score=report.fit.score,
            threshold=threshold,
            max_risk=chosen.risk,
            confidence=report.confidence,
            groups=chosen.bound.groups,
            fallback=report.fallback,
        )
    )


def read_shipped(content: Any) -> Shipped:
    """The content of a cascade.json, checked as if a stranger had written it; ValueError says what is wrong."""
    from pydantic import TypeAdapter, ValidationError

    try:
        found = TypeAdapter(Shipped).validate_json(json.dumps(content, allow_nan=False), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    if asdict(found) != content:
        raise ValueError("a key that is not known, or a number that is none")
    score, places = found.score, [place for place, _ in found.score.knots]
    for wrong, what in (
        (found.raw_scores != [*RAW], "raw_scores: not those that are known"),
        (places != sorted({*places}), "score.knots: not in rising order"),
        (not all(0 <= chance <= 1 for _, chance in score.knots), "score.knots: not probabilities"),
        (score.method == "isotonic" and not places, "score.knots: none"),
    ):
        if wrong:
            raise ValueError(what)
    return found


def apply(cascade: Shipped, confidence: Confidence | None) -> Decision:
    """Whether an answer with these log-probabilities goes out. Without any it is handed over."""
    if confidence is None:
        return Decision(None, 0.0, answer=False)
    if not all(map(math.isfinite, (confidence.sum, confidence.mean, confidence.least, *confidence.fields.values()))):
        return Decision(None, 0.0, answer=False)
    score = cascade.score.of(raw_scores(confidence))
    return Decision(score, cascade.score.probability(score), answer=score >= cascade.threshold)


def why_not(tuned: Sequence[Prediction], calibration: Sequence[Prediction]) -> str:
    """Why no threshold can be asked for, or none is."""
    for rows, where in ((tuned, "the holdout"), (calibration, "the calibration part")):
        if lacking := missing(rows):
            return f"{lacking} of {len(rows)} answers to {where} have no log-probabilities (eval.engine gives none)"
    if not calibration:
        return "there is no calibration part (split.calibration is 0)"
    if len({row.group for row in calibration}) < 2:
        return "the calibration part has one group, and at least two are needed"
    return "none is asked for (cascade.max_risk is null)"


def in_order(difference: Interval, confidence: float) -> str:
    """Whether the calibrated score is worth having, in a sentence."""
    found = (
        f"area {difference.value:+.4f}, {percent(confidence)} interval {difference.low:+.4f} to {difference.high:+.4f}"
    )
    if difference.high < 0:
        return f"The calibrated score orders answers better than the mean log-probability ({found})."
    if difference.low > 0:
        return f"The calibrated score orders answers worse than the mean log-probability ({found})."
    return f"The calibrated score is not shown to order answers better than the mean log-probability ({found})."


def of_bound(found: Bound, probability: float | None, confidence: float) -> str:
    """What came of asking for a risk, in a sentence or two."""
    asked = percent(found.asked)
    if probability is not None:
        return (
            f"If the model answers only with a score of at least {found.threshold:.4g} (a probability of {probability:.2g}), at most {asked} of its "
            f"answers are wrong, on average over customers who get any, with {percent(confidence)} confidence. In the test of this "
            f"bound, it answered {rate(found.coverage)} of the records, of {found.groups} customers."
        )
    if found.outcome == NOT_REACHED:
        return (
            f"No threshold for {asked}: even the most confident answers are wrong too often ({rate(found.risk)} of the answers "
            f"of each of {found.groups} customers, on average)."
        )
    needed = f"about {found.groups_needed}" if found.groups_needed is not None else f"more than {found.fewest}"
    return (
        f"No threshold for {asked} yet: in the test of the bound, {found.groups} customers get an answer, and {needed} are "
        f"needed (at least {found.fewest}, if none gets a wrong one)."
    )


def of_system(found: System) -> str:
    rest = "a person, assumed to be always right," if found.fallback == HUMAN else found.fallback
    return (
        f"Of {found.records} records, the tuned model answers {rate(found.coverage.value)} and {rest} the rest: exact match "
        f"{rate(found.exact_match.value)} (tuned model alone {rate(found.tuned.value)}, fallback alone "
        f"{rate(found.fallback_alone.value)}); {rate(found.wrong.value)} of all records get a wrong answer of the tuned model."
    )
