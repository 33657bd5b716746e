"""What masking any number of rows would take, by what the last run of `mask` measured."""

from __future__ import annotations

import math
import os

from hallmark.base.errors import HallmarkError
from hallmark.base.files import REPORTS
from hallmark.base.progress import duration
from hallmark.base.reading import read_object

FILE = REPORTS / "measured/mask.json"
ROW_BYTES = 400  # that the main process takes for each row: it remembers all ids, to find one that is there twice
MANY = 100_000  # rows of a run, of which starting takes little
FEW = "starting took much of its time, and counts as rows here"


def masking(rows: int, workers: int, price: float | None) -> list[str]:
    """Time, memory and price, in lines. `price`: of a machine like this one, an hour; a worker takes one of its cores."""
    try:
        last = read_object(FILE)
        share = rows / last["rows"]
        of_workers = share * last["mask_seconds"] * last["workers"] / workers
        # Of one worker that is this process itself, only the reading tells what this process would do for others.
        of_main = share * (last["main_seconds"] if last["workers"] > 1 else last["read_seconds"])
        seconds = share * last["read_seconds"] + max(of_workers, of_main)
        main, worker = last["peak_memory_mib"] / 2**10 + rows * ROW_BYTES / 2**30, last["worker_memory_mib"] / 2**10
    except (HallmarkError, OSError, KeyError):  # there is none, or one of an earlier version
        raise HallmarkError("does not say how long mask took", file=FILE, remedy="run `dvc repro mask` first") from None
    machines = math.ceil(workers / (os.cpu_count() or 1))
    cost = "" if price is None else f", price {price * machines * seconds / 3600:,.2f}"
    slow = "The process that reads and writes is slower than the workers: more of them would bring nothing."
    return [
        f"mask: {rows:,} rows, {workers} workers: {duration(seconds)}{cost}",
        *([slow] if of_main > of_workers else []),
        f"memory: {worker:.1f} GiB for each worker, {main:.1f} GiB for the process that reads and writes",
        f"machines like this one: {machines}",
        f"by the last run of mask ({FILE}), of {last['rows']:,} rows: {FEW if last['rows'] < MANY else 'enough to go by'}",
    ]
