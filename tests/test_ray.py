"""Workers that die, here and on a Ray cluster, and the stage `mask` on one: the same bytes, or an error that says where."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from hallmark.base.errors import HallmarkError
from hallmark.mask import two_runs, workers
from hallmark.mask.ray_cluster import Ray, reach
from hallmark.mask.workers import TRIES, spread
from hallmark.params.loader import load_params, resolved, tracked
from stages import mask
from tests.deadly import DEADLY, begin, double, record_or_die
from tests.rows import refused
from tests.workspace import ROOT, change_params, make_workspace

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the group dev installs Ray")
ENGINES = ["local", pytest.param("ray", marks=[needs_ray, pytest.mark.full])]
RULES = {"mask.ner.engine": "none", "mask.ner.model": None, "mask.gold": None, "mask.workers": 2}
LAST = 20  # chunks


@pytest.fixture(scope="module")
def cluster() -> Iterator[Ray]:
    """A cluster of this machine with two CPUs, to which this process is connected."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")  # or Ray would write a token into the home folder
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
        cluster = Ray(None)
        with cluster.connected(2):
            yield cluster


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> Ray | None:
    return request.getfixturevalue("cluster") if request.param == "ray" else None


def doubled(engine: Ray | None, deadly: dict[int, int], folder: Path) -> list[int]:
    """The results for all numbers."""
    tasks = ([(number, deadly, folder)] for number in range(LAST))
    where = lambda chunk: {"file": "rows.jsonl", "row": 64 * chunk[0][0] + 1}  # noqa: E731
    return [result for _, result in spread(2, begin, (), double, tasks, where=where, ray=engine)]


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_what_a_dead_worker_had_is_done_again_and_nothing_twice(engine: Ray | None, tmp_path: Path) -> None:
    deadly = {0: 1, 3: TRIES - 1, LAST - 1: 1}
    assert doubled(engine, deadly, tmp_path) == [2 * number for number in range(LAST)]
    assert {number: (tmp_path / str(number)).stat().st_size for number in deadly} == deadly


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_a_chunk_that_no_worker_survives_is_an_error_that_names_it(engine: Ray | None, tmp_path: Path) -> None:
    with refused("memory", file="rows.jsonl", row=3 * 64 + 1):
        doubled(engine, {3: 99}, tmp_path)


@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_an_error_of_a_worker_arrives_as_it_is(engine: Ray | None, tmp_path: Path) -> None:
    with refused("fix it", file="rows.jsonl", row=LAST - 1):
        doubled(engine, {LAST - 1: 0}, tmp_path)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with four chunks of rows, as working directory."""
    folder = make_workspace(tmp_path / "repo", RULES, rows=250)
    monkeypatch.chdir(folder)
    return folder


def masked(folder: Path, overrides: dict[str, Any]) -> tuple[bytes, bytes]:
    """What the stage writes of rows and report."""
    change_params(folder, overrides)
    mask.run(load_params())
    return Path("data/masked.parquet").read_bytes(), Path("reports/mask.json").read_bytes()


@pytest.mark.full
@pytest.mark.parametrize("engine", ENGINES, indirect=True)
def test_rows_that_no_worker_survives_are_left_out(
    here: Path, engine: Ray | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What is due is masked in this process; on a cluster, one row too many is an error."""
    tickets = here / "data/raw/tickets.jsonl"
    lines = tickets.read_text().splitlines(keepends=True)
    tickets.write_text("".join(line for number, line in enumerate(lines, 1) if number not in DEADLY))
    expected, _ = masked(here, {"mask.workers": 1})
    tickets.write_text("".join(lines))
    monkeypatch.setattr(two_runs, "rows_of", record_or_die)
    monkeypatch.setattr(workers, "TRIES", 1)
    written, told = masked(here, {"mask.workers": 2, "data.engine": "ray" if engine else "local"})
    report = json.loads(told)
    assert (written, report["rows"]) == (
        expected,
        {"read": 250, "records": 250, "left_out": {}, "dropped": 0, "written": 248},
    )
    assert report["crashed"] == [f"data/raw/tickets.jsonl:{number}" for number in DEADLY]
    assert "data/raw/tickets.jsonl:70; data/raw/tickets.jsonl:128" in caplog.text
    if engine:
        monkeypatch.setattr(workers, "MOST_CRASHED", 1)
        with pytest.raises(HallmarkError, match="this row ended 1 workers"):
            masked(here, {})


def kill_one(killed: list[int]) -> None:
    """Kill the first worker that is there, as the kernel does if memory runs out."""
    while not killed:
        for process in psutil.process_iter(["cmdline"]):
            if "ray::Caller" in " ".join(process.info["cmdline"] or ()):
                process.kill()
                killed.append(process.pid)
                return
        time.sleep(0.01)


@needs_ray
def test_a_cluster_writes_the_same_bytes(here: Path, cluster: Ray) -> None:
    expected = masked(here, {"mask.workers": 1})
    killed: list[int] = []
    threading.Thread(target=kill_one, args=[killed], daemon=True).start()
    assert masked(here, {"data.engine": "ray", "mask.workers": 2}) == expected
    assert killed


@needs_ray
@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1"])
def test_no_cluster_at_the_address_is_an_error(address: str) -> None:
    with refused("null", field="data.cluster"):
        reach(address)


def test_without_ray_the_error_says_how_to_install_it(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with refused("pip install", field="data.engine"):
        masked(here, {"data.engine": "ray"})


def test_another_engine_runs_nothing_again(here: Path) -> None:
    before = tracked(resolved())
    change_params(here, {"data.engine": "ray", "data.cluster": "auto", "mask.workers": 32})
    assert json.dumps(tracked(resolved())) == json.dumps(before)
    change_params(here, {"data.pseudonyms": "keyed"})
    assert tracked(resolved()) != before
