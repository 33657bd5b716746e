"""Sends traces to a collector of OpenTelemetry: OTLP over HTTP, in protobuf, by a thread of its own.

No request ever waits for the collector. While it is down or busy, spans wait in memory, up to a bound, and what comes after
that is lost; so is a batch that it refuses. All of that is counted. A batch whose answer was lost is sent again, so that the
collector may have a span twice.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import unquote

from hallmark.base.errors import HallmarkError
from hallmark.service.gateway.client import Client, Response, retry_after, secret_of
from hallmark.service.gateway.spans import body_of, rejected_in, span_of

if TYPE_CHECKING:
    from hallmark.params.gateway import Otlp
    from hallmark.service.traces.store import Counting
    from hallmark.service.traces.trace import Route, Trace

MOST_WAITING, MOST_CHARACTERS = 20_000, 2**26  # spans in memory, and of their texts; more are lost, and counted
SPANS, CHARACTERS = 256, 2**21  # of a batch; collectors take bodies of some megabytes
SECONDS = 2.0  # until a batch is sent that is not full
PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds until a batch is sent again, doubled each time
LONGEST_TOLD = 600.0  # seconds that a collector may say
POST_SECONDS = 5.0  # for one request to the collector
CLOSE_SECONDS, LAST_PAUSE = 5.0, 0.5  # for what waits at the end; between two attempts then
LARGEST = 2**16  # bytes of a response
AGAIN = (429, 502, 503, 504)  # by OTLP, all other errors are for good
OURS = (
    "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "host", "transfer-encoding",
)  # fmt: skip
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE = re.compile(r"[ -~]*")
log = logging.getLogger("traces")


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A trace, and the name of its model when it was put. `size`: characters of its texts."""

    trace: Trace
    model: str
    size: int
    since: float


