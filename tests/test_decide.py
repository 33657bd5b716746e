"""The stage `decide`: the options are what was measured, and the sentence is in the report, the summary, the page and the card."""

from __future__ import annotations

import argparse
import json
from contextlib import suppress
from dataclasses import asdict
from html import unescape
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hallmark.base.errors import HallmarkError
from hallmark.base.files import write_json
from hallmark.base.reading import read_json
from hallmark.base.stats import Interval
from hallmark.commands import summary
from hallmark.judge.changed_slices import Slice
from hallmark.judge.decision import Decision
from hallmark.judge.drift import Drift, Sample
from hallmark.judge.reported import DPO
from hallmark.judge.results import read_results
from hallmark.params.loader import Params, load_params
from hallmark.release.model_card import model_card
from stages import compare, decide, gate, report
from tests.made_up import ROOT, outcomes, sure, system, without_comparators, write_models, write_other_reports
from tests.rows import with_changes
from tests.test_files import JSON
from tests.test_forged import places

PARAMS = with_changes(
    without_comparators(load_params(ROOT / "params.yaml"), "few_shot"),
    compare__bootstrap_samples=500,
    benchmark__price_per_hour=3.6,  # 0.001 a second
)
BASE = ["wrong_format"] * 400
TUNED = outcomes(2, 400, wrong_value=0.1, wrong_format=0.01)
FEW_SHOT = outcomes(3, 400, wrong_value=0.3, hallucination=0.1)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Reports of all stages before; answering took the tuned model 0.2 s a record and the comparator 0.5 s."""
    monkeypatch.chdir(tmp_path)
    write_other_reports(tmp_path)
    write_models(tmp_path, BASE, TUNED, 40, few_shot=FEW_SHOT)
    for name, seconds in (("eval_base", 120.0), ("eval_tuned", 80.0)):
        write_json(tmp_path / f"reports/measured/{name}.json", {"answer_seconds": seconds})
    write_json(
        tmp_path / "reports/measured/comparators.json", {"few_shot": {"answer_seconds": 200.0}, "seconds": 210.0}
    )
    write_json(tmp_path / "reports/measured/classical.json", {"seconds": 3.0})
    compare.run(PARAMS)
    gate.run(PARAMS)
    return tmp_path


def change(file: Path, **values: object) -> None:
    """Set keys of a report."""
    write_json(file, read_json(file) | values)


def test_the_ways_are_what_was_measured_with_where_each_price_is_from(folder: Path) -> None:
    found = decide.run(PARAMS)
    options = {option.name: option for option in found.ways}
    assert list(options) == ["tuned", "base", "few_shot"]
    tuned, few_shot = options["tuned"], options["few_shot"]
    assert (tuned.latency_p95_s, tuned.latency_from, tuned.price_from) == (0.9, "served", "served")
    assert tuned.price_per_1000 == pytest.approx(1000 * 0.001 / 1.5, abs=1e-6)  # 1.5 requests a second
    assert tuned.in_batches == pytest.approx(1000 * 0.001 * 0.2)
    assert tuned.exact_match is not None
    assert tuned.price_per_1000_right == pytest.approx(tuned.price_per_1000 / tuned.exact_match.value, abs=1e-6)
    assert (few_shot.price_per_1000, few_shot.price_from) == (0.5, "batches")
    assert (few_shot.latency_p95_s, few_shot.latency_from) == (None, "batches")
    failed = {one.name: one.records for one in few_shot.failures if one.records}
    assert failed == {"wrong_value": 120, "hallucination": 40}
    assert options["base"].price_per_1000_right is None, "nothing is right"
    assert found.use == "tuned"
    first = (folder / "reports/decision.json").read_bytes()
    decide.run(PARAMS)
    assert (folder / "reports/decision.json").read_bytes() == first


def test_a_comparator_whose_answers_are_bought_states_its_own_price_and_latency(folder: Path) -> None:
    own = {"price": {"per_1000": 0.1, "input": 0.2}, "latency_s": {"p50": 0.4, "p95": 0.8}}
    change(folder / "reports/comparators/few_shot/metrics.json", **own)
    few_shot = next(option for option in decide.run(PARAMS).ways if option.name == "few_shot")
    assert (few_shot.price_per_1000, few_shot.price_from, few_shot.in_batches) == (0.1, "bought", None)
    assert (few_shot.latency_p95_s, few_shot.latency_from) == (0.8, "bought")
    change(folder / "reports/comparators/few_shot/metrics.json", price=None, latency_s=None)
    few_shot = next(option for option in decide.run(PARAMS).ways if option.name == "few_shot")
    assert (few_shot.price_per_1000, few_shot.price_from, few_shot.latency_from) == (None, "none", "none")


def test_a_cascade_costs_the_tuned_model_for_all_and_the_fallback_for_what_is_handed_over(folder: Path) -> None:
    change(folder / "reports/cascade.json", system=system())
    found = decide.run(PARAMS)
    cascade, tuned = found.ways[-1], found.ways[0]
    assert cascade.price_per_1000 == pytest.approx(tuned.price_per_1000 + 0.25 * 500)
    change(folder / "reports/cascade.json", system=system(fallback="few_shot"))
    cascade = decide.run(PARAMS).ways[-1]
    assert cascade.price_per_1000 == pytest.approx(0.2 + 0.25 * 0.5) and cascade.price_from == "batches"
    assert cascade.handed is not None and cascade.handed.behind is not None
    assert (cascade.handed.behind.value, cascade.handed.behind.low, cascade.handed.behind.high) == (0.05, 0.0, 0.1)
    change(folder / "reports/cascade.json", system=system(), human_price=None)
    assert decide.run(PARAMS).ways[-1].price_per_1000 is None


POOR, NO_BETTER = outcomes(4, 400, wrong_value=0.914), outcomes(5, 400, wrong_value=0.93)


def again(folder: Path, params: Params, **models: list[str]) -> Decision:
    """The decision on other answers of the models."""
    write_models(folder, BASE, models.pop("tuned", TUNED), 40, **models)
    compare.run(params)
    gate.run(params)
    return decide.run(params)


def test_where_no_way_reaches_the_floors_of_the_gate_none_is_used_and_everyone_is_told(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Few-shot prompting that got 8.6 % right was once the option to use."""
    found = again(folder, PARAMS, tuned=NO_BETTER, few_shot=POOR)
    assert (found.choice, found.use) == ("none", None)
    (folder / "params.yaml").write_text((ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    summary.main(argparse.Namespace(params=folder / "params.yaml"))
    printed = capsys.readouterr().out
    report.run(PARAMS)
    page = (folder / "reports/comparison.html").read_text(encoding="utf-8")
    made_of = {"base": {"weights": "model.safetensors", "files": {}}, "dpo": DPO(), "rows": {}}
    for text in (printed, page, unescape(model_card(PARAMS, read_results(), made_of, {}))):
        assert "Use none of them: none is good enough." in text and "(use)" not in text


@pytest.mark.parametrize("tuned", [TUNED, NO_BETTER, outcomes(2, 400, hallucination=0.29), ["pass"] * 30])
def test_each_way_is_judged_by_the_floors_and_ceilings_of_the_gate_as_the_gate_judges(
    folder: Path, tuned: list[str]
) -> None:
    small = [outcomes[: len(tuned)] for outcomes in (BASE, POOR)]
    write_models(folder, small[0], tuned, 40, few_shot=tuned)
    compare.run(PARAMS)
    rules = [rule for rule in gate.run(PARAMS).rules if rule.name.startswith(("floor.", "ceiling."))]
    outcomes_of = {rule.outcome for rule in rules} - {"not_applicable"}
    worst = next(outcome for outcome in ("fail", "too_little_data", "pass") if outcome in outcomes_of)
    options = {option.name: option for option in decide.run(PARAMS).ways}
    assert options["tuned"].limits == options["few_shot"].limits == worst, "the same answers"
    assert bool(options["tuned"].missed) == (worst != "pass")


def test_a_waived_floor_binds_no_option(folder: Path) -> None:
    waive = {"floor.exact_match": "hardly anyone gets this right", "floor.field_f1": "nor this"}
    waived = with_changes(PARAMS, gate__waive=waive)
    few_shot = next(option for option in again(folder, waived, few_shot=POOR).ways if option.name == "few_shot")
    assert few_shot.limits == "pass"


def test_where_no_floor_asks_for_right_answers_a_class_must_beat_the_most_frequent_one(folder: Path) -> None:
    """The most frequent class would be right in 40 %."""
    write_models(folder, BASE, TUNED, 40, linear=POOR, few_shot=outcomes(6, 400, wrong_value=0.58))
    compare.run(PARAMS)
    unfloored = with_changes(PARAMS, gate__floors={"schema_validity": 0.1}, gate__ceilings={})
    params = with_changes(unfloored, task__kind="classification")
    options = {option.name: option for option in decide.run(params).ways}
    found = {name: option.limits for name, option in options.items()}
    assert found == {"tuned": "pass", "base": "fail", "classical": "fail", "few_shot": "too_little_data"}
    free = {option.limits for option in decide.run(unfloored).ways if option.name in ("classical", "few_shot")}
    assert free == {"pass"}


@pytest.fixture
def few(folder: Path) -> dict[Path, bytes]:
    """The reports of a run on few records, in which all have something to say."""
    moved = Slice("word", "refund", 0.1, 0.4, Interval(0.3, 0.2, 0.4))
    found = Drift("drift", "They differ.", Sample(9, 9), Sample(9, 9), 0.05, 0.8, 0.6, 0.01, [moved])
    write_models(folder, BASE[:30], TUNED[:30], 6, few_shot=FEW_SHOT[:30])
    write_json(folder / "reports/cascade.json", sure())
    write_json(folder / "reports/collect.json", {"traces": 3, "drift": asdict(found)})
    compare.run(PARAMS)
    gate.run(PARAMS)
    decide.run(PARAMS)
    report.run(PARAMS)
    files = sorted((folder / "reports").rglob("*.json*"))
    return {file: content for file in files if len(content := file.read_bytes()) > 1}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), new=JSON | st.sampled_from([-1, 1e308, 10**400, 2**63, "\ud800"]))
def test_whatever_a_report_says_is_read_or_refused(few: dict[Path, bytes], data: st.DataObject, new: object) -> None:
    """One value somewhere is another, or is missing."""
    file = data.draw(st.sampled_from([*few]))
    first, *others = few[file].splitlines() if file.suffix == ".jsonl" else [few[file]]
    inside = whole = {"": json.loads(first)}
    *way, last = data.draw(st.sampled_from(places(whole)[1:]))
    for key in way:
        inside = inside[key]
    inside[last] = new
    if way and data.draw(st.booleans()):
        del inside[last]
    file.write_bytes(b"\n".join([json.dumps(whole[""]).encode(), *others]))
    for read in (decide.run, report.run, lambda _: read_results()):
        with suppress(HallmarkError):
            read(PARAMS)
    for name, content in few.items():
        name.write_bytes(content)
