"""Near duplicates: pairs of texts whose shingles of characters, punctuation aside, have a high Jaccard similarity.

MinHash signatures (rensa) put texts into LSH buckets, and every pair that meets in a bucket is then verified by the
exact Jaccard similarity of the two shingle sets. The result depends on the texts alone, not on their order, on the
hash seed or on threads. Method: Broder, "On the resemblance and containment of documents" (1997); banding as in
Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", chapter 3.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from stages.core.errors import HallmarkError

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    Array = np.ndarray[Any, Any]

T = TypeVar("T", "pl.Series", "pl.Expr")

SIGNATURE_SEED = 1
HASH_BITS = 44  # of a shingle; the bits above hold the row, so that one sort serves a whole chunk
CHUNK = 4_000_000  # characters (or pairs) worked on at once
MIX = 0x9E3779B97F4A7C15  # an odd constant that spreads bits well: 2^64 divided by the golden ratio
MISSES = (1e-6, 0.02)  # share of the pairs exactly at the threshold that may go unseen: at best, and with many texts
EASY, MOST = 30_000_000, 200_000_000  # candidate pairs that are looked at without a thought, and at all
FIRST = 64  # values of a signature that are looked at first, a byte of each: one line of the processor's cache

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pairs:
    """Verified pairs of text numbers, `left < right`, sorted, with their exact Jaccard similarity.

    `missed` is the probability that a pair exactly at the threshold is not among them.
    """

    left: Array
    right: Array
    jaccard: Array
    missed: float

    def __len__(self) -> int:
        return len(self.left)


def text_of(*columns: str) -> pl.Expr:
    """What is compared of a record: the messages in `columns`, one after the other, without the system prompt."""
    import polars as pl

    spoken = pl.element().filter(pl.element().struct.field("role") != "system").struct.field("content")
    return pl.concat_list(pl.col(column).list.eval(spoken) for column in columns).list.join("\n")


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


def bare(texts: pl.Series) -> pl.Series:
    """Texts without punctuation, which is where copies differ most; one of nothing else stays as it is.

    Symbols stay: `x > 5` and `x < 5` do not say the same.
    """
    words = texts.str.replace_all(r"\p{P}+", " ").str.replace_all(r" {2,}", " ").str.strip_chars()
    return words.zip_with(words != "", texts)


def distinct(texts: pl.Series) -> tuple[pl.Series, Array]:
    """The distinct texts, sorted, and for each text its number among them."""
    return texts.unique().sort(), (texts.rank("dense") - 1).to_numpy()


def shingles(texts: Sequence[str], size: int) -> tuple[Array, Array]:
    """The set of `size`-character shingles of each text, as hashes: (hashes, sorted in each text; offsets, n + 1).

    A text shorter than `size` is one shingle. Hashes have 44 bits, so that two texts of a thousand shingles
    each have a false match in common with a probability of 6e-8.
    """
    import numpy as np

    hashes, offsets = _all_shingles(texts, size)
    rows = np.repeat(np.arange(len(texts), dtype=np.uint64), np.diff(offsets))
    keys = (rows << np.uint64(HASH_BITS)) | hashes
    keys.sort()
    if len(keys):
        keys = keys[np.concatenate(([True], keys[1:] != keys[:-1]))]
    sizes = np.bincount((keys >> np.uint64(HASH_BITS)).astype(np.int64), minlength=len(texts))
    return keys & np.uint64((1 << HASH_BITS) - 1), np.concatenate(([0], np.cumsum(sizes)))


def _all_shingles(texts: Sequence[str], size: int) -> tuple[Array, Array]:
    """The hashes of each text's shingles in their order, repeated ones too, and offsets: all that MinHash needs."""
    import numpy as np

    padded = [text if len(text) >= size else text.ljust(size, "\0") for text in texts]
    lengths = np.fromiter(map(len, padded), np.int64, len(padded))
    characters = np.frombuffer("".join(padded).encode("utf-32-le"), np.uint32)
    hashes = np.zeros(max(len(characters) - (size - 1), 0), np.uint64)
    for step in range(size):
        hashes *= np.uint64(MIX)
        hashes += characters[step : step + len(hashes)]
    counts = lengths - (size - 1)
    offsets = np.concatenate(([0], np.cumsum(counts)))
    # those that reach from one text into the next are left out
    hashes = hashes[np.arange(offsets[-1]) + np.repeat(np.arange(len(padded)) * (size - 1), counts)]
    # the finaliser of SplitMix64
    hashes ^= hashes >> np.uint64(30)
    hashes *= np.uint64(0xBF58476D1CE4E5B9)
    hashes ^= hashes >> np.uint64(27)
    hashes *= np.uint64(0x94D049BB133111EB)
    hashes >>= np.uint64(64 - HASH_BITS)
    return hashes, offsets


