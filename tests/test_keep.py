"""Which adapter of a training is kept, and when it stops: by the validation losses in the curve."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.test_sft import trainable
from tests.workspace import change_params, report, stage

# Steps so large that the validation loss falls and then rises; the same size in every step, so that a shorter training
# is the beginning of a longer one.
OVERSHOOTS = {
    "sft.learning_rate": 3.0,
    "sft.lr_scheduler": "constant",
    "sft.warmup_ratio": 0.0,
    "sft.adam_beta2": 0.999,
    "sft.eval_steps": 2,
    "sft.max_steps": None,
    "sft.epochs": 3.5,
    "sft.gradient_accumulation_steps": 2,
    "sft.lora.dropout": 0.2,
}


@pytest.fixture(scope="module")
def overshot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which the training kept the adapter of a validation before the last."""
    folder = trainable(tmp_path_factory.mktemp("keep") / "repo", OVERSHOOTS)
    stage(folder, "sft")
    return folder


def validations(folder: Path) -> dict[int, float]:
    """The validation losses by step."""
    rows = pl.read_csv(folder / "reports/sft_curve.csv").filter(pl.col("split") == "validation")
    return dict(zip(rows["step"], rows["loss"], strict=True))


def adapter(folder: Path) -> bytes:
    return (folder / "models/sft/adapter_model.safetensors").read_bytes()


def test_the_adapter_of_the_best_validation_is_kept(overshot: Path, tmp_path: Path) -> None:
    losses, found = validations(overshot), report(overshot, "sft")
    del losses[0]
    best = min(losses, key=losses.__getitem__)
    assert 0 < best < max(losses), "or this tests nothing"
    assert (found["kept_step"], found["validation_loss"]) == (best, losses[best])
    assert (found["steps"], found["stopped_early"]) == (max(losses), False)
    folder = Path(shutil.copytree(overshot, tmp_path / "repo"))
    change_params(folder, {"sft.keep": "last"})
    stage(folder, "sft")
    last = report(folder, "sft")
    assert (last["kept_step"], last["validation_loss"]) == (max(losses), losses[max(losses)])
    assert adapter(folder) != adapter(overshot)
    change_params(folder, {"sft.max_steps": best})
    stage(folder, "sft")
    assert adapter(folder) == adapter(overshot), "that of a training which ends there"


def test_a_training_without_a_better_loss_stops(overshot: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(overshot, tmp_path / "repo"))
    change_params(folder, {"sft.early_stopping_patience": 1})
    stage(folder, "sft")
    whole, cut, found = validations(overshot), validations(folder), report(folder, "sft")
    best = report(overshot, "sft")["kept_step"]
    assert cut == {step: loss for step, loss in whole.items() if step <= best + 2}
    assert (found["steps"], found["kept_step"], found["stopped_early"]) == (best + 2, best, True)
    assert adapter(folder) == adapter(overshot)


@given(st.lists(st.sampled_from([0.25, 0.5, 1.0]), min_size=1, max_size=12), st.integers(1, 3) | st.none())
def test_of_equal_losses_the_earliest_is_the_best(losses: list[float], patience: int | None) -> None:
    import torch

    from hallmark.model.keep import Keep
    from hallmark.model.params import Sft
    from hallmark.model.trainer import Curve

    sft = Sft.model_construct(keep="best", early_stopping_patience=patience)
    curve, control = Curve("sft", ["loss"], may_stop=patience is not None), SimpleNamespace(should_training_stop=False)
    model = torch.nn.Linear(1, 1)
    with curve.shown(1_000, 0, writes=False):
        curve.progress.spent("step", 1)
        assert ("at most" in curve.progress.line()) == (patience is not None)
    keep = Keep(sft, curve)

    def validate(step: int, loss: float) -> None:
        with torch.no_grad():
            model.weight.fill_(step)
        curve.validation.append({"step": step, "loss": loss})
        keep.on_evaluate(None, None, control, model=model)

    validate(0, 0.0)  # before the first step: it doesn't count, however low
    seen: list[Any] = []
    for step, loss in enumerate(losses, 1):
        validate(step, loss)
        seen.append(loss)
        if control.should_training_stop:
            break
    best = seen.index(min(seen)) + 1
    assert keep.kept == {"step": best, "loss": min(seen)}
    assert control.should_training_stop == (patience is not None and len(seen) - best >= patience)
    keep.restore(model, sharded=False)
    assert model.weight.item() == best


@given(
    st.lists(st.floats(0.1, 2.0), min_size=1, max_size=30),
    st.integers(1, 90),
    st.floats(0.0, 0.6),
    st.floats(0.05, 0.4),
    st.integers(1, 3) | st.none(),
)
def test_a_plateau_ends_when_the_loss_stays_or_time_is_up(
    losses: list[float], steps: int, warmup: float, decay: float, patience: int | None
) -> None:
    """The rate never jumps, is zero at the end, and the validations alone say when it falls."""
    from hallmark.model.plateau import Plateau

    plateau, again = (Plateau(steps, warmup, decay, patience) for _ in range(2))
    factors, seen = [plateau(0)], []
    for step in range(1, steps + 1):
        factors.append(plateau(step))
        if step % 3 == 0 and step // 3 <= len(losses):
            seen.append({"step": step, "loss": losses[step // 3 - 1]})
            plateau.validated(step, losses[step // 3 - 1])
        if step >= plateau.end:
            break
    assert factors[-1] == 0 and min(factors) >= 0 and max(factors) <= 1
    peak = factors.index(max(factors))
    assert factors == sorted(factors[: peak + 1]) + sorted(factors[peak + 1 :], reverse=True)
    assert len(factors) - 1 <= steps and (patience is not None or len(factors) - 1 == steps)
    again.replay([{"step": 0, "loss": 9.0}, *seen])
    assert vars(again) == vars(plateau)
    assert not (plateau.cut_short and plateau.end < steps)


@pytest.mark.full
def test_a_plateau_falls_early_and_continues_after_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.test_checkpoint import cut, outputs

    change = {"sft.lr_scheduler": "warmup_stable_decay", "sft.decay_ratio": 0.2, "sft.early_stopping_patience": 1}
    whole = trainable(tmp_path / "whole", OVERSHOOTS | change | {"sft.checkpoint_minutes": 0})
    repo = Path(shutil.copytree(whole, tmp_path / "repo"))
    stage(whole, "sft")
    found = report(whole, "sft")
    assert found["stopped_early"] and not found["undertrained"]
    cut(repo, monkeypatch, found["steps"] - 1)
    stage(repo, "sft")
    assert outputs(repo) == outputs(whole)
    change_params(whole, {"sft.learning_rate": 1e-2, "sft.early_stopping_patience": 9, "sft.epochs": 6})
    assert "sft.epochs: 12" in stage(whole, "sft").stderr
    assert report(whole, "sft")["undertrained"]
