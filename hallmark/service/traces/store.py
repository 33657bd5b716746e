"""Where traces and feedback are kept: lines of JSON, each in a file whole or not at all.

Traces have a folder for each day, in it a file for each process that writes any. Feedback is on the disk before the caller
hears that it was accepted.
"""

from __future__ import annotations

import json
import logging
import math
import os
import queue
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import Field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallmark.base.errors import HallmarkError
from hallmark.commands.appending import append_line
from hallmark.service.traces.trace import TRACES, Feedback, Trace

if TYPE_CHECKING:
    import polars as pl

Kind = type[Trace] | type[Feedback]
log = logging.getLogger("traces")

MOST_WAITING = 20_000  # traces in memory while the disk takes none; more are lost, and counted
PAUSE = 1.0  # seconds until a disk that took nothing is tried again
FEEDBACK = "feedback"  # the folder, in that of the traces


def line_of(entry: Trace | Feedback) -> bytes:
    """One line, with its line break."""
    content = _values(entry) | {"time": entry.time.isoformat(timespec="milliseconds")}
    return json.dumps(content, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def append(path: Path, line: bytes, *, sync: bool = False) -> None:
    """Write one line to a file that this process alone writes, all of it or nothing; with `sync`, it is on the disk then."""
    path.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.parent.mkdir(exist_ok=True)
    new = not path.exists()
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        if sync and new:  # the file's name, too
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        append_line(handle, line, sync=sync)
    finally:
        os.close(handle)


class TraceWriter:
    """Keeps traces without ever making a request wait, or fail.

    A full disk is tried again each second; until then traces wait in memory, `MOST_WAITING` at most. `counts`: traces that
    are `written` or `lost`, and `errors` of the disk; `noted` is told each.
    """

    def __init__(self, folder: Path = TRACES, noted: Callable[[str], None] = lambda state: None) -> None:
        self.counts: Counter[str] = Counter()
        self._folder, self._name, self._noted = folder, f"{secrets.token_hex(8)}.jsonl", noted
        self._queue: queue.SimpleQueue[Trace | None] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traces", daemon=True)
        self._thread.start()

    def put(self, trace: Trace) -> None:
        if self._queue.qsize() >= MOST_WAITING:
            self._count("lost")
        else:
            self._queue.put(trace)

    def close(self) -> None:
        """Write what waits. What the disk does not take by then is lost, and counted."""
        self._closed.set()
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (trace := self._queue.get()) is not None:
            path = self._folder / f"{trace.time.astimezone(UTC):%Y-%m-%d}" / self._name
            self._count("written" if self._written(path, line_of(trace)) else "lost")

    def _written(self, path: Path, line: bytes) -> bool:
        """Write a line once the disk takes it; False if it takes none until this is closed."""
        while True:
            try:
                append(path, line)
            except OSError as error:
                if not self.counts["errors"]:
                    log.warning("traces can't be written for now (%s); they wait in memory", type(error).__name__)
                self._count("errors")
                if self._closed.is_set():
                    return False
                self._closed.wait(PAUSE)
            else:
                return True

    def _count(self, state: str) -> None:
        self.counts[state] += 1
        self._noted(state)


class FeedbackJournal:
    """Appends feedback to a file that this process alone writes, a new one each day (UTC)."""

    def __init__(self, folder: Path = TRACES) -> None:
        self._folder, self._name, self._lock = folder / FEEDBACK, f"{secrets.token_hex(8)}.jsonl", threading.Lock()

    def accept(self, feedback: Feedback) -> None:
        """Keep it. Returns when it is on the disk, or raises OSError; then nothing of it is kept."""
        with self._lock:
            append(self._folder / f"{datetime.now(UTC):%Y-%m-%d}-{self._name}", line_of(feedback), sync=True)


def read_traces(folder: Path = TRACES, since: datetime | None = None, until: datetime | None = None) -> pl.DataFrame:
    """All traces from `since` on and before `until`, by time, each once.

    Raises HallmarkError if a file is damaged; a folder that is not there holds none.
    """
    import polars as pl

    first, last = (f"{time.astimezone(UTC):%Y-%m-%d}" if time else "" for time in (since, until))
    days = [day for day in sorted(folder.glob("[0-9]*-[0-9]*-[0-9]*")) if first <= day.name <= (last or day.name)]
    parts = [read_lines(file, Trace) for day in days for file in sorted(day.glob("*.jsonl"))]
    whole = pl.concat([table([]), *parts]).unique("id", keep="first").sort("time", "id")
    if since is not None:
        whole = whole.filter(pl.col("time") >= since)
    return whole if until is None else whole.filter(pl.col("time") < until)


def read_feedback(folder: Path = TRACES) -> list[Feedback]:
    """The last word of each caller on each trace, by time. Raises HallmarkError if a file is damaged."""
    last = {(one.trace, one.caller): one for one in every_word(folder)}
    return sorted(last.values(), key=lambda one: (one.time, one.trace, one.caller))


def every_word(folder: Path = TRACES) -> list[Feedback]:
    """All that was ever said, by time: what the last word was at any moment. Raises HallmarkError if a file is damaged."""
    files = sorted((folder / FEEDBACK).glob("*.jsonl"))
    every = [Feedback(**row) for file in files for row in read_lines(file, Feedback).rows(named=True)]
    return sorted(every, key=lambda one: one.time)


def table(entries: Iterable[Trace | Feedback], kind: Kind = Trace) -> pl.DataFrame:
    """Entries as a table: a column for each field that is kept, times in UTC to the millisecond."""
    import polars as pl

    return pl.DataFrame([_values(entry) for entry in entries], schema=columns(kind))


def read_lines(path: Path, kind: Kind) -> pl.DataFrame:
    """The entries in a file, as `table` has them; a HallmarkError if it is damaged, which quotes nothing of it.

    A line without its end is one that is being written, or was when its writer died: it is left out.
    """
    import polars as pl

    lines = path.read_bytes()
    whole = lines[: lines.rfind(b"\n") + 1]
    if not whole:
        return table([], kind)
    damaged = HallmarkError("damaged", file=path, remedy="restore the file, or move it away")
    try:
        found = pl.read_ndjson(whole, schema=columns(kind) | {"time": pl.String}).with_columns(
            pl.col("time").str.to_datetime(time_unit="ms", time_zone="UTC")
        )
    except pl.exceptions.PolarsError:
        raise damaged from None
    lacking = any(found[one.name].null_count() for one in kept(kind) if "None" not in str(one.type))
    if lacking or not found["time"].dt.year().is_between(1, 9999).all():  # the years that Python has
        raise damaged
    return found


def kept(kind: Kind) -> list[Field[Any]]:
    """The fields that are written."""
    return [one for one in fields(kind) if one.metadata.get("kept", True)]


def columns(kind: Kind) -> dict[str, Any]:
    import polars as pl

    kinds = {"int": pl.Int64, "float": pl.Float64, "bool": pl.Boolean, "datetime": pl.Datetime("ms", "UTC")}
    return {one.name: kinds.get(str(one.type).removesuffix(" | None"), pl.String) for one in kept(kind)}


def _values(entry: Trace | Feedback) -> dict[str, Any]:
    """What is kept, as any file takes it: a number that is none is left out, half a surrogate pair becomes a question mark."""

    def valid(value: Any) -> Any:
        if isinstance(value, float) and not math.isfinite(value):
            return None
        return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value

    return {one.name: valid(getattr(entry, one.name)) for one in kept(type(entry))}
