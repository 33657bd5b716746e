"""The limits on what callers send and what it costs: requests under way, bytes, seconds, judgements, and money a day."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, date, datetime
from decimal import Decimal

from starlette.requests import Request

from hallmark.base.refusal import Refusal
from hallmark.params.service import ServeLimits
from hallmark.serve import front
from hallmark.serve.chat_request import ChatRequest

HEAD_BYTES = 2**14  # of a request's line and headers: the server itself counts only what comes in more than one piece
JUDGED_A_SECOND, JUDGED_AT_ONCE = 10.0, 100.0  # judgements by one caller
RETRY = {"retry-after": "1"}


class Limiter:
    """What one gateway lets through. `keyed`: each API key has a share. `noted` is told how many requests are under way."""

    def __init__(
        self,
        limits: ServeLimits,
        *,
        keyed: bool = False,
        noted: Callable[[int], None] = lambda count: None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.limits, self._now = limits, now
        self._slots = front.Slots(limits.under_way, limits.under_way_per_key if keyed else None, noted)
        self._judged: dict[str, tuple[float, float]] = {}  # what each caller has left, and when that was

    def check_head(self, request: Request) -> None:
        size = len(request.scope["raw_path"]) + len(request.scope["query_string"])
        if size + sum(len(name) + len(value) + 4 for name, value in request.headers.raw) > HEAD_BYTES:
            raise Refusal(431, "headers_too_large", "the request's line and headers are too long")

    def slot(self, caller: str) -> AbstractContextManager[None]:
        """One of the requests under way, until the block ends; a Refusal if there are too many."""
        return self._slots.taken(caller)

    async def body(self, request: Request, most: int | None = None) -> bytes:
        return await front.read_body(request, most or self.limits.body_bytes)

    def check_answer(self, chat: ChatRequest) -> None:
        if (chat.answer_tokens or 0) > self.limits.answer_tokens:
            message = f"{chat.limit_field}: an answer has at most {self.limits.answer_tokens} tokens here"
            raise Refusal(400, "invalid_value", message, chat.limit_field)

    def late(self, headers: dict[str, str] | None = None) -> Refusal:
        message = f"there was no answer within {self.limits.seconds:g} s"
        return Refusal(504, "timeout", message, headers=(headers or {}) | RETRY)

    def judgement(self, caller: str) -> None:
        """Take one of those that a caller may make now; a Refusal if there is none left."""
        now = self._now()
        left, before = self._judged.get(caller, (JUDGED_AT_ONCE, now))
        left = min(JUDGED_AT_ONCE, left + (now - before) * JUDGED_A_SECOND)
        self._judged[caller] = (left - (left >= 1), now)
        if left < 1:
            raise front.too_many(f"more than {JUDGED_A_SECOND:g} judgements a second by one caller")


class Budget:
    """A spending limit for each day (UTC), in exact decimals. What is set aside counts as spent."""

    def __init__(self, limit: Decimal, today: Callable[[], date] = lambda: datetime.now(UTC).date()) -> None:
        self._limit, self._today, self._day, self.spent = limit, today, today(), Decimal(0)

    def hold(self, amount: Decimal) -> date | None:
        """Set an amount aside: the day that it counts against; None if that would pass the limit."""
        today = self._today()
        if today > self._day:  # a clock that is set back opens no second budget
            self._day, self.spent = today, Decimal(0)
        if self.spent + amount > self._limit:
            return None
        self.spent += amount
        return self._day

    def settle(self, day: date, held: Decimal, spent: Decimal) -> None:
        """Say what was spent of an amount that was set aside on a day."""
        if day == self._day:
            self.spent += spent - held
