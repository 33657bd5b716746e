"""When a canary is looked at: at times that were fixed before it started, so that asking at any time costs nothing.

A customer's mean changes as more of his requests come, so a test that adds up customers one by one, as most
sequential tests do, is not valid here. Instead the test at each look is made of all customers from the start, and is
valid by itself, whatever became of it at earlier looks. The looks share what may go wrong: look k gets 1 / (k (k +
1)) of it, and the sum of all these is 1. So the chance that any look ever errs is at most what was asked for
(Bonferroni). Times that grow by a factor, with weights that add up to 1, are also how confidence sequences are
"stitched" in Howard, Ramdas, McAuliffe and Sekhon 2021, "Time-uniform, nonparametric, nonasymptotic confidence
sequences". What the data say may not choose the times; a clock may.

Each look is half as long again after the promotion as the one before. With looks closer together, each has less of
what may go wrong; with looks farther apart, one waits longer for the next.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

GROWTH = 1.5


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


def latest(hours: float, first: float) -> Look | None:
    """The last look in the hours since the promotion; None before the first."""
    if hours < first:
        return None
    look = Look(1, first)
    while look.next().hours <= hours:
        look = look.next()
    return look
