"""A training that is killed continues, and ends with the bytes of one that was not; a checkpoint of no use is discarded."""

from __future__ import annotations

import random
import shutil
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.base.files import TRAIN, sha256_folder
from hallmark.base.records import write_records
from tests.test_dpo import ON, with_adapter
from tests.test_keep import OVERSHOOTS
from tests.test_sft import some_records, trainable
from tests.workspace import change_params, report, run, stage

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


def test_nothing_of_a_checkpoint_stays(undisturbed: Path, tmp_path: Path) -> None:
    assert not (undisturbed / ".hallmark").exists()
    never = Path(shutil.copytree(undisturbed, tmp_path / "repo"))
    change_params(never, {"sft.checkpoint_minutes": None})
    stage(never, "sft")
    assert outputs(never) == outputs(undisturbed)


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
        done = run(repo, "python", "-c", KILLED.format(step=step, share=draw.randrange(101)), check=False)
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


# --- a file that someone else wrote


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Checkpoints of a model of two values, with one that was saved; and its trainer."""
    import torch

    from hallmark.model.checkpoint import Checkpoints
    from hallmark.model.keep import Best, Keep
    from hallmark.model.params import Sft
    from hallmark.model.trainer import Curve

    monkeypatch.chdir(tmp_path)
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1)).backward()
    optimizer.step()
    trainer = SimpleNamespace(
        model=model,
        optimizer=optimizer,
        accelerator=SimpleNamespace(num_processes=1),
        args=SimpleNamespace(device=torch.device("cpu"), train_batch_size=1, max_steps=2, eval_strategy="steps",
                             eval_on_start=True, logging_steps=1, eval_steps=1, save_steps=1),
        state=SimpleNamespace(global_step=1, epoch=0.5),
        control=SimpleNamespace(should_training_stop=False),
        add_callback=lambda callback: None,
        _total_loss_scalar=0.5,
    )  # fmt: skip

    def checkpoints() -> Checkpoints:
        curve = Curve("sft", ["loss"])
        curve.train, curve.validation = [{"step": 1, "loss": 0.5}], [{"step": 0, "loss": 1.0}, {"step": 1, "loss": 0.1}]
        keep = Keep(Sft.model_construct(keep="best", early_stopping_patience=None), curve)
        keep.best = Best(1, 0.1, tensors={name: value.detach().clone() for name, value in model.named_parameters()})
        return Checkpoints("sft", 0, lambda: {"a": "1"}, curve, keep)

    saves = checkpoints()
    saves.trainer, saves.key = trainer, {"a": "1"}
    saves.save()
    return SimpleNamespace(trainer=trainer, file=tmp_path / STATE, checkpoints=checkpoints)


def discarded(small: Any) -> str | None:
    """Why the checkpoint that lies there is not used; None if it is."""
    said: list[str] = []
    checkpoints = small.checkpoints()
    checkpoints.log = SimpleNamespace(warning=lambda text, *values: said.append(text % values))
    folder = checkpoints.attach(small.trainer, str(small.file.parents[2]))
    if folder is not None:
        assert not said
        return None
    (line,) = said
    assert not small.file.parent.exists()
    return line.partition(" was discarded: ")[2]


def test_a_file_with_one_bit_changed_is_discarded(small: Any) -> None:
    content = small.file.read_bytes()

    @given(st.integers(0, len(content) - 1), st.integers(0, 7))
    def flip(place: int, bit: int) -> None:
        small.file.parent.mkdir(parents=True, exist_ok=True)
        small.file.write_bytes(content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :])
        assert discarded(small)

    flip()


def test_a_checkpoint_that_can_not_be_written_stops_nothing(
    small: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = sha256_folder(small.file.parent)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hallmark.model.checkpoint.write", full)
    saves = small.checkpoints()
    saves.trainer = small.trainer
    saves.save()
    assert "No space left on device" in caplog.text
    assert sha256_folder(small.file.parent) == before
