"""How much data: the parts of the training data, the law through the points, and the table, report and page of it."""

from __future__ import annotations

import json
import re
import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import escape

from hallmark.base.errors import HallmarkError
from hallmark.base.files import SFT_ADAPTER, TRAIN, VALIDATION, sha256_folder
from hallmark.base.records import read_records
from hallmark.base.stats import ClusterBootstrap
from hallmark.commands import curve as tool
from hallmark.commands import curve_points
from hallmark.commands import curve_report as shown
from hallmark.commands.curve_points import Part, Point, parts, settings
from hallmark.judge.power_law import FALLS, FEW, FLAT, RIGHT, RISES, Outlook, fitted, outlook
from hallmark.params.loader import load_params, resolved
from hallmark.task.task import Task
from tests.made_up import prediction, typed
from tests.rows import shipped
from tests.workspace import ROOT, change_params, checked, run_here

SHARES = [0.12, 0.25, 0.5, 1.0]
RAW = resolved(ROOT / "params.yaml")


@given(st.lists(st.integers(1, 9), min_size=6, max_size=40), st.integers(0, 9))
def test_each_part_holds_the_smaller_ones(sizes: list[int], seed: int) -> None:
    groups = [f"g{number}" for number, size in enumerate(sizes) for _ in range(size)]
    found = parts(groups, [0.2, 0.5, 1.0], seed)
    assert found == parts(groups[::-1], [0.2, 0.5, 1.0], seed)
    for small, large in pairwise(found):
        assert set(small.groups) < set(large.groups)
        assert small.records == sum(group in small.groups for group in groups) < large.records
    assert [part.whole for part in found] == [False, False, True]
    assert set(found[-1].groups) == set(groups)


def test_another_seed_draws_other_groups() -> None:
    groups = [f"g{number}" for number in range(40)]
    assert parts(groups, [0.25, 1.0], 1)[0].groups != parts(groups, [0.25, 1.0], 2)[0].groups


def test_two_shares_of_as_many_groups_are_an_error() -> None:
    with pytest.raises(HallmarkError, match=r"curve\.shares.*same number of the 4 training groups"):
        parts(["a", "b", "c", "d"], SHARES, 7)


def test_a_small_part_is_passed_over_more_often() -> None:
    """It has half of the steps; from half of the records on, a part has as many passes as all of them."""
    sft = RAW["sft"]
    small, half = (Part(share, ("g",), round(share * 800), False) for share in (0.125, 0.5))
    assert settings(RAW, small, 800, 0.5)["sft"]["epochs"] == pytest.approx(4 * sft["epochs"])
    assert settings(RAW, half, 800, 0.5)["sft"]["epochs"] == pytest.approx(sft["epochs"])
    assert settings(RAW, small, 800, 0.5)["sft"]["eval_steps"] == sft["eval_steps"] / 2
    capped = RAW | {"sft": sft | {"max_steps": 100}}
    assert settings(capped, small, 800, 0.5)["sft"]["max_steps"] == 50


def test_all_groups_are_trained_as_sft_does() -> None:
    made = settings(RAW, Part(1.0, ("g",), 800, True), 800, 0.5)
    free = {"checkpoint_minutes": RAW["sft"]["checkpoint_minutes"]}
    assert made["sft"] | free == RAW["sft"]
    assert made["eval"]["engine"] == {"kind": "hf"}
    assert (made["eval"]["again"], made["eval"]["constrained"], made["eval"]["general"]["tasks"]) == (0, 0, [])


def test_the_closest_law_is_found() -> None:
    n = np.array([0.12, 0.25, 0.5, 1.0])
    a, b = fitted(n, 0.3 * n**-0.4, np.ones(4))
    assert (a, b) == pytest.approx((0.3, 0.4), abs=1e-4)


def columns(rates: list[float], records: int = 400) -> list[list[bool]]:
    """At each point that number of the records is right, and none that was right turns wrong."""
    order = np.random.default_rng(0).permutation(records)
    return [[bool(place < rate * records) for place in order] for rate in rates]


def law_of(rates: list[float], records: int = 400) -> Outlook:
    bootstrap = ClusterBootstrap([str(row % 40) for row in range(records)], confidence=0.95, draws=200, seed=7)
    return outlook([100, 200, 400, 800][: len(rates)], columns(rates, records), "rate", bootstrap)


def test_twice_the_records_are_foretold_by_the_law() -> None:
    found = law_of([1 - 0.3 * share**-0.5 for share in (0.125, 0.25, 0.5, 1.0)])
    assert found.verdict == RISES and found.twice and found.gain and found.missed
    assert found.twice.value == pytest.approx(1 - 0.3 * 2**-0.5, abs=0.005)
    assert found.gain.value == pytest.approx(0.3 - 0.3 * 2**-0.5, abs=0.005)
    assert found.twice.low < found.twice.value < found.twice.high
    assert found.missed.low < 0 < found.missed.high
    assert found.at(800) == pytest.approx(0.7, abs=0.005)


@pytest.mark.parametrize(
    ("rates", "verdict"),
    [
        ([0.6, 0.58, 0.61, 0.6], FLAT),
        ([0.8, 0.7, 0.6, 0.4], FALLS),
        ([0.0, 0.0, 0.2, 0.4], FEW),
        ([0.5, 0.7, 0.9, 1.0], RIGHT),
        ([0.2, 0.5], FEW),
    ],
)
def test_nothing_is_foretold_of_other_curves(rates: list[float], verdict: str) -> None:
    found = law_of(rates)
    assert (found.verdict, found.twice, found.gain) == (verdict, None, None)


