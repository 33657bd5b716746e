"""The canary's test errs as seldom as it says, with looks each day and customers of any size; what it counts is what was there."""

from __future__ import annotations

import json
import math
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hallmark.params.service import Canary
from hallmark.service.monitoring import canary_words as say
from hallmark.service.monitoring.canary import (
    NOT_APPLICABLE,
    NOT_WORSE,
    OVER,
    PROMOTE,
    ROLL_BACK,
    TOO_LITTLE,
    WITHIN,
    WORSE,
    Report,
    judge,
    overall,
)
from hallmark.service.monitoring.canary_plan import needed, words
from hallmark.service.monitoring.evidence import Customers, adjusted, likelihood_ratio, looks, lower
from hallmark.service.traces.store import table
from hallmark.service.traces.trace import Feedback, Trace
from tests.bench.canary import ALPHA, Case, decided, share

START = datetime(2030, 1, 1, tzinfo=UTC)
VERSIONS = "v1.0.0", "v1.1.0"
MARGINS = dict.fromkeys(["wrong", "schema_breaks", "handed_over", "failed", "slow"], 0.1) | {
    "complaints": None,
    "price": 0.5,
}


# --- error rates -------------------------------------------------------------------------------------------------


def full(*of: Any, **named: Any) -> Any:
    return pytest.param(Case(*of, **named), marks=pytest.mark.full)


@pytest.mark.parametrize(
    "case",
    [
        Case(worse_by=0.1),
        full("heavy", 200, 200, worse_by=0.1, known=True),
        Case("whole", 200, 200, wrong=0.002, worse_by=0.05, margin=0.05),
        full("whole", 1_800, 200, wrong=0.02, worse_by=0.05, margin=0.05),
        Case("alike", 40, 20, worse_by=0.1),
        full(prod=400, worse_by=0.1, shared=0.5),
        full("whole", 60, wrong=0.02, worse_by=0.1, shared=0.0),
    ],
    ids=str,
)
def test_one_that_is_worse_by_the_margin_is_hardly_ever_promoted(case):
    ours, _ = decided(1, 100, case)
    assert share(ours.promoted) <= ALPHA


@pytest.mark.parametrize(
    "case",
    [
        Case(),
        full("heavy", known=True),
        full("whole", 200, 200, wrong=0.02),
        full("heavy", 200, shared=0.0),
        Case("alike", 40, margin=0.2, shared=0.0),
    ],
    ids=str,
)
def test_an_equal_one_is_hardly_ever_rolled_back_and_mostly_promoted(case):
    ours, _ = decided(2, 100, case)
    assert share(ours.rolled_back) <= ALPHA
    assert share(ours.promoted) >= 0.8


def test_one_that_is_ten_points_worse_is_rolled_back():
    ours, welch = decided(3, 100, Case(worse_by=0.1))
    assert share(ours.rolled_back) >= 0.8
    assert share(welch.promoted) > 5 * ALPHA, "a t test of few customers promotes it"


# --- the test of one look ----------------------------------------------------------------------------------------

ARM = st.lists(st.sampled_from([0.0, 0.1, 0.25, 1 / 3, 0.5, 1.0]), min_size=1, max_size=30)


@given(ARM, ARM, st.randoms())
def test_one_side_at_most_is_shown_in_any_order_of_customers(first, second, random):
    sides = [Customers.of(first), Customers.of(second)]
    mixed = [Customers.of(random.sample(one, len(one))) for one in (first, second)]
    found = likelihood_ratio(*[one.and_one(value) for one, value in zip(sides, (1.0, 0.0), strict=True)])
    assert found == likelihood_ratio(*[one.and_one(value) for one, value in zip(mixed, (1.0, 0.0), strict=True)])
    other = lower(sides[1], sides[0], 1.0, 0.0, 0.05)
    assert min(found, other) == 0


def test_what_was_before_explains_customers_and_not_the_releases():
    draw = np.random.default_rng(1)
    before = [draw.beta(0.3, 2.0, size) for size in (400, 600)]
    now = [
        np.clip(arm + draw.normal(0, 0.02, len(arm)) + worse, 0, 1) for arm, worse in zip(before, (0.1, 0), strict=True)
    ]
    before[0][:50] = np.nan
    canary, prod = adjusted(now, before)
    assert canary.mean() - prod.mean() == pytest.approx(0.1, abs=0.02)
    assert canary.std() < now[0].std() / 1.5
    assert adjusted(now, [np.full(len(arm), np.nan) for arm in now])[0] is now[0]


