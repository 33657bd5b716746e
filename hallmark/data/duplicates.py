"""Clusters of duplicate records, and which of them to drop."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallmark.data.near import components, near_pairs
from hallmark.data.params import Dedupe
from hallmark.data.shingles import MIX
from hallmark.data.texts import Texts, text_hashes
from hallmark.task.answers import canonical

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    Array = np.ndarray[Any, Any]

ANY_SHARE = 500  # different texts that a cluster may have whatever their share is: few texts are no template
CAUSES = (None, "exact", "near", "conflict")  # why a record is dropped; None: it stays
EXACT, NEAR, CONFLICT = 1, 2, 3
SHOWN = 20  # most examples of each kind in the report, and most records named in each


class Clusters:
    """Duplicate clusters: records with the same text, or linked by verified near duplicates.

    `texts` has the different texts, `text` the number of each record's text, `pairs` the near duplicates among the texts,
    `label` the cluster of each text, `cluster` that of each record, named after the smallest id in it.
    """

    def __init__(self, ids: pl.Series, texts: Texts, text: Array, settings: Dedupe, file: Path) -> None:
        import numpy as np

        self.texts, self.text = texts, text
        self.pairs = near_pairs(
            self.texts,
            size=settings.shingle,
            threshold=settings.threshold,
            permutations=settings.permutations,
            file=file,
            most=max(ANY_SHARE, int(settings.max_cluster * len(texts))),
        )
        self.label = components(len(self.texts), self.pairs.left, self.pairs.right)
        order = ids.arg_sort(descending=True).to_numpy()
        smallest = np.zeros(len(texts), np.int32)
        smallest[self.label[text[order]]] = order  # of several records with one label, the last in this order
        self.cluster: pl.Series = ids.gather(smallest[self.label[text]]).alias("cluster")

    def sizes(self) -> dict[str, Any]:
        """How many clusters have two or more records, how large they are, and what `dedupe.max_cluster` is judged by."""
        import numpy as np

        sizes = Counter(np.bincount(self.label[self.text]).tolist())
        del sizes[0], sizes[1]
        largest = int(np.bincount(self.label).max(initial=0))  # different texts in a cluster
        return {
            "clusters": sum(sizes.values()),
            "records": sum(size * count for size, count in sizes.items()),
            "largest": max(sizes, default=1),
            "largest_texts": largest,
            "largest_share": round(largest / max(1, len(self.texts)), 6),
            "near_pairs": len(self.pairs),
            "missed_at_threshold": round(self.pairs.missed, 6),
            "sizes": [{"records": size, "clusters": sizes[size]} for size in sorted(sizes)],
        }


def answers_of(tools: pl.Series, targets: pl.Series) -> dict[str, pl.Series]:
    """What is compared of records but their texts, as hashes: their tools, and these with the target (`answer`)."""
    import numpy as np
    import polars as pl

    kinds = text_hashes(tools.fill_null("null"))
    return {"tools": pl.Series(kinds), "answer": pl.Series(kinds * np.uint64(MIX) + text_hashes(targets, canonical))}


def resolve(rows: pl.DataFrame, clusters: Clusters, policy: str) -> tuple[pl.Series, dict[str, Any]]:
    """Why each record is dropped (`exact`, `near`, `conflict`; null: it stays), and the conflicts. `rows` is sorted by id.

    Of records with the same text and target, the one with the smallest id stays. Records with the same text and
    different targets are a conflict. A near duplicate is dropped if a record that stays has the same target; if the
    targets differ, both stay, since the target may depend on exactly what differs in the text. So every dropped record
    is a verified duplicate of one that stays, however long its chain of duplicates is.
    """
    import numpy as np
    import polars as pl

    label = clusters.label[clusters.text]
    row = np.flatnonzero(np.bincount(label)[label] > 1)
    frame = pl.DataFrame({"row": row, "text": clusters.text[row]}).hstack(rows.select("tools", "answer")[row])
    asked, same = ["text", "tools"], ["text", "answer"]
    frame = frame.with_columns(
        first=pl.col("row").min().over(same), count=pl.len().over(same), answers=pl.col("answer").n_unique().over(asked)
    )
    frame = frame.with_columns(often=pl.col("count") == pl.col("count").max().over(asked))  # no target is more frequent
    allowed = {
        "keep": pl.lit(value=True),
        "drop": pl.lit(value=False),
        "majority": pl.col("often") & (pl.col("often").sum().over(asked) == pl.col("count")),  # none in a tie
    }
    frame = frame.with_columns(
        allowed=(pl.col("answers") == 1) | allowed[policy], stays=pl.col("row") == pl.col("first")
    )
    causes = np.zeros(len(rows), np.int8)
    cause = pl.when(~pl.col("allowed")).then(CONFLICT).when(~pl.col("stays")).then(EXACT).otherwise(0)
    causes[row] = frame.select(cause).to_series()

    near, differ = Neighbours(clusters), 0
    stay = frame.filter("allowed", "stays")
    stay = stay.filter(near.counts[stay["text"]] > 0).with_columns(answer=pl.col("answer").rank("dense").cast(pl.Int64))
    for at, text, answer in stay.select("row", "text", "answer").iter_rows():
        copy, alike = near.answered(text, answer)
        if copy:
            causes[at] = NEAR
        else:
            differ += alike
    several = frame.filter(pl.col("answers") > 1).group_by(asked).agg("row")
    shown = several.sort(pl.col("row").list.min()).head(SHOWN)["row"]
    return pl.Series(CAUSES, dtype=pl.Categorical).gather(causes), {
        "policy": policy,
        "texts": len(several),
        "records": several["row"].list.len().sum(),
        "examples": [rows["id"].gather(sorted(found)[:SHOWN]).to_list() for found in shown.to_list()],
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
        self.counts = np.diff(both.indptr)  # of neighbours
        self.starts, self.near = both.indptr, both.indices
        self.answer = np.full(count, self.NONE, np.int32)
        self.several: dict[int, set[int]] = {}

    def answered(self, text: int, answer: int) -> tuple[bool, bool]:
        """Whether a neighbour has this answer, and whether one has any; if none has this one, note it for the text."""
        near = self.near[self.starts[text] : self.starts[text + 1]]
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