def test_parts_that_learned_nothing_are_left_out_of_the_law() -> None:
    law = [1 - 0.3 * share**-0.5 for share in (0.25, 0.5, 1.0)]
    found = law_of([0.0, *law])
    assert found.exponent is not None and found.exponent.value == pytest.approx(0.5, abs=0.02)


@pytest.fixture(scope="module")
def rising() -> shown.Curve:
    """The curve of a model that has more records right with each part."""
    made, names = [], ("a", "b", "c", "d", "e", "f", "g", "h")
    for number, (rate, count) in enumerate(zip((0.2, 0.35, 0.55, 0.7), (1, 2, 4, 8), strict=True)):
        flags = columns([rate])[0]
        rows = [
            typed(prediction(row, names[row % 8], "pass" if right else "wrong_value"))
            for row, right in enumerate(flags)
        ]
        part = Part(count / 8, names[:count], 100 * count, count == 8)
        made.append(Point(part, 10 * count, 60.0 * number, rows, reused=count == 8))
    return drawn(made)


def drawn(made: list[Point], planned: int = 4) -> shown.Curve:
    settings = shipped().eval.model_copy(update={"draws": 200})
    return shown.drawn(made, planned, Task(shipped().task), settings, ["schema_validity", "exact_match"], 7, 0.5)


def test_table_and_page_say_what_twice_the_data_brings(rising: shown.Curve) -> None:
    law = rising.measures[0].outlook
    assert (rising.measures[0].name, law.verdict) == ("exact_match", RISES)
    assert rising.headline.startswith("Twice the data (1,600 records) would bring exact match to about")
    *_, last, twice = shown.table(rising)
    assert re.match(r" +8 +800 +80 +3\.0 +70\.0 % \[", last)
    assert law.twice and twice.split()[:3] == ["twice", "1,600", f"~{100 * law.twice.value:.1f}"]
    page = shown.page(rising)
    assert str(escape(rising.headline)) in page
    assert page.count("<figure>") == len(rising.measures)
    assert "<script" not in page and "fitted" in page


def test_the_report_has_the_points_and_the_law(rising: shown.Curve) -> None:
    found = json.loads(json.dumps(shown.content(rising), allow_nan=False))
    assert [point["records"] for point in found["points"]] == [100, 200, 400, 800]
    assert [point["reused"] for point in found["points"]] == [False, False, False, True]
    assert found["points"][-1]["measures"]["exact_match"]["value"] == 0.7
    assert found["outlook"]["exact_match"]["verdict"] == RISES


def test_a_curve_that_is_not_finished_foretells_nothing_in_its_headline(rising: shown.Curve) -> None:
    begun = drawn(rising.points[:2])
    assert begun.headline == "2 of 4 points are made."
    assert "2 of 4 points" in shown.page(begun)


def test_the_measure_of_the_gate_comes_first() -> None:
    task, rows = Task(shipped().task), [typed(prediction(0, "g", "pass"))]
    names = [measure.name for measure in shown.measures(task, rows, [], ["schema_validity", "field_f1"])]
    assert names[:2] == ["field_f1", "exact_match"]
    assert "schema_validity" not in names


def test_points_are_made_once_and_touch_no_output(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The adapter of `sft` is taken for all groups, and a point that is there is not made again."""
    repo = tmp_path / "repo"
    shutil.copytree(tiny_run, repo, symlinks=True)
    change_params(repo, {"curve.shares": [0.3, 1.0]})
    monkeypatch.chdir(repo)
    ran = []

    def here(part: Part, module: str, *options: str) -> None:
        ran.append((part.whole, module))
        checked(run_here(part.folder, module, *options))

    monkeypatch.setattr(curve_points, "run", here)
    params, raw = load_params(), resolved(repo / "params.yaml")
    groups = read_records(TRAIN)["group"].to_list()
    planned = parts(groups, params.curve.shares, params.seed)
    before = {name: sha256_folder(repo / name) for name in ("models", "data", "reports")}
    found = tool.curve(params, raw, planned, len(groups))
    after = {name: sha256_folder(repo / name) for name in before}
    assert {*after["reports"]} - {*before["reports"]} == {"curve.html", "curve.json"}
    assert after | {"reports": before["reports"]} == before
    assert ran == [(False, "stages.sft"), (False, "stages.eval"), (True, "stages.eval")]
    assert [point.reused for point in found.points] == [False, True]
    small = found.points[0].part
    assert set(read_records(small.folder / TRAIN)["group"]) == set(small.groups)
    ids = read_records(VALIDATION)["id"].to_list()
    assert [[row.id for row in point.predictions] for point in found.points] == [ids, ids]
    assert sha256_folder(small.folder / SFT_ADAPTER) != sha256_folder(repo / SFT_ADAPTER)
    assert [line.split()[-2:] for line in tool.plan(params, raw, planned, len(groups))[:2]] == 2 * [["made", "already"]]
    tool.curve(params, raw, planned, len(groups))
    assert len(ran) == 3
    change_params(repo, {"eval.max_new_tokens": 8})
    again = resolved(repo / "params.yaml")
    tool.curve(load_params(), again, planned, len(groups))
    assert ran[3:] == [(False, "stages.eval"), (True, "stages.eval")]
