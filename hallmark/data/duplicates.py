"""Clusters of duplicate records, and which of them to drop."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallmark.data.near import components, distinct, near_pairs
from hallmark.data.params import Dedupe
from hallmark.task.answers import canonical

if TYPE_CHECKING:
    import polars as pl

ANY_SHARE = 500  # different texts that a cluster may have whatever their share is: few texts are no template
SHOWN = 20  # most examples of each kind in the report, and most records named in each


class Clusters:
    """Duplicate clusters: records with the same text, or linked by verified near duplicates.

    `texts` has the distinct texts in order, `text` the index of each record's text, `pairs` the near duplicates among
    the distinct texts, `cluster` the cluster of each record, named after the smallest id in it.
    """

    def __init__(self, ids: pl.Series, texts: pl.Series, settings: Dedupe, file: Path) -> None:
        import polars as pl

        self.texts, self.text = distinct(texts)
        self.pairs = near_pairs(
            self.texts,
            size=settings.shingle,
            threshold=settings.threshold,
            permutations=settings.permutations,
            file=file,
            most=most_in_cluster(len(self.texts), settings.max_cluster),
        )
        self.label = components(len(self.texts), self.pairs.left, self.pairs.right)
        labels = pl.DataFrame({"id": ids, "label": self.label[self.text]})
        self.cluster: pl.Series = labels.select(pl.col("id").min().over("label"))["id"].alias("cluster")

    @property
    def largest(self) -> int:
        """The most different texts in a cluster."""
        return max(Counter(self.label.tolist()).values(), default=0)

    def sizes(self) -> dict[str, Any]:
        """How many clusters have two or more records, how large they are, and what `dedupe.max_cluster` is judged by."""
        sizes = Counter(count for count in self.cluster.value_counts()["count"].to_list() if count > 1)
        return {
            "clusters": sum(sizes.values()),
            "records": sum(size * count for size, count in sizes.items()),
            "largest": max(sizes, default=1),
            "largest_texts": self.largest,
            "largest_share": round(self.largest / max(1, len(self.texts)), 6),
            "near_pairs": len(self.pairs),
            "missed_at_threshold": round(self.pairs.missed, 6),
            "sizes": [{"records": size, "clusters": sizes[size]} for size in sorted(sizes)],
        }


def most_in_cluster(texts: float, share: float) -> int:
    """How many of that number of different texts one cluster may have."""
    return max(ANY_SHARE, int(share * texts))


def resolve(rows: pl.DataFrame, clusters: Clusters, policy: str) -> tuple[dict[str, str], dict[str, Any]]:
    """Which records to drop, with the cause (`exact`, `near`, `conflict`), and the conflicts. `rows` is sorted by id.

    Of records with the same text and target, the one with the smallest id stays. Records with the same text and
    different targets are a conflict. A near duplicate is dropped if a record that stays has the same target; if the
    targets differ, both stay, since the target may depend on exactly what differs in the text. So every dropped record
    is a verified duplicate of one that stays, however long its chain of duplicates is.
    """
    import polars as pl

    frame = rows.select("id", "tools", "target").with_columns(text=pl.Series(clusters.text), cluster=clusters.cluster)
    frame = frame.filter(pl.len().over("cluster") > 1)
    same_text: dict[tuple[int, str | None], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, tools, target, text in frame.select("id", "tools", "target", "text").iter_rows():
        same_text[text, tools][canonical(target)].append(name)

    dropped: dict[str, str] = {}
    stay: list[tuple[str, int, tuple[str | None, str]]] = []
    conflicting: list[list[str]] = []
    for (text, tools), targets in same_text.items():
        allowed = set(targets)
        if len(targets) > 1:
            conflicting.append(sorted(name for ids in targets.values() for name in ids))
            allowed = _allowed(targets, policy)
        for target, ids in targets.items():
            if target in allowed:
                stay.append((ids[0], text, (tools, target)))
                ids = ids[1:]
            dropped.update(dict.fromkeys(ids, "exact" if target in allowed else "conflict"))

    near, differ = Neighbours(clusters), 0
    numbers: dict[tuple[str | None, str], int] = {}
    for name, text, answer in sorted(stay):
        copy, alike = near.answered(text, numbers.setdefault(answer, len(numbers)))
        if copy:
            dropped[name] = "near"
        else:
            differ += alike
    return dropped, {
        "policy": policy,
        "texts": len(conflicting),
        "records": sum(map(len, conflicting)),
        "examples": [names[:SHOWN] for names in sorted(conflicting)[:SHOWN]],
        "near_with_other_target": differ,
    }


class Neighbours:
    """The near duplicates of each text, and the answers (as numbers) of the records that stay."""

    NONE, SEVERAL = -1, -2

    def __init__(self, clusters: Clusters) -> None:
        import numpy as np
        from scipy.sparse import coo_array

        count, pairs = len(clusters.texts), clusters.pairs
        half = coo_array((np.ones(len(pairs), np.int8), (pairs.left, pairs.right)), (count, count)).tocsr()
        both = half + half.T
        self.starts, self.near = both.indptr.tolist(), both.indices
        self.answer = np.full(count, self.NONE)
        self.several: dict[int, set[int]] = {}

    def answered(self, text: int, answer: int) -> tuple[bool, bool]:
        """Whether a neighbour has this answer, and whether one has any; if none has this one, note it for the text."""
        near = self.near[self.starts[text] : self.starts[text + 1]]
        if not len(near):
            return False, False
        answers = self.answer[near]
        several = near[answers == self.SEVERAL].tolist()
        if (answers == answer).any() or any(answer in self.several[other] for other in several):
            return True, True
        if self.answer[text] == self.NONE:
            self.answer[text] = answer
        elif self.answer[text] != answer:
            self.several.setdefault(text, {int(self.answer[text])}).add(answer)
            self.answer[text] = self.SEVERAL
        return False, bool((answers != self.NONE).any())


def _allowed(targets: dict[str, list[str]], policy: str) -> set[str]:
    """The targets of a conflict that may stay: all, none, or the most frequent one (none if there is a tie)."""
    if policy == "keep":
        return set(targets)
    if policy == "drop":
        return set()
    most = max(map(len, targets.values()))
    best = [target for target, ids in targets.items() if len(ids) == most]
    return set(best) if len(best) == 1 else set()
