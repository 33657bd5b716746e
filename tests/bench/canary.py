"""How often the canary's test is wrong, and how soon it decides: `python -m tests.bench.canary [--runs N]`.

Made-up customers of uneven size, some of whom come later than others. Each has a share of wrong answers of his own, and 30 %
of the answers are judged. Welch's t test of the same customers, at the same looks and with the same chances to err, shows
what the test costs, and what it is good for.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from scipy.stats import t

from hallmark.service.monitoring.evidence import Customers, adjusted, looks, lower
from tests.bench.page import show, table

ALPHA, RULES, DAYS = 0.05, 6, 30.0
LOOKS = looks(12.0, DAYS)
PART = 50  # runs at once
# How sizes spread (sigma of a log-normal), and how alike customers are (beta's a + b); "heavy": the largest come first, and
# each of them is nearly always right or nearly always wrong; "whole": a customer's answers are all right or all wrong.
KINDS = {"alike": (0.8, 8.0), "uneven": (1.2, 2.5), "heavy": (1.5, 3.0), "whole": (1.2, 0.02)}


@dataclass(frozen=True)
class Case:
    """Two releases. `wrong`: prod's mean over customers; `known`: whether they were there before the canary, too.

    `shared`: None, or in the shadow how much of what could be the same errors is, from 0 to 1; `prod` are all customers then.
    """

    kind: str = "uneven"
    prod: int = 1_800
    canary: int = 200
    wrong: float = 0.15
    worse_by: float = 0.0
    margin: float = 0.1
    known: bool = False
    shared: float | None = None


@dataclass(frozen=True)
class Days:
    """The day on which each run was rolled back or promoted, whichever was first; inf if never."""

    rolled_back: Any
    promoted: Any


def arm(draw: np.random.Generator, case: Case, customers: int, mean: float) -> tuple[list[Any], Any]:
    """The means of one release's customers at each look (runs, customers; nan: none yet), and before the canary."""
    sigma, alike = KINDS[case.kind]
    shape = PART, customers
    rate = np.exp(draw.normal(-0.5, sigma, shape))  # requests a day
    large = (rate > 3) & (case.kind == "heavy")
    own = draw.beta(*(np.where(large, 0.5, alike) * part + np.zeros(shape) for part in (mean, 1 - mean)))
    first = draw.exponential(np.where(large, 2.0, 4.0))  # day of the first request
    # What he had of prod before: his own share of wrong answers, without what the canary changed.
    earlier = draw.poisson(0.3 * rate * DAYS * (first < 4))
    before = _share(draw.binomial(earlier, own * case.wrong / mean), earlier)
    judged, wrong, found, last = np.zeros(shape, int), np.zeros(shape, int), [], 0.0
    for look in LOOKS:
        day = look.hours / 24
        new = draw.poisson(0.3 * rate * np.clip(day - np.maximum(first, last), 0, None))
        judged, wrong, last = judged + new, wrong + draw.binomial(new, own), day
        found.append(_share(wrong, judged))
    return found, before


def differences(draw: np.random.Generator, case: Case) -> list[Any]:
    """How much more often the canary is wrong in the shadow, of each customer, at each look (runs, customers)."""
    sigma, alike = KINDS[case.kind]
    shape, shared = (PART, case.prod), case.shared or 0.0
    rate = np.exp(draw.normal(-0.5, sigma, shape))  # requests a day
    large = (rate > 3) & (case.kind == "heavy")
    spread = np.where(large, 0.5, alike)
    own = [draw.beta(spread * case.wrong, spread * (1 - case.wrong))]
    # The canary's errors are added where prod makes none; or they hit some customers with all that they ask.
    part = case.worse_by / (1 - case.wrong)
    hit = draw.random(shape) < part
    own.append(np.where(hit, 1.0, own[0]) if case.kind == "whole" else own[0] + part * (1 - own[0]))
    both = own[0] * own[1] + shared * (np.minimum(*own) - own[0] * own[1])
    first = draw.exponential(np.where(large, 2.0, 4.0))  # day of the first request
    judged, ahead, found, last = np.zeros(shape, int), np.zeros(shape, int), [], 0.0
    for look in LOOKS:
        day = look.hours / 24
        new = draw.poisson(0.3 * rate * np.clip(day - np.maximum(first, last), 0, None))
        worse = draw.binomial(new, np.clip(own[1] - both, 0, 1))
        rest = np.clip((own[0] - both) / np.maximum(1 - own[1] + both, 1e-12), 0, 1)
        judged, ahead, last = judged + new, ahead + worse - draw.binomial(new - worse, rest), day
        found.append(_share(ahead, judged))
    return found


def _share(wrong: Any, of: Any) -> Any:
    return np.where(of > 0, wrong / np.maximum(of, 1), np.nan)


def decided(seed: int, runs: int, case: Case) -> tuple[Days, Days]:
    """What came of these runs by the canary's test, and by Welch's t test."""
    draw = np.random.default_rng(seed)
    parts = [_part(draw, case) for _ in range(0, runs, PART)]
    return tuple(
        Days(*(np.concatenate([getattr(part[which], name) for part in parts]) for name in ("rolled_back", "promoted")))
        for which in (0, 1)
    )  # type: ignore[return-value]


def _part(draw: np.random.Generator, case: Case) -> tuple[Days, Days]:
    days = np.full((2, 2, PART), math.inf)  # by test, and by verdict
    for look, verdicts in zip(LOOKS, (_alone if case.shared is None else _paired)(draw, case), strict=True):
        for test, by_test in enumerate(verdicts):
            for verdict, found in enumerate(by_test):
                days[test, verdict][found & np.isinf(days[test]).all(axis=0)] = look.hours / 24
    return Days(*days[0]), Days(*days[1])


