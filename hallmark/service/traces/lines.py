"""Traces and feedback as lines of JSON: each is in a file whole or not at all."""

from __future__ import annotations

import json
import math
import os
import secrets
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallmark.base.errors import HallmarkError
from hallmark.commands.appending import append_line
from hallmark.service.traces.trace import Feedback, Trace

if TYPE_CHECKING:
    import polars as pl

Kind = type[Trace] | type[Feedback]


def line_of(entry: Trace | Feedback) -> bytes:
    """One line, with its line break. Half a surrogate pair, which no table takes, becomes a question mark."""
    content = _values(entry) | {"time": entry.time.isoformat(timespec="milliseconds")}
    return json.dumps(content, sort_keys=True, ensure_ascii=False).encode() + b"\n"


class DayFiles:
    """Lines in files that this process alone writes, one for each day; `pattern` has `{day}`, and `{name}` for the process."""

    def __init__(self, folder: Path, pattern: str) -> None:
        self._folder, self._pattern, self._name = folder, pattern, secrets.token_hex(8)
        self._day = ""
        self._handle = -1

    def append(self, day: str, line: bytes, *, sync: bool = False) -> None:
        """Write one line, all of it or nothing; with `sync`, it is on the disk then, and so is the file's name."""
        if self._handle < 0 or day != self._day:
            self.close()
            self._open(day, sync=sync)
        append_line(self._handle, line, sync=sync)

    def close(self) -> None:
        if self._handle >= 0:
            handle, self._handle = self._handle, -1
            os.close(handle)

    def _open(self, day: str, *, sync: bool) -> None:
        path = self._folder / self._pattern.format(day=day, name=self._name)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.mkdir(exist_ok=True)
        self._handle, self._day = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), day
        if sync:
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def table(entries: Iterable[Trace | Feedback], kind: Kind = Trace) -> pl.DataFrame:
    """Entries as a table: a column for each field, times in UTC to the millisecond."""
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
    schema = columns(kind)
    try:
        found = pl.read_ndjson(whole, schema=schema | {"time": pl.String}).with_columns(
            pl.col("time").str.to_datetime(time_unit="ms", time_zone="UTC")
        )
    except pl.exceptions.PolarsError:
        raise damaged(path) from None
    if any(found[one.name].null_count() for one in fields(kind) if "None" not in str(one.type)):
        raise damaged(path)
    return found


def columns(kind: Kind) -> dict[str, Any]:
    import polars as pl

    kinds = {"int": pl.Int64, "float": pl.Float64, "bool": pl.Boolean, "datetime": pl.Datetime("ms", "UTC")}
    return {one.name: kinds.get(str(one.type).removesuffix(" | None"), pl.String) for one in fields(kind)}


def damaged(path: Path) -> HallmarkError:
    return HallmarkError("damaged", file=path, remedy="restore the file, or move it away")


def _values(entry: Trace | Feedback) -> dict[str, Any]:
    """The fields, as any file takes them: a number that is none is left out."""

    def valid(value: Any) -> Any:
        if isinstance(value, float) and not math.isfinite(value):
            return None
        return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value

    return {key: valid(value) for key, value in asdict(entry).items()}
