"""What a run says before it starts: which stages DVC will run, and how long they take by the last run and this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hallmark.base.files import write_json
from hallmark.base.progress import PLAN, TIMES, heading, record
from hallmark.base.reading import read_object
from hallmark.commands.repro import to_run
from hallmark.plan import times
from tests.rows import refused
from tests.small_pipeline import copied
from tests.workspace import change_params


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without times, on a machine on which a little Python takes 0.2 s."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(times, "computed_seconds", lambda _: {"sft": 25.0, "eval@tuned": 40.0})
    monkeypatch.setattr(times, "a_little_python", lambda: 0.2)


def seconds(*stages: str) -> list[float | None]:
    return [stage["seconds"] for stage in times.expected(stages, Path("params.yaml")).values()]


def test_a_stage_takes_what_it_took_last_time_by_how_much_faster_this_machine_is() -> None:
    assert seconds("mask", "sft", "eval@tuned", "benchmark") == [None, 25, 40, None], "no run yet"
    last = {"mask": (10, 0.1), "sft": (100, 50), "benchmark": (30, 20), "online": (3, None), "calibration": (4, 1)}
    write_json(TIMES, {name: {"seconds": took, "yardstick": by} for name, (took, by) in last.items()})
    assert seconds("mask", "split", "sft", "eval@tuned") == [20, None, 50, 40]
    assert seconds("benchmark", "online", "calibration") == [60, 3, 4], "unscaled where nothing was computed"
    TIMES.write_text("<<<<<<< HEAD\n", encoding="utf-8")
    with refused(file=TIMES):
        seconds("mask")


def test_the_table_has_each_stage_and_an_end_if_all_are_known() -> None:
    plan: times.Plan = {"mask": {"seconds": 20.0, "yardstick": 1.0}, "sft": {"seconds": 250.0, "yardstick": 1.0}}
    head, line = times.table(plan, 2).splitlines()
    assert "2 stages, about 4 min 30 s, until " in head
    assert line.split() == ["mask", "20", "s", "\N{MIDDLE DOT}", "sft", "4", "min", "10", "s"]
    head, line = times.table(plan | {"dpo": {"seconds": None, "yardstick": None}}, 2).splitlines()
    assert "3 stages, more than 4 min 30 s" in head and "until" not in head and line.endswith("dpo ?")
    assert "more than" not in times.table({"dpo": {"seconds": None, "yardstick": None}}, 2), "of which nothing is known"


def test_a_stage_of_the_plan_says_its_place_and_notes_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_STAGE", "sft")
    record(90)
    assert heading() is None and not TIMES.exists(), "of `dvc repro`, there is no plan"
    plan = {
        "mask": {"seconds": 20, "yardstick": 0.2},
        "sft": {"seconds": 100, "yardstick": 25},
        "gate": {"seconds": None},
    }
    monkeypatch.setenv(PLAN, json.dumps(plan))
    assert heading() == "[2/3] sft: about 1 min 40 s", "when all is done depends on the gate"
    monkeypatch.setenv(PLAN, json.dumps(plan | {"gate": {"seconds": 3}}))
    assert str(heading()).startswith("[2/3] sft: about 1 min 40 s, all done at about ")
    record(90)
    assert read_object(TIMES) == {"sft": {"seconds": 90, "yardstick": 25}}
    monkeypatch.setenv("RANK", "1")
    record(91)
    assert heading() is None and read_object(TIMES)["sft"]["seconds"] == 90, "the first of several processes does"


def test_what_runs_is_what_changed_and_all_that_reads_it(
    small_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = copied(small_run, tmp_path / "repo")
    monkeypatch.chdir(repo)
    assert to_run([], set()) == []
    assert to_run([], {"eval"}) == ["eval", "gate", "certify"]
    assert to_run(["gate"], {"eval"}) == ["eval", "gate"]
    change_params(repo, {"sft.epochs": 5})
    assert to_run([], set()) == ["sft", "eval", "gate", "certify"]
    Path("dvc.yaml").write_text("stages: 1\n", encoding="utf-8")
    assert to_run([], set()) is None, "DVC says what is wrong"
