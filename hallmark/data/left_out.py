"""Records that the user leaves out of the split: the file of `split.leave_out`, one id a line."""

from __future__ import annotations

import logging
from pathlib import Path

from hallmark.base.errors import HallmarkError
from hallmark.base.files import MASKED
from hallmark.base.holdout import REFREEZE
from hallmark.base.reading import read_text
from hallmark.base.records import scan_records
from hallmark.base.visible import MOST_NAME

log = logging.getLogger(__name__)

MOST = 100_000_000  # bytes
FIX = "write one id a line, as reports/split.json has it, and nothing else; or set split.leave_out to null"


def left_out(path: Path, frozen: set[str]) -> tuple[set[str], int]:
    """The ids in the file that records have, and how many lines name no record. A frozen record can't be left out."""
    import polars as pl

    lines = {
        number: line.strip()
        for number, line in enumerate(read_text(path, FIX, MOST).removeprefix("\ufeff").split("\n"), 1)
        if line.strip()
    }
    for number, name in lines.items():
        if len(name) > MOST_NAME or not name.isprintable():
            raise HallmarkError("not the id of a record", file=path, row=number, remedy=FIX)
    if held := [number for number, name in lines.items() if name in frozen]:
        raise HallmarkError(
            f"names {len(held)} record(s) of the frozen holdout, which keeps its records and their labels; this is the first",
            file=path,
            row=held[0],
            remedy=f"remove the line; or {REFREEZE}",
        )
    named = pl.col("id").is_in(list(lines.values()))
    known = set(scan_records(MASKED).filter(named).select("id").collect()["id"])
    if unknown := [number for number, name in lines.items() if name not in known]:
        log.warning("%s: %d line(s) name no record of the data; the first is line %d", path, len(unknown), unknown[0])
    return set(lines.values()) & known, len(unknown)
