"""Whether the holdout foretold what came later: what is said, and how often that is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hallmark.base.stats import newcombe_independent
from hallmark.judge.online import difference, judged, online
from hallmark.params.loader import load_params
from hallmark.task.predictions import Prediction
from tests.made_up import ROOT, prediction, typed, without_comparators

PARAMS = without_comparators(load_params(ROOT / "params.yaml"))
SETTINGS = PARAMS.compare.model_copy(update={"bootstrap_samples": 400})


def answers(passes: dict[str, list[bool]], start: int = 0) -> list[Prediction]:
    """The answers of each customer, right or wrong."""
    flat = [(group, passed) for group, rows in passes.items() for passed in rows]
    return [typed(prediction(start + i, group, "pass" if ok else "omission")) for i, (group, ok) in enumerate(flat)]


def evenly(customers: int, each: int, right: int) -> dict[str, list[bool]]:
    """Customers, each with its number of records and how many of them are right."""
    return {f"c{number}": [place < right for place in range(each)] for number in range(customers)}


def test_nothing_online_says_nothing() -> None:
    assert online(answers(evenly(10, 10, 8)), [], SETTINGS, 0) is None


@pytest.mark.parametrize(
    ("later", "verdict"),
    [
        (evenly(40, 10, 8), "foretold"),
        (evenly(40, 10, 5), "worse"),
        (evenly(40, 10, 10), "better"),
        (evenly(4, 5, 4), "too_little_data"),
        ({"c1": [True] * 300}, "too_little_data"),  # one customer, however loud
    ],
)
def test_the_verdict(later: dict[str, list[bool]], verdict: str) -> None:
    found = online(answers(evenly(40, 10, 8)), answers(later, 1000), SETTINGS, 0)
    assert found is not None
    assert (found.verdict, found.groups, found.shared_groups) == (verdict, len(later), len(later))
    assert found.difference.low <= found.difference.value <= found.difference.high


def drawn(random: np.random.Generator, customers: int, each: int, levels: Any) -> list[Prediction]:
    return answers({f"c{at}": (random.random(each) < levels[at]).tolist() for at in range(customers)})


def test_of_equal_parts_few_are_called_unequal_though_customers_differ() -> None:
    """Customers differ, as much as half are nearly always right and half at a coin's toss; all come again later."""
    random, wrong, runs = np.random.default_rng(1), 0, 120
    for run in range(runs):
        levels = random.choice([0.5, 0.98], size=25)
        parts = (drawn(random, 25, 8, levels), drawn(random, 12, 5, levels))
        found = difference(*parts, SETTINGS.model_copy(update={"bootstrap_samples": 200}), run)
        wrong += judged(found, 0.1) in ("better", "worse")
    assert wrong / runs <= 0.05 + 2.5 * (0.05 * 0.95 / runs) ** 0.5


def test_a_fall_that_is_large_enough_is_found() -> None:
    random, runs = np.random.default_rng(2), 30
    found = []
    for run in range(runs):
        levels = random.choice([0.7, 0.98], size=40)
        parts = (drawn(random, 40, 8, levels), drawn(random, 40, 6, levels - 0.25))
        found.append(judged(difference(*parts, SETTINGS.model_copy(update={"bootstrap_samples": 200}), run), 0.1))
    assert found.count("worse") >= 0.9 * runs


def test_newcombes_example() -> None:
    """Newcombe 1998, table II: 56 of 70 against 48 of 80, 0.2 (0.0524 to 0.3339)."""
    found = newcombe_independent((48, 80), (56, 70), 0.95)
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=1e-4)
