"""A training that is killed continues, and ends with the bytes of one that was not; a checkpoint of no use is discarded."""

from __future__ import annotations

import random
import shutil
import signal
from pathlib import Path

import pytest

from hallmark.base.files import TRAIN
from hallmark.base.records import write_records
from tests.test_dpo import ON, with_adapter
from tests.test_keep import OVERSHOOTS
from tests.test_sft import some_records, trainable
from tests.workspace import ROOT, change_params, report, run, stage

STATE = Path(".hallmark/checkpoints/sft/state.safetensors")
OUTPUTS = ("models/sft", "reports/sft.json", "reports/sft_curve.csv")


class KilledError(BaseException):
    """The process ends here."""


def outputs(folder: Path) -> dict[str, bytes]:
    files = [file for name in OUTPUTS for file in ((folder / name).rglob("*") if "." not in name else [folder / name])]
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(files)}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a training that nothing disturbed: it has dropout, passes of three steps of two batches, keeps an
    adapter in the middle, and stops early."""
    folder = trainable(tmp_path_factory.mktemp("whole") / "repo", OVERSHOOTS | {"sft.early_stopping_patience": 2})
    change_params(folder, {"sft.checkpoint_minutes": 0})
    stage(folder, "sft")
    found = report(folder, "sft")
    assert found["stopped_early"]
    assert found["kept_step"] < found["steps"]
    assert not (folder / ".hallmark").exists()
    return folder


@pytest.fixture
def repo(undisturbed: Path, tmp_path: Path) -> Path:
    """The same, before the training."""
    folder = Path(shutil.copytree(undisturbed, tmp_path / "repo"))
    for name in ("models/sft", "reports/sft.json", "reports/sft_curve.csv", "reports/measured/sft.json"):
        shutil.rmtree(folder / name) if (folder / name).is_dir() else (folder / name).unlink()
    return folder


def cut(folder: Path, monkeypatch: pytest.MonkeyPatch, step: int, name: str = "sft") -> None:
    """Train until the checkpoint of a step is written."""
    from hallmark.model.checkpoint import Checkpoints

    save = Checkpoints.save

    def save_and_end(checkpoints: Checkpoints) -> None:
        save(checkpoints)
        if checkpoints.trainer.state.global_step == step:
            raise KilledError

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(Checkpoints, "save", save_and_end)
        stage(folder, name)
    assert not (folder / "reports/measured" / f"{name}.json").exists()


@pytest.mark.full
def test_dpo_continues_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = with_adapter(tmp_path / "whole", ON | {"sft.checkpoint_minutes": 0})
    repo = Path(shutil.copytree(whole, tmp_path / "repo"))
    stage(whole, "dpo")
    for step in (2, 6):  # in its first pass, of four steps, and in its second
        cut(repo, monkeypatch, step, "dpo")
    assert "dpo: continued at step 6 of 8\n" in stage(repo, "dpo").stderr
    for name in ("models/adapter/adapter_model.safetensors", "reports/dpo.json", "reports/dpo_curve.csv"):
        assert (repo / name).read_bytes() == (whole / name).read_bytes(), name
    assert not (repo / ".hallmark").exists()


KILLED = """
import os, signal
from pathlib import Path
from hallmark.model import checkpoint
from hallmark.params.loader import load_params
from stages.sft import run

write = checkpoint.write

def write_and_die(file, state, tensors):
    write(file, state, tensors)
    if state["step"] == {step}:
        os.truncate(file, {share} * file.stat().st_size // 100)
        os.kill(os.getpid(), signal.SIGKILL)

checkpoint.write = write_and_die
run(load_params())
"""


@pytest.mark.parametrize("times", [1, pytest.param(12, marks=[pytest.mark.full, pytest.mark.timeout(1200)])])
def test_a_training_killed_at_any_step_ends_with_the_same_bytes(undisturbed: Path, repo: Path, times: int) -> None:
    """By SIGKILL, while a checkpoint is half written: the one before it is used, and its remains are gone in the end."""
    draw, steps = random.Random(times), range(2, report(undisturbed, "sft")["steps"])
    for step in sorted(draw.sample(steps, min(times, len(steps)))):
        code = KILLED.format(step=step, share=draw.randrange(101))
        done = run(repo, "python", "-P", "-c", code, check=False, PYTHONPATH=str(ROOT))
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert (repo / STATE).exists()
        assert len(list((repo / STATE).parent.iterdir())) == 2, "the whole one before it, and the other"
    said = stage(repo, "sft").stderr
    assert f"sft: continued at step {step - 1} of 11\n" in said
    assert outputs(repo) == outputs(undisturbed)
    assert not (repo / ".hallmark").exists()


def test_a_checkpoint_of_another_training_is_discarded(
    undisturbed: Path, repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut(repo, monkeypatch, 4)
    change_params(repo, {"sft.checkpoint_minutes": 60, "sft.max_steps": 1, "sft.early_stopping_patience": None})
    write_records(repo / TRAIN, some_records(23))
    said = stage(repo, "sft").stderr
    assert "made at step 4 with other data/split/train.parquet, params sft" in said and "continued" not in said
    assert not (repo / ".hallmark").exists()
