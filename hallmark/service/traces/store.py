"""Where traces are kept: lines of JSON in a folder for each day, in a file for each process that writes any."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import Counter, deque
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from hallmark.service.traces.lines import DayFiles, line_of, read_lines, table
from hallmark.service.traces.trace import TRACES, Trace

if TYPE_CHECKING:
    import polars as pl

    from hallmark.service.gateway.metrics import Metrics

log = logging.getLogger("traces")

MOST_WAITING = 20_000  # traces in memory while the disk takes none; more are lost, and counted
PAUSE = 1.0  # seconds until a disk that took nothing is tried again


class TraceWriter:
    """Keeps traces without ever making a request wait, or fail.

    A full disk is tried again each second; until then traces wait in memory, `MOST_WAITING` at most.
    """

    def __init__(self, folder: Path = TRACES, metrics: Metrics | None = None) -> None:
        # Traces that are written, or lost because the disk took none for too long; and errors of the disk.
        self.counts: Counter[str] = Counter()
        self._metrics, self._files = metrics, DayFiles(folder, "{day}/{name}.jsonl")
        self._queue: queue.SimpleQueue[Trace | None] = queue.SimpleQueue()
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def put(self, trace: Trace) -> None:
        if self._queue.qsize() + len(self._waiting) >= MOST_WAITING:
            self._count("lost")
        else:
            self._queue.put(trace)

    def close(self) -> None:
        """Write what waits. What the disk does not take by then is lost, and counted."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        ends = False
        while not ends:
            ends = self._fill(PAUSE)
            self._write()
        for _ in self._waiting:
            self._count("lost")
        self._files.close()

    def _fill(self, seconds: float) -> bool:
        """Take what is in the queue, the first within this time; True if the writer is closed."""
        with suppress(queue.Empty):
            trace = self._queue.get(timeout=seconds)
            while trace is not None:
                self._waiting.append((f"{trace.time.astimezone(UTC):%Y-%m-%d}", line_of(trace)))
                trace = self._queue.get_nowait()
            return True
        return False

    def _write(self) -> None:
        try:
            while self._waiting:
                self._files.append(*self._waiting[0])
                self._waiting.popleft()
                self._count("written")
        except OSError as error:
            if not self.counts["errors"]:
                log.warning("traces can't be written for now (%s); they wait in memory", type(error).__name__)
            self._count("errors")
            time.sleep(PAUSE)

    def _count(self, what: str) -> None:
        self.counts[what] += 1
        if self._metrics:
            self._metrics.add("hallmark_traces_total", 1, state=what)


def read_traces(folder: Path = TRACES, since: datetime | None = None, until: datetime | None = None) -> pl.DataFrame:
    """All traces from `since` on and before `until`, by time, each once.

    Raises HallmarkError if a file is damaged; a folder that is not there holds none.
    """
    import polars as pl

    first, last = (f"{time.astimezone(UTC):%Y-%m-%d}" if time else "" for time in (since, until))
    days = [day for day in folder.glob("[0-9]*-[0-9]*-[0-9]*") if first <= day.name <= (last or day.name)]
    parts = [read_lines(file, Trace) for day in sorted(days) for file in sorted(day.glob("*.jsonl"))]
    whole = pl.concat([table([]), *parts]).unique("id", keep="first").sort("time", "id")
    if since is not None:
        whole = whole.filter(pl.col("time") >= since)
    return whole if until is None else whole.filter(pl.col("time") < until)
