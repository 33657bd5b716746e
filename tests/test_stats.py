"""Intervals: known values, exact determinism, and coverage on clustered data."""

from __future__ import annotations

from dataclasses import astuple
from statistics import NormalDist

import numpy as np
import pytest

from hallmark.base import stats
from hallmark.base.stats import ClusterBootstrap, mcnemar, newcombe_paired, wilson


def bootstrap(groups, confidence=0.95, draws=1000, seed=7):
    return ClusterBootstrap(groups, confidence=confidence, draws=draws, seed=seed)


def test_wilson_of_nothing_tells_nothing_and_nonsense_is_an_error():
    assert astuple(wilson(0, 0, 0.95)) == (0.0, 0.0, 1.0)
    with pytest.raises(ValueError, match="4 successes of 3"):
        wilson(4, 3, 0.95)


def test_newcombe_is_the_published_interval_and_never_without_width():
    # Newcombe 1998, table II, method 10: 36 both, 12 and 2 changed, 0 neither
    assert astuple(newcombe_paired(36, 12, 2, 50, 0.95)) == pytest.approx((-0.2, -0.3404, -0.0569), abs=5e-5)
    assert astuple(newcombe_paired(36, 2, 12, 50, 0.95)) == pytest.approx((0.2, 0.0569, 0.3404), abs=5e-5)
    # 20 both, 16 neither: here, the correction for continuity counts
    assert astuple(newcombe_paired(20, 2, 12, 50, 0.95)) == pytest.approx((0.2, 0.0562, 0.3292), abs=5e-5)
    nothing = newcombe_paired(0, 0, 0, 100, 0.95)
    assert nothing.high == -nothing.low == pytest.approx(wilson(0, 100, 0.95).high)
    assert astuple(newcombe_paired(0, 0, 0, 0, 0.95)) == (0.0, -1.0, 1.0)
    with pytest.raises(ValueError, match="4, 1 and 1 of 5"):
        newcombe_paired(4, 1, 1, 5, 0.95)


def test_a_difference_of_rates_has_a_width_where_nothing_changed():
    groups = [f"{i % 20}" for i in range(100)]
    none = np.zeros(100, bool)
    assert astuple(bootstrap(groups).difference(none, none)) == (0, 0, 0)
    assert bootstrap(groups).rate_difference(none, none) == newcombe_paired(0, 0, 0, 100, 0.95)
    rng = np.random.default_rng(1)
    before, after = rng.random(100) < 0.4, rng.random(100) < 0.7
    wide, narrow = bootstrap(groups).rate_difference(before, after), bootstrap(groups).difference(before, after)
    assert wide.value == narrow.value
    assert wide.low <= narrow.low and wide.high >= narrow.high


def test_mcnemar_counts_only_what_changed():
    before = np.array([1] * 50 + [1] * 2 + [0] * 9 + [0] * 39)
    after = np.array([1] * 50 + [0] * 2 + [1] * 9 + [0] * 39)
    result = mcnemar(before, after)
    assert (result.lost, result.won) == (2, 9)
    assert result.p == pytest.approx(2 * sum(np.array([1, 11, 55])) / 2**11)  # two tails of Binomial(11, 1/2)
    assert mcnemar(before, before) == (0, 0, 1.0)
    with pytest.raises(ValueError, match="not paired"):
        mcnemar(before, after[1:])


def test_f1_family_from_counts():
    sums = np.array([[3.0, 1.0, 2.0], [0.0, 0.0, 0.0]])
    assert stats.precision(sums).tolist() == [0.75, 0.0]
    assert stats.recall(sums).tolist() == [0.6, 0.0]
    assert stats.f1(sums) == pytest.approx([2 * 0.75 * 0.6 / 1.35, 0.0])
    assert stats.macro_f1(np.array([[1.0, 0, 0, 0, 1, 1, 0, 0, 0]])) == pytest.approx([0.5])  # third label: not there


def test_an_interval_holds_its_value_however_skewed_the_draws_are():
    # Each label is right in one customer and wrong in another: a draw that has one of them only is at 0 or 1, on average below.
    seen = np.zeros((400, 3 * 200))
    for label in range(200):
        seen[2 * label, 3 * label] = seen[2 * label + 1, 3 * label + 2] = 1  # a true positive, a false negative
    found = bootstrap([f"{i}" for i in range(400)])
    drawn = np.quantile(found.drawn(seen, "macro_f1"), 0.999)
    interval = found.interval(seen, "macro_f1")
    assert drawn < interval.value == interval.high == pytest.approx(2 / 3)


