"""What makes a run repeat: pinned code paths, and an error that names the param if it can't."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

from stages.core.compute import deterministic, environment, fingerprint
from stages.core.errors import HallmarkError
from stages.core.params import Compute
from stages.params.loader import load_params
from tests.test_sft import trainable
from tests.workspace import ROOT, change_params, report, run, stage

PORTABLE = {"compute.portable": True, "sft.dtype": "float32", "sft.lora.dropout": 0.1, "sft.accumulation": 2}


def tuned(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted((folder / "models/sft").iterdir())}


def test_portable_pins_the_code_paths_whatever_the_caller_sets(tmp_path: Path) -> None:
    folder = trainable(tmp_path, PORTABLE)
    sft = ("python", "-m", "stages.sft")  # in new processes: code paths are chosen when torch is loaded
    run(folder, *sft)
    pinned = tuned(folder)
    measured = json.loads((folder / "reports/measured/sft.json").read_text(encoding="utf-8"))
    assert measured["fingerprint"]["instruction_set"] == "AVX2"
    run(folder, *sft, ATEN_CPU_CAPABILITY="default", MKL_CBWR="AVX2", OPENBLAS_CORETYPE="Prescott")
    assert tuned(folder) == pinned
    change_params(folder, {"compute.portable": False})
    stage(folder, "sft")
    assert tuned(folder)["adapter_model.safetensors"] != pinned["adapter_model.safetensors"]


def test_on_apple_silicon_the_error_names_the_device_that_works(tmp_path: Path) -> None:
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    params = tmp_path / "params.yaml"
    params.write_text(text.replace("device: cpu", "device: mps", 1), encoding="utf-8")
    with pytest.raises(HallmarkError, match=r"compute\.device: mps is not supported: .*on Apple silicon, use cpu"):
        load_params(params)


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.skipif(not shutil.which("qemu-x86_64"), reason="needs qemu-user")
@pytest.mark.parametrize("method", ["qlora", "lora"])
@pytest.mark.parametrize("processor", ["Haswell-v4", "EPYC-Milan"])
def test_portable_gives_the_same_bytes_on_an_emulated_processor(tmp_path: Path, method: str, processor: str) -> None:
    """Of another vendor and without AVX-512; where it is off, MKL alone makes the difference."""
    folder = trainable(tmp_path, {**PORTABLE, "sft.method": method})
    run(folder, "python", "-m", "stages.sft")
    here, losses = tuned(folder), report(folder, "sft")
    shutil.rmtree(folder / "models/sft")
    run(folder, "qemu-x86_64", "-cpu", processor, sys.executable, "-m", "stages.sft")
    assert tuned(folder) == here
    assert report(folder, "sft") == losses


def test_portable_is_an_error_where_torch_has_chosen_its_code_path_before(tmp_path: Path) -> None:
    code = (
        "import torch\ntorch.backends.cpu.get_cpu_capability()\nfrom stages.core.compute import set_up\nfrom stages.core.params import Compute\n"
        "set_up(Compute(device='cpu', threads=1, portable=True), 0)"
    )
    done = run(ROOT, "python", "-c", code, check=False, ATEN_CPU_CAPABILITY="default")
    assert "field 'compute.portable'" in done.stderr
    assert "remedy" in done.stderr


def test_no_stage_loads_torch_or_numpy_before_its_code_path_is_set() -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom stages.core import compute\n"
        "def stop(*_):\n    print([name for name in ('torch', 'numpy', 'scipy') if name in sys.modules])\n    sys.exit()\n"
        "compute.set_up = stop\nimport stages.{0} as stage\nfrom stages.params.loader import load_params\nstage.{1}"
    )
    for name, arguments in (
        ("sft", "run(load_params())"),
        ("dpo", "train(load_params())"),
        ("eval", "run(load_params(), 'base')"),
    ):
        assert run(ROOT, "python", "-c", code.format(name, arguments)).stdout.strip() == "[]", name


def test_threads_reach_every_library() -> None:
    assert environment(Compute(device="cpu", threads=3, portable=False))["OMP_NUM_THREADS"] == "3"
    assert not {"MKL_CBWR", "ATEN_CPU_CAPABILITY"} & set(environment(Compute(device="cpu", threads=3, portable=False)))


def test_a_fingerprint_leaves_the_environment_as_it_was() -> None:
    before = dict(os.environ)
    found = fingerprint(Compute(device="cpu", threads=1, portable=False), 2, "ddp")
    assert (found["portable"], found["processes"], found["strategy"]) == (False, 2, "ddp")
    assert dict(os.environ) == before


def test_an_operation_without_a_deterministic_form_names_the_param() -> None:
    import torch

    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    try:
        with (
            pytest.raises(HallmarkError, match=r"field 'sft.attention'.*\n  remedy: set it to eager"),
            deterministic("sft.attention", "set it to eager"),
        ):
            torch.zeros(3).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]), accumulate=False)
        with pytest.raises(RuntimeError, match="shape"), deterministic("sft.attention", ""):
            torch.zeros(3).view(2)
    finally:
        torch.use_deterministic_algorithms(before)
