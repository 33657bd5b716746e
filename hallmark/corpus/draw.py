"""Assign groups to the sides of the split: by the part that records name, the frozen holdout, or a salted hash."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from hallmark.base.errors import HallmarkError
from hallmark.base.params import Split

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    Array = np.ndarray[Any, Any]

Bundle = tuple[str, ...]
Cut = dict[str, Any]  # the cutoff of a draw, with its salt and share
BY_CUTOFF = ("validation", "calibration")  # sides that are drawn one after the other, each from what the others left


def digest(*parts: str) -> str:
    """A hash of texts that is the same on every machine: 32 hex digits of SHA-256."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def draw_hash(salt: str, purpose: str, name: str) -> str:
    """The hash that ranks a name in a draw: 16 hex digits, evenly distributed."""
    return digest(salt, purpose, name)[:16]


def assign(
    rows: pl.DataFrame, frozen: set[str], cuts: Mapping[str, Cut], settings: Split
) -> tuple[Array, dict[str, Cut]]:
    """The side of each row (`train`, `validation`, `calibration`, `holdout`, `online`), and the cutoffs of the draws.

    `rows` has `id`, `group`, `cluster` and `part` (null unless the records name it); `frozen` has the ids of the frozen
    holdout (empty: draw it), `cuts` the cutoffs that are frozen, by side. A side that no row names is drawn from the
    groups without a named row: those with the lowest hashes fill the holdout up to its share of the rows, another hash
    fills the validation side, and a third one, from the groups that are left, the calibration side.

    Once the holdout is frozen, nothing moves. The holdout keeps its records, new rows of its groups are `online`, and
    a group is on the validation side if its own hash is below the cutoff, whatever other rows there are; calibration
    likewise. A duplicate that joins it to another side moves no group: the copy on the weaker side is dropped as a leak.
    """
    import numpy as np
    import polars as pl

    rows = rows.with_columns(pl.col("part").fill_null("train"), frozen=pl.col("id").is_in(list(frozen)))
    parts, every = set(rows["part"].unique()), rows["group"].n_unique()
    unnamed = rows.group_by("group").agg(pl.len(), named=(pl.col("part") != "train").any()).filter(~pl.col("named"))
    sizes = Counter(dict(unnamed.select("group", "len").iter_rows()))
    shares = {"validation": settings.validation, "calibration": settings.calibration}
    drawn = {side for side in ("holdout", *BY_CUTOFF) if side not in parts and shares.get(side, 1.0) > 0}
    held = set(rows.filter("frozen")["group"]) if "holdout" in drawn else set()
    if "holdout" in drawn and not frozen and sizes:
        bundles = join_groups(rows, sizes, max(settings.holdout, settings.validation) * len(rows) / 2)
        bundles, _ = draw(bundles, sizes, settings.salt, "holdout", settings.holdout * len(rows))
        held = {group for bundle in bundles for group in bundle}
    free = sizes.keys() - held
    if len(free) < 1 + len(drawn & {*BY_CUTOFF}) and drawn:
        also = ", calibration" if "calibration" in drawn else ""
        raise HallmarkError(
            f"the records belong to {every} group(s), too few for train, validation{also} and holdout",
            field="group",
            remedy="give records a finer `group` in stages/records.py (customer, document, conversation; at worst the id), "
            f"or add records of more groups{'; or set split.calibration to 0' if also else ''}",
        )
    found: dict[str, Cut] = {}
    of_group: dict[str, str] = {}
    for side in (side for side in BY_CUTOFF if side in drawn):
        left = free - of_group.keys()
        if len(left) < 2:
            raise HallmarkError(
                f"no group is left for {side}: {len(left)} of {every} are neither held out nor on another side, "
                "and training needs one",
                param=f"split.{side}",
                remedy="set it to 0, lower the shares of the other parts, or add records of more groups",
            )
        hashes = {group: draw_hash(settings.salt, side, group) for group in left}
        cut, own = cuts.get(side, {}), {"salt": settings.salt, "share": shares[side]}
        if not own.items() <= cut.items():
            alone = [(group,) for group in sorted(left)]
            cut = draw(alone, sizes, settings.salt, side, shares[side] * len(rows))[1] | own
        found[side] = cut
        below = (group for group, value in hashes.items() if value < cut["below"] and value not in cut["but_not"])
        of_group |= dict.fromkeys(below, side)
    again = "online" if frozen else "holdout"
    of_group |= dict.fromkeys(held, again)
    kinds: dict[str, Any] = {"group": rows["group"].dtype, "drawn": pl.Categorical}
    of_groups = pl.DataFrame([*of_group.items()], kinds, orient="row")
    sides = rows.join(of_groups, on="group", how="left", maintain_order="left").select(
        pl.when("frozen").then(pl.lit("holdout")).when(pl.col("part") == "holdout").then(pl.lit(again))
        .otherwise(pl.coalesce("drawn", "part"))
    ).to_series()  # fmt: skip
    values = sides.unique().to_list()  # each row has a reference to one of them
    return np.array(values, object)[sides.cast(pl.Enum(values)).to_physical().to_numpy()], found