# --- looks -------------------------------------------------------------------------------------------------------


@given(st.floats(0.001, 20), st.floats(1, 300))
def test_looks_share_what_may_go_wrong_and_the_last_is_at_the_end(first, days):
    found = looks(first, days)
    assert sum(look.share for look in found) == pytest.approx(1)
    assert found[-1].hours == 24 * days
    assert first <= found[0].hours < 1.5 * first + 1e-9
    assert [look.number for look in found] == [*range(1, len(found) + 1)]


# --- what is counted ---------------------------------------------------------------------------------------------

COUNTER = iter(range(10**9))


def trace(**of: Any) -> Trace:
    number = next(COUNTER)
    base: dict[str, Any] = dict.fromkeys(one.name for one in fields(Trace))
    base |= {"id": f"tr-{number:032x}", "request": str(number), "time": START, "caller": "", "route": "prod"}
    base |= {"version": VERSIONS[0], "digest": "", "outcome": "answered", "reason": "no_cascade", "messages": "[]"}
    base |= {"answer": "{}", "schema_valid": True, "total_s": 1.0, "price": 0.0001, "masked": True}
    return Trace(**(base | of))


def block(**of: Any) -> Canary:
    content = {
        "confidence": 0.95,
        "first_look_hours": 0.99,
        "days": 1.5**4 / 24,
        "margins": MARGINS,
        "slow_seconds": 10.0,
    }
    return Canary.model_validate(content | {"price_at_most": 0.001} | of)


def judged(traces: list[Trace], *, feedback: dict[str, str] | None = None, hours: float = 1.0, **of: Any) -> Report:
    """The verdict; `feedback`: what was said of traces, by id."""
    said = [
        Feedback(trace=name, time=START + timedelta(minutes=1), caller="", verdict=verdict, target=None)  # type: ignore[arg-type]
        for name, verdict in (feedback or {}).items()
    ]
    max_risk = of.pop("max_risk", 0.1)
    now = START + timedelta(hours=hours)
    return judge(table(traces), said, VERSIONS, START, now, block(**of), max_risk)


def both(count: int, prod: dict[str, Any] | None = None, canary: dict[str, Any] | None = None) -> list[Trace]:
    """One request each of this number of customers of each release."""
    sides = (("prod", prod, "p"), ("canary", canary, "c"))
    return [
        trace(route=route, version=version, group=f"{letter}{number}", **(of or {}))
        for (route, of, letter), version in zip(sides, VERSIONS, strict=True)
        for number in range(count)
    ]


def outcomes(report: Report) -> dict[str, str]:
    return {rule.name: rule.outcome for rule in report.rules}


def test_equal_releases_with_enough_customers_are_promoted():
    traces = both(300)
    found = judged(traces, feedback={one.id: "accepted" for one in traces})
    assert found.verdict == PROMOTE
    assert set(outcomes(found).values()) == {NOT_WORSE}
    assert "not worse than v1.0.0 by more than the margins, in all 6 rules" in say.headline(found)
    assert json.loads(json.dumps(found.as_json(), allow_nan=False))["verdict"] == PROMOTE


def test_with_too_little_data_there_is_no_verdict():
    silent = judged(both(300))
    assert (silent.verdict, outcomes(silent)["wrong"]) == (TOO_LITTLE, TOO_LITTLE)
    early = judged(both(300), hours=0.9)
    assert (early.verdict, early.rules, early.look) == (TOO_LITTLE, [], None)
    assert "2030-01-01 01:00 UTC" in say.headline(early)
    nothing = judged([], hours=100)
    assert (nothing.verdict, say.table(nothing, 10.0)[1][1:4]) == (TOO_LITTLE, ("-", "-", "-"))


