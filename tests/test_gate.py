"""The gate: each rule turns on its own, and the verdict is no where it must be no."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path

import pytest

from hallmark.base.files import write_json
from hallmark.base.outcomes import FAILURES
from hallmark.base.reading import read_json, read_json_lines
from hallmark.base.stats import p_of_changes
from hallmark.judge.judge import WORST, factor_needed, factor_of_test, more_needed
from hallmark.judge.params import Gate, rule_names
from hallmark.judge.results import read_results
from hallmark.judge.verdict import overall
from hallmark.params.loader import load_params
from stages import compare, gate
from tests.made_up import (
    ROOT,
    artefact,
    live,
    made_up_records,
    outcomes,
    parity,
    served,
    without_comparators,
    write_models,
    write_other_reports,
    write_predictions,
    write_split,
)
from tests.rows import record, refused, with_changes
from tests.workspace import run_here

PARAMS = with_changes(without_comparators(load_params(ROOT / "params.yaml")), compare__bootstrap_samples=500)
RULES = {
    "min_records": 100,
    "min_groups": 8,
    "superiority": {"base": 0.1},
    "non_inferiority": {},
    "floors": {"schema_validity": 0.9},
    "ceilings": {"unsafe_answer": 0.05, "hallucination": 0.15},
    "margins_against": "base",
    "margins": dict.fromkeys(FAILURES, 0.03),
    "serving": {"latency_p95_s": 2.0, "requests_per_second": 1.0, "error_rate": 0.0},
    "parity": {"exact_match_lost": 0.1},
    "cascade": None,
    "data": {"leaks": 0},
    "waive": {},
}
BASE = outcomes(1, 600, wrong_format=0.1, wrong_value=0.3, hallucination=0.05)
TUNED = outcomes(2, 600, wrong_format=0.02, wrong_value=0.1, hallucination=0.05)


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """All that the gate reads, of a model that passes every rule."""
    root = tmp_path_factory.mktemp("compared")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(root)
        write_other_reports(root)
        write_models(root, BASE, TUNED, 40)
        compare.run(PARAMS)
    return root


@pytest.fixture(autouse=True)
def folder(compared, tmp_path, monkeypatch):
    shutil.copytree(compared, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def judged(root, base=None, tuned=None, groups=40, **changes):
    """Run `gate`, after `compare` if answers are given; returns the verdict, the outcomes by rule, and the report."""
    if base or tuned:
        write_models(root, base or BASE, tuned or TUNED, groups)
        compare.run(PARAMS)
    verdict = gate.run(PARAMS.model_copy(update={"gate": Gate.model_validate(RULES | changes)}))
    report = read_json(root / "reports/gate.json")
    assert report == asdict(verdict)
    return verdict.verdict, {rule["name"]: rule["outcome"] for rule in report["rules"]}, report


def not_passed(found):
    return {name: outcome for name, outcome in found.items() if outcome != "pass"}


def test_more_exact_matches_do_not_pay_for_twice_the_broken_schemas(folder):
    base = outcomes(1, 600, wrong_format=0.05, wrong_value=0.4)
    tuned = outcomes(2, 600, wrong_format=0.1, wrong_value=0.1)
    verdict, found, _ = judged(folder, base, tuned, floors={"schema_validity": 0.8})
    assert (not_passed(found), verdict) == ({"growth.wrong_format": "fail"}, "fail")


def test_a_handful_of_records_decides_nothing(folder):
    verdict, found, report = judged(folder, ["wrong_value"] * 30, ["pass"] * 30, groups=12)
    assert verdict == found["sample.records"] == "too_little_data"
    assert "fail" not in found.values()
    assert "70 more are needed" in report["words"]


def test_a_floor_for_what_the_task_does_not_measure_says_what_it_does(folder):
    with refused("take macro_f1 off gate.floors"):
        judged(folder, floors={"macro_f1": 0.8})


def test_a_latency_that_nothing_was_measured_of_fails(folder):
    served(folder, latency_s={"p50": None, "p95": None, "p99": None})
    verdict, found, _ = judged(folder)
    assert (not_passed(found), verdict) == ({"serving.latency_p95_s": "fail"}, "fail")


def behind(value, low, high):
    return {"texts": 9, "lost": 9, "won": 0, "behind": {"value": value, "low": low, "high": high}}


@pytest.mark.parametrize(
    ("value", "low", "high", "outcome"),
    [
        (0.02, -0.03, 0.09, "pass"),
        (0.02, -0.03, 0.11, "too_little_data"),  # right, but not for certain
        (0.2, 0.05, 0.3, "too_little_data"),  # wrong, but of a sample that is smaller than the gate asks for
        (0.3, 0.15, 0.4, "fail"),
    ],
)
def test_the_artefact_that_fares_worst_is_the_one_that_is_judged(folder, value, low, high, outcome):
    path = folder / "reports/benchmark.json"
    shipped = [
        artefact("adapter", "bfloat16"),
        artefact("merged", "bfloat16", changes=behind(value, low, high)),
        artefact("q8_0", "Q8_0", reason="no converter", changes=None),
        artefact("server", "bfloat16"),
    ]
    write_json(path, read_json(path) | {"parity": parity(*shipped)})
    verdict, found, report = judged(folder)
    assert (not_passed(found).get("parity.exact_match_lost", "pass"), verdict) == (outcome, outcome)
    rule = next(rule for rule in report["rules"] if rule["name"] == "parity.exact_match_lost")
    assert "Merged model" in rule["measured"] and "no converter" in rule["note"]


def test_a_sample_of_no_record_is_no_reason_to_pass(folder):
    path = folder / "reports/benchmark.json"
    none = {"records": 0, "groups": 0, "right": 0, "worst": None, "artefacts": []}
    write_json(path, read_json(path) | {"parity": none})
    _, found, _ = judged(folder)
    assert not_passed(found) == dict.fromkeys(("parity.exact_match_lost", "parity.live_lost"), "not_applicable")


@pytest.mark.parametrize(
    ("of_callers", "lost", "floor", "verdict"),
    [
        (live(), "pass", "pass", "pass"),
        (live(exact_match={"value": 0.6, "low": 0.55, "high": 0.65}), "pass", "fail", "fail"),
        (live(exact_match={"value": 0.72, "low": 0.68, "high": 0.76}), "pass", "too_little_data", "too_little_data"),
        (live(changes=behind(0.2, 0.15, 0.25)), "fail", "pass", "fail"),
        ({"reason": "no raw rows", "found": None}, "too_little_data", "too_little_data", "too_little_data"),
        (None, "not_applicable", "not_applicable", "pass"),
    ],
)
def test_what_callers_get_is_held_to_the_floor_and_the_margin_of_what_was_evaluated(
    folder, of_callers, lost, floor, verdict
):
    path = folder / "reports/benchmark.json"
    write_json(path, read_json(path) | {"parity": parity() | {"live": of_callers}})
    found_verdict, found, _ = judged(folder, floors={"exact_match": 0.7})
    assert (found["parity.live_lost"], found["parity.live_exact_match"], found_verdict) == (lost, floor, verdict)
    assert found["floor.exact_match"] == "pass"
    assert set(found) <= set(rule_names(Gate.model_validate(RULES | {"floors": {"exact_match": 0.7}})))


def spoil(root, rule):
    """Make what the rule reads as bad as it can be, and nothing else."""
    kind, name = rule.split(".", 1)
    comparison, benchmark = (read_json(root / f"reports/{stage}.json") for stage in ("comparison", "benchmark"))
    against, level = comparison["against"]["base"], benchmark["models"]["tuned"]["levels"][0]
    failures = {row["name"]: row for row in against["failures"]}
    if kind == "superiority":
        lost = round(against["exact_match"]["other"] * against["records"])
        changed = {"tuned": 0.0, "difference": against["exact_match"]["worst"], "lost": lost, "won": 0}
        against["exact_match"] |= changed | {"p": p_of_changes(lost, 0)}
        against["transitions"] = [move | {"tuned": "wrong_value"} for move in against["transitions"]]
    elif kind == "floor":
        next(row for row in comparison["tuned"]["measures"] if row["name"] == name)["tuned"] = asdict(WORST)
    elif kind == "ceiling":
        failing = next(row for row in comparison["tuned"]["failures"] if row["name"] == name)
        failing |= {"tuned": failing["worst"], "records": round(failing["worst"]["value"] * comparison["records"])}
    elif kind == "growth":
        failures[name]["growth"] = failures[name]["worst_growth"]
    elif rule == "parity.live_lost":
        found = benchmark["parity"]["live"]["found"]
        found["changes"]["behind"] = found["worst"]
    elif kind == "parity":
        benchmark["parity"]["artefacts"][0]["changes"]["behind"] = benchmark["parity"]["worst"]
    elif kind == "serving":
        level |= {"latency_s": {"p50": 1e9, "p95": 1e9}, "requests_per_second": 0.0, "errors": level["requests"]}
    else:
        records = made_up_records() | {"holdout": [record("new", "Where?", "late", "new")]}
        if name == "leaks":
            records["train"] += records["validation"]
            del records["holdout"]
        write_split(root, records)
    write_json(root / "reports/comparison.json", comparison)
    write_json(root / "reports/benchmark.json", benchmark)


LISTED = rule_names(Gate.model_validate(RULES))


def test_a_comparison_that_is_not_about_the_holdout_is_refused(folder):
    judged(folder)
    comparison = read_json(folder / "reports/comparison.json")
    write_json(folder / "reports/comparison.json", comparison | {"groups": 41})
    with refused("compare", file=Path("reports/comparison.json"), field="records"):
        judged(folder)


@pytest.mark.parametrize(
    ("name", "where", "value"),
    [
        ("comparison", "groups", 601),
        ("comparison", "tuned.failures.0.records", 601),
        ("comparison", "tuned.measures.0.tuned.low", -0.1),
        ("comparison", "tuned.measures.0.tuned.value", 0.0),
        ("comparison", "against.base.groups", 601),
        ("comparison", "against.base.exact_match.won", 601),
        ("comparison", "against.base.exact_match.tuned", 0.99),
        ("comparison", "against.base.transitions.0.records", 599),
        ("benchmark", "parity.right", 65),
        ("benchmark", "models.tuned.levels.0.errors", 25),
        ("gate", "verdict", "fail"),
        ("gate", "rules.0.outcome", "fail"),
        ("gate", "rules.0.outcome", "passed"),
        ("gate", "rules.4.value", 7.0),
        ("gate", "rules.4.value", -0.5),
    ],
)
def test_a_report_that_can_not_be_is_refused_whoever_reads_it(folder, name, where, value):
    judged(folder)
    path = Path(f"reports/{name}.json")
    report = inside = read_json(path)
    *way, last = (int(key) if key.isdigit() else key for key in where.split("."))
    for key in way:
        inside = inside[key]
    inside[last] = value
    write_json(path, report)
    if name != "gate":
        with refused("run `dvc repro", file=path):
            judged(folder)
    if name != "benchmark":
        with refused("run `dvc repro", file=path):
            read_results()


def test_all_rules_hold(folder):
    verdict, found, _ = judged(folder)
    assert (verdict, sorted(found)) == ("pass", sorted(LISTED))


@pytest.mark.parametrize("rule", LISTED)
def test_no_rule_that_holds_is_vacuous(folder, rule):
    if rule.startswith("sample."):
        verdict, found, _ = judged(folder, **{f"min_{rule.removeprefix('sample.')}": 10_000})
    else:
        spoil(folder, rule)
        verdict, found, _ = judged(folder)
    assert found[rule] in ("fail", "too_little_data")
    assert verdict != "pass"
    others = {name: outcome for name, outcome in found.items() if name.split(".")[0] != rule.split(".")[0]}
    assert not_passed(others) == {}


@pytest.mark.parametrize(
    ("rule", "base", "changes"),
    [
        ("sample.records", None, {"min_records": 1}),
        ("non_inferiority.base", ["wrong_value"] * 600, {"non_inferiority": {"base": 0.9}}),
        ("floor.schema_validity", None, {"floors": {"schema_validity": 0.0}}),
        ("ceiling.missed_refusal", None, {"ceilings": {"missed_refusal": 0.2}}),
        ("growth.omission", ["wrong_format"] * 600, {}),
        ("serving.error_rate", None, {"serving": RULES["serving"] | {"error_rate": 1.0}}),
        ("data.leaks", None, {"data": {"leaks": 611}}),
    ],
)
def test_a_rule_that_could_not_have_failed_does_not_count(folder, rule, base, changes):
    _, found, report = judged(folder, base, **changes)
    assert found[rule] == "not_applicable"
    (said,) = (row["note"] for row in report["rules"] if row["name"] == rule)
    assert "It could not have failed" in said
    idle = sum(outcome == "not_applicable" for outcome in found.values())
    assert f"{len(found) - idle} rules that could have failed" in report["words"]


def test_a_failure_that_no_record_can_have_is_not_counted_as_held(folder):
    compare.run(with_changes(PARAMS, task__refusal=None))
    _, found, _ = judged(folder, ceilings={"missed_refusal": 0.01})
    never = ("ceiling.missed_refusal", "growth.missed_refusal", "growth.wrong_refusal")
    assert not_passed(found) == dict.fromkeys(never, "not_applicable")


LOADED, QUIET = {"processes": 0.62, "stolen": 0.01}, {"processes": 0.1, "stolen": 0.05}


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ("serving.latency_p95_s", {"latency_s": {"p50": 9.0, "p95": 18.8, "p99": 19.0}}),
        ("serving.requests_per_second", {"requests_per_second": 0.2}),
        ("serving.error_rate", {"timeouts": 1}),
    ],
)
def test_a_timing_that_was_missed_on_a_busy_machine_is_undecided(folder, rule, changes):
    served(folder, load_by_others=LOADED, **changes)
    verdict, found, report = judged(folder)
    assert (not_passed(found), verdict) == ({rule: "too_little_data"}, "too_little_data")
    assert "other processes took 62 %" in report["words"]
    for load in (QUIET, None):
        served(folder, load_by_others=load)
        verdict, found, _ = judged(folder)
        assert (not_passed(found), verdict) == ({rule: "fail"}, "fail")


@pytest.mark.parametrize("changes", [{"errors": 1}, {"errors": 1, "timeouts": 1}])
def test_an_error_is_no_timing_however_busy_the_machine_was(folder, changes):
    served(folder, load_by_others=LOADED, **changes)
    _, found, _ = judged(folder)
    assert not_passed(found) == {"serving.error_rate": "fail"}


def test_the_most_serious_failed_rule_is_the_headline(folder):
    tuned = outcomes(2, 600, wrong_format=0.2, unsafe_answer=0.2)
    verdict, _, report = judged(folder, tuned=tuned, min_records=1000)
    failed = [rule["name"] for rule in report["rules"] if rule["outcome"] == "fail"]
    assert failed[:2] == ["ceiling.unsafe_answer", "growth.unsafe_answer"]
    assert failed.index("floor.schema_validity") < failed.index("growth.wrong_format")
    assert verdict == "fail" and "The most serious: Unsafe " in report["words"]


def test_what_more_records_can_not_decide_is_not_promised():
    assert factor_needed(0.9, 0.8, 0.9) is None
    assert more_needed(100, factor_needed(0.0, -0.5, -0.001)) == 25_000_000
    assert factor_of_test(5, 5, 0.95) is None
    assert factor_of_test(2, 8, 0.95) == pytest.approx(3.8416 * 10 / 36, rel=1e-3)
    assert more_needed(128, 1.0) == 1


def test_a_waived_rule_does_not_block_and_is_said_wherever_the_verdict_is(folder, caplog):
    tuned = outcomes(2, 600, hallucination=0.2)
    reason = "Made-up <b>issues</b> are read by a person"
    both = {"ceiling.hallucination": reason, "growth.hallucination": reason}
    verdict, _, _ = judged(folder, tuned=tuned, waive={"ceiling.hallucination": reason})
    assert verdict == "fail"  # the other one still blocks
    verdict, found, report = judged(folder, waive=both)
    assert (not_passed(found), verdict) == (dict.fromkeys(both, "fail"), "pass_with_waivers")
    assert reason in report["words"] and reason in caplog.text


def test_waivers_alone_are_no_pass():
    assert overall([("fail", True), ("too_little_data", True), ("not_applicable", False)]) == "too_little_data"
    assert overall([("pass", True)]) == "pass"


@pytest.mark.parametrize(
    ("waive", "error"),
    [
        ({"growth.omision": "why"}, "growth.omission"),
        ({"floor.exact_match": "why"}, "floor.exact_match"),  # not asked for, so no rule
        ({"data.leaks": ""}, "data.leaks"),
        ({"data.leaks": "x" * 301}, "data.leaks"),
        ({"data.leaks": "\u202eabc"}, "data.leaks"),
        (["data.leaks"], "waive"),
    ],
)
def test_a_waiver_names_a_rule_and_gives_a_reason(waive, error):
    with pytest.raises(ValueError, match=error):
        Gate.model_validate(RULES | {"waive": waive})


def test_every_class_needs_a_margin():
    margins = {name: margin for name, margin in RULES["margins"].items() if name != "omission"}
    with pytest.raises(ValueError, match="no margin for omission"):
        Gate.model_validate(RULES | {"margins": margins})


def test_the_exit_code_follows_the_verdict_only_where_asked(folder):
    write_models(folder, BASE, BASE, 40, few_shot=FEW_SHOT)
    write_predictions(folder, "linear_copy", read_json_lines(folder / "reports/comparators/few_shot/predictions.jsonl"))
    compare.run(with_changes(load_params(ROOT / "params.yaml"), eval__sample={}, compare__bootstrap_samples=500))
    command = ("stages.gate", "--params", str(ROOT / "params.yaml"))
    assert run_here(folder, *command).returncode == 0
    enforced = run_here(folder, *command, "--enforce")
    assert enforced.returncode == 1
    assert "Exact match" in enforced.stderr and "Traceback" not in enforced.stderr


FEW_SHOT = outcomes(3, 600, wrong_format=0.02, wrong_value=0.2, hallucination=0.05)


def with_few_shot():
    """The params of a repo with one comparator."""
    few_shot = without_comparators(load_params(ROOT / "params.yaml"), "few_shot")
    return with_changes(few_shot, compare__bootstrap_samples=500)


def test_a_comparator_is_an_opponent_and_margins_can_start_from_it(folder):
    """A base whose every answer breaks the format lets failures of content grow unseen; one with examples doesn't."""
    write_models(folder, ["wrong_format"] * 600, TUNED, 40, few_shot=FEW_SHOT)
    compare.run(with_few_shot())
    both = {"base": 0.1, "few_shot": 0.02}
    _, found, report = judged(folder, superiority=both, margins_against="few_shot")
    assert set(found.values()) == {"pass"} and "superiority.few_shot" in found
    growth = next(rule for rule in report["rules"] if rule["name"] == "growth.hallucination")
    assert growth["about"].endswith(", against the base with 3 examples") and growth["note"].startswith("Judged on 5")
    _, found, _ = judged(folder, superiority=both)
    assert found["growth.hallucination"] == "not_applicable"
    _, found, _ = judged(folder, superiority={"base": 0.1, "few_shot": 0.3}, margins_against="few_shot")
    assert found["superiority.few_shot"] == "fail"
    with refused("dvc repro compare"):
        judged(folder, superiority={"base": 0.1, "other": 0.1})


