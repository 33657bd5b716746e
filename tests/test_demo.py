"""The service loop, in small: real commands, real servers, real git and DVC, on a model of two layers."""

from __future__ import annotations

from pathlib import Path

from tests.demo.__main__ import PARAMS
from tests.demo.loop import Loop, Size
from tests.demo.page import render
from tests.workspace import NO_COMPARATORS, TINY, git_init, make_tiny_workspace

SMALL = {
    **NO_COMPARATORS,
    **PARAMS,
    **TINY,
    "split.calibration": 0.2,
    "eval.agreement": {"records": 0, "samples": 2, "temperature": 0.7},
    "benchmark.parity": {"records": 0, "artefacts": ["adapter"]},
    "cascade.max_risk": None,
    "mask.ner": {"engine": "none", "model": None},
}


def test_the_loop_is_played_from_data_to_rollback(tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    make_tiny_workspace(repo, {}, rows=1)
    git_init(repo)
    size = Size(customers=30, rows=180, callers=12, calls=(14, 8, 0, 4), params=SMALL, bad={})
    loop = Loop(repo, size)
    loop.prepare()
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
    assert (first.calls, first.failed, canary.failed, last.failed) == (14, 0, 0, 0)
    assert first.answered.total() + first.review == 14
    assert last.answered.keys() <= {"v0.1.0"}
    collected = loop.report("collect.json")
    assert collected["traces"] == 14
    assert collected["added"] > 0
    assert loop.report("split.json")["rows"]["train"] > 0
    page = render(loop.played, size, 60.0)
    assert "v0.2.0" in page and "Take what people judged" in page
