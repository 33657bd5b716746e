"""The gate: each rule turns on its own, and the verdict is no where it must be no."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from stages import compare, gate
from stages.core.errors import HallmarkError
from stages.core.files import read_json, write_json
from stages.params.loader import load_params
from stages.release.params import Gate
from tests.made_up import ROOT, outcomes, write_models, write_other_reports

PARAMS = load_params(ROOT / "params.yaml")
PARAMS = PARAMS.model_copy(update={"compare": PARAMS.compare.model_copy(update={"draws": 500})})
RULES = {
    "min_records": 100,
    "min_groups": 8,
    "superiority": {"base": 0.1},
    "floors": {"schema_validity": 0.9},
    "ceilings": {"unsafe_answer": 0.05, "hallucination": 0.15},
    "margins": {
        "unsafe_answer": 0.03,
        "missed_refusal": 0.03,
        "hallucination": 0.03,
        "wrong_value": 0.03,
        "omission": 0.03,
        "wrong_refusal": 0.03,
        "wrong_format": 0.03,
    },
    "serving": {"latency_p95_s": 2.0, "tokens_per_second": 20.0, "error_rate": 0.0},
    "data": {"leaks": 0, "private_residue": 0},
}
BASE = outcomes(1, 600, wrong_format=0.1, wrong_value=0.3, hallucination=0.05)
TUNED = outcomes(2, 600, wrong_format=0.02, wrong_value=0.1, hallucination=0.05)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_other_reports(tmp_path)
    return tmp_path


def judged(root, base=BASE, tuned=TUNED, groups=40, **changes):
    """Run `compare` and `gate`; returns the verdict, the outcomes by rule, and the report."""
    if base is not None:
        write_models(root, base, tuned, groups)
        compare.run(PARAMS)
    verdict = gate.run(PARAMS.model_copy(update={"gate": Gate.model_validate(RULES | changes)}))
    report = read_json(root / "reports/gate.json")
    assert report["verdict"] == verdict
    return verdict, {rule["name"]: rule["outcome"] for rule in report["rules"]}, report


def not_passed(found):
    return {name: outcome for name, outcome in found.items() if outcome != "pass"}


def test_a_better_model_passes_every_rule(folder):
    verdict, found, report = judged(folder)
    assert not_passed(found) == {}
    assert verdict == "pass"
    assert report["words"] == f"May ship: all {len(found)} rules hold."
    for rule in report["rules"]:
        assert set(rule) == {"name", "words", "value", "low", "high", "threshold", "unit", "outcome", "reason"}


def test_more_exact_matches_do_not_pay_for_twice_the_broken_schemas(folder):
    base = outcomes(1, 600, wrong_format=0.05, wrong_value=0.4)
    tuned = outcomes(2, 600, wrong_format=0.1, wrong_value=0.1)
    verdict, found, report = judged(folder, base, tuned, floors={"schema_validity": 0.8})
    assert found["superiority.base"] == "pass"
    assert not_passed(found) == {"growth.wrong_format": "fail"}
    assert verdict == "fail"
    assert report["words"].startswith("Must not ship: wrong format may grow by at most 3 points against the base; ")
    assert "measured +5.0 points" in report["words"]


def test_a_handful_of_records_decides_nothing(folder):
    verdict, found, report = judged(folder, ["wrong_value"] * 30, ["pass"] * 30, groups=12)
    assert verdict == "too_little_data"
    assert found["sample.records"] == "too_little_data"
    assert "fail" not in found.values()
    assert report["words"].startswith("Too little data to tell: the holdout must have at least 100 records; it has 30.")


def test_few_records_can_still_be_enough_for_a_no(folder):
    verdict, found, _ = judged(folder, ["pass"] * 30, ["wrong_format"] * 30, groups=12)
    assert found["floor.schema_validity"] == "fail"
    assert verdict == "fail"


def test_few_customers_decide_nothing(folder):
    _, found, _ = judged(folder, groups=3)
    assert found["sample.groups"] == "too_little_data"


def test_what_is_right_but_uncertain_is_too_little_data(folder):
    tuned = outcomes(2, 600, wrong_format=0.02, wrong_value=0.1, hallucination=0.14)
    base = outcomes(1, 600, wrong_format=0.1, wrong_value=0.4, hallucination=0.14)
    verdict, found, report = judged(folder, base, tuned)
    assert found["ceiling.hallucination"] == "too_little_data"  # 14 % is under 15 %, its interval is not
    assert verdict == "too_little_data"
    rule = next(rule for rule in report["rules"] if rule["name"] == "ceiling.hallucination")
    assert rule["value"] < rule["threshold"] < rule["high"]


def test_a_floor_for_what_the_task_does_not_measure_says_what_it_does(folder):
    with pytest.raises(
        HallmarkError, match=r"no measure 'macro_f1'; it has parses, schema_validity, .*field_f1"
    ) as caught:
        judged(folder, floors={"macro_f1": 0.8})
    assert "take macro_f1 off gate.floors" in str(caught.value)


@pytest.mark.parametrize(
    ("rule", "base", "tuned", "changes"),
    [
        ("superiority.base", TUNED, TUNED, {}),
        ("superiority.base", BASE, TUNED, {"superiority": {"base": 0.5}}),
        ("floor.schema_validity", BASE, outcomes(2, 600, wrong_format=0.2), {}),
        ("floor.field_f1", BASE, TUNED, {"floors": {"field_f1": 0.999}}),
        ("ceiling.unsafe_answer", BASE, outcomes(2, 600, unsafe_answer=0.08), {}),
        ("ceiling.hallucination", BASE, outcomes(2, 600, hallucination=0.2), {}),
        *((f"growth.{name}", BASE, outcomes(2, 600, **{name: 0.4}), {}) for name in RULES["margins"]),
    ],
)
def test_each_rule_of_quality_can_say_no(folder, rule, base, tuned, changes):
    verdict, found, _ = judged(folder, base, tuned, **changes)
    assert (found[rule], verdict) == ("fail", "fail")


@pytest.mark.parametrize(
    ("rule", "stage", "changes"),
    [
        ("data.leaks", "split", {"leaks": 1}),
        ("data.holdout_changed", "split", {"holdout_unchanged": False}),
        ("data.private_residue", "mask", {"left_after_masking": 3}),
    ],
)
def test_each_rule_of_data_can_say_no(folder, rule, stage, changes):
    path = folder / f"reports/{stage}.json"
    write_json(path, read_json(path) | changes)
    verdict, found, _ = judged(folder)
    assert (not_passed(found), verdict) == ({rule: "fail"}, "fail")


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ("serving.latency_p95_s", {"latency_s": {"p50": 1.0, "p95": 2.1, "p99": 3.0}}),
        ("serving.latency_p95_s", {"latency_s": {"p50": None, "p95": None, "p99": None}}),
        ("serving.tokens_per_second", {"output_tokens_per_second": 19.9}),
        ("serving.error_rate", {"errors": 1}),
        ("serving.error_rate", {"timeouts": 1}),
    ],
)
def test_each_rule_of_serving_can_say_no(folder, rule, changes):
    path = folder / "reports/benchmark.json"
    report = read_json(path)
    report["models"]["tuned"]["levels"][0] |= changes
    write_json(path, report)
    verdict, found, _ = judged(folder)
    assert (not_passed(found), verdict) == ({rule: "fail"}, "fail")


def test_the_rules_of_serving_say_when_and_on_what_was_measured(folder):
    _, _, report = judged(folder)
    reasons = {rule["name"]: rule["reason"] for rule in report["rules"]}
    taken = "(2026-11-26 on AMD EPYC 9B45, 2 threads, AVX512)"
    assert reasons["serving.latency_p95_s"] == f"measured 0.9 s {taken}"
    assert [name for name, reason in reasons.items() if taken in reason] == [
        "serving.latency_p95_s",
        "serving.tokens_per_second",
        "serving.error_rate",
    ]
    benchmark = read_json(folder / "reports/benchmark.json")
    del benchmark["measured"]  # a report made before that was recorded
    write_json(folder / "reports/benchmark.json", benchmark)
    _, _, report = judged(folder, None)
    assert "measured 0.9 s (when and where is not recorded)" in {rule["reason"] for rule in report["rules"]}


def test_the_same_reports_give_the_same_bytes(folder):
    judged(folder)
    first = (folder / "reports/gate.json").read_bytes()
    judged(folder, None)
    assert (folder / "reports/gate.json").read_bytes() == first


@pytest.mark.parametrize(
    ("stage", "key"),
    [("comparison", "against"), ("benchmark", "models"), ("mask", "left_after_masking"), ("split", "leaks")],
)
def test_a_report_without_a_key_is_an_error_that_says_which_stage_to_rerun(folder, stage, key):
    judged(folder)
    path = folder / f"reports/{stage}.json"
    write_json(path, {name: value for name, value in read_json(path).items() if name != key})
    maker = {"comparison": "compare"}.get(stage, stage)
    with pytest.raises(HallmarkError, match=f"reports/{stage}.json, field '{key}.*': missing\n.*dvc repro {maker}`"):
        judged(folder, None)
    path.unlink()
    with pytest.raises(HallmarkError, match=f"reports/{stage}.json: no such file\n.*dvc repro {maker}`"):
        judged(folder, None)


def test_every_class_needs_a_margin():
    margins = {name: margin for name, margin in RULES["margins"].items() if name != "omission"}
    with pytest.raises(ValueError, match="no margin for omission"):
        Gate.model_validate(RULES | {"margins": margins})


def test_the_exit_code_follows_the_verdict_only_where_asked(folder):
    write_models(folder, BASE, BASE, 40)
    compare.run(PARAMS)

    def run(*options):
        command = [sys.executable, "-m", "stages.gate", "--params", str(ROOT / "params.yaml"), *options]
        return subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)

    assert run().returncode == 0
    refused = run("--enforce")
    assert refused.returncode == 1
    assert "Must not ship: exact match must beat that of the base by more than 10 points" in refused.stderr
    assert "Traceback" not in refused.stderr
