"""Where traces are kept: Parquet files by day, made of the journals that gateways append to.

A trace is first one line in a journal of its process's own (`open/`), so that a kill loses none that was written. From
time to time the journal becomes Parquet files, which appear whole or not at all. What a dead process left behind, the
next writer takes up. Reading counts each trace once, wherever it is.
"""

from __future__ import annotations

import fcntl
import logging
import os
import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, fields
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from hallmark.base.errors import HallmarkError
from hallmark.base.files import atomic
from hallmark.service.traces.lines import LINE_BYTES, LineFile, line_of, read_lines
from hallmark.service.traces.trace import TRACES, Trace

if TYPE_CHECKING:
    import polars as pl

log = logging.getLogger("traces")

OPEN = "open"  # the folder of the journals
MOST_WAITING = 20_000  # traces in memory while the disk takes none; more are lost, and counted
ROWS, SECONDS = 5_000, 600.0  # a journal of this many rows, or this old, becomes Parquet files
PAUSE = 1.0  # seconds until a disk that took nothing is tried again
PUT_OFF = 60.0  # seconds until a journal that could not become Parquet files is tried again
REMEDY = "restore the file, or move it away"


class Counting(Protocol):
    """Where a writer says what became of its traces."""

    def add(self, name: str, value: float, **labels: object) -> None:
        """Add to a counter."""


