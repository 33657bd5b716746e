"""What is wrong with a split: named parts that don't fit, shared groups, empty sides, shares that are far off."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from hallmark.base.errors import HallmarkError
from hallmark.base.files import DEDUPED
from hallmark.base.holdout import REFREEZE
from hallmark.data.grouping import BY_CUTOFF, MOST_OFF, Cut

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    Array = np.ndarray[Any, Any]

log = logging.getLogger(__name__)

TOO_LONG = "long"  # in place of a side


def check_named(rows: pl.DataFrame, frozen: set[str]) -> None:
    """Stop if `data.split` puts a frozen record anywhere but in the holdout."""
    import polars as pl

    elsewhere = [*BY_CUTOFF, "train"] if (rows["part"] == "holdout").any() else list(BY_CUTOFF)
    count = rows.filter(pl.col("id").is_in(list(frozen)) & pl.col("part").is_in(elsewhere)).height
    if count:
        raise HallmarkError(
            f"{count} records of the frozen holdout are named as another part of the split",
            param="data.split",
            remedy=f"restore the column, or set data.split to null; or {REFREEZE}",
        )


def check_shared(rows: pl.DataFrame, sides: Array, policy: Literal["error", "count"]) -> int:
    """How many groups `data.split` puts on several sides; stop if `policy` (`split.shared_groups`) says so."""
    import polars as pl

    known = rows.select("group", side=pl.Series(sides).replace("online", "holdout"))  # both are held out
    count = int((known.group_by("group").agg(pl.col("side").n_unique())["side"] > 1).sum())
    if count and policy == "error":
        raise HallmarkError(
            f"{count} of {rows['group'].n_unique()} groups have rows in several parts of the split",
            param="data.split",
            remedy="put each group in one part; or set split.shared_groups to count, which allows it (the gate counts their "
            "records as leaks); or set data.split to null, which draws whole groups",
        )
    if count:
        log.warning("%d groups have rows in several parts of the split (split.shared_groups: count)", count)
    return count


def check_not_empty(sides: Array, wanted: Iterable[str], learned: Collection[str]) -> None:
    """Stop if a side has no rows left. `learned`: sides without the records that are too long."""
    for side in wanted:
        if not (sides == side).any():
            long = int((sides == TOO_LONG).sum()) if side in learned else 0
            raise HallmarkError(
                f"no record is left for {side}",
                file=DEDUPED,
                remedy=f"{f'raise sft.max_length ({long} records are longer); ' if long else ''}add records of more groups, change split.salt, or raise dedupe.threshold; "
                f"if new data is too similar to the frozen holdout, {REFREEZE}",
            )


def warn_of_shares(shares: Mapping[str, float], cuts: Mapping[str, Cut]) -> None:
    """Warn of sides that are drawn by a cutoff, and far from the share that was asked for."""
    for side, share in shares.items():
        if abs(share - cuts[side]["share"]) > MOST_OFF:
            log.warning(
                "%s has %.1f %% of the rows, split.%s asks for %.1f %%: groups are few, or one that was drawn has grown; a "
                "different split.salt draws others",
                side,
                100 * share,
                side,
                100 * cuts[side]["share"],
            )
