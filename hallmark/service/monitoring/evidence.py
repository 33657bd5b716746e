"""The looks at a canary, and the evidence that each gives: whether one release is worse than another by a margin.

Each customer counts once, with a mean from 0 to 1. The customers of both releases are independent, since a hash of
the name decides who is answered by which; what the requests of one customer have to do with each other does not
matter.

The hypothesis to reject is "the canary's mean is at least `line` of prod's", such as 0.05 above it. It is tested by
betting (Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting"):

- The values that prod's mean may have are cut into cells, once and for all. In a cell from l to u, the hypothesis
  says that prod's mean is at most u, and the canary's at least `line(l)`. A player stakes b on every customer x of
  the canary, and c on every customer y of prod; his wealth is the product of 1 + b * (line(l) - x) and 1 + c * (y -
  u). Under the hypothesis of the cell no factor has a mean over 1, so the wealth is an e-value: its mean is at most
  1. So is the mean of the wealth of several players with other stakes.
- The truth lies in one of the cells, so the least e-value of all cells is one against the whole hypothesis. By
  Markov's inequality it reaches 1 / alpha with a probability of at most alpha, for any number of customers.

The stakes follow from the numbers of customers, never from their means. The order of customers does not matter, and
they need not have the same mean: by the inequality of the arithmetic and the geometric mean, a product of such factors
is largest, on average, if they do.

A customer's mean changes as more of his requests come, so a test that adds up customers one by one, as most sequential
tests do, is not valid here. Instead the test at each look is made of all customers from the start. The times of looks are
fixed before the canary starts, and the looks share what may go wrong: look k gets 1 / (k (k + 1)) of it, and the sum of
all these is 1, so the chance that any look ever errs is at most what was asked for (Bonferroni). Such times and weights are
also how confidence sequences are "stitched" in Howard, Ramdas, McAuliffe and Sekhon 2021, "Time-uniform, nonparametric,
nonasymptotic confidence sequences". What the data say may not choose the times; a clock may.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Customers = Sequence[float] | NDArray[Any]  # the mean of each

# Each look is so much longer after the promotion than the one before. Closer looks have less of what may go wrong; with
# looks farther apart, one waits longer for the next.
GROWTH = 1.5
STEPS = 1_000  # means are rounded to this part of 1, to the side that makes the evidence weaker
CELLS = 4_096  # some of them are looked at first, then all around the least of these
# Stakes as shares of the largest, which could lose everything. With each, one player bets on both, one on the canary
# alone, one on prod alone, and has that part of all purses at first. The largest is best if nothing ever goes wrong.
STAKES = tuple(0.99 * 2 ** (-number / 2) for number in range(16))
PURSES = (0.25, *[0.05] * 15)
PLAYERS = (0.8, 0.1, 0.1)


@dataclass(frozen=True)
class Look:
    """The number of a look, from 1 on, and the hours after the promotion."""

    number: int
    hours: float

    @property
    def share(self) -> float:
        """Its share of what may go wrong."""
        return 1 / (self.number * (self.number + 1))

    def wanted(self, alpha: float) -> float:
        """The logarithm of an e-value that errs at any look with a probability of at most alpha."""
        return -math.log(alpha * self.share)

    def next(self) -> Look:
        """The look after it."""
        return Look(self.number + 1, self.hours * GROWTH)

    def after(self, factor: float) -> Look:
        """The first look at this many times its hours, or later."""
        later = self
        while later.hours < self.hours * factor:
            later = later.next()
        return later


def latest(hours: float, first: float) -> Look | None:
    """The last look in the hours since the promotion; None before the first."""
    if hours < first:
        return None
    look = Look(1, first)
    while look.next().hours <= hours:
        look = look.next()
    return look


@dataclass(frozen=True)
class Line:
    """A mean of the canary for each mean of prod: `offset + slope * mean`."""

    offset: float
    slope: float = 1.0

    def mirrored(self) -> Line:
        """The same line, if 1 less the mean is counted."""
        return Line(1 - self.offset - self.slope, self.slope)


def points(margin: float) -> Line:
    """So much above prod's mean."""
    return Line(margin)


def ratio(margin: float) -> Line:
    """Above prod's mean by that share of it."""
    return Line(0.0, 1 + margin)


