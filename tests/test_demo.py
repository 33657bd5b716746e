"""The service loop, in small: real commands, real servers, real git and DVC, on a model of two layers."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.demo.loop import Loop, Size
from tests.demo.page import render

LIVE = {
    "serve.poll_seconds": 0.5,
    "serve.routing.canary": 0.5,
    "canary.first_look_hours": 0.001,
    "mask.workers": 1,
}


@pytest.mark.timeout(900)
@pytest.mark.full
def test_the_loop_is_played_from_data_to_rollback(tiny_run: Path, tmp_path: Path) -> None:
    repo = Path(shutil.copytree(tiny_run, tmp_path / "repo", symlinks=True))
    size = Size(customers=30, rows=1, callers=10, calls=(12, 6, 0, 3), params=LIVE, bad={})
    loop = Loop(repo, size)
    loop.set(LIVE)
    loop.train("first", "v0.1.0")
    loop.tool("service", "promote", "v0.1.0", "prod")
    with loop.gateway() as url:
        loop.traffic("first release", url, size.calls[0])
        loop.learn(url)
        loop.tool("back", "rollback")
        loop.wait_for(url, "prod", "v0.1.0")
        loop.traffic("after going back", url, size.calls[3])
    table = loop.tool("releases", "releases")
    assert "v0.1.0" in table and "v0.2.0" in table
    assert loop.stage_of("prod") == "v0.1.0"
    first, canary, last = loop.played.phases
    assert (first.calls, first.failed, canary.failed, last.failed) == (12, 0, 0, 0)
    assert first.answered.total() + first.review == 12
    assert last.answered.keys() <= {"v0.1.0"}
    collected = loop.report("collect.json")
    assert collected["traces"] == 12
    assert collected["added"] > 0
    page = render(loop.played, size, 60.0)
    assert "v0.2.0" in page and "Take what people judged" in page
