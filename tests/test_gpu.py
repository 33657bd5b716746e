"""The parts of `tests/gpu` on a CPU with tiny models, so that none fails on its first GPU for a silly reason."""

from __future__ import annotations

import argparse
import gc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hallmark.serve.engines.transformers_serve import TransformersServer
from hallmark.serve.engines.vllm import VllmServer
from tests.gpu.__main__ import watched
from tests.gpu.registry import MODULES, Bench, parts, run_part
from tests.gpu.serving import TRANSFORMERS, VLLM
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
    assert run_part(parts()[name], Bench("cpu", tiny=True, here=True, scratch=scratch)) in ("passed", "skipped")


def test_all_modules_with_parts_are_known() -> None:
    files = {file.stem for file in (ROOT / "tests/gpu").glob("*.py") if "\n@part(" in file.read_text(encoding="utf-8")}
    assert files == {*MODULES}


def test_a_part_that_hangs_is_stopped_and_takes_no_other_along(tmp_path: Path) -> None:
    given = argparse.Namespace(device="cpu", tiny=True, scratch=None)
    assert watched(replace(parts()["quantize"], limit=0), given, tmp_path) == "stopped"


def test_the_blocks_of_the_servers_are_valid() -> None:
    VllmServer.model_validate(VLLM)
    TransformersServer.model_validate(TRANSFORMERS)