@pytest.mark.parametrize(
    ("rule", "of"),
    [
        ("schema_breaks", {"schema_valid": False}),
        ("handed_over", {"outcome": "handed_over", "reason": "unsure"}),
        ("handed_over", {"reason": "unsure", "fallback": "{}"}),
        ("handed_over", {"reason": "upstream", "fallback": "{}", "schema_valid": None, "answer": None}),
        ("failed", {"outcome": "failed", "reason": "upstream", "schema_valid": None, "answer": None}),
        ("slow", {"total_s": 11.0}),
        ("price", {"price": 0.0009}),
    ],
)
def test_a_release_that_is_worse_in_one_thing_is_rolled_back(rule, of):
    found = judged(both(60, canary=of))
    assert (found.verdict, outcomes(found)[rule]) == (ROLL_BACK, WORSE)
    shown = next(one for one in found.rules if one.name == rule)
    assert shown.low is not None and shown.margin <= shown.low <= shown.value
    assert rule in say.headline(found)


@pytest.mark.parametrize(("margin", "verdict"), [(0.1, PROMOTE), (0.03, ROLL_BACK)])
def test_one_that_is_worse_for_sure_is_promoted_only_within_the_margin(margin, verdict):
    traces = both(2_000)
    broken = [replace(one, schema_valid=number % 25 > 0) for number, one in enumerate(traces[2_000:])]
    found = judged([*traces[:2_000], *broken], margins=MARGINS | {"wrong": None, "schema_breaks": margin})
    rule = next(one for one in found.rules if one.name == "schema_breaks")
    assert rule.curve[-1].worse > 1 and 0 < rule.low < rule.high
    assert (found.verdict, rule.high <= margin) == (verdict, verdict == PROMOTE)
    assert say.table(found, 10.0)[1][-1] == ("Within the margin" if verdict == PROMOTE else "Worse")


@pytest.mark.parametrize("verdict", ["accepted", "rejected"])
def test_an_answer_that_never_went_out_is_not_judged(verdict):
    traces = both(60, canary={"outcome": "handed_over", "reason": "unsure"})
    found = judged(traces, feedback={one.id: verdict for one in traces if one.route == "canary"})
    assert (found.judged["canary"], outcomes(found)["wrong"]) == (0, TOO_LITTLE)


def test_corrected_and_rejected_answers_are_wrong_ones():
    traces = both(60)
    said = {
        one.id: ("accepted" if one.route == "prod" else ("corrected", "rejected")[i % 2])
        for i, one in enumerate(traces)
    }
    found = judged(traces, feedback=said)
    assert outcomes(found)["wrong"] == WORSE
    wrong = found.rules[0]
    assert (wrong.prod, wrong.canary, wrong.canary_customers) == (0.0, 1.0, 60)
    some = {name: verdict for name, verdict in said.items() if verdict != "accepted"}  # of all answers, judged or not
    assert outcomes(judged(traces, feedback=some, margins=MARGINS | {"complaints": 0.1}))["complaints"] == WORSE


def asked_of_both(count: int, canary: dict[str, Any] | None = None, **prod: Any) -> list[Trace]:
    """A request of each of a number of customers, which prod answers, and the canary in the shadow."""
    found = [trace(group=f"p{number}", answer='{"a":1}', **prod) for number in range(count)]
    shadow = {"route": "shadow", "version": VERSIONS[1]} | (canary or {})
    return [*found, *(replace(one, id=f"{one.id}s", **shadow) for one in found)]


@pytest.mark.parametrize(
    ("said", "target", "answer", "outcome"),
    [
        ("accepted", None, '{"a": 1}', NOT_WORSE),
        ("accepted", None, '{"a":2}', WORSE),
        ("corrected", '{"a":2}', '{"a": 2}', NOT_WORSE),
        ("corrected", '{"a":2}', '{"a":1}', NOT_WORSE),  # prod was as wrong
        ("rejected", None, '{"a":1}', NOT_WORSE),
        ("rejected", None, '{"a":2}', NOT_WORSE),  # whatever was right, prod's was not
    ],
)
def test_what_was_said_of_prods_answer_judges_the_shadows(said, target, answer, outcome):
    traces = asked_of_both(100, {"answer": answer})
    words = [Feedback(trace=one.id, time=START, caller="", verdict=said, target=target) for one in traces[:100]]

    def found(same):
        return judge(table(traces), words, VERSIONS, START, START + timedelta(hours=1), block(), None, same)

    report = found(lambda one, other: json.loads(one) == json.loads(other))
    assert (report.rules[0].outcome, report.rules[0].paired) == (outcome, True)
    assert report.shadow == {"requests": 100, "customers": 100, "judged": 100}
    if answer == '{"a":2}' and said == "rejected":
        assert report.rules[0].low == -1.0 and report.rules[0].high > 0, "it may be right, or wrong too"
    assert any("100 with a known answer; they decide wrong, schema_breaks" in line for line in say.counted(report))
    words_alone = found(None)
    assert (words_alone.rules[0].outcome, words_alone.rules[0].paired) == (TOO_LITTLE, False)


