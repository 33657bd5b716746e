"""What an answer costs: its share of the machine's time, or its tokens at a price a million.

A machine with a price an hour costs the same whether it answers one request or sixty. So each moment that a server is at
work is shared evenly among the requests under way in it: alone, a request pays for all the seconds that it takes; with
three others, for a quarter of them. The prices of all requests together are that of the time in which the server had any.
Time without requests is nobody's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal

from hallmark.params.service import Fallback

HOUR = 3600  # seconds
MILLION = 1_000_000  # tokens, of which a price is stated
BYTES_PER_MESSAGE = 64  # a chat template's own tokens around a message, generously


class Meter:
    """The time of one server, shared among the requests under way in it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._under_way, self._shared, self._last = clock, 0, 0.0, clock()

    def _advance(self) -> None:
        now = self._clock()
        if self._under_way:
            self._shared += (now - self._last) / self._under_way
        self._last = now

    def begin(self) -> float:
        """A request begins; what is returned is handed to `end`."""
        self._advance()
        self._under_way += 1
        return self._shared

    def end(self, began: float) -> float:
        """A request ends: its share of the server's time, in seconds."""
        self._advance()
        self._under_way -= 1
        return self._shared - began


def of_time(per_hour: float | None, share: float) -> float | None:
    """The price of a share of a machine's time; None if the machine's price is not stated."""
    return None if per_hour is None else per_hour / HOUR * share


def of_tokens(fallback: Fallback, prompt: int, answer: int) -> Decimal:
    return (Decimal(repr(fallback.price_in)) * prompt + Decimal(repr(fallback.price_out)) * answer) / MILLION
