"""Assign groups to the sides of the split: bundles of groups drawn by a salted hash, the frozen holdout first."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from stages.core.errors import HallmarkError

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from stages.corpus.params import Split

    Array = np.ndarray[Any, Any]

Bundle = tuple[str, ...]


def digest(*parts: str) -> str:
    """A hash of texts that is the same on every machine: 32 hex digits of SHA-256."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def draw_hash(salt: str, purpose: str, name: str) -> str:
    """The hash that ranks a name in a draw: 16 hex digits, evenly distributed."""
    return digest(salt, purpose, name)[:16]


def assign(
    rows: pl.DataFrame, frozen: set[str], cut: dict[str, Any] | None, settings: Split
) -> tuple[Array, dict[str, Any]]:
    """The side of each row (`train`, `validation`, `holdout`, `held back`), and the cutoff of the validation draw.

    `rows` has `id`, `group` and `cluster`; `frozen` has the ids of the frozen holdout (empty: draw it), `cut` the
    cutoff drawn with it. The groups with the lowest hashes fill the holdout up to its share of the rows; another hash
    fills the validation side. So the order and number of rows can only move groups at the edge of a share. Once the
    holdout is frozen, nothing moves: the holdout keeps its records, new rows of its groups are held back, and a group
    is on the validation side if its hash is below the cutoff.
    """
    import numpy as np

    names, groups = rows["id"].to_list(), rows["group"].to_list()
    sizes = Counter(groups)
    held = {group for name, group in zip(names, groups, strict=True) if name in frozen}
    bundles = join_groups(rows, sizes, held, max(settings.holdout, settings.validation) * len(rows) / 2)
    if len(bundles) + bool(held) < 3:
        raise HallmarkError(
            f"the records belong to {len(sizes)} group(s), too few for train, validation and holdout",
            param="data.group",
            remedy="map data.group to a finer column (customer, document, conversation; at worst the record's id), "
            "or add records of more groups",
        )
    if not held:
        drawn, _ = draw(bundles, sizes, settings.salt, "holdout", settings.holdout * len(rows))
        held = {group for bundle in drawn for group in bundle}
        bundles = [bundle for bundle in bundles if bundle[0] not in held]
    if cut is None or (cut["salt"], cut["share"]) != (settings.salt, settings.validation):
        _, cut = draw(bundles, sizes, settings.salt, "validation", settings.validation * len(rows))
        cut = {**cut, "salt": settings.salt, "share": settings.validation}
    validation: set[str] = set()
    for bundle in bundles:
        hashes = {draw_hash(settings.salt, "validation", group) for group in bundle}
        if min(hashes) < cut["below"] and hashes.isdisjoint(cut["but_not"]):
            validation.update(bundle)
    sides = [
        ("holdout" if name in frozen or not frozen else "held back")
        if group in held
        else ("validation" if group in validation else "train")
        for name, group in zip(names, groups, strict=True)
    ]
    return np.array(sides), cut


def join_groups(rows: pl.DataFrame, sizes: Counter[str], held: set[str], limit: float) -> list[Bundle]:
    """Bundles of groups that stay on one side: those that share a duplicate cluster, except the frozen ones (`held`).

    A bundle never grows past `limit` rows. If texts are short and common ("yes", "thank you"), joining all groups that
    share one would merge all the data into one bundle; texts that end up on two sides are dropped as leaks instead.
    """
    import polars as pl

    shared = rows.group_by("cluster").agg(pl.col("group").unique().sort()).filter(pl.col("group").list.len() > 1)
    parent = {group: group for group in sizes if group not in held}
    weight = dict(sizes)

    def root(group: str) -> str:
        while parent[group] != group:
            parent[group] = group = parent[parent[group]]
        return group

    for groups in shared.sort(pl.col("group").list.len(), "cluster")["group"].to_list():
        free = [group for group in groups if group not in held]
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
