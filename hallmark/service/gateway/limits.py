"""How much at once, and how often: requests under way, the size of each and its time to come, judgements by a caller."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import aclosing, contextmanager

from starlette.requests import Request

from hallmark.base.refusal import Refusal

BODY_SECONDS = 10.0  # within which a body must be here
JUDGED_A_SECOND, JUDGED_AT_ONCE = 10.0, 100.0  # judgements by one caller


class Slots:
    """Requests under way, of all callers and of each. `noted` is told how many there are."""

    def __init__(self, all_callers: int, each: int | None, noted: Callable[[int], None]) -> None:
        self.all_callers, self.each, self._noted = all_callers, each, noted
        self.under_way: Counter[str] = Counter()

    @contextmanager
    def taken(self, caller: str) -> Iterator[None]:
        """One slot, until the block ends; a Refusal if there is none."""
        if self.under_way.total() >= self.all_callers:
            raise _too_many(f"{self.all_callers} requests are under way, which is the limit")
        if self.each is not None and self.under_way[caller] >= self.each:
            raise _too_many(f"{self.each} requests of this API key are under way, which is its limit")
        self.under_way[caller] += 1
        self._noted(self.under_way.total())
        try:
            yield
        finally:
            self.under_way[caller] -= 1
            self._noted(self.under_way.total())


class Judgements:
    """How often a caller has judged lately. Counted by this process alone."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._left: dict[str, tuple[float, float]] = {}  # of each caller, and when that was; callers are few and known

    def check(self, caller: str) -> None:
        """Take one of those that a caller may make now; a Refusal if there is none left."""
        now = self._now()
        left, before = self._left.get(caller, (JUDGED_AT_ONCE, now))
        left = min(JUDGED_AT_ONCE, left + (now - before) * JUDGED_A_SECOND)
        if left < 1:
            self._left[caller] = (left, now)
            raise _too_many(f"more than {JUDGED_A_SECOND:g} judgements a second by one caller")
        self._left[caller] = (left - 1, now)


def _too_many(message: str) -> Refusal:
    """An answer that says when to try again."""
    return Refusal(429, "too_many_requests", message, headers={"retry-after": "1"})


async def read_body(request: Request, most: int) -> bytes:
    """The body of a request; a Refusal, or Starlette's ClientDisconnect if the caller hangs up before it is whole."""
    kinds = [value.split(";")[0].strip().lower() for value in request.headers.getlist("content-type")]
    if kinds != ["application/json"] or "content-encoding" in request.headers:
        raise Refusal(415, "unsupported_media_type", "the body must be application/json, not compressed")
    too_large = Refusal(413, "request_too_large", f"the body is larger than {most} bytes")
    lengths = [value for value in request.headers.getlist("content-length") if value.isdecimal()]
    if any(len(value) > 18 or int(value) > most for value in lengths):
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS), aclosing(request.stream()) as chunks:
            async for chunk in chunks:
                if len(body) + len(chunk) > most:
                    raise too_large
                body += chunk
    except TimeoutError:
        late = f"the body did not come within {BODY_SECONDS:g} s"
        raise Refusal(408, "request_timeout", late, headers={"connection": "close"}) from None
    return bytes(body)