class OtlpExporter:
    """A `Traces` that sends to a collector. `model`: the name of the one that a route has; `fallback`: of that one."""

    def __init__(
        self,
        settings: Otlp,
        *,
        model: Callable[[Route], str],
        fallback: str | None = None,
        metrics: Counting | None = None,
    ) -> None:
        self.counts: Counter[str] = Counter()  # of spans: sent, rejected, lost; of requests that failed: errors
        url = f"{settings.url.rstrip('/')}/v1/traces"
        self._client = Client(url, read_headers(settings), content_type="application/x-protobuf")
        self._texts, self._model, self._fallback, self._metrics = settings.texts, model, fallback, metrics
        self._instance = str(uuid.uuid4())
        self._waiting: deque[_Waiting] = deque()
        self._size = self._under_way = 0
        self._changed = threading.Condition()
        self._deadline: float | None = None  # once it is closed
        self._thread = threading.Thread(target=self._run, name="otlp", daemon=True)
        self._thread.start()

    def put(self, trace: Trace) -> None:
        """Send a trace soon; returns at once, and never raises. Texts that are not to be sent are not kept here."""
        if not self._texts:
            trace = replace(
                trace, messages="", tools=None, answer=None, fallback=None if trace.fallback is None else ""
            )
        size = sum(len(text or "") for text in (trace.messages, trace.tools, trace.answer, trace.fallback))
        one = _Waiting(trace, self._model(trace.route), size, time.monotonic())
        with self._changed:
            full = len(self._waiting) >= MOST_WAITING or self._size + size > MOST_CHARACTERS
            if not full and self._deadline is None:
                self._waiting.append(one)
                self._size += size
                if len(self._waiting) == 1 or self._full():
                    self._changed.notify()
                return
        self._count("lost", 1)

    def close(self) -> None:
        """Send what waits, for `CLOSE_SECONDS`; the rest is lost, and counted."""
        with self._changed:
            self._deadline = time.monotonic() + CLOSE_SECONDS
            self._changed.notify()
        self._thread.join(CLOSE_SECONDS + 2)  # the name of a host may take longer to be looked up
        with self._changed:
            left = len(self._waiting) + self._under_way
            self._waiting.clear()
            self._under_way = 0
        self._count("lost", left)
        if self.counts["lost"]:
            log.warning("%d spans were lost: the collector did not take them", self.counts["lost"])

    def _run(self) -> None:
        while batch := self._batch():
            try:
                self._send(batch)
            except Exception as error:  # a mistake of ours must not end this thread
                self._trouble("failed", type(error).__name__)
                self._done("lost", len(batch))

    def _full(self) -> bool:
        return len(self._waiting) >= SPANS or self._size >= CHARACTERS

    def _batch(self) -> list[_Waiting]:
        """The next spans to send, as soon as there are many or one has waited; none if it is closed and all are sent."""
        with self._changed:
            while self._deadline is None and not self._full():
                left = self._waiting[0].since + SECONDS - time.monotonic() if self._waiting else None
                if left is not None and left <= 0:
                    break
                self._changed.wait(left)
            batch: list[_Waiting] = []
            size = 0
            while self._waiting and len(batch) < SPANS and (not batch or size + self._waiting[0].size <= CHARACTERS):
                batch.append(self._waiting.popleft())
                size += batch[-1].size
            self._size -= size
            self._under_way = len(batch)
        return batch

    def _send(self, batch: list[_Waiting]) -> None:
        """Send a batch, again and again if need be, until it is taken, refused or out of time."""
        import aiohttp

        spans = [span_of(one.trace, one.model, self._fallback, texts=self._texts) for one in batch]
        body, pause = body_of(spans, self._instance), PAUSE
        while (seconds := self._seconds()) > 0:
            told: float | None = None
            try:
                response = asyncio.run(self._post(body, seconds))
            except (aiohttp.ClientError, OSError) as error:  # one of them is TimeoutError
                self._trouble("unreachable", type(error).__name__)
            else:
                if response.success:
                    self._taken(len(batch), response.content or b"")
                    return
                self._trouble(str(response.status), f"HTTP {response.status}")
                if response.status not in AGAIN:
                    break
                told = retry_after(response.status, response.after)
                told = None if told is None else min(told, LONGEST_TOLD)
            if not self._rested(pause * random.uniform(0.5, 1) if told is None else told, told is not None):  # noqa: S311
                break
            pause = min(2 * pause, LONGEST_PAUSE)
        self._done("lost", len(batch))

    def _seconds(self) -> float:
        """How long a request may take: up to the end, if it is closed."""
        deadline = self._deadline
        return POST_SECONDS if deadline is None else min(POST_SECONDS, deadline - time.monotonic())

    async def _post(self, body: bytes, seconds: float) -> Response:
        """What the collector says. A connection of its own: nobody would notice between two batches that it was closed."""
        async with asyncio.timeout(seconds):
            try:
                return await self._client.post(body, LARGEST)
            finally:
                await self._client.close()

    def _taken(self, spans: int, content: bytes) -> None:
        rejected = min(rejected_in(content), spans)
        if rejected:
            self._trouble("rejected", f"it rejected {rejected} of {spans} spans")
        self._done("rejected", rejected)
        self._done("sent", spans - rejected)

    def _rested(self, seconds: float, told: bool) -> bool:
        """Wait before the next attempt; False if there can be none. `told`: the collector said how long, else it is our guess."""
        end = time.monotonic() + seconds
        with self._changed:
            while self._deadline is None and (left := end - time.monotonic()) > 0:
                self._changed.wait(left)
        if self._deadline is None:
            return True
        end = end if told else min(end, time.monotonic() + LAST_PAUSE)
        if end >= self._deadline:
            return False
        time.sleep(max(end - time.monotonic(), 0.0))
        return True

    def _trouble(self, problem: str, words: str) -> None:
        """Count it; the first time, also say it. What a collector answers is not repeated: it may quote a span."""
        if not self.counts["errors"]:
            log.warning(
                "the collector (serve.otlp) did not take spans: %s; /metrics counts errors, and what is lost", words
            )
        self.counts["errors"] += 1
        if self._metrics:
            self._metrics.add("hallmark_otlp_errors_total", 1, problem=problem)

    def _done(self, state: str, spans: int) -> None:
        """Count spans of the batch under way. Those that `close` gave up on are counted already."""
        with self._changed:
            spans = min(spans, self._under_way)
            self._under_way -= spans
        self._count(state, spans)

    def _count(self, state: str, spans: int) -> None:
        if not spans:
            return
        with self._changed:
            self.counts[state] += spans
        if self._metrics:
            self._metrics.add("hallmark_otlp_spans_total", spans, state=state)


def read_headers(settings: Otlp) -> dict[str, str]:
    """The headers that the environment holds, as OpenTelemetry writes them. A HallmarkError, which quotes none, if they can't be sent."""
    if settings.headers is None:
        return {}
    text = secret_of(settings.headers, settings.url, "serve.otlp", "headers")
    found: dict[str, str] = {}
    for number, entry in enumerate(text.split(","), 1):
        name, equals, value = (part.strip() for part in entry.partition("="))
        value = unquote(value)
        if not equals or not _NAME.fullmatch(name) or not _VALUE.fullmatch(value) or name.lower() in OURS:
            raise HallmarkError(
                f"entry {number} is not a header that can be sent",
                file=f"environment variable {settings.headers}",
                remedy="write `name=value,name=value`, with values in ASCII, and commas in them as %2C",
            )
        found[name] = value
    return found
