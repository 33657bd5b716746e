"""The parts of `tests/gpu` on a CPU with tiny models, so that none fails on its first GPU for a silly reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gpu.registry import Bench, parts, run_part

# Those that start processes of their own, which takes long; `python -m tests.gpu --device cpu --tiny` runs them.
OUTSIDE = {"resume", "serve", "ddp", "fsdp", "checkpointing"}


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gpu")


@pytest.mark.parametrize("name", [*parts().keys() - OUTSIDE])
def test_a_part_runs_on_a_cpu(scratch: Path, name: str) -> None:
    bench = Bench("cpu", True, True, scratch, scratch / f"{name}.json")
    result = run_part(parts()[name], bench)
    problems = [(line.check, line.error, line.traceback) for line in bench.lines if line.state == "failed"]
    assert not problems, result