def test_the_same_input_gives_the_same_digits_in_any_record_order():
    rng = np.random.default_rng(1)
    groups, values = rng.integers(0, 12, 300).astype(str), rng.random(300)
    order = rng.permutation(300)
    assert bootstrap(groups).mean(values) == bootstrap(groups[order]).mean(values[order])
    assert bootstrap(groups).mean(values) != bootstrap(groups, seed=8).mean(values)


def test_clusters_that_agree_inside_widen_the_interval():
    values = np.tile([0, 1], 100).astype(bool)
    together = np.repeat([f"c{i}" for i in range(20)], 10)  # five of each in a cluster
    alike = [f"c{i // 10}-{passed}" for i, passed in zip(range(200), values, strict=True)]  # all alike in a cluster
    narrow, wide = bootstrap(together).mean(values), bootstrap(alike).mean(values)
    assert narrow.high - narrow.low < 1e-9 < wide.high - wide.low
    assert bootstrap(together).rate(values).low == pytest.approx(wilson(100, 200, 0.95).low)  # the floor


def test_all_passed_is_not_certainty_and_one_customer_tells_nothing_of_others():
    assert bootstrap([f"c{i % 9}" for i in range(110)]).rate([True] * 110) == wilson(110, 110, 0.95)
    assert astuple(bootstrap(["only"] * 50).rate([True] * 25 + [False] * 25)) == (0.5, 0.0, 1.0)
    assert astuple(bootstrap(["only"] * 50).difference([0] * 50, [1] * 50)) == (1.0, -1.0, 1.0)


def test_a_difference_is_paired():
    rng = np.random.default_rng(3)
    groups = np.repeat([f"c{i}" for i in range(25)], 8)
    before = rng.random(200)
    plain = bootstrap(groups)
    assert astuple(plain.difference(before, before + 0.125)) == pytest.approx((0.125, 0.125, 0.125))
    table = np.column_stack([before > 0.5, before <= 0.5, before <= 0.5])
    assert astuple(plain.difference(table, table, stats.f1)) == (0.0, 0.0, 0.0)


def clustered(rng, customers, before_rate, gain=0.0):
    """Skewed customers, each with a pass rate of its own, shared by both models; `gain` is the true difference."""
    sizes = np.maximum(1, rng.geometric(1 / 6, customers))
    groups = np.repeat([f"c{i:03}" for i in range(customers)], sizes)
    rate = np.repeat(np.clip(rng.normal(before_rate, 0.15, customers), 0.02, 0.98), sizes)
    shift = np.repeat(rng.normal(0, 0.08, customers), sizes)  # customers differ in what they gain
    return groups, rng.random(len(groups)) < rate, rng.random(len(groups)) < np.clip(rate + shift + gain, 0, 1)


def test_false_alarms_are_near_five_in_a_hundred_and_power_is_as_stated():
    """The clustered interval keeps its level in A/A comparisons, and `records_needed` predicts its power."""
    rng = np.random.default_rng(11)
    normal = NormalDist()
    runs, alarms, found, stated = 400, 0, 0, []
    for run in range(runs):
        groups, before, after = clustered(rng, 10, 0.5)
        interval = bootstrap(groups, draws=400, seed=run).difference(before, after)
        alarms += not interval.low <= 0 <= interval.high
        groups, before, after = clustered(rng, 10, 0.5, gain=0.15)
        drawn = bootstrap(groups, draws=400, seed=run)
        found += drawn.difference(before, after).low > 0
        needed = drawn.records_needed(before, after, 0.15, 0.8) / len(groups)
        bar = -normal.inv_cdf(drawn._tail)  # in standard errors; over 1.96, since customers are few
        stated.append(normal.cdf((bar + normal.inv_cdf(0.8)) / needed**0.5 - bar))
    assert 0.025 <= alarms / runs <= 0.08
    assert found / runs == pytest.approx(np.median(stated), abs=0.07)


def test_records_needed_says_when_it_cannot_tell():
    assert bootstrap(["a", "b"] * 10).records_needed([1] * 20, [1] * 20, 0.05, 0.8) is None
