"""What makes a run repeat: pinned code paths, and an error that names the param if it can't."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from hallmark.base.compute import VISIBLE, WORKER, check_dtype, deterministic, environment, set_up
from hallmark.base.errors import HallmarkError
from hallmark.base.params import Compute
from hallmark.model.loading import load_base
from tests.test_matrix import gpus
from tests.test_sft import trainable
from tests.test_trainer import trainer_of
from tests.tiny import make_tiny_base
from tests.workspace import ROOT, change_params, like_a_process, run, stage

PORTABLE = {"compute.portable": True, "sft.dtype": "float32"}
PORTABLE |= {"sft.lora.dropout": 0.1, "sft.gradient_accumulation_steps": 2}


def tuned(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted((folder / "models/sft").iterdir())}


@pytest.mark.full
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


def test_portable_is_an_error_where_torch_has_chosen_its_code_path_before(tmp_path: Path) -> None:
    code = (
        "import torch\ntorch.backends.cpu.get_cpu_capability()\nfrom hallmark.base.compute import set_up\nfrom hallmark.base.params import Compute\n"
        "set_up(Compute(device='cpu', threads=1, portable=True), 0)"
    )
    done = run(ROOT, "python", "-c", code, check=False, ATEN_CPU_CAPABILITY="default")
    assert "field 'compute.portable'" in done.stderr
    assert "remedy" in done.stderr


def test_no_stage_loads_torch_or_numpy_before_its_code_path_is_set() -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom hallmark.base import compute\n"
        "def stop(*_):\n    print([name for name in ('torch', 'numpy', 'scipy') if name in sys.modules])\n    sys.exit()\n"
        "compute.set_up = stop\nimport stages.{0} as stage\nfrom hallmark.params.loader import load_params\nstage.{1}"
    )
    for name, arguments in (
        ("sft", "run(load_params())"),
        ("dpo", "train(load_params())"),
        ("eval", "run(load_params(), 'base')"),
    ):
        assert run(ROOT, "python", "-c", code.format(name, arguments)).stdout.strip() == "[]", name


CUDA = Compute(device="cuda", threads=3, portable=False)


@pytest.mark.parametrize(("given", "seen"), [(None, "0"), ("GPU-5c2f, GPU-11aa", "GPU-5c2f"), ("", "")])
def test_all_but_workers_see_the_first_gpu_that_the_user_allows(
    monkeypatch: pytest.MonkeyPatch, given: str | None, seen: str
) -> None:
    monkeypatch.delenv(VISIBLE, raising=False) if given is None else monkeypatch.setenv(VISIBLE, given)
    assert environment(CUDA)[VISIBLE] == seen
    assert environment(CUDA)["OMP_NUM_THREADS"] == "3" and "MKL_CBWR" not in environment(CUDA)
    assert VISIBLE not in environment(CUDA, all_devices=True)
    assert VISIBLE not in environment(Compute(device="cpu", threads=1, portable=False))


@pytest.mark.parametrize("kind", ["sft", "dpo"])
def test_a_trainer_is_built_if_there_are_two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.delenv(VISIBLE, raising=False)
    make_tiny_base(tmp_path)
    bases = [load_base(tmp_path, dtype="bfloat16", attention="sdpa", device="cpu") for _ in range(2)]
    with gpus(2), like_a_process(tmp_path), pytest.raises(ValueError, match=r"nn\.DataParallel"):
        trainer_of(kind, bases[0], tmp_path, use_cpu=False)
    with gpus(2), like_a_process(tmp_path):
        set_up(CUDA, seed=0)
        assert trainer_of(kind, bases[1], tmp_path, use_cpu=False).args.n_gpu == 1
    with gpus(2), like_a_process(tmp_path):
        monkeypatch.setenv(WORKER, "2")
        set_up(CUDA, seed=0)
        assert VISIBLE not in os.environ, "a worker chooses among all"


def test_a_gpu_without_bfloat16_is_an_error_that_names_the_param(monkeypatch: pytest.MonkeyPatch) -> None:
    def supported(including_emulation: bool = True) -> bool:
        return including_emulation  # as on a T4: torch makes such tensors, and libraries have no kernels for them

    monkeypatch.setattr("torch.cuda.is_bf16_supported", supported)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "Tesla T4")
    with pytest.raises(
        HallmarkError, match=r"'eval\.dtype': Tesla T4 can't .*\n  remedy: set eval\.dtype to float32, or"
    ):
        check_dtype(CUDA, "bfloat16", "eval.dtype")
    check_dtype(CUDA, "float32", "eval.dtype")
    check_dtype(Compute(device="cpu", threads=1, portable=False), "bfloat16", "eval.dtype")


def test_new_memory_is_not_filled_and_no_byte_depends_on_it(tmp_path: Path) -> None:
    import torch

    memory: Any = torch.utils.deterministic
    found = []
    for filled in (True, False):
        with like_a_process(tmp_path):
            set_up(Compute(device="cpu", threads=1, portable=False), seed=0)
            assert memory.fill_uninitialized_memory is False
            memory.fill_uninitialized_memory = filled  # with NaN, so that whatever reads it shows
            base = load_base(make_tiny_base(tmp_path), dtype="bfloat16", attention="eager", device="cpu", nf4=True)
            made = trainer_of("sft", base, tmp_path, dropout=0.1)
            made.train()
            found.append({name: one.detach() for name, one in made.model.named_parameters() if one.requires_grad})
    memory.fill_uninitialized_memory = False
    torch.testing.assert_close(*found, rtol=0, atol=0)


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
