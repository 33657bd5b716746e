"""How much a bound on wrong answers costs, and how often it breaks: `python -m tests.bench.cascade [--sets N]`.

Made-up customers with answers of one score each, at 90 % confidence: a third fits, the others bound. "Oracle" knows the
risk of each threshold. "Broken" counts sets of customers whose threshold has a true risk above the one asked for. "By
Hoeffding-Bentkus" tests the same thresholds of the same customers by that bound on the mean of values from 0 to 1.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import takewhile
from typing import Any

import numpy as np
from scipy.stats import binom

from hallmark.judge.risk import Answers, bound, candidates
from tests.bench.page import show, table

CONFIDENCE = 0.9
# How many answers customers have, how clearly the score orders them, how right they are, and how unlike customers are.
KINDS: dict[str, tuple[Callable[[np.random.Generator, int], Any], float, float, float]] = {
    "clear": (lambda draw, count: 1 + draw.geometric(0.2, count), 2.2, 2.4, 0.8),
    "uneven": (lambda draw, count: 1 + np.minimum(np.exp(draw.normal(1, 1.3, count)), 300).astype(int), 2.2, 2.4, 0.8),
    "unlike": (lambda draw, count: 1 + draw.geometric(0.2, count), 2.2, 3.0, 2.5),
    "noisy": (lambda draw, count: 1 + draw.geometric(0.2, count), 1.0, 1.6, 0.8),
}


def drawn(draw: np.random.Generator, kind: str, count: int) -> tuple[Any, Any, Any]:
    """Scores, whether each answer is wrong, and whose it is."""
    sizes, slope, offset, unlike = KINDS[kind]
    groups = np.repeat(np.arange(count), sizes(draw, count))
    own, scores = draw.normal(0, unlike, count)[groups], draw.normal(0, 1, len(groups))
    wrong = draw.random(len(groups)) > 1 / (1 + np.exp(-(offset + slope * scores + own)))
    return scores, wrong, groups


class Truth:
    """The risk and coverage of each threshold, of very many customers."""

    def __init__(self, kind: str) -> None:
        """Of 60,000."""
        scores, wrong, groups = drawn(np.random.default_rng(9), kind, 60_000)
        self.thresholds = np.quantile(scores, np.linspace(0, 0.99, 300))
        risks = []
        for threshold in self.thresholds:
            out = scores >= threshold
            counts, errors = (np.bincount(groups[out], weights) for weights in (None, wrong[out]))
            risks.append((errors[counts > 0] / counts[counts > 0]).mean())
        self.risks = np.array(risks)
        self.coverages = np.array([(scores >= threshold).mean() for threshold in self.thresholds])

    def of(self, threshold: float | None) -> tuple[float, float]:
        """Risk and coverage; nothing goes out without a threshold."""
        if threshold is None:
            return 0.0, 0.0
        risk, coverage = (np.interp(threshold, self.thresholds, values) for values in (self.risks, self.coverages))
        return float(risk), float(coverage)


def hoeffding_bentkus(rates: Any, risk: float) -> float:
    """The p value of "the mean of `rates` is at least `risk`" (Bates, Angelopoulos, Lei, Malik and Jordan 2021)."""
    count, mean = len(rates), min(float(np.mean(rates)), risk)
    apart = sum(part * np.log(part / whole) for part, whole in ((mean, risk), (1 - mean, 1 - risk)) if part)
    return float(min(np.exp(-count * apart), np.e * binom.cdf(np.ceil(count * mean), count, risk)))


def by_others(fitted: Answers, rest: Answers, risk: float) -> float | None:
    """The lowest threshold by that bound."""
    times, alpha = rest.groups / fitted.groups, 1 - CONFIDENCE
    tried = candidates(fitted, risk, CONFIDENCE, np.log(alpha) / np.log(1 - risk) / times, times)
    return [None, *takewhile(lambda threshold: hoeffding_bentkus(rest.rates(threshold), risk) <= alpha, tried)][-1]


def row(kind: str, customers: int, risk: float, sets: int) -> list[object]:
    """Coverage of the oracle and of both bounds, and how often each is broken."""
    truth, draw, found = Truth(kind), np.random.default_rng(1), []
    for _ in range(sets):
        scores, wrong, groups = drawn(draw, kind, customers)
        names, first = groups.astype(str), groups < customers // 3
        fitted, rest = (Answers(scores[part], wrong[part], names[part]) for part in (first, ~first))
        both = bound(fitted, rest, risk, CONFIDENCE).threshold, by_others(fitted, rest, risk)
        found.append([truth.of(threshold) for threshold in both])
    oracle = truth.coverages[truth.risks <= risk].max(initial=0.0)
    cells = [f"{100 * oracle:.0f} %"]
    for risks, coverages in np.array(found).transpose(1, 2, 0):
        cells += [f"{100 * coverages.mean():.0f} %", f"{100 * (risks > risk).mean():.1f} %"]
    return [kind, customers, f"{100 * risk:g} %", *cells]


HEAD = ["scores", "customers", "risk", "oracle", "covered", "broken", "by Hoeffding-Bentkus", "broken"]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.cascade", description=__doc__)
    parser.add_argument("--sets", type=int, default=300, help="of customers, for each row (default: %(default)s)")
    sets = parser.parse_args().sets
    cases = [(kind, size, risk) for kind in KINDS for size in (153, 600) for risk in (0.1, 0.05)]
    show("The bound of the cascade", table(HEAD, [row(*case, sets) for case in cases]))


if __name__ == "__main__":
    main()