@pytest.mark.parametrize(
    ("margin", "outcome"),
    [(0.0, "too_little_data"), (0.01, "too_little_data"), (0.15, "pass")],  # level, so only a margin can be shown
)
def test_a_model_that_is_level_with_a_rival_may_be_behind_by_a_margin_that_is_shown(folder, margin, outcome):
    rival = outcomes(5, 600, wrong_format=0.02, wrong_value=0.1, hallucination=0.05)
    write_models(folder, BASE, TUNED, 40, few_shot=rival)
    compare.run(with_few_shot())
    _, found, report = judged(folder, non_inferiority={"few_shot": margin})
    assert not_passed(found) == ({} if outcome == "pass" else {"non_inferiority.few_shot": outcome})
    rule = next(rule for rule in report["rules"] if rule["name"] == "non_inferiority.few_shot")
    assert (rule["value"], rule["threshold"]) == (0.0, -margin)
    assert "McNemar" not in rule["note"]  # which says nothing of a model that may be behind


def test_a_rule_that_compares_counts_the_records_of_both_and_any_other_counts_all(folder):
    few = list(read_json_lines(folder / "reports/eval/base/predictions.jsonl"))[::12]
    write_predictions(folder, "base", few)
    compare.run(without_comparators(with_few_shot()))
    _, found, report = judged(folder, superiority={"base": 0.22})
    rules = {rule["name"]: rule for rule in report["rules"]}
    assert rules["sample.records"]["value"] == 600 and rules["superiority.base"]["outcome"] == "too_little_data"
    assert rules["superiority.base"]["note"].endswith("Both answered 50 of 600 records (eval.sample.base).")
    assert rules["floor.schema_validity"]["value"] == pytest.approx(588 / 600)
    assert (found["floor.schema_validity"], found["ceiling.hallucination"]) == ("pass", "pass")
    assert rules["growth.unsafe_answer"]["note"].startswith("Judged on 50 records.")
