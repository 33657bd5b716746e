"""Near duplicates: pairs of texts whose character shingles, ignoring punctuation, have a high Jaccard similarity.

MinHash signatures put texts into LSH buckets, and every pair that shares a bucket is then verified by the
exact Jaccard similarity of the two shingle sets. The result depends on the texts alone, not on their order, the hash
seed or threads. Questions about the same passages, and chats with one system message, are alike in nearly all of their text: such a
pair must be alike in what is asked or said, too.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hallmark.base.errors import HallmarkError
from hallmark.base.progress import Progress
from hallmark.data.bands import MISSES, SAMPLE, Bands, missed, rows_per_band, signatures_of, too_many
from hallmark.data.shingles import Similarity
from hallmark.data.texts import BREAK, Texts

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    Array = np.ndarray[Any, Any]

T = TypeVar("T", "pl.Series", "pl.Expr")

TURN = r"(?s)(?:\A|\n)(?:user|assistant): "  # where what was said before begins, after a system message
UNLIKE = (2_000_000_000, 20)  # most bytes compared in vain: a number, and that many for each of the texts

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pairs:
    """Verified pairs of text indices, `left < right`, sorted, with their exact Jaccard similarity.

    `missed` is the probability that a pair exactly at the threshold is not among them.
    """

    left: Array
    right: Array
    jaccard: Array
    missed: float

    def __len__(self) -> int:
        return len(self.left)


def text_of(*columns: str) -> pl.Expr:
    """The part of a record that is compared: the messages in `columns`, joined, without the system prompt."""
    import polars as pl

    spoken = pl.element().filter(pl.element().struct.field("role") != "system").struct.field("content")
    return pl.concat_list(pl.col(column).list.eval(spoken) for column in columns).list.join("\n")


def compared(context: str | None, *columns: str) -> pl.Expr:
    """`text_of`, normalised; what was retrieved (`context`: data.context), or a system message in it, comes after a `BREAK`."""
    import polars as pl

    text, given = text_of(*columns), pl.col("context").fill_null("")
    if context is None or ("turns.earlier" in context and "turns.system" not in context):
        return normalise(text)
    said = given.str.extract(f"({TURN}.*)").fill_null("") if "turns.earlier" in context else pl.lit("")
    asked = said + "\n" + text.str.strip_prefix(given + "\n\n")
    parts = [normalise(asked), normalise(given.str.strip_suffix(said))]
    return pl.concat_str(parts, separator=BREAK).str.strip_chars(BREAK)


def normalise(texts: T) -> T:
    """The form in which texts are compared: NFKC, lower case, no control or zero-width characters, single spaces."""
    return (
        texts.str.normalize("NFKC")
        .str.to_lowercase()
        .str.replace_all(r"\s+", " ")
        .str.replace_all(r"\p{C}+", "")
        .str.replace_all(r" {2,}", " ")
        .str.strip_chars()
    )


def near_pairs(
    texts: Texts,
    *,
    size: int,
    threshold: float,
    permutations: int,
    file: Path,
    most: int | None = None,
    stage: str = "dedupe",
) -> Pairs:
    """All pairs of `texts` (normalised) whose similarity, ignoring punctuation, is at least `threshold`.

    A pair exactly at the threshold is missed with a probability of 1e-4 if there are few candidates, and of 0.02 if
    there are many; a pair above it, less often. If too many texts look alike to guarantee this, more is missed, and a
    warning says how much. More than `most` texts linked by such pairs are an error, as soon as they are found: they come
    from a template. Errors name `file`, the source of the texts; the progress, `stage`.
    """
    import numpy as np

    looked = texts.asked() if texts.parted else texts  # a pair must be alike in what is asked, in any case
    sample = signatures_of(looked, looked.sample(SAMPLE), size, permutations)
    rows = rows_per_band(sample, len(texts), threshold, file)
    missing = missed(threshold, rows, permutations)
    if missing > MISSES[1]:
        log.warning(
            "many texts look alike: a pair exactly at the threshold is missed with probability %.2f, a pair at %.2f "
            "with probability %.3f; raise dedupe.permutations to miss fewer",
            missing, (1 + threshold) / 2, missed((1 + threshold) / 2, rows, permutations),
        )  # fmt: skip
    bands = Bands(len(texts), permutations, rows, threshold)
    with Progress(stage, len(texts), "texts read", brief=True) as progress:
        bands.fill(looked, sample, size, progress)
    similarity, found = Similarity(texts, size), _Found(len(texts), most, file)
    asked = Similarity(looked, size) if texts.parted else None
    least = threshold - 1e-12  # a ratio of integers may come out slightly below the equal decimal
    unlike, allowed = 0, UNLIKE[0] + UNLIKE[1] * int(texts.sizes.sum())
    with Progress(stage, bands.bands, "parts of the texts compared", brief=True) as progress:
        for left, right in bands.candidates(file, progress):
            if asked:
                alike = asked(left, right) >= least
                left, right = left[alike], right[alike]
            jaccard = similarity(left, right)
            keep = jaccard >= least
            found.add(left[keep], right[keep], jaccard[keep])
            unlike += int((texts.sizes[left] + texts.sizes[right])[~keep].sum(dtype=np.int64))
            if unlike > allowed:
                raise too_many(bands.compared, file)
    return found.pairs(missing)


class _Found:
    """Verified pairs, and the components of texts that they link."""

    def __init__(self, count: int, most: int | None, file: Path) -> None:
        import numpy as np

        self.count, self.most, self.file = count, most, file
        self.component = np.arange(count, dtype=np.int32)
        self.batches: list[tuple[Array, Array, Array]] = []

    def add(self, left: Array, right: Array, jaccard: Array) -> None:
        """Add pairs; stop if they link more than `most` texts."""
        import numpy as np

        self.batches.append((left.astype(np.int32), right.astype(np.int32), jaccard.astype(np.float32)))
        if self.most is not None and len(left):
            linked = components(self.count, self.component[left], self.component[right])
            self.component = linked[self.component]
            if np.bincount(self.component).max() > self.most:
                raise HallmarkError(
                    f"more than {self.most} of {self.count} different texts form one duplicate cluster, over "
                    "dedupe.max_cluster: they seem to come from one template",
                    file=self.file,
                    remedy="compare thresholds with `python -m stages.dedupe --thresholds`; then raise dedupe.threshold, "
                    "map data.input to the columns that differ from record to record, or raise dedupe.max_cluster",
                )

    def pairs(self, missing: float) -> Pairs:
        """All pairs, sorted."""
        import numpy as np

        left, right, jaccard = (np.concatenate(parts) for parts in zip(*self.batches, strict=True))
        self.batches.clear()
        order = np.argsort(left.astype(np.int64) * self.count + right)
        return Pairs(left[order], right[order], jaccard[order], missing)


def components(count: int, left: Array, right: Array) -> Array:
    """For each of `count` nodes, the smallest node connected to it by the edges (`left`, `right`)."""
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    nodes, ends = np.unique(np.concatenate((left, right)), return_inverse=True)
    edges = coo_array((np.ones(len(left), np.int8), tuple(ends.reshape(2, -1))), (len(nodes), len(nodes)))
    _, component = connected_components(edges, directed=False)
    result = np.arange(count, dtype=np.int32)
    result[nodes] = nodes[np.unique(component, return_index=True)[1][component]]
    return result