def test_a_plan_says_what_prods_customers_can_show():
    traces = [
        trace(time=START + timedelta(hours=i / 100), group=f"p{i}", price=0.0002 + 0.0001 * (i % 2)) for i in range(400)
    ]
    of = table(traces), [], START + timedelta(hours=5), block()
    found = {one.rule: one for one in needed(*of, 0.5, shadow=False)}
    assert (found["wrong"].known, found["wrong"].customers) == (0, None)
    failed = found["failed"]
    assert failed.days and failed.least_margin < 0.1 and failed.customers < failed.known
    assert found["price"].least_worse > 0.5, "the margin is allowed"
    assert failed.least_worse > failed.margin - failed.least_margin, "what is shown to be within the margin is promoted"
    shadow = {one.rule: one for one in needed(*of, 0.0, shadow=True)}
    assert shadow["price"].customers < found["price"].customers
    assert "at most, if a canary in the shadow is asked" in words([failed], 1.0, 0.0, shadow=True)[0]
    for nobody in (0.0, 1.0):
        (line,) = words(list(found.values()), 1.0, nobody, shadow=False)
        assert "customers of both" in line
    few = needed(table(traces[:40]), *of[1:], 0.5, shadow=False)
    assert next(one for one in few if one.rule == "failed").customers > 40
    assert "failed: 10 points take" in "\n".join(words(list(found.values()), 1.0, 0.5, shadow=False))


def test_between_two_looks_nothing_changes():
    traces = both(50) + [trace(time=START + timedelta(hours=1.2), group=f"late{i}") for i in range(50)]
    assert judged(traces).as_json() == judged(traces, hours=1.4).as_json()
    assert judged(traces, hours=1.5).customers["prod"] == 100


def test_only_the_two_releases_on_their_own_routes_since_the_canary_answers_count():
    odd = [
        trace(version="v0.9.0", group="x"),
        trace(version=VERSIONS[1], route="shadow", group="x"),
        trace(version=VERSIONS[1], route="batch", group="x"),
        trace(version=VERSIONS[0], route="canary", group="x"),
        trace(time=START - timedelta(seconds=1), group="x"),
    ]
    found = judged(both(5) + odd)
    assert found.customers == {"prod": 5, "canary": 5}
    late = [trace(group="early"), *(trace(time=START + timedelta(minutes=5), group=f"p{i}") for i in range(3))]
    late += [trace(time=START + timedelta(minutes=5), group="c", route="canary", version=VERSIONS[1])]
    found = judged(late, hours=1.2)
    assert (found.since, found.customers) == (START + timedelta(minutes=5), {"prod": 3, "canary": 1})


def test_one_customer_counts_once_however_many_requests_he_sends():
    traces = both(30) + [
        trace(route="canary", version=VERSIONS[1], group="c0", schema_valid=False) for _ in range(1_000)
    ]
    found = judged(traces)
    rule = next(one for one in found.rules if one.name == "schema_breaks")
    assert rule.canary == pytest.approx(1000 / 1001 / 30)
    assert rule.outcome == TOO_LITTLE


def test_whoever_changes_sides_counts_for_the_first():
    moved = trace(time=START + timedelta(minutes=3), group="p0", route="canary", version=VERSIONS[1])
    found = judged([*both(5), moved])
    assert (found.changed_sides, found.requests) == (1, {"prod": 5, "canary": 5})
    assert any("answered by both" in note for note in say.notes(found))


def test_a_key_is_the_customer_of_what_has_no_group_and_is_no_group_of_that_name():
    traces = [*both(2), *(trace(caller="desk") for _ in range(3)), trace(group="desk", caller="other")]
    found = judged(traces)
    assert (found.customers["prod"], found.without_group) == (4, 3)
    assert any("3 requests had no group" in note for note in say.notes(found))


