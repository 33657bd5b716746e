"""Made-up traffic of two releases, many times over, for the error rates of the canary's test; `python -m tests.canary_simulation`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from hallmark.service.monitoring.evidence import Look, Means, latest, log_evidence, points

DAYS, FIRST = 30, 12.0
GRID = 100  # means are rounded to this part of 1, to the weaker side
CELLS = 256
PART = 50  # runs at once
MARGIN, ALPHA = 0.1, 0.05
PROD = 0.15  # the mean over customers
CUSTOMERS = 1_000, 500  # of prod and canary


@dataclass(frozen=True)
class Traffic:
    """Requests and wrong ones to date: (runs, customers, looks), at the looks and at the end of each day."""

    requests: Any
    wrong: Any


def looks() -> list[Look]:
    """The looks of thirty days."""
    last = latest(24.0 * DAYS, FIRST)
    found = [Look(1, FIRST)]
    while last and found[-1].number < last.number:
        found.append(found[-1].next())
    return found


LOOKS = looks()
TIMES = sorted({look.hours / 24 for look in LOOKS} | {float(day) for day in range(1, DAYS + 1)})


def traffic(draw: np.random.Generator, runs: int, customers: int, mean: float) -> Traffic:
    """Customers of very uneven size. Most requests come from a few who come first and of whom each is nearly always
    right or nearly always wrong; on average over customers, this share is wrong."""
    shape = runs, customers
    rate = np.exp(draw.normal(-0.5, 1.5, shape))  # requests a day
    heavy = rate > 3
    kept = np.where(heavy, 0.5, 3.0)
    own = draw.beta(kept * mean, kept * (1 - mean))
    start = draw.exponential(np.where(heavy, 2.0, 8.0))
    requests, wrong, before = [], [], 0.0
    for time in TIMES:
        count = draw.poisson(rate * np.clip(time - np.maximum(start, before), 0, None))
        requests.append(count)
        wrong.append(draw.binomial(count, own))
        before = time
    return Traffic(np.cumsum(requests, axis=0), np.cumsum(wrong, axis=0))


def means(found: Traffic, at: int, mirrored: bool, up: bool) -> Means:
    """The customers' means to date in each run."""
    requests, wrong = found.requests[at], found.wrong[at]
    if mirrored:
        wrong = requests - wrong
    some = requests > 0
    exact = GRID * wrong[some] / requests[some]
    whole = (np.ceil(exact - 1e-6) if up else np.floor(exact + 1e-6)).astype(int)
    row = np.nonzero(some)[0]
    counts = np.bincount(row * (GRID + 1) + whole, minlength=len(requests) * (GRID + 1))
    return Means(np.arange(GRID + 1) / GRID, counts.reshape(len(requests), GRID + 1).astype(float))


@dataclass(frozen=True)
class Verdicts:
    """The day on which each run was rolled back or promoted, whichever was first; inf if never."""

    rolled_back: Any
    promoted: Any
    naive: Any


def verdicts(seed: int, runs: int, worse_by: float, customers: tuple[int, int] = CUSTOMERS) -> Verdicts:
    """What came of these runs, by the canary's test, and by a z-test of requests at 95 % repeated each day."""
    draw = np.random.default_rng(seed)
    parts = [_verdicts(draw, worse_by, customers) for _ in range(0, runs, PART)]
    return Verdicts(*(np.concatenate(days) for days in zip(*parts, strict=True)))


def _verdicts(draw: np.random.Generator, worse_by: float, customers: tuple[int, int]) -> tuple[Any, Any, Any]:
    prod, canary = traffic(draw, PART, customers[0], PROD), traffic(draw, PART, customers[1], PROD + worse_by)
    back, forth = np.full(PART, math.inf), np.full(PART, math.inf)
    for look in LOOKS:
        at, day = TIMES.index(look.hours / 24), look.hours / 24
        for mirrored, days in ((True, back), (False, forth)):
            line = points(MARGIN).mirrored() if mirrored else points(MARGIN)
            arms = means(canary, at, mirrored, True), means(prod, at, mirrored, False)
            shown = log_evidence(*arms, line, CELLS) >= look.wanted(ALPHA)
            days[shown] = np.minimum(days[shown], day)
    ended = np.minimum(back, forth)
    either = [np.where(days <= ended, days, math.inf) for days in (back, forth)]
    return either[0], either[1], repeated_z(prod, canary)


def repeated_z(prod: Traffic, canary: Traffic) -> Any:
    """The first day on which a one-sided z-test of requests says that the canary is worse by more than the margin."""
    days = np.full(prod.requests.shape[1], math.inf)
    for day in range(DAYS, 0, -1):
        at = TIMES.index(float(day))
        sizes = [np.maximum(arm.requests[at].sum(axis=1), 1) for arm in (prod, canary)]
        shares = [arm.wrong[at].sum(axis=1) / size for arm, size in zip((prod, canary), sizes, strict=True)]
        spread = np.sqrt(sum(share * (1 - share) / size for share, size in zip(shares, sizes, strict=True)))
        days[shares[1] - shares[0] - MARGIN > 1.645 * spread] = day
    return days


def row(worse_by: float, found: Verdicts) -> str:
    """A row of the table in docs/service-loop.md."""

    def share(days: Any) -> str:
        ended = np.isfinite(days)
        day = f", median day {np.median(days[ended]):.1f}" if ended.mean() > 0.1 else ""
        return f"{100 * ended.mean():.1f} %{day}"

    return (
        f"| {100 * worse_by:g} points | {share(found.rolled_back)} | {share(found.promoted)} | {share(found.naive)} |"
    )


if __name__ == "__main__":
    for worse_by in (0.0, 0.05, MARGIN, 0.15, 0.2, 0.25):
        print(row(worse_by, verdicts(1, 500, worse_by)), flush=True)