def join_groups(rows: pl.DataFrame, sizes: Counter[str], limit: float) -> list[Bundle]:
    """Bundles of groups that are drawn together for the holdout: those of `sizes` that share a duplicate cluster.

    A bundle never grows past `limit` rows. If texts are short and common ("yes", "thank you"), joining all groups that
    share one would merge all the data into one bundle; texts that end up on two sides are dropped as leaks instead.
    """
    import polars as pl

    joined = rows.filter(pl.col("cluster").is_duplicated()).group_by("cluster").agg(pl.col("group").unique().sort())
    shared = joined.filter(pl.col("group").list.len() > 1)
    parent = {group: group for group in sizes}
    weight = dict(sizes)

    def root(group: str) -> str:
        while parent[group] != group:
            parent[group] = group = parent[parent[group]]
        return group

    for groups in shared.sort(pl.col("group").list.len(), "cluster")["group"].to_list():
        free = [group for group in groups if group in sizes]
        for other in free[1:]:
            first, second = sorted((root(free[0]), root(other)))
            if first != second and weight[first] + weight[second] <= limit:
                parent[second] = first
                weight[first] += weight[second]
    bundles: dict[str, list[str]] = defaultdict(list)
    for group in sorted(parent):
        bundles[root(group)].append(group)
    return [tuple(bundle) for bundle in bundles.values()]


def draw(
    bundles: Iterable[Bundle], sizes: Counter[str], salt: str, purpose: str, target: float
) -> tuple[list[Bundle], dict[str, Any]]:
    """Draw bundles, lowest hash first, until their rows come closest to `target`; at least one.

    A bundle of more than a fifth of the target is left for training, so that a side has several customers whatever their
    hashes; where too few are smaller than that, of more than a quarter, a third or a half. The second value states the
    draw as a rule: hashes `below` a cutoff, `but_not` those of bundles that are too large.
    """
    rows = {bundle: sum(sizes[group] for group in bundle) for bundle in bundles}
    lowest = {bundle: min(draw_hash(salt, purpose, group) for group in bundle) for bundle in rows}
    order = sorted(rows, key=lambda bundle: lowest[bundle])
    for part in (5, 4, 3, 2):
        small = [bundle for bundle in order if rows[bundle] <= target / part]
        if sum(rows[bundle] for bundle in small) >= 2 * target:  # enough that they are drawn, not just taken
            break
    if not small:
        small = [min(order, key=lambda bundle: (rows[bundle], lowest[bundle]))]
    drawn, total = [small[0]], rows[small[0]]
    for bundle in small[1:]:
        if abs(total + rows[bundle] - target) >= abs(total - target):
            break
        drawn.append(bundle)
        total += rows[bundle]
    last, taken = lowest[drawn[-1]], set(drawn)
    too_large = sorted(lowest[bundle] for bundle in order if lowest[bundle] < last and bundle not in taken)
    return drawn, {"below": f"{int(last, 16) + 1:016x}", "but_not": too_large}
