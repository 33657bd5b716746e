"""What is wrong with a split: named parts that don't fit, shared groups, empty sides, shares that are far off."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hallmark.base.errors import HallmarkError
from hallmark.base.files import DEDUPED
from hallmark.base.holdout import REFREEZE
from hallmark.base.reading import read_text
from hallmark.base.visible import MOST_NAME
from hallmark.corpus.draw import BY_CUTOFF, Cut

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    Array = np.ndarray[Any, Any]

log = logging.getLogger(__name__)

TOO_LONG = "long"  # in place of a side
MOST_OFF = 0.02  # of the rows: how far a side that is drawn by a cutoff may be from its share
MOST_BYTES = 100_000_000  # of the file of `split.leave_out`
FIX = "write one id a line, as reports/split.json has it, and nothing else; or set split.leave_out to null"


def left_out(path: Path, ids: Iterable[str], frozen: set[str]) -> tuple[set[str], int]:
    """Which of the `ids` stand in the file of `split.leave_out`, and how many of its lines name no record."""
    lines = enumerate(read_text(path, FIX, MOST_BYTES).removeprefix("\ufeff").split("\n"), 1)
    names = {number: line.strip() for number, line in lines if line.strip()}
    for number, name in names.items():
        if len(name) > MOST_NAME or not name.isprintable():
            raise HallmarkError("not the id of a record", file=path, row=number, remedy=FIX)
    if held := [number for number, name in names.items() if name in frozen]:
        raise HallmarkError(
            f"names {len(held)} record(s) of the frozen holdout, which keeps its records and their labels; this is the first",
            file=path,
            row=held[0],
            remedy=f"remove the line; or {REFREEZE}",
        )
    known = {*names.values()}.intersection(ids)
    if unknown := [number for number, name in names.items() if name not in known]:
        log.warning("%s: %d line(s) name no record of the data; the first is line %d", path, len(unknown), unknown[0])
    return known, len(unknown)


def check_named(rows: pl.DataFrame, frozen: set[str]) -> None:
    """Stop if a frozen record names another part than the holdout."""
    import polars as pl

    elsewhere = [*BY_CUTOFF, "train"] if (rows["part"] == "holdout").any() else list(BY_CUTOFF)
    count = rows.filter(pl.col("id").is_in(list(frozen)) & pl.col("part").is_in(elsewhere)).height
    if count:
        raise HallmarkError(
            f"{count} records of the frozen holdout are named as another part of the split",
            field="part",
            remedy=f"restore their `part` in stages/records.py, or give no record one; or {REFREEZE}",
        )


def shared_groups(rows: pl.DataFrame, sides: Array, policy: Literal["error", "count"]) -> int:
    """How many groups have records that name several parts; stop if `policy` (`split.shared_groups`) says so."""
    import polars as pl

    if not rows["part"].is_not_null().any():
        return 0
    known = rows.select("group", side=pl.Series(sides).replace("online", "holdout"))  # both are held out
    count = int((known.group_by("group").agg(pl.col("side").n_unique())["side"] > 1).sum())
    if count and policy == "error":
        raise HallmarkError(
            f"{count} of {rows['group'].n_unique()} groups have records in several parts of the split",
            field="part",
            remedy="put each group in one part, in stages/records.py; or set split.shared_groups to count, which allows it "
            "(the gate counts their records as leaks); or give no record a `part`: whole groups are drawn then",
        )
    if count:
        log.warning("%d groups have records in several parts of the split (split.shared_groups: count)", count)
    return count


def check_not_empty(sides: Array, wanted: Iterable[str], learned: Collection[str]) -> None:
    """Stop if a side has no rows left. `learned`: sides without the records that are too long."""
    for side in wanted:
        if not (sides == side).any():
            long = int((sides == TOO_LONG).sum()) if side in learned else 0
            raise HallmarkError(
                f"no record is left for {side}",
                file=DEDUPED,
                remedy=f"{f'raise sft.max_length ({long} records are longer); ' if long else ''}add records of more "
                "groups, change split.salt, or raise dedupe.threshold; if new data is too similar to the frozen holdout, "
                f"{REFREEZE}",
            )


def warn_of_shares(shares: Mapping[str, float], cuts: Mapping[str, Cut]) -> None:
    """Warn of sides that are drawn by a cutoff, and far from the share that was asked for."""
    for side, share in shares.items():
        if abs(share - cuts[side]["share"]) > MOST_OFF:
            log.warning(
                "%s has %.1f %% of the rows, split.%s asks for %.1f %%: groups are few, or one that was drawn has grown; a "
                "different split.salt draws others", side, 100 * share, side, 100 * cuts[side]["share"],
            )  # fmt: skip
