"""What a run of `nox -s ask` has spent, and whether it may send one more request."""

from __future__ import annotations

import asyncio

from hallmark.answer.comparators.endpoint import EndpointSettings

ROUNDING = 1 + 1e-9  # of sums


class Budget:
    """The limit `max_cost` of one run. A guess, here, is the most that a request costs by its size (`Request.most`).

    An attempt that may have been charged counts: by the usage that the API states, or else by its guess. One on the way
    counts by its guess times the largest ratio of cost to guess so far, at least 1. The first goes alone, so that a ratio is
    known before there are several. So the limit is passed only if one costs more, for its guess, than all before it.
    """

    def __init__(self, settings: EndpointSettings) -> None:
        self.stated, self.guessed = 0.0, 0.0  # of what was charged: by usage, and by guess
        self._limit = settings.max_cost
        self._on_the_way, self._guesses, self._ratio, self._tried = 0, 0.0, 1.0, False
        self._settled = asyncio.Event()

    async def hold(self, guess: float) -> bool:
        """Count a request as on the way; False if the limit doesn't allow it. Waits as long as others may leave room."""
        while self._limit is not None and self._on_the_way and not (self._tried and self._fits(guess)):
            await self._settled.wait()
        if not self._fits(guess):
            return False
        self._on_the_way += 1
        self._guesses += guess
        return True

    def settle(self, guess: float, cost: float | None, *, charged: bool, answered: bool) -> None:
        """Take a request from those on the way. `cost`: by the stated usage; `charged`: whether it may have cost something."""
        self._on_the_way -= 1
        self._guesses = self._guesses - guess if self._on_the_way else 0.0
        self._tried |= answered or cost is not None
        if charged and cost is None:
            self.guessed += guess
        elif charged and cost is not None:
            self.stated += cost
            self._ratio = max(self._ratio, cost / guess if guess else 1.0)
        self._settled.set()  # wakes those that wait
        self._settled.clear()

    def _fits(self, guess: float) -> bool:
        """Whether the limit allows a request after what was spent and what is on the way."""
        if self._limit is None:
            return True
        return self.stated + self.guessed + self._ratio * (self._guesses + guess) <= self._limit * ROUNDING