def test_what_nothing_is_known_of_is_not_asked_for():
    unknown = {"price": None, "schema_valid": None}
    found = judged(both(300, unknown, unknown), margins=MARGINS | {"wrong": None})
    assert outcomes(found)["price"] == outcomes(found)["schema_breaks"] == NOT_APPLICABLE
    assert found.verdict == PROMOTE
    free = judged(both(300, {"price": 0.0}, {"price": 0.0}), margins=MARGINS | {"wrong": None})
    assert outcomes(free)["price"] == NOT_APPLICABLE
    one = judged(both(300, {"price": 0.0001}, {"price": None}), margins=MARGINS | {"wrong": None})
    assert outcomes(one)["price"] == TOO_LITTLE, "a canary of unknown price may cost anything"


def test_the_last_word_on_a_trace_counts():
    traces = both(3)
    early, late = (
        Feedback(trace=traces[0].id, time=START + timedelta(minutes=m), caller=str(m), verdict=v, target=None)
        for m, v in ((1, "rejected"), (2, "accepted"))
    )
    for feedback in ([early, late], [late, early]):
        found = judge(table(traces), feedback, VERSIONS, START, START + timedelta(hours=1), block(), None)
        assert found.rules[0].prod == 0.0
    stray = Feedback(trace="tr-unknown", time=START, caller="", verdict="rejected", target=None)
    after = Feedback(trace=traces[0].id, time=START + timedelta(hours=2), caller="", verdict="rejected", target=None)
    found = judge(table(traces), [stray, after], VERSIONS, START, START + timedelta(hours=1), block(), None)
    assert found.judged == {"prod": 0, "canary": 0}


@pytest.mark.parametrize(("verdict", "outcome"), [("rejected", OVER), ("accepted", WITHIN)])
def test_the_cascade_is_held_to_its_bound(verdict, outcome):
    traces = both(150, canary={"reason": "sure"})
    said = {one.id: verdict for one in traces}
    found = judged(traces, feedback=said)
    assert [(risk.side, risk.outcome, risk.customers) for risk in found.risks] == [("canary", outcome, 150)]
    note = say.risk(found.risks[0])
    assert ("not a fair sample" in note) == (outcome == OVER)
    assert ("v1.1.0 (in canary)" in say.over(found)) == (outcome == OVER)
    assert judged(traces, feedback=said, max_risk=None).risks == []


@given(st.lists(st.sampled_from([NOT_WORSE, WORSE, TOO_LITTLE, NOT_APPLICABLE]), max_size=6))
def test_one_worse_rule_decides_and_all_must_hold(rules):
    assert (overall(rules) == ROLL_BACK) == (WORSE in rules)
    assert (overall(rules) == PROMOTE) == ({*rules} - {NOT_APPLICABLE} == {NOT_WORSE})


REQUESTS = st.builds(
    trace,
    time=st.integers(0, 7200).map(lambda seconds: START + timedelta(seconds=seconds)),
    group=st.sampled_from([None, "", "a", "b", "\n; rm", "ü" * 50]),
    caller=st.sampled_from(["", "a", "key a"]),
    route=st.sampled_from(["prod", "canary", "shadow", "batch"]),
    version=st.sampled_from([*VERSIONS, "unregistered"]),
    outcome=st.sampled_from(["answered", "handed_over", "failed"]),
    reason=st.sampled_from(["sure", "no_cascade", "unsure", "schema", "upstream"]),
    schema_valid=st.sampled_from([None, True, False]),
    total_s=st.sampled_from([0.0, -1.0, 5.0, 1e9, math.inf, math.nan]),
    price=st.sampled_from([None, 0.0, -5.0, 1e300, math.nan]),
)


@given(st.lists(REQUESTS, max_size=30), st.randoms())
@settings(max_examples=25)
def test_whatever_the_traces_say_there_is_a_verdict_in_words(traces, random):
    said = {one.id: random.choice(["accepted", "corrected", "rejected"]) for one in traces if random.random() < 0.5}
    found = judged(traces, feedback=said, hours=2)
    assert found.verdict in (PROMOTE, ROLL_BACK, TOO_LITTLE)
    json.dumps(found.as_json(), allow_nan=False)
    shown = (
        "\n".join(" ".join(line) for line in say.table(found, 10.0)) + say.headline(found) + "".join(say.notes(found))
    )
    assert "rm" not in shown, "names of customers are not shown"
