"""The parts of `tests/gpu` on a CPU with tiny models, so that none fails on its first GPU for a silly reason."""

from __future__ import annotations

import argparse
import gc
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hallmark.serve.engines.transformers_serve import TransformersServer
from hallmark.serve.engines.vllm import VllmServer
from tests.gpu import page
from tests.gpu.__main__ import summary, watched
from tests.gpu.registry import MODULES, Bench, Part, Skipped, parts, run_part
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


def test_a_check_that_fails_hides_no_other(tmp_path: Path) -> None:
    def run(bench: Bench) -> None:
        with bench.line("measured, and not good enough") as line:
            line.values["times"] = 2
            line.expect(False, "2 times; the goal is 3")
        with bench.line("broken"):
            {}["no such key"]
        with bench.line("not for this machine"):
            raise Skipped("no second card")
        with bench.line("holds") as line:
            line.words = "3 times"
        raise ValueError("outside any line")

    result = run_part(Part("made-up", "", run, 1), Bench("cpu", True, True, tmp_path, tmp_path / "made-up.json"))
    lines = result["lines"]
    assert [line["state"] for line in lines] == ["failed", "failed", "skipped", "passed", "failed"]
    assert lines[0]["values"] == {"times": 2}
    assert lines[1]["traceback"][-1] == lines[1]["error"] == "KeyError: 'no such key'"
    assert (lines[4]["error"], result["state"]) == ("ValueError: outside any line", "failed")


def test_a_part_that_hangs_is_stopped_and_takes_no_other_along(tmp_path: Path) -> None:
    given = argparse.Namespace(out=tmp_path, device="cpu", tiny=True, scratch=None)
    result = watched(replace(parts()["quantize"], limit=0), given, tmp_path, {"date": "2026-11-26"})
    assert (result["state"], result["reason"], result["lines"]) == ("stopped", "after 0 s", [])
    assert json.loads((tmp_path / "quantize.json").read_text(encoding="utf-8")) == result
    assert summary({"quantize": result}) == ["stopped  quantize: after 0 s"]


@pytest.fixture
def made_up(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """A folder of results, and a page."""
    machine = {"date": "2026-11-26", "machine": {"gpu": "NVIDIA L4", "torch": "2.13.0"}, "memory_bytes": 24 * 2**30}
    of_a_gpu: dict[str, Any] = {"device": "cuda", "tiny": False, "machine": machine, "reason": None, "seconds": 1.0}
    lines = [
        {"check": "LoRA", "state": "passed", "words": "9 tokens/s", "error": None},
        {"check": "a | b", "state": "failed", "words": "", "error": "<script>\nmore"},
    ]
    results = {
        "speed": of_a_gpu | {"state": "failed", "lines": lines},
        "ddp": of_a_gpu | {"state": "skipped", "reason": "torch sees 1 CUDA device", "lines": []},
        "eval": of_a_gpu | {"state": "passed", "device": "cpu", "lines": lines},
        "dpo": of_a_gpu | {"state": "passed", "tiny": True, "lines": lines},
    }
    for name, result in results.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(result), encoding="utf-8")
    file = tmp_path / "page.md"
    file.write_text("# Training\n\n## Measured on a GPU\n\nNothing.\n\n## After\n\nStays.\n", encoding="utf-8")
    yield tmp_path, file


def test_the_page_shows_what_a_gpu_did_and_no_other(made_up: tuple[Path, Path]) -> None:
    out, file = made_up
    page.write(out, parts(), file)
    text = file.read_text(encoding="utf-8")
    assert "Nothing." not in text
    assert text.endswith("\n\n## After\n\nStays.\n")
    assert "| speed | LoRA | 9 tokens/s |" in text
    assert "| speed | a \\| b | **failed**: &lt;script&gt; |" in text
    assert json.loads((out / "gpu.json").read_text(encoding="utf-8")).keys() == {"speed", "ddp"}
    page.write(out, parts(), file)
    assert file.read_text(encoding="utf-8") == text, "written again, it is the same"
    (out / "speed.json").unlink()
    page.write(out, parts(), file)
    assert file.read_text(encoding="utf-8") == text, "a part that was not run again keeps its rows"
    (out / "ddp.json").unlink()
    with pytest.raises(SystemExit, match="no result of a GPU"):
        page.write(out, parts(), file)
    assert file.read_text(encoding="utf-8") == text


def test_the_blocks_of_the_servers_are_valid() -> None:
    for settings, values in ((VllmServer, VLLM), (TransformersServer, TRANSFORMERS)):
        assert settings.model_validate(block(settings, values)).kind == values["kind"]