def _alone(draw: np.random.Generator, case: Case) -> Iterator[list[tuple[Any, Any]]]:
    """The verdicts of both tests at each look, of customers whom one release answered."""
    prod, prod_before = arm(draw, case, case.prod, case.wrong)
    canary, canary_before = arm(draw, case, case.canary, case.wrong + case.worse_by)
    for look, now in zip(LOOKS, zip(canary, prod, strict=True), strict=True):
        arms = [_there(values) for values in now]
        if case.known:
            before = [
                [of[np.isfinite(at)] for of, at in zip(*both, strict=True)]
                for both in zip((canary_before, prod_before), now, strict=True)
            ]
            known = [
                adjusted(at, of) for at, of in zip(zip(*arms, strict=True), zip(*before, strict=True), strict=True)
            ]
            arms = [list(values) for values in zip(*known, strict=True)]
        canaries, prods = ([Customers.of(values) for values in of] for of in arms)
        raised = [one.mapped(1.0, case.margin) for one in prods]
        tests: list[tuple[Any, Any]] = []
        for test in (lower, welch):
            worse = _shown(test, prods, canaries, 1.0, 0.0, ALPHA / RULES * look.share)
            not_worse = _shown(test, canaries, raised, 1.0, case.margin, ALPHA * look.share)
            tests.append((worse & ~not_worse, not_worse))
        yield tests


def _paired(draw: np.random.Generator, case: Case) -> Iterator[list[tuple[Any, Any]]]:
    """The same of customers who were asked of both."""
    for look, now in zip(LOOKS, differences(draw, case), strict=True):
        better, ahead = ([Customers.of(one) for one in _there(values)] for values in (-now, now - case.margin))
        tests: list[tuple[Any, Any]] = []
        for test in (lower, welch):
            worse = _shown(test, better, [None] * PART, 1.0, 0.0, ALPHA / RULES * look.share)
            not_worse = _shown(test, ahead, [None] * PART, 1.0 - case.margin, 0.0, ALPHA * look.share)
            tests.append((worse & ~not_worse, not_worse))
        yield tests


def _there(values: Any) -> list[Any]:
    """Of each run, the customers who are there by now."""
    return [run[np.isfinite(run)] for run in values]


def _shown(test: Any, first: list[Any], second: list[Any], most: float, least: float, alpha: float) -> Any:
    return np.array([test(*pair, most, least, alpha) >= 1 for pair in zip(first, second, strict=True)])


def welch(first: Customers, second: Customers | None, _most: float, _least: float, alpha: float) -> float:
    """As `lower`, by Welch's t test, and for customers who are their own control by Student's."""
    second = second or Customers(0 * first.values, first.counts)
    sizes = [max(one.size, 2.0) for one in (first, second)]
    means = [one.counts @ one.values / size for one, size in zip((first, second), sizes, strict=True)]
    errors = [
        one.counts @ (one.values - mean) ** 2 / (size - 1) / size
        for one, mean, size in zip((first, second), means, sizes, strict=True)
    ]
    freedom = sum(errors) ** 2 / max(sum(e**2 / (n - 1) for e, n in zip(errors, sizes, strict=True)), 1e-30)
    return float((means[1] - means[0]) / math.sqrt(sum(errors) + 1e-12) / t.isf(alpha, max(freedom, 1)))


def share(days: Any) -> float:
    """In how many of the runs it came to that."""
    return float(np.isfinite(days).mean())


def _cell(days: Any) -> str:
    day = f", day {np.median(days[np.isfinite(days)]):.0f}" if share(days) > 0.1 else ""
    return f"{100 * share(days):.1f} %{day}"


def rows(cases: dict[str, Case], runs: int) -> list[list[str]]:
    """A row for each case."""
    found = []
    for name, case in cases.items():
        ours, others = decided(1, runs, case)
        cells = [ours.rolled_back, ours.promoted, others.rolled_back, others.promoted]
        found.append([name, *map(_cell, cells)])
        print(found[-1], file=sys.stderr)
    return found


HEAD = ["customers", "rolled back", "promoted", "t: rolled back", "t: promoted"]


def main() -> None:
    """Print how often each verdict comes."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.canary", description=__doc__)
    parser.add_argument("--runs", type=int, default=400, help="how many runs of each case (default: %(default)s)")
    runs = parser.parse_args().runs
    parts = [f"{runs} runs of {DAYS:g} days and {len(LOOKS)} looks for each row; the median day of the verdict."]
    for worse_by in (0.0, 0.1):
        cases = {}
        for kind in ("alike", "uneven", "heavy"):
            for sizes in ((1_800, 200), (200, 200), (280, 120)):
                case = Case(kind, *sizes, worse_by=worse_by)
                cases[f"{kind}, {sizes[0]:,} and {sizes[1]}"] = case
                if kind == "uneven":
                    cases[f"{kind}, {sizes[0]:,} and {sizes[1]}, known before"] = replace(case, known=True)
        for kind, customers, shared in product(("uneven", "heavy", "whole"), (100, 400, 2_000), (0.0, 0.5)):
            case = Case(kind, customers, 0, worse_by=worse_by, shared=shared)
            cases[f"{kind}, {customers:,} in the shadow, {100 * shared:g} % the same errors"] = case
        parts.append(f"{100 * worse_by:g} points worse:\n\n{table(HEAD, rows(cases, runs))}")
    show("The canary's test", "\n\n".join(parts))


if __name__ == "__main__":
    main()