def near_pairs(texts: pl.Series, *, size: int, threshold: float, permutations: int, file: Path) -> Pairs:
    """All pairs of `texts` (distinct, normalised) that are, without punctuation, similar from `threshold` on.

    A pair exactly at the threshold is missed with a probability of 1e-4 as long as there are few candidates, and of
    0.02 with many; a pair above it, less often. Where so many texts look alike that this can't be kept, more is
    missed, and a warning says how much. An error names `file`, where the texts are from.
    """
    import numpy as np

    texts = bare(texts)
    signatures = _signatures(texts, size, permutations)
    rows = _rows_per_band(signatures, threshold, file)
    missed = _missed(threshold, rows, permutations)
    if missed > MISSES[1]:
        log.warning(
            "many texts look alike: a pair exactly at the threshold is missed with a probability of %.2f, one of %.2f "
            "with %.3f; more permutations miss fewer",
            missed, (1 + threshold) / 2, _missed((1 + threshold) / 2, rows, permutations),
        )  # fmt: skip
    left, right = _candidates(signatures, rows, threshold, file)
    jaccard = _jaccard(texts, left, right, size)
    keep = jaccard >= threshold - 1e-12  # a ratio of integers may come out a bit below the same decimal
    return Pairs(np.ascontiguousarray(left[keep]), np.ascontiguousarray(right[keep]), jaccard[keep], missed)


def components(count: int, left: Array, right: Array) -> Array:
    """For each of `count` nodes, the smallest number of a node that the edges `left`, `right` connect it with."""
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = coo_array((np.ones(len(left), np.int8), (left, right)), (count, count))
    _, component = connected_components(edges, directed=False)
    _, first = np.unique(component, return_index=True)  # components are numbered from 0
    return np.asarray(first[component])


def _chunks(texts: pl.Series) -> Iterator[tuple[int, list[str]]]:
    """Runs of texts of about `CHUNK` characters, with the number of their first text."""
    import numpy as np

    ends = np.cumsum(texts.str.len_chars().to_numpy().astype(np.int64) + 8)
    start = 0
    while start < len(texts):
        base = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, base + CHUNK, side="right")))
        yield start, texts[start:stop].to_list()
        start = stop


def _signatures(texts: pl.Series, size: int, permutations: int) -> Array:
    """MinHash signatures, (texts, permutations) of uint32."""
    import numpy as np
    from rensa import RMinHash

    signatures = np.empty((len(texts), permutations), np.uint32)
    for start, chunk in _chunks(texts):
        hashes, offsets = _all_shingles(chunk, size)
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(
            hashes, offsets.astype(np.uint64), permutations, SIGNATURE_SEED
        )
        signatures[start : start + len(chunk)] = matrix.to_rows()
    return signatures


def _candidates(signatures: Array, rows: int, threshold: float, file: Path) -> tuple[Array, Array]:
    """Pairs of rows, sorted, that share a band of their signatures and whose whole signatures don't rule them out."""
    import numpy as np

    count, permutations = signatures.shape
    tables = [signatures[:, :FIRST].astype(np.uint8), signatures]  # most fall at the first, small one
    found = np.empty(0, np.int64)
    for band in range(_bands(rows, permutations)):
        likely = [found]
        for left, right in _bucket_pairs(_band_keys(signatures, rows, band)):
            pairs = left * count + right
            if len(found):
                pairs = pairs[found[np.searchsorted(found, pairs).clip(max=len(found) - 1)] != pairs]
            for table in tables:
                pairs = _likely(table, pairs, threshold)
            likely.append(pairs)
        found = np.unique(np.concatenate(likely))
        if len(found) > EASY:
            raise _too_many(len(found), file)
    return found // max(count, 1), found % max(count, 1)


def _missed(jaccard: float, rows: int, permutations: int) -> float:
    """The probability that two texts so similar have no band in common."""
    return float((1 - jaccard**rows) ** _bands(rows, permutations))


def _bands(rows: int, permutations: int) -> int:
    """How many bands a signature has; of no rows there is one, in which all texts are alike."""
    return permutations // rows if rows else 1


def _rows_per_band(signatures: Array, threshold: float, file: Path) -> int:
    """How many rows of the signature make a band: few find nearly every pair, many find fewer that are none.

    The fewest that leave an easy number of candidates, counted in three bands. Past what misses 0.02 of the pairs at
    the threshold a hard number is borne, and past what misses 0.02 of those half way to equal texts it is an error.
    None (0), so that every pair is a candidate, where that is no more work.
    """
    count, permutations = signatures.shape
    fewest, most, last = (
        max((r for r in range(1, permutations) if _missed(at, r, permutations) <= miss), default=1)
        for at, miss in ((threshold, MISSES[0]), (threshold, MISSES[1]), ((1 + threshold) / 2, MISSES[1]))
    )
    for rows in range(fewest, max(most, last) + 1):
        bands = permutations // rows
        sample = range(min(3, bands))
        expected = sum(_collisions(_band_keys(signatures, rows, band)) for band in sample) * bands // len(sample)
        if count * (count - 1) // 2 <= min(expected, MOST):
            return 0
        if expected <= (EASY if rows < most else MOST):
            return rows
    raise _too_many(expected, file)


