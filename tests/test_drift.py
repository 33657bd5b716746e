"""Drift: no shift is rarely called one, a planted one is found, and what is shown of it is nobody's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.judge.drift import Drift, Request, different, drift
from hallmark.judge.two_sample import permuted, separation
from hallmark.params.loader import load_params
from hallmark.service.monitoring.requests import of_traces
from hallmark.task.task import Task
from tests.made_up import ROOT

ONE_IN_TEN: dict[str, Any] = {"alpha": 0.1, "permutations": 19}
Texts = list[tuple[str, str]]  # customer and text


def said(
    random: np.random.Generator, customers: int, each: int, start: int, *, own: float = 0.7, new: float = 0.0
) -> Texts:
    """Texts of customers who like their own six words; of a share `new` of the texts, half is about something new."""
    found = []
    for number in range(start, start + customers):
        words = random.choice(150, 6)
        for _ in range(each):
            text = [
                f"own{random.choice(words)}" if random.random() < own else f"word{random.integers(40)}"
                for _ in range(8)
            ]
            if random.random() < new:
                text[:4] = ["outage", "since", "monday", f"region{random.integers(3)}"]
            found.append((f"c{number}", " ".join(text)))
    return found


def alarm(before: Texts, after: Texts, seed: int) -> bool:
    """Whether the test says that they differ, at a level of 10 %."""
    groups, texts = zip(*before, *after, strict=True)
    later = [number >= len(before) for number in range(len(texts))]
    return separation(texts, groups, later, alpha=0.1, permutations=19, seed=seed).p <= 0.1


def rate(runs: int, one: Callable[[np.random.Generator, int], bool]) -> float:
    random = np.random.default_rng(3)
    return sum(one(random, run) for run in range(runs)) / runs


def most(runs: int, level: float = 0.1) -> float:
    """What a true rate of `level` stays under in all but half a percent of such simulations."""
    return level + 2.6 * (level * (1 - level) / runs) ** 0.5


@pytest.mark.full
def test_no_shift_is_rarely_called_one_however_much_customers_differ() -> None:
    runs = 30
    assert rate(runs, lambda random, run: alarm(said(random, 10, 6, 0), said(random, 10, 6, 100), run)) <= most(runs)


def test_a_planted_shift_is_found() -> None:
    def one(random: np.random.Generator, run: int) -> bool:
        return alarm(said(random, 16, 6, 0, own=0.3), said(random, 16, 6, 100, own=0.3, new=0.45), run)

    assert rate(15, one) >= 0.85


def requests(texts: Texts, label: str = "refund") -> list[Request]:
    return [Request(group, text, {"intent": label}) for group, text in texts]


def planted(step: int = 1) -> Drift:
    """The drift of requests with a planted shift, in this order or (-1) in the other."""
    random = np.random.default_rng(4)
    before, after = said(random, 30, 6, 0, own=0.3), said(random, 30, 6, 100, own=0.3, new=0.4)
    after += [("c100", f"grudge about clause {number} " * 9) for number in range(20)]  # one customer's own word
    return drift(requests(before)[::step], requests(after, "delivery")[::step], 0, permutations=99)


@pytest.fixture(scope="module")
def shifted() -> Drift:
    return planted()


def test_what_moved_is_named_with_intervals_and_one_customers_words_are_not(shifted: Drift) -> None:
    assert (shifted.verdict, shifted.p) == ("drift", 0.01)
    found = {(each.by, each.name): each for each in shifted.slices}
    assert {("word", "outage"), ("word", "monday"), ("label", "intent: delivery")} <= found.keys()
    assert "grudge" not in str(shifted)
    outage = found["word", "outage"]
    assert (outage.reference, 0.2 < outage.today < 0.5) == (0.0, True)
    for each in shifted.slices:
        assert each.difference.value == pytest.approx(each.today - each.reference, abs=2e-6)
        assert not each.difference.low <= 0 <= each.difference.high


@pytest.mark.parametrize("customers", [0, 1, 7])
def test_too_few_customers_are_too_little_data(customers: int) -> None:
    random = np.random.default_rng(5)
    found = drift(requests(said(random, 20, 5, 0)), requests(said(random, customers, 30, 100)), 0)
    assert (found.verdict, found.auc, found.p, found.slices) == ("too_little_data", None, None, [])


@pytest.mark.parametrize("text", ["", "!", "\ud83d\ude00", "a", "same words each time"])
def test_texts_without_words_or_all_the_same_are_no_drift(text: str) -> None:
    rows = [Request(f"c{number}", f"{text}{' ' * number}" if number else text) for number in range(20)]
    found = drift(rows, rows, 0, **ONE_IN_TEN)
    assert found.verdict == "too_little_data"  # equal texts count once
    differing = [Request(f"c{number}", f"{text}{'!' * number}") for number in range(20)]
    assert drift(differing, differing, 0, **ONE_IN_TEN).verdict == "not_shown"


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.booleans()), min_size=2, max_size=40), st.integers(0, 99))
def test_a_permutation_keeps_each_customers_texts_together(rows: list[tuple[str, bool]], seed: int) -> None:
    groups, labels = [group for group, _ in rows], np.array([later for _, later in rows])
    sides: dict[str, set[bool]] = {}
    for group, later in rows:
        sides.setdefault(group, set()).add(later)
    alone = [group for group, of in sides.items() if len(of) == 1]
    for drawn in permuted(labels, groups, 5, seed):
        lots = {(group, bool(was)): bool(now) for group, was, now in zip(groups, labels, drawn, strict=True)}
        assert all(bool(now) == lots[group, bool(was)] for group, was, now in zip(groups, labels, drawn, strict=True))
        for group, of in sides.items():
            assert len(of) == 1 or lots[group, True] != lots[group, False]
        assert sum(lots[group, sides[group] == {True}] for group in alone) == sum(
            sides[group] == {True} for group in alone
        )


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.text(max_size=6)), max_size=30), st.integers(1, 9))
def test_each_text_counts_once_and_no_more_than_asked(rows: Texts, count: int) -> None:
    kept = different([Request(*row) for row in rows], count, 0)
    plain = [" ".join(row.text.lower().split()) for row in kept]
    assert len({*plain}) == len(plain) == min(count, len({" ".join(text.lower().split()) for _, text in rows}))


def test_traces_are_requests_once_each_and_invalid_answers_have_no_labels() -> None:
    task = Task(load_params(ROOT / "params.yaml").task)
    target = '{"intent":"refund","urgency":"normal","product":null,"amount":null,"date":null,"issues":[]}'
    ask = json.dumps([{"role": "system", "content": "s"}, {"role": "user", "content": "my parcel"}])
    row: dict[str, Any] = {"request": "r1", "route": "prod", "group": "c1", "caller": "k"}
    row |= {"messages": ask, "answer": target}
    rows = [
        row | {"schema_valid": True},
        row | {"route": "shadow", "answer": None, "schema_valid": None},
        row | {"request": "r2", "group": None, "schema_valid": False},
    ]
    damaged = [rows[0] | {"messages": text} for text in ("0", "[0]", "no JSON", '[{"role": "user"}]')]
    first, second = of_traces([*damaged, *rows], task)
    assert (first.group, first.text, first.labels["intent"]) == ("c1", "my parcel", "refund")
    assert (second.group, second.labels) == ("key k", {})
