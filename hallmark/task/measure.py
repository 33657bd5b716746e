"""What a measure is: its name, its words, and what it counts in each prediction. Everything that shows one reads this."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from hallmark.task.predictions import Prediction
    from hallmark.task.task import Task

    Predictions = Sequence[Prediction]

# rate: a flag per record. mean: a number per record. The others read counts per record, summed over records:
# ratio (numerator, denominator), the next three and macro_f1 (true positives, false positives, false negatives).
Statistic = Literal["rate", "mean", "ratio", "precision", "recall", "f1", "macro_f1"]


@dataclass(frozen=True)
class Measure:
    """A share of 1 of a model's predictions, the higher the better.

    `columns`: a row for each prediction, as `statistic` reads it.
    `applies`: whether these predictions have it at all. `given`: whether every answer to the task meets it, whatever it
    says. `hub`: the metric's name on a model card of the Hugging Face Hub. `gate`: whether `gate.floors` may name it.
    """

    name: str
    words: str
    columns: Callable[[Predictions], Sequence[Any]]
    statistic: Statistic
    hub: str
    applies: Callable[[Predictions], bool] = lambda rows: True
    given: Callable[[Task], bool] = lambda task: False
    gate: bool = True


def of_score(name: str, words: str, statistic: Literal["rate", "mean"], hub: str) -> Measure:
    """The measure of a score that a kind gives each prediction (`Kind.scores`), by the same name."""
    return Measure(
        name,
        words,
        lambda rows: [row.scores[name] for row in rows],
        statistic,
        hub,
        applies=lambda rows: all(name in row.scores for row in rows),
    )