def _band_keys(signatures: Array, rows: int, band: int) -> Array:
    """One number for each text's part of the signature in that band."""
    import numpy as np

    keys = np.zeros(len(signatures), np.uint64)
    for column in range(band * rows, (band + 1) * rows):
        keys = (keys ^ signatures[:, column]) * np.uint64(MIX)
        keys ^= keys >> np.uint64(32)
    return keys


def _collisions(keys: Array) -> int:
    """How many pairs of rows have the same key."""
    import numpy as np

    counts = np.unique(keys, return_counts=True)[1]
    return int((counts * (counts - 1) // 2).sum())


def _bucket_pairs(keys: Array) -> Iterator[tuple[Array, Array]]:
    """The pairs of rows with the same key, the smaller row first, some at a time."""
    import numpy as np

    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    here, lag, held, waiting = np.arange(len(keys)), 0, 0, []
    while len(here):
        lag += 1
        here = here[: np.searchsorted(here, len(keys) - lag)]
        here = here[ordered[here] == ordered[here + lag]]
        waiting.append((order[here], order[here + lag]))  # a stable sort has the smaller row first
        held += len(here)
        if held > CHUNK or not len(here):
            yield np.concatenate([left for left, _ in waiting]), np.concatenate([right for _, right in waiting])
            held, waiting = 0, []


def _likely(table: Array, pairs: Array, threshold: float) -> Array:
    """The pairs whose similarity, estimated from `table`, is within four standard deviations of the threshold, or above.

    A pair is one number: left * len(table) + right.
    """
    import numpy as np

    columns, step = table.shape[1], CHUNK // 16
    least = (threshold - 4 * (threshold * (1 - threshold) / columns) ** 0.5) * columns
    keep = [np.empty(0, bool)]
    for start in range(0, len(pairs), step):
        left, right = np.divmod(pairs[start : start + step], len(table))
        keep.append(np.count_nonzero(table[left] == table[right], axis=1) >= least)
    return pairs[np.concatenate(keep)]


def _jaccard(texts: pl.Series, left: Array, right: Array, size: int) -> Array:
    """The exact Jaccard similarity of each pair's shingle sets; the pairs are sorted by `left`."""
    import numpy as np

    result = np.empty(len(left))
    lengths = texts.str.len_chars().to_numpy().astype(np.int64)
    ends = np.cumsum(lengths[left] + lengths[right] + 8)
    start = 0
    while start < len(left):
        base = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, base + CHUNK, side="right")))
        used, places = np.unique(np.concatenate((left[start:stop], right[start:stop])), return_inverse=True)
        hashes, offsets = shingles(texts.gather(used).to_list(), size)
        one, two = places[: stop - start], places[stop - start :]
        common = _common(np.unique(hashes, return_inverse=True)[1], offsets, one, two)
        sizes = np.diff(offsets)
        result[start:stop] = common / (sizes[one] + sizes[two] - common)
        start = stop
    return result


def _common(shingle: Array, offsets: Array, one: Array, two: Array) -> Array:
    """How many shingles the texts of each pair share. `shingle` has the shingles of all texts as small numbers."""
    import numpy as np

    common = np.empty(len(one), np.int64)
    marked = np.zeros(shingle.max() + 1, np.uint8)  # the shingles of the text on the left
    runs = np.flatnonzero(np.concatenate(([True], one[1:] != one[:-1], [True])))
    for start, stop in pairwise(runs.tolist()):
        own = shingle[offsets[one[start]] : offsets[one[start] + 1]]
        marked[own] = 1
        first, counts = offsets[two[start:stop]], offsets[two[start:stop] + 1] - offsets[two[start:stop]]
        starts = np.cumsum(counts) - counts
        theirs = shingle[np.arange(counts.sum()) + np.repeat(first - starts, counts)]
        common[start:stop] = np.add.reduceat(marked[theirs], starts, dtype=np.int64)
        marked[own] = 0
    return common


def _too_many(count: int, file: Path) -> HallmarkError:
    return HallmarkError(
        f"about {count:,} pairs of texts look alike: most of the records seem to come from one template",
        file=file,
        remedy="raise dedupe.threshold or dedupe.permutations, or map data.input to the columns that differ from "
        "record to record",
    )
