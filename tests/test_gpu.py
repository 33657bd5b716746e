"""The parts of `tests/gpu` on a CPU with tiny models, so that none fails on its first GPU for a silly reason."""

from __future__ import annotations

import argparse
import gc
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hallmark.serve.engines.transformers_serve import TransformersServer
from hallmark.serve.engines.vllm import VllmServer
from tests.gpu.__main__ import summary, watched
from tests.gpu.registry import MODULES, Bench, parts, run_part
from tests.gpu.serving import TRANSFORMERS, VLLM, block
from tests.workspace import ROOT

# Those that start processes of their own, which takes long, and two with the code of `train-0.6b`;
# `python -m tests.gpu --device cpu --tiny` runs them too.
OUTSIDE = {"resume", "serve", "ddp", "fsdp", "train-3b", "train-smollm2"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("gpu")
    gc.unfreeze()


@pytest.fixture
def scratch(folder: Path) -> Path:
    gc.freeze()  # each trainer collects garbage when it ends: half of the time, if it looks at all that was imported
    return folder


@pytest.mark.parametrize("name", [name for name in parts() if name not in OUTSIDE])
@pytest.mark.full
def test_a_part_runs_on_a_cpu(scratch: Path, name: str) -> None:
    bench = Bench("cpu", tiny=True, here=True, scratch=scratch, file=scratch / f"{name}.json")
    result = run_part(parts()[name], bench)
    problems = [(line.check, line.error, line.traceback) for line in bench.lines if line.state == "failed"]
    assert not problems
    assert json.loads((scratch / f"{name}.json").read_text(encoding="utf-8")) == result
    assert bench.lines or result["state"] == "skipped"


def test_all_modules_with_parts_are_known() -> None:
    files = {file.stem for file in (ROOT / "tests/gpu").glob("*.py") if "\n@part(" in file.read_text(encoding="utf-8")}
    assert files == {*MODULES}


def test_a_part_that_hangs_is_stopped_and_takes_no_other_along(tmp_path: Path) -> None:
    given = argparse.Namespace(out=tmp_path, device="cpu", tiny=True, scratch=None)
    result = watched(replace(parts()["quantize"], limit=0), given, tmp_path, {"date": "2026-11-26"})
    assert (result["state"], result["reason"], result["lines"]) == ("stopped", "after 0 s", [])
    assert json.loads((tmp_path / "quantize.json").read_text(encoding="utf-8")) == result
    assert summary({"quantize": result}) == ["stopped  quantize: after 0 s"]


def test_the_blocks_of_the_servers_are_valid() -> None:
    for settings, values in ((VllmServer, VLLM), (TransformersServer, TRANSFORMERS)):
        assert settings.model_validate(block(settings, values)).kind == values["kind"]
