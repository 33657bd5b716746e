"""Sends traces to a collector of OpenTelemetry: OTLP over HTTP, in protobuf, by a thread of its own.

No request ever waits for the collector. While it is down or busy, spans wait in memory, up to a bound, and what comes after
that is lost; so is a batch that it refuses. All of that is counted. A batch whose answer was lost is sent again, so that the
collector may have a span twice.
"""

from __future__ import annotations

import asyncio
import logging
import math
import queue
import random
import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from urllib.parse import unquote

from hallmark.base.errors import HallmarkError
from hallmark.params.service import Otlp
from hallmark.service.gateway.client import Client, Response, secret_of, wait_of
from hallmark.service.gateway.metrics import Metrics
from hallmark.service.gateway.spans import body_of, span_of
from hallmark.service.traces.trace import Route, Trace

MOST_WAITING = 2_048  # spans in memory; more are lost, and counted
SPANS, CHARACTERS = 256, 2**21  # of a batch; collectors take bodies of some megabytes
SECONDS = 2.0  # until what waits is sent
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


class OtlpExporter:
    """A place for traces that sends them to a collector. `model`: the name of the one that a route has; `fallback`: of that one."""

    def __init__(
        self,
        settings: Otlp,
        *,
        model: Callable[[Route], str],
        fallback: str | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self.counts: Counter[str] = Counter()  # of spans: sent, lost; of requests that failed: errors
        url = f"{settings.url.rstrip('/')}/v1/traces"
        self._client = Client(url, read_headers(settings), content_type="application/x-protobuf")
        self._texts, self._model, self._fallback = settings.texts, model, fallback
        self._metrics = metrics or Metrics()
        self._instance = str(uuid.uuid4())
        self._waiting: queue.Queue[tuple[Trace, str]] = queue.Queue(MOST_WAITING)
        self._put = 0
        self._closed = threading.Event()
        self._deadline = math.inf  # until it is closed
        self._thread = threading.Thread(target=self._run, name="otlp", daemon=True)
        self._thread.start()

    def put(self, trace: Trace) -> None:
        """Send a trace soon; returns at once, and never raises. Texts that are not to be sent are not kept here."""
        if not self._texts:
            trace = replace(
                trace, messages="", tools=None, answer=None, fallback=None if trace.fallback is None else ""
            )
        self._put += 1
        try:
            if self._closed.is_set():
                raise queue.Full
            self._waiting.put_nowait((trace, self._model(trace.route)))
        except queue.Full:
            self._count("lost", 1)

    def close(self) -> None:
        """Send what waits, for `CLOSE_SECONDS`; the rest is lost, and counted."""
        self._deadline = time.monotonic() + CLOSE_SECONDS
        self._closed.set()
        self._thread.join(CLOSE_SECONDS + 2)  # the name of a host may take longer to be looked up
        self._count("lost", self._put - self.counts["sent"] - self.counts["lost"])
        if self.counts["lost"]:
            log.warning("%d spans were lost: the collector did not take them", self.counts["lost"])

    def _run(self) -> None:
        while not (self._closed.wait(SECONDS) and self._waiting.empty()):
            while batch := self._batch():
                sent = False
                try:
                    sent = self._send(batch)
                except Exception as error:  # a mistake of ours must not end this thread
                    self._trouble("failed", type(error).__name__)
                self._count("sent" if sent else "lost", len(batch))

    def _batch(self) -> list[tuple[Trace, str]]:
        """The next that wait: as many as a request may have."""
        batch: list[tuple[Trace, str]] = []
        size = 0
        with suppress(queue.Empty):
            while len(batch) < SPANS and size < CHARACTERS:
                trace, model = self._waiting.get_nowait()
                batch.append((trace, model))
                size += sum(len(text or "") for text in (trace.messages, trace.tools, trace.answer, trace.fallback))
        return batch

    def _send(self, batch: list[tuple[Trace, str]]) -> bool:
        """Send a batch, again and again if need be, until it is taken, refused or out of time; whether it was taken."""
        import aiohttp

        spans = [span_of(trace, model, self._fallback, texts=self._texts) for trace, model in batch]
        body, pause = body_of(spans, self._instance), PAUSE
        while (left := self._deadline - time.monotonic()) > 0:
            told = 0.0
            try:
                response = asyncio.run(self._post(body, min(POST_SECONDS, left)))
            except (aiohttp.ClientError, OSError) as error:  # one of them is TimeoutError
                self._trouble("unreachable", type(error).__name__)
            else:
                if response.success:
                    return True
                self._trouble(str(response.status), f"HTTP {response.status}")
                if response.status not in AGAIN:
                    return False
                told = min(wait_of(response) or 0.0, LONGEST_TOLD)
            if self._closed.wait(told or pause * random.uniform(0.5, 1)):  # noqa: S311
                if told:
                    return False
                time.sleep(LAST_PAUSE)
            pause = min(2 * pause, LONGEST_PAUSE)
        return False

    async def _post(self, body: bytes, seconds: float) -> Response:
        """What the collector says. A connection of its own: nobody would notice between two batches that it was closed."""
        async with asyncio.timeout(seconds):
            try:
                return await self._client.ask(body, LARGEST)
            finally:
                await self._client.close()

    def _trouble(self, problem: str, words: str) -> None:
        """Count it; the first time, also say it. What a collector answers is not repeated: it may quote a span."""
        if not self.counts["errors"]:
            log.warning(
                "the collector (serve.otlp) did not take spans: %s; /metrics counts errors, and what is lost", words
            )
        self.counts["errors"] += 1
        self._metrics.count("hallmark_otlp_errors_total", problem=problem)

    def _count(self, state: str, spans: int) -> None:
        self.counts[state] += spans
        if spans:
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