class TraceWriter:
    """Keeps traces without ever making a request wait, or fail.

    A full disk is tried again each second; until then traces wait in memory, `MOST_WAITING` at most.
    """

    def __init__(
        self, folder: Path = TRACES, metrics: Counting | None = None, rows: int = ROWS, seconds: float = SECONDS
    ) -> None:
        self.folder = folder
        # Traces that are written, or lost because the disk took none for too long; and errors of the disk.
        self.counts: Counter[str] = Counter()
        self._metrics, self._rows, self._seconds = metrics, rows, seconds
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._waiting: deque[bytes] = deque()
        self._journal: _Journal | None = None
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def put(self, trace: Trace) -> None:
        """Keep a trace; returns at once, and never raises. One that is too long to be read again is lost, and counted."""
        line = line_of(trace)
        if len(line) > LINE_BYTES or self._queue.qsize() + len(self._waiting) >= MOST_WAITING:
            self._count("lost")
            return
        self._queue.put(line)

    def close(self) -> None:
        """Write what waits, and make Parquet files of it. What the disk does not take by then is lost, and counted."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        recover(self.folder)
        ends = False
        while not ends:
            ends = self._fill(PAUSE)
            if self._write() and self._journal and (ends or self._journal.full(self._rows, self._seconds)):
                self._seal()
        for _ in range(len(self._waiting)):
            self._count("lost")

    def _fill(self, seconds: float) -> bool:
        """Take what is in the queue, the first within this time; True if the writer is closed."""
        with suppress(queue.Empty):
            line = self._queue.get(timeout=seconds)
            while line is not None:
                self._waiting.append(line)
                line = self._queue.get_nowait()
            return True
        return False

    def _write(self) -> bool:
        """Write all that waits; False if the disk does not take it."""
        try:
            while self._waiting:
                if self._journal is None:
                    self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                    self._journal = _Journal(self.folder / OPEN)
                self._journal.append(self._waiting[0])
                self._waiting.popleft()
                self._count("written")
        except OSError as error:
            self._trouble(error)
            time.sleep(PAUSE)
            return False
        return True

    def _seal(self) -> None:
        journal = self._journal
        assert journal is not None
        try:
            journal.seal(self.folder)
            self._journal = None
        except Exception as error:  # polars has its own for a full disk; the journal stays, and is read too
            self._trouble(error)
            journal.put_off()

    def _trouble(self, error: Exception) -> None:
        if not self.counts["errors"]:
            log.warning("traces can't be written for now (%s); they wait in memory", type(error).__name__)
        self._count("errors")

    def _count(self, what: str) -> None:
        self.counts[what] += 1
        if self._metrics:
            self._metrics.add("hallmark_traces_total", 1, state=what)


class _Journal(LineFile):
    """A file of traces, locked as long as the process lives."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(folder, f"{datetime.now(UTC):%Y%m%dT%H%M%S}")
        try:
            fcntl.flock(self.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.path.stat()
        except OSError:  # a writer that starts just now took it for a dead one's; the next try has another name
            self.close()
            raise
        self.rows = 0
        self._began = self._not_before = time.monotonic()

    def append(self, line: bytes, *, sync: bool = False) -> None:
        """Write one line, all of it or nothing."""
        super().append(line, sync=sync)
        self.rows += 1

    def full(self, rows: int, seconds: float) -> bool:
        """Whether it is time for Parquet files."""
        if time.monotonic() < self._not_before:
            return False
        return self.rows >= rows or time.monotonic() - self._began >= seconds

    def put_off(self) -> None:
        """Try later again to make Parquet files: each time reads all that is in it."""
        self._not_before = time.monotonic() + PUT_OFF

    def seal(self, folder: Path) -> None:
        """Make Parquet files of it, and remove it."""
        os.fsync(self.handle)
        seal(self.path, folder)
        self.close()


def recover(folder: Path) -> None:
    """Make Parquet files of the journals whose writers have died. One of which none can be made stays, and is read."""
    for path in sorted((folder / OPEN).glob("*.jsonl")):
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                seal(path, folder)
        except BlockingIOError:  # its writer lives
            continue
        except Exception as error:
            log.warning("%s stays as it is for now (%s)", path, type(error).__name__)


def seal(journal: Path, folder: Path) -> None:
    """Make one Parquet file of each day in a journal, then remove it. If that is cut short, doing it again makes the same files."""
    days: dict[date, list[Trace]] = {}
    for trace in read_lines(journal, Trace):
        days.setdefault(trace.time.astimezone(UTC).date(), []).append(trace)
    for day, traces in sorted(days.items()):
        with atomic(folder / f"{day:%Y-%m-%d}" / f"{journal.stem}.parquet") as temporary:
            table(traces).write_parquet(temporary)
    journal.unlink(missing_ok=True)


def table(traces: list[Trace]) -> pl.DataFrame:
    """Traces as a table: a column for each field, times in UTC to the millisecond."""
    import polars as pl

    texts = [{key: _valid(value) for key, value in asdict(trace).items()} for trace in traces]
    return pl.DataFrame(texts, schema=columns()).sort("time", "id")


def _valid(value: Any) -> Any:
    """A text that Parquet can hold: half a surrogate pair becomes a question mark."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def columns() -> dict[str, Any]:
    """The type of each column, from the types of the fields."""
    import polars as pl

    kinds = {"int": pl.Int64, "float": pl.Float64, "bool": pl.Boolean, "datetime": pl.Datetime("ms", "UTC")}
    return {one.name: kinds.get(str(one.type).removesuffix(" | None"), pl.String) for one in fields(Trace)}


def read_traces(folder: Path = TRACES, since: datetime | None = None, until: datetime | None = None) -> pl.DataFrame:
    """All traces from `since` on and before `until`, by time, each once; what is still in journals too.

    Raises HallmarkError if a file is damaged; a folder that is not there holds none.
    """
    import polars as pl

    parts = [table([])]
    journals = [path for path in sorted((folder / OPEN).glob("*.jsonl")) if path.is_file()]
    for path in journals:  # first: one that is sealed meanwhile is then among the Parquet files
        with suppress(FileNotFoundError):
            parts.append(table(list(read_lines(path, Trace))))
    for path in _days(folder, since, until):
        try:
            part = pl.read_parquet(path, hive_partitioning=False)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise HallmarkError(
                f"not a whole Parquet file ({type(error).__name__})", file=path, remedy=REMEDY
            ) from None
        if dict(part.schema) != columns():
            raise HallmarkError("has other columns than traces have", file=path, remedy=REMEDY)
        parts.append(part)
    whole = pl.concat(parts).unique("id", keep="first").sort("time", "id")
    if since is not None:
        whole = whole.filter(pl.col("time") >= since)
    return whole if until is None else whole.filter(pl.col("time") < until)


def _days(folder: Path, since: datetime | None, until: datetime | None) -> Iterator[Path]:
    """The Parquet files of the days that may have such traces."""
    for path in sorted(folder.glob("[0-9]*-[0-9]*-[0-9]*")):
        try:
            day = date.fromisoformat(path.name)
        except ValueError:
            continue
        if (since and day < since.astimezone(UTC).date()) or (until and day > until.astimezone(UTC).date()):
            continue
        yield from (file for file in sorted(path.glob("*.parquet")) if not file.name.startswith("."))
