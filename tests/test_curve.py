"""How much data: the parts of the training data, the law through the points, and the table and report of it."""

from __future__ import annotations

import math
import shutil
from argparse import Namespace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.base.errors import HallmarkError
from hallmark.base.files import SFT_ADAPTER, TRAIN, VALIDATION, sha256_folder
from hallmark.base.records import read_records
from hallmark.base.stats import ClusterBootstrap
from hallmark.commands import curve as tool
from hallmark.commands.curve_points import Part, parts, settings
from hallmark.judge.power_law import FALLS, FEW, FLAT, RIGHT, RISES, Outlook, outlook
from hallmark.params.loader import load_params, resolved
from tests.workspace import ROOT, change_params

RAW = resolved(ROOT / "params.yaml")


@given(st.lists(st.integers(1, 9), min_size=6, max_size=40), st.integers(0, 9))
def test_each_part_holds_the_smaller_ones(sizes: list[int], seed: int) -> None:
    groups = [f"g{number}" for number, size in enumerate(sizes) for _ in range(size)]
    found = parts(groups, [0.2, 0.5, 1.0], seed)
    assert len({parts(groups, [0.5, 1.0], other)[0].groups for other in range(20)}) > 1, "another seed draws others"
    assert found == parts(groups[::-1], [0.2, 0.5, 1.0], seed)
    for small, large in pairwise(found):
        assert set(small.groups) < set(large.groups)
        assert small.records == sum(group in small.groups for group in groups) < large.records
    assert [part.whole for part in found] == [False, False, True]
    assert set(found[-1].groups) == set(groups)


def test_a_small_part_is_passed_over_more_often() -> None:
    """It has half of the steps; from half of the records on, a part has as many passes as all of them."""
    sft = RAW["sft"]
    small, half = (Part(share, ("g",), round(share * 800), False) for share in (0.125, 0.5))
    assert settings(RAW, small, 800, 0.5)["sft"]["epochs"] == pytest.approx(4 * sft["epochs"])
    assert settings(RAW, half, 800, 0.5)["sft"]["epochs"] == pytest.approx(sft["epochs"])
    assert settings(RAW, small, 800, 0.5)["sft"]["eval_steps"] == math.ceil(sft["eval_steps"] / 2)
    capped = RAW | {"sft": sft | {"max_steps": 100}}
    assert settings(capped, small, 800, 0.5)["sft"]["max_steps"] == 50


def test_all_groups_are_trained_as_sft_does() -> None:
    made = settings(RAW, Part(1.0, ("g",), 800, True), 800, 0.5)
    free = {"checkpoint_minutes": RAW["sft"]["checkpoint_minutes"]}
    assert made["sft"] | free == RAW["sft"]
    assert made["eval"]["engine"] == {"kind": "hf"}
    assert made["eval"]["constrained"] == 0


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


@pytest.mark.full
def test_points_are_made_once_and_touch_no_output(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The adapter of `sft` is taken for all groups, and a point that is there is not made again."""
    repo = tmp_path / "repo"
    shutil.copytree(tiny_run, repo, symlinks=True)
    change_params(repo, {"curve.shares": [0.3, 1.0]})
    monkeypatch.chdir(repo)

    def made() -> tuple[tool.Curve, list[int]]:
        """The curve, and when each point was evaluated."""
        params, raw, records = load_params(), resolved(), len(read_records(TRAIN))
        planned = tool.planned_parts(params, raw)
        found = tool.curve(params, raw, planned, records)
        assert [line.split()[-2:] for line in tool.plan(params, planned, records)] == 2 * [["made", "already"]]
        file = "reports/eval/tuned/metrics.json"
        return found, [(part.folder / file).stat().st_mtime_ns for part in planned]

    def only_planned() -> str:
        """What `--dry` prints."""
        capsys.readouterr()
        tool.main(Namespace(params=Path("params.yaml"), dry=True))
        return capsys.readouterr().out

    assert "made already" not in only_planned() and not tool.FOLDER.exists()
    before = {name: sha256_folder(repo / name) for name in ("models", "data", "reports")}
    found, times = made()
    after = {name: sha256_folder(repo / name) for name in before}
    assert {*after["reports"]} - {*before["reports"]} == {"curve.md", "curve.json"}
    assert after | {"reports": before["reports"]} == before
    small, whole = (point.part for point in found.points)
    assert set(read_records(small.folder / TRAIN)["group"]) == set(small.groups)
    ids = read_records(VALIDATION)["id"].to_list()
    assert [[row.id for row in point.predictions] for point in found.points] == [ids, ids]
    adapters = [sha256_folder(folder / SFT_ADAPTER) for folder in (small.folder, whole.folder, repo)]
    assert adapters[0] != adapters[1] == adapters[2]
    assert made()[1] == times
    with tool.alone(tool.FOLDER, "", ""), pytest.raises(HallmarkError) as raised:
        tool.main(Namespace(params=Path("params.yaml"), dry=False))
    assert raised.value.file == tool.FOLDER
    (small.folder / "reports/eval/tuned/metrics.json").unlink()  # as if it had been killed before that
    trained = (small.folder / "reports/sft.json").stat().st_mtime_ns
    again = made()[1]
    assert [new == old for new, old in zip(again, times, strict=True)] == [False, True]
    assert (small.folder / "reports/sft.json").stat().st_mtime_ns == trained
    change_params(repo, {"eval.max_new_tokens": 8})
    assert "made already" not in only_planned()
