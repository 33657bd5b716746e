"""How a model's error falls with the training records, and what twice as many would bring: a power law through the points.

error(n) = a * n ** -b, fitted by least squares, each point weighted by the spread of a share of its records. Sources:
Cortes et al. 1994 (learning curves of classifiers), Hestness et al. 2017 (of deep networks: a power law, once the data is
enough to learn anything). Their law has a third number, the error that no data removes. Four points can't tell it from
the exponent, so it is left out, and what is predicted is more often too good than too bad. That is why no more than twice the
records are predicted, and only if the curve can be told from a flat one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hallmark.base.stats import ClusterBootstrap, Interval

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEWEST = 3  # points that a law of two numbers can miss
EXPONENTS = (-1.0, 3.0)  # in which b is looked for: Hestness et al. report 0.07 to 0.35, at most 1 in theory for labels
RISES, FLAT, FALLS, FEW, RIGHT = "rises", "flat", "falls", "few points", "all right"


@dataclass(frozen=True)
class Outlook:
    """What a curve says. Measures are shares of 1; `records` are those of all training groups.

    `verdict`: `rises`; `flat`: can't be told from flat; `falls`; `few points`: fewer than three with a right answer; `all
    right`: nothing is left to gain. Only a curve that rises has `twice`, the measure with twice the records, and `gain`,
    by how much that is more than the curve at the records there are. `missed`: the measure with all records minus what
    the smaller parts alone predict of it.
    """

    verdict: str
    records: int
    scale: float | None = None  # a, at n in shares of all records
    exponent: Interval | None = None  # b
    twice: Interval | None = None
    gain: Interval | None = None
    missed: Interval | None = None

    def at(self, records: float) -> float | None:
        """The measure on the curve; None if there is none."""
        if self.scale is None or self.exponent is None:
            return None
        return 1 - self.scale * (records / self.records) ** -self.exponent.value


def outlook(
    records: Sequence[int], columns: Sequence[Sequence[Any]], statistic: str, bootstrap: ClusterBootstrap
) -> Outlook:
    """Fit the curve of a measure through points: `records` of training, rising, and for each the measure's `columns`.

    `columns` are of the same evaluated records at each point, as `statistic` reads them. Intervals are from the draws of
    `bootstrap`, the same for all points. What another training would move is only seen in how the points scatter around
    the law, so each draw adds that scatter with random signs (a wild bootstrap, Wu 1986).
    """
    import numpy as np

    values = [bootstrap.interval(column, statistic).value for column in columns]
    first = next((number for number, value in enumerate(values) if value > 0), len(values))  # nothing is learned before
    most, n = records[-1], np.array(records[first:]) / records[-1]
    if len(n) < FEWEST:
        return Outlook(FEW, most)
    if values[-1] >= 1:
        return Outlook(RIGHT, most)
    errors = 1 - np.array(values[first:])
    draws = 1 - np.column_stack([bootstrap.drawn(column, statistic) for column in columns[first:]])
    smoothed = (errors * bootstrap.records + 1) / (bootstrap.records + 2)  # 0 and 1 have a spread too
    weights = 1 / (smoothed * (1 - smoothed))
    scale, exponent = fitted(n, errors, weights)
    scatter = (errors - scale * n**-exponent) * np.sqrt(len(n) / (len(n) - 2))
    draws += scatter * np.random.default_rng(0).choice([-1.0, 1.0], size=draws.shape)
    law = np.array([fitted(n, row, weights) for row in draws])
    found = bootstrap.of_draws(exponent, law[:, 1], EXPONENTS)
    missed = None
    if len(n) > FEWEST:
        predicted, _ = fitted(n[:-1], errors[:-1], weights[:-1])
        all_predicted = np.array([fitted(n[:-1], row[:-1], weights[:-1])[0] for row in draws])
        missed = bootstrap.of_draws(predicted - 1 + values[-1], all_predicted - draws[:, -1], (-1.0, 1.0)).rounded()
    verdict = RISES if found.low > 0 else FALLS if found.high < 0 else FLAT
    shared: dict[str, Any] = {"scale": scale, "exponent": found.rounded(), "missed": missed}
    if verdict != RISES:
        return Outlook(verdict, most, **shared)
    left, lefts = scale * 2.0**-exponent, law[:, 0] * 2.0 ** -law[:, 1]
    twice = bootstrap.of_draws(1 - left, 1 - lefts, (0.0, 1.0)).rounded()
    gain = bootstrap.of_draws(scale - left, law[:, 0] - lefts, (-1.0, 1.0)).rounded()
    return Outlook(verdict, most, twice=twice, gain=gain, **shared)


def fitted(n: NDArray[Any], errors: NDArray[Any], weights: NDArray[Any]) -> tuple[float, float]:
    """a and b of the law that is closest to the errors, all of shape (points,). `n`: records; a is the error at n = 1.

    For a given b, the best a is known, so only b is searched for: that ends at the best law whatever the errors are.
    """
    import numpy as np
    from scipy.optimize import minimize_scalar

    def scale(exponent: float) -> tuple[float, NDArray[Any]]:
        curve = n**-exponent
        return float((weights * curve) @ errors / ((weights * curve) @ curve)), curve

    def loss(exponent: float) -> float:
        a, curve = scale(exponent)
        return float(weights @ np.square(errors - a * curve))

    best = float(minimize_scalar(loss, bounds=EXPONENTS, method="bounded").x)
    return scale(best)[0], best
