"""The service loop, in small: real commands, real servers, real git and DVC, on a model of two layers; and the page of it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.demo.loop import Answer, Loop, Played, Size
from tests.demo.page import render
from tests.workspace import ROOT

LIVE = {
    "serve.poll_seconds": 0.5,
    "serve.routing.canary": 0.5,
    "mask.workers": 1,
    "mask.gold": None,
    "dedupe.gold": None,
}
SMALL = Size(customers=30, rows=150, callers=10, calls=(12, 6, 0, 3), params=LIVE, bad={})


@pytest.mark.timeout(900)
@pytest.mark.full
def test_the_loop_is_played_from_data_to_rollback(tiny_run: Path, tmp_path: Path) -> None:
    loop = Loop(Path(shutil.copytree(tiny_run, tmp_path / "repo", symlinks=True)), SMALL)
    loop.prepare()
    loop.train("first", "v0.1.0")
    loop.tool("service", "promote", "v0.1.0", "prod")
    with loop.gateway() as url:
        loop.ask("first", url, 12)
        loop.learn(url)
        loop.tool("back", "rollback")
        loop.wait_for(url, "prod", "v0.1.0")
        loop.ask("last", url, 3)
    table = loop.tool("releases", "releases")
    assert "v0.1.0" in table and "v0.2.0" in table
    phases = [one.phase for one in loop.played.answers]
    assert (phases.count("first"), phases.count("A canary"), phases.count("last")) == (12, 6, 3)
    assert not any(one.became == "failed" for one in loop.played.answers)
    assert {one.version for one in loop.played.answers if one.phase == "last"} == {"v0.1.0"}
    assert loop.played.verdicts["v0.2.0"][0] in ("promote", "roll_back", "too_little_data")
    collected = loop.report("collect.json")
    assert collected["traces"] == 12
    assert collected["added"] > 0
    assert "v0.2.0 learned from that: as a canary it got" in render(loop.played, SMALL)


def test_a_demo_that_is_stopped_leaves_its_page_and_no_process(tmp_path: Path) -> None:
    page = tmp_path / "demo.html"
    command = [sys.executable, "-m", "tests.demo", "--page", str(page), "--keep", str(tmp_path / "clone")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 120
    while not page.exists() and time.monotonic() < until:
        time.sleep(0.1)
    process.terminate()
    assert "KeyboardInterrupt" in process.communicate(timeout=120)[1]
    assert "Stopped" in page.read_text(encoding="utf-8")
    assert "Train on what there is" in page.read_text(encoding="utf-8")
    found = subprocess.run(["pgrep", "-f", "dvc repro"], capture_output=True, text=True).stdout.split()
    assert not [pid for pid in found if Path(f"/proc/{pid}/cwd").resolve() == (tmp_path / "clone").resolve()]


def test_the_page_says_how_far_it_came_and_shows_no_markup_of_others() -> None:
    played = Played(now="Train <again>", seconds=90.0)
    assert "Still running: Train &lt;again&gt;" in render(played, SMALL)
    played.answers += [
        Answer(float(n), "A canary", f"v0.{1 + n % 2}.0", "right" if n % 2 else "wrong") for n in range(8)
    ]
    played.verdicts["v0.2.0"] = "promote", 60.0
    played.ended = "Stopped\nby <hand>"
    page = render(played, SMALL)
    assert "as a canary it got 100 % of 4 right, and v0.1.0 0 % of 4; after 60 s its verdict promoted it" in page
    assert "<b>Stopped</b>" in page and "<pre>by &lt;hand&gt;</pre>" in page and "refresh" not in page
    played.ended = "done"
    assert "<b>Not as it should be: v0.3.0: None.</b>" in render(played, SMALL)
    played.verdicts["v0.3.0"] = "roll_back", 30.0
    played.sides, played.releases["v0.3.0"] = [(30.0, "prod", "v0.3.0"), (45.0, "prod", "v0.2.0")], (0.0, ["floor"])
    page = render(played, SMALL)
    assert "<b>As it should be: v0.2.0 was promoted by its verdict" in page and "v0.3.0, planted as bad" in page
    assert "prod 00:30 to 00:45; its verdict took it out" in page
