"""The cascade: what is calibrated, chosen, reported, judged by the gate, and shipped."""

from __future__ import annotations

import copy
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.base.files import write_json
from hallmark.base.reading import read_json
from hallmark.base.reports import Report
from hallmark.judge.calibration import fit, reliability
from hallmark.judge.cascade import CascadeReport, apply, read_shipped, shipped
from hallmark.judge.params import Gate, GateCascade
from hallmark.judge.scores import RAW, raw_scores
from hallmark.params.loader import load_params
from hallmark.task.predictions import Confidence
from stages import cascade, gate
from tests.made_up import ROOT, prediction, typed, without_comparators, write_predictions
from tests.made_up_release import CASCADE as SHIPPED
from tests.rows import refused, with_changes, write_lines

PARAMS = with_changes(
    without_comparators(load_params(ROOT / "params.yaml")),
    compare__bootstrap_samples=300,
    cascade__max_risk=0.05,
    cascade__report_risks=[0.05, 0.02],
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def answers(
    seed: int, groups: int, size: int = 8, *, sure: float = 0.7, wrong: float = 0.6, start: int = 0
) -> list[Any]:
    """Predictions of which the share `sure` is right and has high log-probabilities; of the others `wrong` is wrong."""
    random, rows = Random(seed), []
    for i in range(groups * size):
        is_sure = random.random() < sure
        right = is_sure or random.random() >= wrong
        mean = -random.expovariate(1 / 0.01) if is_sure else -random.uniform(0.1, 1)
        told = {"sum": 40 * mean, "mean": mean, "least": 5 * mean, "fields": {"intent": 4 * mean}}
        row = prediction(start + i, f"Customer {start + i // size:05d}", "pass" if right else "wrong_value")
        rows.append(row | {"confidence": told})
    return rows


def write(root, tuned, calibration, base=None) -> None:
    write_predictions(root, "tuned", tuned)
    write_predictions(root, "base", base or [row | {"confidence": None} for row in tuned])
    file = root / "reports/eval/calibration/predictions.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_lines(file, calibration)


def ran(root, tuned, calibration, base=None, **changes) -> CascadeReport:
    write(root, tuned, calibration, base)
    cascade.run(with_changes(PARAMS, **{f"cascade__{name}": value for name, value in changes.items()}))
    return Report("cascade").as_(CascadeReport)


def judged_of(params: Any, tuned: list[Any], calibration: list[Any]) -> CascadeReport:
    """The report on these predictions, without files."""

    def read(rows: list[Any]) -> list[Any]:
        return [typed(row | {"confidence": Confidence(**row["confidence"])}) for row in rows]

    return cascade.judged(params, read(tuned), read(calibration))


HOLDOUT, CALIBRATION = answers(1, 40), answers(2, 150, start=10_000)


def test_what_is_sure_goes_out_and_a_person_answers_the_rest(folder):
    report = ran(folder, HOLDOUT, CALIBRATION)
    assert report.applies and report.chosen is not None and report.fit is not None
    assert (report.fit.fitted.groups, report.fit.kept.groups) == (50, 100)
    assert report.chosen.bound.outcome == "bounded"
    assert [risk.risk for risk in report.risks] == [0.05, 0.02]
    at, whole = report.chosen.holdout, report.system
    assert at is not None and whole is not None and report.handed_over is not None
    assert 0.6 < at.coverage.value < 0.85
    assert at.risk.value < 0.1 and at.customers.low <= at.customers.value <= at.customers.high
    assert at.answered + len(report.handed_over) == report.records == len(HOLDOUT)
    assert whole.exact_match.value == pytest.approx(1 - whole.wrong.value, abs=1e-5)
    assert whole.over_tuned.low > 0 >= whole.over_fallback.value
    assert [one.score for one in report.curves] == ["mean", "least", "sum", "calibrated"]
    first = (folder / "reports/cascade.json").read_bytes()
    ran(folder, HOLDOUT, CALIBRATION)
    assert (folder / "reports/cascade.json").read_bytes() == first


def test_answers_that_are_said_to_be_right_and_are_not_are_refused(folder):
    with refused("dvc repro calibration", row=1, field="exact_match"):
        ran(
            folder, HOLDOUT, [row | {"exact_match": True, "outcome": "pass", "prediction": "{}"} for row in CALIBRATION]
        )


def test_a_fallback_that_answered_a_sample_is_compared_on_that(folder):
    sample = [row | {"confidence": None} for row in HOLDOUT[::3]]
    report = ran(folder, HOLDOUT, CALIBRATION, sample, fallback="base")
    assert report.system is not None
    assert (report.system.fallback, report.system.records) == ("base", len(sample))
    assert report.system.over_tuned.value == 0, "this base answers as the tuned model does"


@pytest.mark.parametrize(
    ("tuned", "calibration", "changes", "curves"),
    [
        ([row | {"confidence": None} for row in HOLDOUT], [], {}, 0),
        (HOLDOUT, [], {}, 3),
        (HOLDOUT, CALIBRATION[:3], {}, 3),
        (HOLDOUT, [CALIBRATION[0] | {"confidence": None}, *CALIBRATION[1:]], {}, 3),
        (HOLDOUT, CALIBRATION, {"max_risk": None}, 4),
    ],
)
def test_without_what_it_takes_there_is_no_threshold(folder, tuned, calibration, changes, curves):
    report = ran(folder, tuned, calibration, **changes)
    assert (report.applies, report.chosen, report.threshold, len(report.curves)) == (False, None, None, curves)
    assert shipped(report) is None


def test_too_few_customers_and_a_risk_out_of_reach_have_no_threshold(folder):
    few = ran(folder, HOLDOUT, CALIBRATION[:160])
    assert few.chosen is not None and few.chosen.bound.outcome == "too_little_data"
    bad = ran(folder, answers(3, 40, sure=0.0), answers(4, 150, sure=0.0, start=10_000))
    assert bad.chosen is not None and bad.chosen.bound.outcome == "not_reached"
    assert few.threshold is bad.threshold is bad.handed_over is None


# --- the calibrated score ----------------------------------------------------------------------------------------


def made(step: bool, count: int = 4000):
    """Raw scores of which the first says with which probability the answer is right: along a sigmoid, or in a step."""
    draw = np.random.default_rng(3)
    first = draw.uniform(-4, 4, count)
    chance = np.where(np.abs(first) < 3, 0.5, np.where(first > 0, 0.99, 0.01)) if step else 1 / (1 + np.exp(-first))
    raw = np.column_stack([first, draw.normal(size=(count, 3))])
    return raw, draw.random(count) < chance, [f"g{i % 100}" for i in range(count)]


@pytest.mark.parametrize(("step", "method"), [(False, "platt"), (True, "isotonic")])
def test_the_method_is_the_one_that_fits_customers_not_seen(step, method):
    score = fit(*made(step), 7)
    assert score.method == method
    raw, right, _ = made(step)
    found = reliability([score.probability(score.of(row)) for row in raw], right.tolist())
    assert found.error < 0.05 and sum(one.records for one in found.bins) == len(raw)


@given(st.lists(st.floats(-1e300, 0), min_size=2, max_size=2, unique=True))
def test_a_surer_answer_never_has_a_lower_score(values):
    low, high = sorted(values)
    assert raw_scores(Confidence(low, low, low, {})) <= raw_scores(Confidence(high, high, high, {}))


# --- the gate ----------------------------------------------------------------------------------------------------


def rules(least: float, largest: float) -> dict[str, Any]:
    limits = GateCascade(least_coverage=least, largest_risk=largest)
    asked: Gate = PARAMS.gate.model_copy(update={"cascade": limits})
    return {rule.name.removeprefix("cascade."): rule for rule in gate.cascade_rules(asked)}


@pytest.mark.parametrize(
    ("least", "largest", "coverage", "risk"),
    [
        (0.5, 0.2, "pass", "pass"),
        (0.95, 0.01, "fail", "fail"),
        (0.65, 0.12, "too_little_data", "too_little_data"),
        (0.0, 1.0, "not_applicable", "not_applicable"),
    ],
)
def test_the_gate_holds_the_cascade_to_its_limits(folder, least, largest, coverage, risk):
    overrated = [  # one in ten that are sure, and wrong
        row | {"exact_match": False, "outcome": "wrong_value", "prediction": "{}"} if number % 10 == 0 else row
        for number, row in enumerate(HOLDOUT)
    ]
    ran(folder, HOLDOUT if coverage == "pass" else overrated, CALIBRATION)
    found = rules(least, largest)
    assert (found["coverage"].outcome, found["risk"].outcome) == (coverage, risk)
    assert {gate.gravity(rule)[0] for rule in found.values()} == {3}


def test_without_a_threshold_the_gate_says_what_is_missing(folder):
    ran(folder, HOLDOUT, CALIBRATION[:160])
    found = rules(0.5, 0.1)
    assert {rule.outcome for rule in found.values()} == {"too_little_data"}
    ran(folder, answers(3, 40, sure=0.0), answers(4, 150, sure=0.0, start=10_000))
    found = rules(0.5, 0.1)
    assert (found["coverage"].outcome, found["risk"].outcome) == ("fail", "not_applicable")
    ran(folder, HOLDOUT, [])
    found = rules(0.5, 0.1)
    assert {rule.outcome for rule in found.values()} == {"too_little_data"}, "asked for, so not shown is not passed"


# --- what ships --------------------------------------------------------------------------------------------------


def test_what_ships_decides_as_the_report_does(folder):
    report = ran(folder, HOLDOUT, CALIBRATION)
    write_json(folder / "cascade.json", shipped(report))
    found = read_shipped(read_json(folder / "cascade.json"))
    over = [row["id"] for row in HOLDOUT if not apply(found, Confidence(**row["confidence"])).answer]
    assert over == report.handed_over
    assert not apply(found, None).answer
    of_file, of_server = Confidence(-1e-6, -1e-6, -1e-6, {}), Confidence(-1.3e-6, -9e-7, -1.1e-6, {})
    assert apply(found, of_server) == apply(found, of_file), "a file is rounded, what a server says is not"
    assert not apply(found, Confidence(0.0, 0.0, float("inf"), {})).answer
    assert not apply(found, Confidence(float("-inf"), float("nan"), -1.0, {})).answer


FORGED = [{"threshold": 1e13}, {"raw_scores": [*RAW][::-1]}, {"score.knots": [[1.0, 0.1], [0.0, 0.2]]}]


@pytest.mark.parametrize("changes", FORGED)
def test_a_file_of_another_form_is_refused(changes):
    content = copy.deepcopy(SHIPPED)
    read_shipped(content)
    for key, value in changes.items():
        *outer, last = key.split(".")
        (content[outer[0]] if outer else content)[last] = value
    with pytest.raises(ValueError):
        read_shipped(content)
