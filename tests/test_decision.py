"""The decision: each branch of its rule with results made up for it, and what must hold whatever was measured."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.base.stats import Interval
from hallmark.judge.decision import Failed, Handed, Main, Rules, Way, money, per_right, sides
from stages.decide import decide

RULES = Rules(margin=0.02, min_records=100, min_groups=8)
NO_PRICES = "Prices are not stated (benchmark.price_per_hour), so quality decides alone."


def around(value: float, by: float = 0.03) -> Interval:
    """An interval of that width on both sides."""
    return Interval(value, value - by, value + by)


def way(name: str = "tuned", right: float = 0.8, price: float | None = 0.05, **changes: object) -> Way:
    """A way that gets this share right; its lead is what that says against a tuned model that gets 80 % right."""
    kind = {"tuned": "tuned", "base": "base", "classical": "linear"}.get(name, "comparator")
    exact = around(right)
    opponent = {"tuned": "the tuned model", "base": "the base"}.get(name, f"what {name} is")
    made = Way(
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


def cascade(to: str, right: float, price: float | None, behind: float | None, alone: float = 0.7) -> Way:
    """A cascade that falls back to a way, or to a person (`behind` is None)."""
    handed = Handed(to, alone, 0.05, 0.9, None if behind is None else around(behind))
    return way(f"cascade_{to}", right, price, kind="cascade", lead=None, handed=handed)


TUNED, BASE = way(), way("base", 0.0, 0.06)


def test_a_rival_that_is_better_and_cheaper_says_do_not_tune() -> None:
    found = decide([TUNED, BASE, way("large", 0.9, 0.02)], "pass", RULES)
    assert (found.choice, found.use) == ("do_not_tune", "large")
    assert found.words == (
        "Do not tune: use large (what large is). The tuned model is 10.0 points (7.0 to 13.0) behind it in exact match, on "
        "400 records; 1,000 right answers cost 0.062 against 0.022."
    )


@pytest.mark.parametrize("gate", ["pass", "fail", "too_little_data"])
@pytest.mark.parametrize("name", ["base", "classical", "few_shot"])
def test_so_does_a_tie_with_anything_that_costs_no_more_whatever_the_gate_says(name: str, gate: str) -> None:
    found = decide([TUNED, way(name, 0.8, 0.05)], gate, RULES)  # type: ignore[arg-type]
    assert (found.choice, found.use) == ("do_not_tune", name)
    assert found.words.startswith("Do not tune: use ") and "is level (-3.0 to +3.0 points) with it" in found.words


def test_a_tie_with_a_dearer_rival_leaves_the_tuned_model() -> None:
    found = decide([TUNED, way("large", 0.8, 0.5)], "pass", RULES)
    assert (found.choice, found.use) == ("tuned", "tuned")
    found = decide([TUNED, way("large", 0.82, 0.5)], "pass", RULES)  # ahead, but not shown to be
    assert (found.choice, found.use) == ("tuned", "tuned")


def test_of_several_that_will_do_the_best_is_used_and_of_equals_the_cheapest() -> None:
    found = decide([TUNED, way("one", 0.83, 0.04), way("two", 0.85, 0.05), way("three", 0.85, 0.03)], "pass", RULES)
    assert found.use == "three"


def test_a_better_and_dearer_rival_is_the_fallback_of_a_cascade_that_keeps_up() -> None:
    found = decide([TUNED, way("large", 0.92, 2.0), cascade("large", 0.91, 0.65, 0.01)], "pass", RULES)
    assert (found.choice, found.use) == ("cascade", "cascade_large")
    assert found.words.startswith(
        "Use the cascade: the tuned model answers 70 % of the requests, large (what large is) the rest. "
        "It is 1.0 points (-2.0 to 4.0) behind large in exact match, and cheaper: 1,000 right answers cost 0.71 against 2.17."
    )


@pytest.mark.parametrize(
    "other",
    [
        [],
        [cascade("large", 0.85, 0.65, 0.07)],  # too far behind
        [cascade("large", 0.91, 2.1, 0.01)],  # dearer than the rival itself
        [cascade("large", 0.91, None, 0.01)],
        [cascade("other", 0.91, 0.65, 0.01)],  # falls back to something else
    ],
)
def test_without_such_a_cascade_it_is_a_trade_off_with_points_and_prices(other: list[Way]) -> None:
    found = decide([TUNED, way("large", 0.92, 2.0), *other], "pass", RULES)
    assert (found.choice, found.use) == ("trade_off", None)
    assert "12.0 points (9.0 to 15.0) behind large" in found.words and "0.062 against 2.17" in found.words


def test_the_tuned_model_is_used_if_it_is_shown_to_be_ahead_of_what_is_cheaper() -> None:
    found = decide([TUNED, BASE, way("few_shot", 0.6, 0.01)], "pass", RULES)
    assert (found.choice, found.use) == ("tuned", "tuned")
    assert found.words == (
        "Use the tuned model: it is 20.0 points (17.0 to 23.0) ahead of few_shot (what few_shot is) in exact match, on 400 "
        "records; 1,000 right answers cost 0.062 against 0.017."
    )
    assert len(found.reasons) == 2
    assert "against no price at all, since none is right." in found.reasons[0]


def test_with_a_person_it_says_what_the_tuned_model_may_answer_alone() -> None:
    person = cascade("person", 0.9, 30.0, None, alone=0.62)
    found = decide([TUNED, BASE, person], "pass", RULES)
    assert found.use == "tuned"
    said = (
        "With a person for the rest, the tuned model answers 62 % of the requests alone; on average over customers, at"
    )
    said += " most 5 % of these answers are wrong, with 90 % confidence."
    assert found.words.endswith(f"no other way gets a record right. {said}")
    unbounded = replace(person, handed=Handed("person", 0.0, None, 0.9, None))
    assert "person" not in decide([TUNED, BASE, unbounded], "pass", RULES).words


def test_a_model_that_the_gate_failed_is_not_shipped() -> None:
    dear = way("large", 0.9, 2.0)
    found = decide([TUNED, way("few_shot", 0.5, 0.01), dear], "fail", RULES)
    assert (found.choice, found.use) == ("do_not_ship", "large")
    assert found.words.startswith(
        "Do not ship the tuned model: the gate says fail. The best other way, which the gate has"
    )
    found = decide([TUNED, way("few_shot", 0.5, 0.01)], "fail", RULES)
    assert (found.choice, found.use) == ("do_not_ship", None)
    assert "No other way is better: it is 30.0 points" in found.words
    found = decide([TUNED, BASE, cascade("person", 0.9, 30.0, None)], "fail", RULES)
    assert (found.choice, found.use) == ("do_not_ship", None)
    assert "alone" not in found.words, "nobody should be told to let it answer"


def test_what_the_gate_could_not_decide_is_not_decided_here() -> None:
    found = decide([TUNED, way("few_shot", 0.5, 0.01)], "too_little_data", RULES)
    assert (found.choice, found.use) == ("too_little_data", None)
    assert found.words.startswith("Too little data: the gate could not decide")


def test_too_few_records_or_groups_decide_nothing() -> None:
    for changes, said in (({"records": 99}, "99 records of 40 groups"), ({"groups": 7}, "400 records of 7 groups")):
        found = decide([replace(TUNED, **changes), way("large", 0.9, 0.02)], "pass", RULES)
        assert (found.choice, found.use) == ("too_little_data", None)
        assert said in found.words and "asks for 100 of 8." in found.words


def test_a_lead_that_is_not_shown_over_what_is_not_dearer_is_too_little_data() -> None:
    rival = way("few_shot", 0.77, 0.04)  # 3 points behind, 0 to 6
    found = decide([TUNED, rival], "pass", RULES)
    assert (found.choice, found.use) == ("too_little_data", None)
    assert "A lead of more than 2 points must be shown" in found.words
    assert decide([TUNED, way("few_shot", 0.77, 0.5)], "pass", RULES).use == "tuned", (
        "nor is it needed if that is dearer"
    )


def test_a_small_sample_of_a_rival_replaces_nothing_unless_its_whole_interval_says_so() -> None:
    level = way("large", 0.8, 0.02, paired=50, groups=20)
    assert decide([TUNED, level], "pass", RULES).choice == "too_little_data"
    better = way("large", 0.9, 0.02, paired=50, groups=20)
    assert decide([TUNED, better], "pass", RULES).use == "large"


def test_without_prices_quality_decides_and_it_says_so() -> None:
    tuned = way(price=None)
    found = decide([tuned, way("large", 0.9, None)], "pass", RULES)
    assert (found.choice, found.use) == ("do_not_tune", "large")
    assert found.words.endswith(f"on 400 records. {NO_PRICES}")
    found = decide([tuned, way("few_shot", 0.5, None)], "pass", RULES)
    assert found.use == "tuned" and found.words.endswith(NO_PRICES)
    found = decide([tuned, way("large", 0.9, 3.0)], "pass", RULES)  # one price alone compares nothing
    assert found.use == "large" and "cost an unstated price against 3.33" in found.words


def test_a_price_in_batches_is_compared_with_one_in_batches() -> None:
    """Served one by one, the tuned model would seem dearer than few-shot prompting that was measured in batches."""
    tuned = way(price=0.5, in_batches=0.01)
    rival = way("few_shot", 0.8, 0.05, price_from="batches", in_batches=0.05)
    found = decide([tuned, rival], "pass", RULES)
    assert found.use == "tuned" and "cost 0.013 against 0.062, both in batches." in found.words
    assert decide([tuned, replace(rival, price_from="served")], "pass", RULES).use == "few_shot"


FLOOR = {"missed": "exact match 8.6 % (5.1 to 14.2), needed: at least 40 %"}


def test_what_the_gate_would_fail_for_its_answers_is_never_used() -> None:
    """Few-shot prompting that gets 8.6 % right was once the way to use, since the tuned model was no better."""
    tuned = way(right=0.06, limits="fail", missed="exact match 6.0 % (4.1 to 8.5), needed: at least 40 %")
    poor = way("few_shot", 0.086, 0.01, lead=around(-0.026), limits="fail", **FLOOR)
    for gate in ("fail", "pass"):
        found = decide([tuned, BASE, poor], gate, RULES)  # type: ignore[arg-type]
        assert (found.choice, found.use) == ("none", None)
        assert found.words == (
            "Use none of them: none is good enough. The best, few_shot (what few_shot is): exact match 8.6 % (5.1 to 14.2), "
            "needed: at least 40 %."
        )
    assert found.reasons[1].endswith(f" few_shot (what few_shot is) is not good enough: {FLOOR['missed']}.")
    ahead = replace(poor, exact_match=around(0.02), lead=around(0.04))
    assert "The best, the tuned model: exact match 6.0 %" in decide([tuned, ahead], "fail", RULES).words


def test_a_way_that_will_not_do_takes_nothing_from_one_that_will() -> None:
    cheap, good = way("cheap", 0.85, 0.01, limits="fail", **FLOOR), way("good", 0.81, 0.04)
    assert decide([TUNED, cheap, good], "pass", RULES).use == "good"
    found = decide([TUNED, cheap], "pass", RULES)
    assert found.use == "tuned"
    assert found.words.endswith(f"cheap (what cheap is) is not good enough: {FLOOR['missed']}.")
    found = decide([TUNED, cheap], "fail", RULES)
    assert (found.choice, found.use) == ("do_not_ship", None)
    assert "the gate says fail. No other way will do. cheap (what cheap is) is not good enough: exact" in found.words
    found = decide([TUNED, way("large", 0.92, 2.0), replace(cascade("large", 0.91, 0.65, 0.01), limits="fail")], "pass", RULES)  # fmt: skip
    assert found.choice == "trade_off"


def test_a_way_that_is_not_shown_to_be_good_enough_is_too_little_data() -> None:
    level = way("few_shot", 0.8, 0.01, limits="too_little_data", **FLOOR)
    found = decide([TUNED, level], "pass", RULES)
    assert (found.choice, found.use) == ("too_little_data", None)
    assert found.words.startswith("Too little data: few_shot (what few_shot is) is not shown to be good enough: exact")
    assert decide([TUNED, replace(level, price_per_1000_right=9.0)], "pass", RULES).use == "tuned", (
        "it is dearer anyway"
    )
    found = decide([replace(TUNED, limits="too_little_data", **FLOOR), BASE], "pass", RULES)
    assert found.words.startswith("Too little data: The tuned model is not shown to be good enough: exact match 8.6 %")
    found = decide([replace(TUNED, limits="fail", **FLOOR), way("few_shot", 0.7, 0.01)], "pass", RULES)
    assert found.words.startswith("Do not ship the tuned model: it is not good enough: exact match 8.6 %")


def test_nothing_right_anywhere() -> None:
    for gate in ("pass", "fail", "too_little_data"):
        found = decide([way(right=0.0), BASE, way("large", 0.0, 1.0)], gate, RULES)  # type: ignore[arg-type]
        assert (found.choice, found.use) == ("none", None)
        assert found.words == "Use none of them: no way gets a single record right."


def test_a_linear_model_that_gives_labels_only_can_be_used_by_nobody() -> None:
    linear = way("classical", 0.8, 0.0001, exact_match=None, lead=None, labels=around(0.99), price_per_1000_right=None)
    found = decide([TUNED, linear], "pass", RULES)
    assert found.use == "tuned" and found.reasons == []


def test_nothing_right_has_no_price_and_amounts_are_readable() -> None:
    assert per_right(0.1, around(0.0)) is None and per_right(None, around(0.5)) is None and per_right(0.1, None) is None
    assert per_right(0.0, around(0.5)) == 0
    assert [money(amount) for amount in (0.0351, 1.0, 1234.5)] == ["0.035", "1.00", "1,234.50"]
    assert sides(Interval(-0.02, -0.05, 0.01), "ahead of", "behind") == "2.0 points (-1.0 to 5.0) behind"


numbers = st.floats(0, 1).map(lambda number: round(number, 3))
outcomes = st.sampled_from(["pass", "fail", "too_little_data"])
amounts = st.none() | st.floats(0, 100).map(lambda number: round(number, 4))


@given(
    right=numbers,
    price=amounts,
    rivals=st.lists(st.tuples(numbers, amounts, st.integers(1, 500), outcomes), max_size=4),
    gate=outcomes,
    limits=outcomes,
)
def test_whatever_was_measured_the_decision_stands_by_its_word(right, price, rivals, gate, limits) -> None:
    tuned = way(right=right, price=price, limits=limits)
    others = [
        way(f"rival{at}", share, cost, lead=around(right - share), paired=paired, limits=kept)
        for at, (share, cost, paired, kept) in enumerate(rivals)
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
