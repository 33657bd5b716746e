"""In which order records are drawn when not all are wanted: any number from the start has of every group its fair share."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

GOLDEN = 0.6180339887498949  # multiples of it, modulo 1, spread evenly, however many are taken


def fair_order(ids: Sequence[str], groups: Sequence[str], seed: int) -> list[int]:
    """The rows in the order in which they are drawn; `ids` and `groups` are those of each row.

    The first `n` of `N` rows hold about `n / N` of each group's records, so a smaller draw is part of a larger one and
    both look like the whole. Inside a group, records come in the order of a hash of `seed` and id, not of the file, and
    the record at place `j` of `m` is drawn at `(j + offset) / m`; the offset, in [0, 1), differs from group to group, so
    that of many small groups each has its turn. Neither the order of the rows nor the machine matters.
    """
    members: dict[str, list[int]] = {}
    for row in sorted(range(len(ids)), key=lambda row: (_hash(seed, ids[row]), row)):
        members.setdefault(groups[row], []).append(row)
    ranked = sorted(members, key=lambda group: (-len(members[group]), _hash(seed, group), group))
    place = {
        row: ((number + (rank + 0.5) * GOLDEN % 1) / len(members[group]), rank)
        for rank, group in enumerate(ranked)
        for number, row in enumerate(members[group])
    }
    return sorted(range(len(ids)), key=place.__getitem__)


def drawn_fairly(ids: Sequence[str], groups: Sequence[str], count: int, seed: int) -> list[int]:
    """`count` of the rows (all, if there are fewer) by `fair_order`, in their own order."""
    return sorted(fair_order(ids, groups, seed)[:count])


def _hash(seed: int, text: str) -> str:
    return hashlib.sha256(f"{seed}:{text}".encode("utf-8", "surrogatepass")).hexdigest()
