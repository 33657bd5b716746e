"""The learning rate that rises, stays and falls to zero, and can start to fall at any step (warm-up, stable, decay).

Hu et al., "MiniCPM" (2024), and Hägele et al., "Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations"
(2024): it learns as well as a cosine of the same length, and need not know its length before.
"""

from __future__ import annotations

import math
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
        self.end, self.risen = self.most_steps, self.warmup_ratio * self.most_steps
        self.decay_from = self.most_steps - max(1, round(self.decay_ratio * self.most_steps))
        self.still_falling = False
        self._best, self._since = float("inf"), 0

    def __call__(self, step: int) -> float:
        """The factor after this number of steps."""
        if step < self.risen:
            return step / self.risen
        return 1.0 if step <= self.decay_from else max(0.0, (self.end - step) / (self.end - self.decay_from))

    def validated(self, step: int, loss: float) -> None:
        """Take note of a validation, in the order of steps; the same ones lead to the same decay, also after a kill.

        While the rate still rises, none counts. The first that does is only what the next one is compared with.
        """
        if not max(self.risen, 1) <= step <= self.decay_from or self.end < self.most_steps:
            return
        better = loss < (1 - GAIN) * self._best
        self.still_falling = better and self._best < float("inf")
        if better:
            self._best, self._since = loss, 0
            return
        self._since += 1
        if self.patience is not None and self._since >= self.patience:
            self.decay_from = step
            self.end = min(self.most_steps, step + max(1, round(step * self.decay_ratio / (1 - self.decay_ratio))))

    def can_end(self, every: int) -> bool:
        """Whether a validation after each `every` steps is often enough for `patience` to end it before its latest step."""
        counted = self.decay_from // every - math.ceil(max(self.risen, 1) / every) + 1
        return self.patience is None or counted > self.patience

    @property
    def cut_short(self) -> bool:
        """Whether `most_steps` ended the plateau while the validation loss still fell."""
        return self.still_falling and self.end == self.most_steps

    def replay(self, validations: Sequence[dict[str, float]]) -> None:
        """Take note of the validations of an earlier process."""
        for row in validations:
            self.validated(int(row["step"]), row["loss"])
