"""The learning rate that rises, stays and falls to zero, and can start to fall at any step (warm-up, stable, decay).

Hu et al., "MiniCPM" (2024), and Hägele et al., "Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations"
(2024): it learns as well as a cosine of the same length, and need not know its length before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

GAIN = 0.02  # share of the best validation loss by which a new one must be lower to count as better


@dataclass
class Plateau:
    """The factor of the learning rate by step. `decay`: share of all steps in which it falls.

    It starts to fall when `patience` validations in a row were not better, or so late that it ends at `most_steps`.
    """

    most_steps: int
    warmup_ratio: float
    decay_ratio: float
    patience: int | None

    def __post_init__(self) -> None:
        self.end = self.most_steps
        self.decay_from = self.latest = self.most_steps - max(1, round(self.decay_ratio * self.most_steps))
        self.still_falling = False
        self._best, self._since = float("inf"), 0

    def __call__(self, step: int) -> float:
        """The factor after this number of steps."""
        if step < self.warmup_ratio * self.most_steps:
            return step / (self.warmup_ratio * self.most_steps)
        return 1.0 if step <= self.decay_from else max(0.0, (self.end - step) / (self.end - self.decay_from))

    def validated(self, step: int, loss: float) -> None:
        """Take note of a validation, in the order of steps; the same ones lead to the same decay, also after a kill."""
        if not 0 < step <= self.decay_from or self.end < self.most_steps:
            return
        self.still_falling = loss < (1 - GAIN) * self._best
        if self.still_falling:
            self._best, self._since = loss, 0
            return
        self._since += 1
        if self.patience is not None and self._since >= self.patience:
            self.decay_from = step
            self.end = min(self.most_steps, step + max(1, round(step * self.decay_ratio / (1 - self.decay_ratio))))

    @property
    def cut_short(self) -> bool:
        """Whether `most_steps` ended the plateau while the validation loss still fell."""
        return self.still_falling and self.end == self.most_steps

    def replay(self, validations: Sequence[dict[str, float]]) -> None:
        """Take note of the validations of an earlier process."""
        for row in validations:
            self.validated(int(row["step"]), row["loss"])
