"""Scores of an answer: the raw ones that its tokens' log-probabilities give, the calibrated one, and its probability.

The calibrated score is a logistic regression on the raw scores; it orders the answers. Platt's sigmoid or an isotonic
curve turns it into a probability. That keeps the order but may rise in steps, so the score decides who goes first. All
of it is a few plain numbers, so whatever serves the model can compute it without a library.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from hallmark.task.predictions import Confidence, Prediction

RAW = ("mean", "least", "sum", "least_field")
LOWEST = -1e6  # of a log-probability: below it, one absurd answer would decide every scale
SURE = 1e-4  # a log-probability nearer to 0 is as good as 0: what is kept of it is rounded
KEPT = 6  # digits of a log-probability, as predictions have it
LARGEST = 1e12  # of a number that ships: with it, no sum is too large for a float
DIGITS = 9  # of a score or probability: the same after every way of adding up

Method = Literal["platt", "isotonic"]
Number = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
Scale = Annotated[float, Field(ge=1 / LARGEST, le=LARGEST)]
OF_EACH = Field(min_length=len(RAW), max_length=len(RAW))


def raw_scores(confidence: Confidence) -> tuple[float, ...]:
    """The scores that `RAW` names, each `-log(SURE - log-probability)`. An answer without fields is one field: its text.

    Most answers have log-probabilities near 0, where tenths make the difference between sure and nearly sure; the logarithm
    spreads them, and keeps their order. They are rounded as in a file of predictions, so an answer that is served has the
    scores that the threshold was set for.
    """
    least_field = min(confidence.fields.values(), default=confidence.sum)
    values = (confidence.mean, confidence.least, confidence.sum, least_field)
    return tuple(-math.log(SURE - min(max(round(value, KEPT), LOWEST), 0.0)) for value in values)


def raw_of(rows: Sequence[Prediction]) -> list[tuple[float, ...]]:
    """The raw scores of answers that have log-probabilities."""
    return [raw_scores(row.confidence) for row in rows if row.confidence is not None]


def missing(rows: Sequence[Prediction]) -> int:
    """How many answers have no log-probabilities."""
    return sum(row.confidence is None for row in rows)


@dataclass(frozen=True)
class Calibrated:
    """From raw scores to a score, and to the probability that the answer is right (exact match).

    The score is a logit: `intercept` plus the sum of `weights` times the raw scores, each less its mean and divided by its scale.
    Platt: the probability is the sigmoid of `slope * score + offset`. Isotonic: it is read off the line through the
    `knots` [score, probability], which is level beyond its ends.
    """

    means: Annotated[list[Number], OF_EACH]
    scales: Annotated[list[Scale], OF_EACH]
    weights: Annotated[list[Number], OF_EACH]
    intercept: Number
    method: Method
    slope: Number
    offset: Number
    knots: list[Annotated[list[Number], Field(min_length=2, max_length=2)]]

    def of(self, raw: Sequence[float]) -> float:
        """The score of an answer with these raw scores."""
        terms = zip(raw, self.means, self.scales, self.weights, strict=True)
        found = self.intercept + math.fsum((value - mean) / scale * weight for value, mean, scale, weight in terms)
        return round(found, DIGITS)

    def probability(self, score: float) -> float:
        return round(self.on_curve(score), DIGITS)

    def on_curve(self, score: float) -> float:
        """The same, not rounded."""
        return sigmoid(self.slope * score + self.offset) if self.method == "platt" else interpolated(score, self.knots)


def sigmoid(logit: float) -> float:
    """1 / (1 + exp(-logit)), for any logit."""
    small = math.exp(-abs(logit))
    return (1.0 if logit >= 0 else small) / (1.0 + small)


def interpolated(x: float, knots: Sequence[Sequence[float]]) -> float:
    """The line through the knots at `x`; level beyond its ends."""
    after = bisect_right(knots, x, key=lambda knot: knot[0])
    if after in (0, len(knots)):
        return knots[0 if after == 0 else -1][1]
    (left, low), (right, high) = knots[after - 1], knots[after]
    return low + (high - low) * (x - left) / (right - left)
