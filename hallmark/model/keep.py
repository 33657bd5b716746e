"""Which adapter of a training is kept, that of its best validation or the last one, and when it stops early.

transformers can do both, but for the first it writes every adapter to disk, and compares losses that the curve only shows
rounded: here the decision can be read off the curve.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from hallmark.model.params import Sft
from hallmark.model.tuning import adapter_parameters, whole_adapter

if TYPE_CHECKING:
    import torch

    from hallmark.model.plateau import Plateau
    from hallmark.model.trainer import Curve


@dataclass
class Best:
    """The best validation so far: its step, its loss as in the curve, how many came after it, and the adapter of then.

    The validation before the first step doesn't count: its adapter has learned nothing.
    """

    step: int | None = None
    loss: float = float("inf")
    since: int = 0
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)  # on the CPU; empty if the last adapter is kept


class Keep(TrainerCallback):
    """Remembers the adapter of the lowest validation loss (`sft.keep`), and stops the training, or lets the learning rate
    fall (`sft.early_stopping_patience`).

    With several processes, each has the same losses and decides the same.
    """

    def __init__(self, sft: Sft, curve: Curve) -> None:
        self.keep, self.patience, self.curve = sft.keep, sft.early_stopping_patience, curve
        self.best = Best()
        self.plateau: Plateau | None = None  # of the trainer, if it has one

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop where the learning rate has fallen to zero."""
        if self.plateau is not None and state.global_step >= self.plateau.end:
            control.should_training_stop = True

    def on_evaluate(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Compare the validation that has just ended with the best one; of equal ones, the earliest is the best."""
        row, best = self.curve.validation[-1], self.best
        if row["step"] == 0:
            return
        if row["loss"] < best.loss:
            copies = {name: tensor.clone() for name, tensor in whole_adapter(model).items()} if self._copies else {}
            self.best = Best(row["step"], row["loss"], tensors=copies)
        else:
            best.since += 1
        if self.plateau is not None:
            self.plateau.validated(row["step"], row["loss"])
        elif self.patience is not None and self.best.since >= self.patience:
            control.should_training_stop = True

    def restore(self, model: Any, *, sharded: bool) -> dict[str, torch.Tensor] | None:
        """Give the model the adapter that is kept; if it is sharded, return that adapter instead, whole.

        If it is sharded, every process must call this.
        """
        if sharded:
            return self.best.tensors if self._copies else whole_adapter(model)
        if self._copies and self.kept != self.curve.validation[-1]:
            for name, tensor in adapter_parameters(model).items():
                tensor.data.copy_(self.best.tensors[name])
        return None

    @property
    def kept(self) -> dict[str, Any]:
        """The row of the curve, step and loss, of the adapter that is kept."""
        if self._copies:
            return next(row for row in self.curve.validation if row["step"] == self.best.step)
        return self.curve.validation[-1]

    def report(self, steps: int) -> dict[str, Any]:
        """What the report says of it; `steps`: how many were planned."""
        kept = self.kept
        return {
            "kept_step": kept["step"],
            "validation_loss": kept["loss"],
            "stopped_early": self.curve.validation[-1]["step"] < steps,
            "undertrained": self.plateau is not None and self.plateau.cut_short,
        }

    @property
    def _copies(self) -> bool:
        return self.keep == "best"
