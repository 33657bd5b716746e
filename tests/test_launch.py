"""Several processes: they learn the same as one, write once, and none outlives the stage. On a CPU, over gloo."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.base.errors import HallmarkError
from hallmark.base.files import VALIDATION
from hallmark.base.records import write_records
from hallmark.model.launch import HOST
from hallmark.params.loader import load_params
from hallmark.serve.server import free_port
from tests.test_sft import some_records, trainable
from tests.workspace import change_params, report, stage

# Nats between the loss curves of one and of two processes at the same global batch. Gradients are added up in another
# order; with bfloat16, products are rounded to three digits on the way.
TOLERANCE = {"float32": 1e-4, "bfloat16": 1e-3}

DDP, FSDP = {"sft.parallel.strategy": "ddp"}, {"sft.parallel.strategy": "fsdp"}
LORA = {"sft.method": "lora", "sft.dtype": "float32", "sft.length_power": 1.0}
HELD_IN_4_BIT = {"sft.dequantize_once": False}
PACKED = {"sft.batch_tokens": 256, "sft.max_length": 256, "sft.packing": True, "sft.attention": "sdpa"}
PARTIAL = {"sft.gradient_accumulation_steps": 4}  # each of two processes has 6 batches a pass: steps of 4 and of 2


def ready(folder: Path, overrides: dict[str, Any]) -> Path:
    """A workspace where `sft` is next; with seven validation records, two processes must fill up their last batch."""
    trainable(folder, {"sft.batch_size": 2, "sft.length_power": 0.5, "sft.learning_rate": 0.01, **overrides})
    write_records(folder / VALIDATION, some_records(7))
    return folder


@pytest.mark.full
@pytest.mark.parametrize(
    "overrides",
    [
        pytest.param(DDP, id="ddp-qlora"),
        pytest.param(DDP | HELD_IN_4_BIT | PARTIAL, id="ddp-qlora-4bit"),
        pytest.param(DDP | LORA, id="ddp-lora"),
        pytest.param(DDP | PACKED, id="ddp-packed"),
        pytest.param(FSDP | LORA, id="fsdp-lora"),
        pytest.param(FSDP | PARTIAL, id="fsdp-qlora"),
        pytest.param(FSDP | HELD_IN_4_BIT | {"sft.gradient_checkpointing": True}, id="fsdp-qlora-4bit"),
    ],
)
def test_two_processes_learn_as_one_does_at_the_same_global_batch(tmp_path: Path, overrides: dict[str, Any]) -> None:
    two = ready(tmp_path, overrides | {"sft.parallel.processes": 2})
    done = stage(two, "sft")
    curve, summary = pl.read_csv(two / "reports/sft_curve.csv"), report(two, "sft")
    adapter = {file.name for file in (two / "models/sft").iterdir()}
    assert done.stderr.count("sft: step 0: validation loss") == 1, "said by one process"
    assert done.stderr.count("24 records") == 1
    fingerprint = report(two, "measured/sft")["fingerprint"]
    assert (fingerprint["processes"], fingerprint["strategy"]) == (2, overrides["sft.parallel.strategy"])

    params = load_params(two / "params.yaml").sft
    steps = 2 * params.gradient_accumulation_steps
    change_params(two, {"sft.parallel.processes": 1, "sft.gradient_accumulation_steps": steps})
    stage(two, "sft")
    alone = pl.read_csv(two / "reports/sft_curve.csv")
    assert curve.select("step", "split").equals(alone.select("step", "split"))
    furthest = (curve["loss"] - alone["loss"]).abs().max()
    print(f"largest difference of the curves: {furthest:.6f} nats")
    assert furthest < TOLERANCE[params.dtype]
    assert alone["loss"].max() - alone["loss"].min() > 100 * TOLERANCE[params.dtype], "something was learned"
    same = ("records", "tokens", "steps", "trainable_parameters", "initial_adapter_sha256")
    assert {key: summary[key] for key in same} == {key: report(two, "sft")[key] for key in same}
    assert adapter == {file.name for file in (two / "models/sft").iterdir()}
    assert report(two, "measured/sft")["fingerprint"]["strategy"] is None


def on_two_machines(folders: list[Path], *, kill: bool = False) -> list[tuple[int, str]]:
    """Exit code and words of the stage on each of two machines, which are folders here; `kill`: the second, in the middle."""
    port = str(free_port(0))
    started = []
    for rank, folder in enumerate(folders):
        where = {"PET_NNODES": "2", "PET_NODE_RANK": str(rank), "PET_MASTER_ADDR": HOST, "PET_MASTER_PORT": port}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "stages.sft"],
                cwd=folder,
                env=os.environ | where | {"PATH": path, "PYTHONPATH": str(folder)},
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    state = folders[0] / ".hallmark/checkpoints/sft/state.safetensors"
    while kill and started[0].poll() is None:
        if state.exists():
            started[1].kill()
            break
        time.sleep(0.01)
    words = [process.communicate(timeout=240)[1] for process in started]
    return [(process.returncode, said) for process, said in zip(started, words, strict=True)]


@pytest.mark.full
@pytest.mark.parametrize("strategy", [DDP, FSDP], ids=["ddp", "fsdp"])
def test_two_machines_write_the_bytes_of_one_after_a_kill_too(tmp_path: Path, strategy: dict[str, Any]) -> None:
    """With as many processes. Each step is a checkpoint; the head has the file, and the other machine needs none."""
    changes = {"sft.parallel.processes": 2, "sft.lora.dropout": 0.1, "sft.epochs": 4, "sft.checkpoint_minutes": 0}
    alone = ready(tmp_path / "alone", strategy | changes)
    folders = [Path(shutil.copytree(alone, tmp_path / name)) for name in ("head", "other")]
    stage(alone, "sft")
    codes, words = zip(*on_two_machines(folders, kill=True), strict=True)
    assert codes == (1, -9)
    assert "remedy" in words[0] and "Traceback" not in words[0]
    assert not (folders[0] / "models/sft").exists()
    (code, said), (other, _) = on_two_machines(folders)
    assert (code, other) == (0, 0), said
    assert "sft: continued at step" in said
    for name in ("models/sft/adapter_model.safetensors", "reports/sft.json", "reports/sft_curve.csv"):
        assert (folders[0] / name).read_bytes() == (alone / name).read_bytes(), name
    assert not (folders[0] / ".hallmark").exists()
    assert not (folders[1] / "models/sft").exists()


@given(st.lists(st.integers(1, 300), min_size=1, max_size=120), st.integers(1, 4), st.integers(2, 4), st.integers(1, 3))
def test_a_step_sees_the_records_that_one_process_would_see(
    lengths: list[int], batch_size: int, processes: int, accumulation: int
) -> None:
    from accelerate.data_loader import BatchSamplerShard
    from torch.utils.data import BatchSampler

    from hallmark.model.trainer import LengthSampler

    def batches() -> BatchSampler:
        return BatchSampler(LengthSampler(lengths, batch_size, seed=3), batch_size, drop_last=False)

    own = [list(BatchSamplerShard(batches(), processes, index)) for index in range(processes)]
    alone = list(batches())
    assert len({len(one) for one in own}) == 1
    for step in range(len(alone) // (accumulation * processes)):
        mine = alone[step * accumulation * processes : (step + 1) * accumulation * processes]
        if len(mine[-1]) < batch_size:
            break  # the last batch of a pass is filled up, with the first records of the pass
        dealt = [batch for one in own for batch in one[step * accumulation : (step + 1) * accumulation]]
        assert sorted(map(tuple, dealt)) == sorted(map(tuple, mine))
    assert {place for one in own for batch in one for place in batch} == set(range(len(lengths)))


@pytest.mark.full
@pytest.mark.parametrize("victim", ["stage", "launcher", "worker", "stage, gently"])
def test_no_process_outlives_another_that_was_killed(tmp_path: Path, victim: str) -> None:
    folder = ready(tmp_path, DDP | {"sft.parallel.processes": 2, "sft.max_steps": 100_000})
    temporary = folder / "temporary"
    temporary.mkdir()
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with subprocess.Popen(
        [sys.executable, "-m", "stages.sft"],
        cwd=folder,
        env=os.environ | {"PATH": path, "PYTHONPATH": str(folder), "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert any("sft: 0 of 100,000 steps" in line for line in process.stderr)
        (launcher,) = psutil.Process(process.pid).children()
        workers = launcher.children()
        assert len(workers) == 2
        for one in (launcher, *workers):
            listening = {link.laddr.ip for link in one.net_connections() if link.status == psutil.CONN_LISTEN}
            assert listening == {HOST}
        stop = {"stage": process.kill, "launcher": launcher.kill, "worker": workers[1].kill}
        stop.get(victim, process.terminate)()
        _, alive = psutil.wait_procs([launcher, *workers], timeout=60)
        assert not alive
        _, error = process.communicate(timeout=60)
    assert process.returncode == {"stage": -9, "stage, gently": 143}.get(victim, 1)
    if victim in ("launcher", "worker"):
        assert "was stopped by SIGKILL" in error
        assert "remedy" in error
    assert not (folder / "models/sft").exists()
    assert not list(temporary.iterdir())


def test_more_processes_than_gpus_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from hallmark.model.launch import WORKER, own_device

    params = load_params()
    sft = params.sft.model_copy(update={"parallel": params.sft.parallel.model_copy(update={"processes": 64})})
    compute = params.compute.model_copy(update={"device": "cuda"})
    monkeypatch.setenv(WORKER, "128")
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "64")
    assert torch.cuda.device_count() < 64
    with pytest.raises(HallmarkError, match=r"sft\.parallel\.processes"):
        own_device(sft, compute)
