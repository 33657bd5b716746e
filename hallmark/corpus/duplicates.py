"""Clusters of duplicate records, and which of them to drop."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallmark.base.errors import HallmarkError
from hallmark.base.params import Dedupe
from hallmark.corpus.near import MIX, Pairs, near_pairs
from hallmark.corpus.texts import Texts, text_hashes
from hallmark.mask.kinds import PLACEHOLDER
from hallmark.task.answers import canonical

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    Array = np.ndarray[Any, Any]

ANY_SHARE = 500  # different texts that a cluster may have whatever their share is: few texts are no template
CAUSES = (None, "exact", "near", "conflict")  # why a record is dropped; None: it stays
EXACT, NEAR, CONFLICT = 1, 2, 3
SHOWN = 20  # most examples of each kind in the report, and most records named in each
THRESHOLDS = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # of which an error names the lowest that would pass


class Clusters:
    """Duplicate clusters: records with the same text, or linked by verified near duplicates.

    `texts` has the different texts, `text` the number of each record's text, `pairs` the near duplicates among the texts,
    `cluster` the cluster of each record, named after the smallest id in it.
    """

    def __init__(self, ids: pl.Series, texts: Texts, text: Array, settings: Dedupe, file: Path) -> None:
        import numpy as np

        self.text = text
        self.pairs = _pairs_of(texts, settings, file)
        order = ids.arg_sort(descending=True).to_numpy()
        smallest = np.zeros(len(texts), np.int32)
        smallest[self.pairs.cluster[text[order]]] = order  # of several records in one cluster, the last in this order
        self.cluster: pl.Series = ids.gather(smallest[self.pairs.cluster[text]]).alias("cluster")

    def sizes(self) -> dict[str, Any]:
        """How many clusters have two or more records, how large they are, and what `dedupe.max_cluster` is judged by."""
        import numpy as np

        sizes = Counter(np.bincount(self.pairs.cluster[self.text]).tolist())
        del sizes[0], sizes[1]
        largest = int(np.bincount(self.pairs.cluster).max(initial=0))  # different texts in a cluster
        return {
            "clusters": sum(sizes.values()),
            "records": sum(size * count for size, count in sizes.items()),
            "largest": max(sizes, default=1),
            "largest_texts": largest,
            "largest_share": round(largest / max(1, len(self.pairs.cluster)), 6),
            "near_pairs": len(self.pairs),
            "missed_at_threshold": round(self.pairs.missed, 6),
            "sizes": [{"records": size, "clusters": sizes[size]} for size in sorted(sizes)],
        }


def _pairs_of(texts: Texts, settings: Dedupe, file: Path) -> Pairs:
    """The near duplicates; an error that says what would pass if too many texts are one cluster."""
    try:
        return _checked(texts, settings, file)
    except HallmarkError as error:
        for threshold in (one for one in THRESHOLDS if one > settings.threshold):
            with suppress(HallmarkError):
                _checked(texts, settings.model_copy(update={"threshold": threshold}), file)
                problem = f"{error.problem}; dedupe.threshold: {threshold} would pass, too"
                break
        else:
            raise
        raise HallmarkError(problem, file=file, remedy=error.remedy) from None


def _checked(texts: Texts, settings: Dedupe, file: Path) -> Pairs:
    import numpy as np

    most = max(ANY_SHARE, int(settings.max_cluster * len(texts)))
    pairs = near_pairs(texts, settings, file, most)
    if (largest := int(np.bincount(pairs.cluster).max(initial=0))) > most:
        share = -(-largest * 1000 // len(texts)) / 1000
        raise HallmarkError(
            f"{largest} of {len(texts)} different texts form one duplicate cluster, and dedupe.max_cluster allows {most}: "
            f"they seem to come from one template; dedupe.max_cluster: {share} would pass",
            file=file,
            remedy="raise dedupe.threshold or dedupe.max_cluster, or give prompts only what differs from record to record, in "
            "stages/records.py",
        )
    return pairs


def kinds_in(texts: pl.Series) -> dict[str, int]:
    """The kinds of placeholders in normalised texts, with the number of texts that have them."""
    found = ({name[1:].rsplit("_", 1)[0] for name in PLACEHOLDER.findall(text.upper())} for text in texts)
    return Counter(kind for kinds in found for kind in kinds)


def surplus(rows: pl.DataFrame, policy: str) -> pl.Series:
    """Which rows with texts of nothing but placeholders to drop; they are sorted by id.

    `drop`: all; `one`: all but the first with its target (and tools) in its group.
    """
    import polars as pl

    first = pl.struct("group", "answer").is_first_distinct()
    return rows.select(dropped=~first | (policy == "drop"))["dropped"]


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

    label = clusters.pairs.cluster[clusters.text]
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
    copies, differ = _near_copies(frame.filter("allowed", "stays"), clusters.pairs)
    causes[copies] = NEAR
    several = frame.filter(pl.col("answers") > 1).group_by(asked).agg("row")
    shown = several.sort(pl.col("row").list.min()).head(SHOWN)["row"]
    return pl.Series(CAUSES, dtype=pl.Categorical).gather(causes), {
        "policy": policy,
        "texts": len(several),
        "records": several["row"].list.len().sum(),
        "examples": [rows["id"].gather(sorted(found)[:SHOWN]).to_list() for found in shown.to_list()],
        "near_with_other_target": differ,
    }


def _near_copies(stay: pl.DataFrame, pairs: Pairs) -> tuple[list[int], int]:
    """The rows that are near an earlier one with their target, and how many others are near one with another target."""
    import numpy as np
    import polars as pl
    from scipy.sparse import coo_array

    count = len(pairs.cluster)
    half = coo_array((np.ones(len(pairs), np.int8), (pairs.left, pairs.right)), (count, count)).tocsr()
    near = half + half.T
    stay = stay.filter(np.diff(near.indptr)[stay["text"]] > 0)
    stay = stay.with_columns(pl.col("answer").rank("dense").cast(pl.Int64))
    kept, answered = set[int](), np.zeros(count, bool)  # texts with their answers, as one number; texts
    copies, differ = [], 0
    for row, text, answer in stay.select("row", "text", "answer").iter_rows():
        others = near.indices[near.indptr[text] : near.indptr[text + 1]]
        if kept.isdisjoint((answer * count + others.astype(np.int64)).tolist()):
            differ += int(answered[others].any())
            kept.add(answer * count + text)
            answered[text] = True
        else:
            copies.append(row)
    return copies, differ