@dataclass(frozen=True)
class Means:
    """How many customers have which mean: `counts` has a row for each sample (one, but in simulations)."""

    values: NDArray[Any]
    counts: NDArray[Any]

    @classmethod
    def of(cls, means: Customers, *, up: bool) -> Means:
        """One sample of customers, each mean rounded up or down."""
        import numpy as np

        exact = np.asarray(means, dtype=float) * STEPS
        whole = np.ceil(exact - 1e-6) if up else np.floor(exact + 1e-6)
        values, counts = np.unique(whole / STEPS, return_counts=True)
        return cls(values, counts[None, :].astype(float))

    def times(self, factor: float) -> Means:
        """As if there were that many times as many customers, with the same means."""
        return Means(self.values, self.counts * factor)


def not_worse(canary: Customers, prod: Customers, line: Line, factor: float = 1.0) -> float:
    """The logarithm of the e-value against "the canary's mean is at least the line"."""
    arms = Means.of(canary, up=True).times(factor), Means.of(prod, up=False).times(factor)
    return float(log_evidence(*arms, line)[0])


def worse(canary: Customers, prod: Customers, line: Line, factor: float = 1.0) -> float:
    """The logarithm of the e-value against "the canary's mean is at most the line"."""
    import numpy as np

    return not_worse(1 - np.asarray(canary, float), 1 - np.asarray(prod, float), line.mirrored(), factor)


def log_evidence(canary: Means, prod: Means, line: Line, cells: int = CELLS) -> NDArray[Any]:
    """The logarithm of the e-value of each sample against "the canary's mean is at least the line"."""
    import numpy as np

    found, every = np.zeros(len(canary.counts)), max(1, math.isqrt(cells) // 2)
    sizes = canary.counts.sum(axis=1), prod.counts.sum(axis=1)
    some = (sizes[0] > 0) & (sizes[1] > 0)
    ties = np.zeros(len(some))
    ties[some] = np.round(np.log2(sizes[0][some] / sizes[1][some]))
    for tie in np.unique(ties[some]):
        rows = np.flatnonzero(some & (ties == tie))
        arms = Means(canary.values, canary.counts[rows]), Means(prod.values, prod.counts[rows])
        first = np.unique([*range(0, cells, every), cells - 1])
        coarse = np.pad(_in_cells(*arms, line, 2.0**tie, cells, first), ((0, 0), (1, 1)), constant_values=math.inf)
        dips = (coarse[:, 1:-1] <= coarse[:, :-2]) & (coarse[:, 1:-1] <= coarse[:, 2:]) & np.isfinite(coarse[:, 1:-1])
        low = first[dips.any(axis=0)]  # players with other stakes are weakest in other cells, so there may be several
        around = np.unique(np.clip(low[:, None] + np.arange(-every, every + 1), 0, cells - 1))
        found[rows] = _in_cells(*arms, line, 2.0**tie, cells, around).min(axis=1)
    return found


def _in_cells(canary: Means, prod: Means, line: Line, tie: float, cells: int, which: NDArray[Any]) -> NDArray[Any]:
    """The logarithms of the e-values, a row for each sample and a column for each of the cells.

    `tie`: about how many customers the canary has for each of prod's. Prod's stakes are so much of the canary's: then
    the wealth hardly depends on prod's true mean, which nobody knows.
    """
    import numpy as np

    edges = _edges(cells)
    least = np.minimum(line.offset + line.slope * edges[which], 1 - 1e-9)  # a lower limit is a wider hypothesis
    most = edges[which + 1]
    shares = np.asarray(STAKES)[:, None]
    stakes = shares / (1 - least)
    tied = np.minimum(tie * stakes, STAKES[0] / most)
    on_canary, on_prod, on_prod_alone = (
        np.log1p(stake[..., None] * gain) @ arm.counts.T  # stakes, cells, samples
        for stake, gain, arm in (
            (stakes, least[:, None] - canary.values, canary),
            (tied, prod.values - most[:, None], prod),
            (shares / most, prod.values - most[:, None], prod),
        )
    )
    of_players = (on_canary + on_prod, on_canary, on_prod_alone)
    purses = np.log(PURSES)[:, None, None]
    logs = np.concatenate([math.log(part) + purses + wealth for part, wealth in zip(PLAYERS, of_players, strict=True)])
    top = logs.max(axis=0)
    found = top + np.log(np.exp(logs - top).sum(axis=0))
    found[line.offset + line.slope * edges[which] > 1] = math.inf  # no mean is there
    return found.T


@cache
def _edges(cells: int) -> NDArray[Any]:
    """The ends of the cells: narrow near 0 and 1, where means of rare events lie."""
    import numpy as np

    return np.sin(np.linspace(0, math.pi / 2, cells + 1)) ** 2
