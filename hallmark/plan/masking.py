"""What masking any number of rows would take, by what the last run of `mask` measured."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

from hallmark.base.errors import HallmarkError
from hallmark.base.files import REPORTS
from hallmark.base.progress import duration
from hallmark.base.reading import read_object

FILE = REPORTS / "measured/mask.json"
ROW_BYTES = 400  # that the main process takes for each row: it remembers all ids, to find one that is there twice

MANY = 100_000  # rows of a run, of which starting takes little
FEW = "starting took much of its time, and counts as rows here"


@dataclass(frozen=True)
class Masking:
    """Time, memory and price. `machines`: with as many cores as this one, a core for each worker."""

    rows: int
    workers: int
    seconds: float
    main_bytes: int
    worker_bytes: int
    machines: int
    price: float | None
    main_is_slower: bool  # than all workers together: more of them bring nothing
    measured: int  # rows of the last run

    def lines(self) -> list[str]:
        cost = "" if self.price is None else f", price {self.price:,.2f}"
        found = [
            f"mask: {self.rows:,} rows, {self.workers} workers: {duration(self.seconds)}{cost}",
            f"memory: {self.worker_bytes / 2**30:.1f} GiB for each worker, {self.main_bytes / 2**30:.1f} GiB for the process that reads and writes",
            f"machines like this one: {self.machines}",
            f"by the last run of mask ({FILE}), of {self.measured:,} rows: {FEW if self.measured < MANY else 'enough to go by'}",
        ]
        if self.main_is_slower:
            found.insert(
                1, "The process that reads and writes is slower than the workers: more of them would bring nothing."
            )
        return found


def masking(rows: int, workers: int, price: float | None) -> Masking:
    """What it would take. `price`: of a machine like this one, an hour."""
    if rows < 1 or workers < 1:
        raise HallmarkError("not a number of rows and workers", field="--rows", remedy="give both as 1 or more")
    try:
        last = read_object(FILE)
        share = rows / last["rows"]
        of_workers = share * last["mask_seconds"] * last["workers"] / workers
        # Of one worker that is this process itself, only the reading tells what this process would do for others.
        of_main = share * (last["main_seconds"] if last["workers"] > 1 else last["read_seconds"])
        seconds = share * last["read_seconds"] + max(of_workers, of_main)
        main, worker = last["peak_memory_mib"], last["worker_memory_mib"]
    except (HallmarkError, OSError, KeyError, TypeError, AttributeError, ValueError, ZeroDivisionError):
        raise HallmarkError("does not say how long mask took", file=FILE, remedy="run `dvc repro mask` first") from None
    machines = math.ceil(workers / (os.cpu_count() or 1))
    return Masking(
        rows, workers, seconds, main * 2**20 + rows * ROW_BYTES, worker * 2**20, machines,
        None if price is None else price * machines * seconds / 3600, of_main > of_workers, last["rows"],
    )  # fmt: skip
