"""What `dedupe` and `split` would do to the rows of a sample, before masking, for `python -m hallmark.commands.propose`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallmark.base.errors import HallmarkError
from hallmark.commands.dry_run_rows import told
from hallmark.data.duplicates import Clusters, resolve
from hallmark.data.grouping import assign, random_sides
from hallmark.data.leaks import count_leaks, drop_leaks
from hallmark.data.near import distinct, normalise
from hallmark.data.raw import Raw
from hallmark.task.task import Task

if TYPE_CHECKING:
    import polars as pl

    from hallmark.params.loader import Params

SIDES = ("train", "validation", "calibration", "holdout")
FEW = 3  # groups that must not hold most of a holdout


@dataclass
class Drawn:
    """Counts of a split that was drawn from a sample."""

    dropped: Counter[str] = field(default_factory=Counter)  # by `dedupe`, by cause
    stay: int = 0
    texts: int = 0  # different ones
    largest: int = 0  # of these, in the largest cluster
    pairs: int = 0  # near duplicates
    rows: dict[str, int] = field(default_factory=dict)
    groups: dict[str, int] = field(default_factory=dict)
    leaks: int = 0  # records that `split` drops
    random: dict[str, int] = field(default_factory=dict)  # what a split by rows would have leaked
    few_hold: float = 0.0  # share of the holdout that its `FEW` largest groups have
    stops: str | None = None


def drawn(raws: Sequence[Raw], task: Task, params: Params) -> Drawn:
    """Deduplicate and split the rows with the params of `dedupe` and `split`."""
    found = Drawn()
    try:
        split(deduplicated(raws, task, params, found), params, found)
    except HallmarkError as error:
        found.stops = told(error)
    return found


def deduplicated(raws: Sequence[Raw], task: Task, params: Params, found: Drawn) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows that stay and all rows, with `id`, `group`, `part`, `text` and `target`; the former with `cluster` too."""
    import polars as pl

    from hallmark.task.answers import compact_json

    def text(raw: Raw, target: str) -> str:
        spoken = f"{raw.context}\n\n{raw.input}" if raw.context else raw.input
        return f"{spoken}\n{target}" if params.dedupe.over == "prompt_and_completion" else spoken

    rows = []
    for raw in raws:
        target = task.render(raw.target)
        tools = None if raw.tools is None else compact_json(raw.tools)
        rows.append((raw.id, raw.group, raw.part, tools, target, text(raw, target)))
    columns = dict.fromkeys(("id", "group", "part", "tools", "target", "text"), pl.String)
    frame = pl.DataFrame(rows, schema=columns, orient="row").with_columns(text=normalise(pl.col("text"))).sort("id")
    clusters = Clusters(frame["id"], frame["text"], params.dedupe, Path(raws[0].file))
    found.texts, found.largest, found.pairs = len(clusters.texts), clusters.largest, len(clusters.pairs)
    dropped, _ = resolve(frame, clusters, params.dedupe.conflicts)
    found.dropped = Counter(dropped.values())
    stay = frame.with_columns(clusters.cluster).filter(~pl.col("id").is_in(list(dropped)))
    found.stay = len(stay)
    return stay, frame


def split(frames: tuple[pl.DataFrame, pl.DataFrame], params: Params, found: Drawn) -> None:
    """Draw a new holdout and validation side, and count."""
    from hallmark.data.near import near_pairs

    rows, before = frames
    near = params.dedupe
    sides, _ = assign(rows, set(), None, params.split)
    texts, text = distinct(rows["text"])
    pairs = near_pairs(
        texts, size=near.shingle, threshold=near.threshold, permutations=near.permutations, file=Path(params.data.path)
    )
    sides, dropped = drop_leaks(sides, text, pairs)
    found.leaks = sum(count for counts in dropped.values() for count in counts.values())
    for side in SIDES:
        groups = Counter(rows.filter(sides == side)["group"].to_list())
        found.rows[side], found.groups[side] = groups.total(), len(groups)
        if side == "holdout" and groups:
            found.few_hold = sum(count for _, count in groups.most_common(FEW)) / groups.total()
    share = found.rows["holdout"] / len(rows)
    by_row: Any = random_sides(before["id"], share, params.split.salt)
    found.random = count_leaks(by_row, distinct(before["text"])[1], None, distinct(before["group"])[1])
    after: Any = random_sides(rows["id"], share, params.split.salt)
    found.random["near_text"] = count_leaks(after, text, pairs, distinct(rows["group"])[1])["near_text"]
