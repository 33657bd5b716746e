"""The decision: each branch of its rule with results made up for it, and what must hold whatever was measured."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.base.stats import Interval
from hallmark.judge.decision import Failed, Gate, Handed, Main, Option, Rules, per_right
from stages.decide import decide

RULES = Rules(margin=0.02, min_records=100, min_groups=8)


def around(value: float, by: float = 0.03) -> Interval:
    """An interval of that width on both sides."""
    return Interval(value, value - by, value + by)


def option(name: str = "tuned", right: float = 0.8, price: float | None = 0.05, **changes: object) -> Option:
    """An option that gets this share right; its lead is what that says against a tuned model that gets 80 % right."""
    kind = {"tuned": "tuned", "base": "base", "classical": "linear"}.get(name, "comparator")
    exact = around(right)
    opponent = {"tuned": "the tuned model", "base": "the base"}.get(name, f"what {name} is")
    made = Option(
        name=name,
        title=name.capitalize(),
        kind=kind,  # type: ignore[arg-type]
        opponent=opponent,
        records=400,
        exact_match=exact,
        main=Main("field_f1", "Field F1", around(0.9)),
        labels=None,
        failures=[Failed("wrong_value", round(400 * (1 - right)))],
        lead=None if name == "tuned" else around(0.8 - right),
        paired=400,
        groups=40,
        latency_p95_s=1.0,
        latency_from="served",
        price_per_1000=price,
        price_per_1000_right=per_right(price, exact),
        price_from="none" if price is None else "served",
        in_batches=None,
        handed=None,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def cascade(to: str, right: float, price: float | None, behind: float | None, alone: float = 0.7) -> Option:
    """A cascade that falls back to an option, or to a person (`behind` is None)."""
    handed = Handed(to, alone, 0.05, 0.9, None if behind is None else around(behind))
    return option(f"cascade_{to}", right, price, kind="cascade", lead=None, handed=handed)


TUNED, BASE = option(), option("base", 0.0, 0.06)


LARGE, DEAR, FEW = option("large", 0.9, 0.02), option("large", 0.92, 2.0), option("few_shot", 0.5, 0.01)
KEEPS_UP = cascade("large", 0.91, 0.65, 0.01)
PERSON = cascade("person", 0.9, 30.0, None, alone=0.62)
FLOOR = {"missed": "exact match 8.6 % (5.1 to 14.2), needed: at least 40 %"}
UNSURE = option("few_shot", 0.8, 0.01, limits="too_little_data", **FLOOR)
CHEAP = option("cheap", 0.85, 0.01, limits="fail", **FLOOR)
POOR = option("few_shot", 0.086, 0.01, lead=around(-0.026), limits="fail", **FLOOR)
POOR_TUNED = option(right=0.06, limits="fail", missed="exact match 6.0 % (4.1 to 8.5), needed: at least 40 %")
IN_BATCHES = option("few_shot", 0.8, 0.05, price_from="batches", in_batches=0.05)

# The options, the gate's verdict, what is decided, and what is used.
CASES: list[tuple[list[Option], Gate, str, str | None]] = [
    # a rival that is better, or as good, and no dearer
    ([TUNED, BASE, LARGE], "pass", "do_not_tune", "large"),
    *(
        ([TUNED, option(name, 0.8, 0.05)], gate, "do_not_tune", name)
        for name in ("base", "classical", "few_shot")
        for gate in ("pass", "fail", "too_little_data")
    ),
    # a rival that is better and dearer: a cascade, if it keeps up with it and is cheaper
    ([TUNED, DEAR, KEEPS_UP], "pass", "cascade", "cascade_large"),
    ([TUNED, DEAR], "pass", "trade_off", None),
    ([TUNED, DEAR, cascade("large", 0.85, 0.65, 0.07)], "pass", "trade_off", None),
    ([TUNED, DEAR, cascade("large", 0.91, 2.1, 0.01)], "pass", "trade_off", None),
    ([TUNED, DEAR, cascade("large", 0.91, None, 0.01)], "pass", "trade_off", None),
    ([TUNED, DEAR, cascade("other", 0.91, 0.65, 0.01)], "pass", "trade_off", None),
    ([TUNED, DEAR, replace(KEEPS_UP, limits="fail")], "pass", "trade_off", None),
    # the tuned model, if it is shown to be ahead of what is cheaper
    ([TUNED, BASE, option("few_shot", 0.6, 0.01)], "pass", "tuned", "tuned"),
    ([TUNED, option("large", 0.82, 0.5)], "pass", "tuned", "tuned"),
    ([TUNED, option("few_shot", 0.77, 0.5)], "pass", "tuned", "tuned"),
    ([TUNED, option("few_shot", 0.77, 0.04)], "pass", "too_little_data", None),
    ([TUNED, BASE, PERSON], "pass", "tuned", "tuned"),
    # what the gate did not pass
    ([TUNED, FEW, DEAR], "fail", "do_not_ship", "large"),
    ([TUNED, FEW], "fail", "do_not_ship", None),
    ([TUNED, FEW], "too_little_data", "too_little_data", None),
    # too few records, or too few of a rival
    ([replace(TUNED, records=99), LARGE], "pass", "too_little_data", None),
    ([replace(TUNED, groups=7), LARGE], "pass", "too_little_data", None),
    ([TUNED, option("large", 0.8, 0.02, paired=50, groups=20)], "pass", "too_little_data", None),
    ([TUNED, replace(LARGE, paired=50, groups=20)], "pass", "do_not_tune", "large"),
    # no prices, or one alone; and prices in batches, which are compared with those in batches
    ([option(price=None), option("large", 0.9, None)], "pass", "do_not_tune", "large"),
    ([option(price=None), option("few_shot", 0.5, None)], "pass", "tuned", "tuned"),
    ([option(price=None), option("large", 0.9, 3.0)], "pass", "do_not_tune", "large"),
    ([option(price=0.5, in_batches=0.01), IN_BATCHES], "pass", "tuned", "tuned"),
    ([option(price=0.5, in_batches=0.01), replace(IN_BATCHES, price_from="served")], "pass", "do_not_tune", "few_shot"),
    # what the gate would fail for its answers is never used, and takes nothing from what will do
    ([POOR_TUNED, BASE, POOR], "fail", "none", None),
    ([POOR_TUNED, BASE, POOR], "pass", "none", None),
    ([TUNED, CHEAP, option("good", 0.81, 0.04)], "pass", "do_not_tune", "good"),
    ([TUNED, CHEAP], "pass", "tuned", "tuned"),
    ([TUNED, CHEAP], "fail", "do_not_ship", None),
    ([TUNED, UNSURE], "pass", "too_little_data", None),
    ([TUNED, replace(UNSURE, price_per_1000_right=9.0)], "pass", "tuned", "tuned"),
    ([replace(TUNED, limits="too_little_data", **FLOOR), BASE], "pass", "too_little_data", None),
    ([replace(TUNED, limits="fail", **FLOOR), option("few_shot", 0.7, 0.01)], "pass", "do_not_ship", None),
    ([option(right=0.0), BASE, option("large", 0.0, 1.0)], "pass", "none", None),
]


@pytest.mark.parametrize(("options", "gate", "choice", "use"), CASES)
def test_what_is_decided(options: list[Option], gate: Gate, choice: str, use: str | None) -> None:
    found = decide(options, gate, RULES)
    assert (found.choice, found.use) == (choice, use)


def test_a_person_is_named_only_where_the_tuned_model_may_answer() -> None:
    unbounded = replace(PERSON, handed=Handed("person", 0.0, None, 0.9, None))
    assert "person" not in decide([TUNED, BASE, unbounded], "pass", RULES).words
    assert "alone" not in decide([TUNED, BASE, PERSON], "fail", RULES).words


numbers = st.floats(0, 1).map(lambda number: round(number, 3))
outcomes = st.sampled_from(["pass", "fail", "too_little_data"])
amounts = st.none() | st.floats(0, 100).map(lambda number: round(number, 4))


@given(
    right=numbers,
    price=amounts,
    baselines=st.lists(st.tuples(numbers, amounts, st.integers(1, 500), outcomes), max_size=4),
    gate=outcomes,
    limits=outcomes,
)
def test_whatever_was_measured_the_decision_stands_by_its_word(right, price, baselines, gate, limits) -> None:
    tuned = option(right=right, price=price, limits=limits)
    others = [
        option(f"rival{at}", share, cost, lead=around(right - share), paired=paired, limits=kept)
        for at, (share, cost, paired, kept) in enumerate(baselines)
    ]
    found = decide([tuned, *others], gate, RULES)
    of = {one.name: one for one in (tuned, *others)}
    assert found.words and len(found.reasons) == len(others)
    assert found.use is None or (of[found.use].exact_match.value > 0 and of[found.use].limits == "pass")
    if found.use == "tuned":
        assert gate == "pass"
        for one in others:  # nothing that costs less, or as much, is as good, and good enough
            if one.limits != "fail" and one.price_per_1000_right is not None and tuned.price_per_1000_right is not None:
                assert one.price_per_1000_right > tuned.price_per_1000_right or one.lead.low > RULES.margin
    if found.choice == "do_not_tune":
        one = of[found.use]
        assert one.lead.value <= RULES.margin
        if one.price_per_1000_right is not None and tuned.price_per_1000_right is not None:
            assert one.price_per_1000_right <= tuned.price_per_1000_right
    assert decide([tuned, *others[::-1]], gate, RULES).choice == found.choice, "their order decides nothing"
