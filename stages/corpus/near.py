"""Near duplicates: pairs of texts whose character shingles, ignoring punctuation, have a high Jaccard similarity.

MinHash signatures (rensa) put texts into LSH buckets, and every pair that shares a bucket is then verified by the
exact Jaccard similarity of the two shingle sets. The result depends on the texts alone, not on their order, the hash
seed or threads. Method: Broder, "On the resemblance and containment of documents" (1997); banding as in
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
HASH_BITS = 44  # of a shingle; the bits above hold the row, so that one sort covers a whole chunk
CHUNK = 4_000_000  # characters (or pairs) processed at once
MIX = 0x9E3779B97F4A7C15  # an odd constant that spreads bits well: 2^64 divided by the golden ratio
MISSES = (1e-6, 0.02)  # share of the pairs exactly at the threshold that may be missed: at best, and with many texts
EASY, MOST = 30_000_000, 200_000_000  # candidate pairs: a cheap number to check, and the most allowed
FIRST = 64  # signature values compared first, one byte of each: one cache line of the processor

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
    """Texts without punctuation, which is where copies differ most; a text of nothing else is left unchanged.

    Symbols stay: `x > 5` and `x < 5` do not mean the same.
    """
    words = texts.str.replace_all(r"\p{P}+", " ").str.replace_all(r" {2,}", " ").str.strip_chars()
    return words.zip_with(words != "", texts)


def distinct(texts: pl.Series) -> tuple[pl.Series, Array]:
    """The distinct texts, sorted, and for each text its index among them."""
    return texts.unique().sort(), (texts.rank("dense") - 1).to_numpy()


def shingles(texts: Sequence[str], size: int) -> tuple[Array, Array]:
    """The set of `size`-character shingles of each text, as hashes: (hashes, sorted within each text; offsets, n + 1).

    A text shorter than `size` is one shingle. Hashes have 44 bits, so that two texts of a thousand shingles
    each share a false match with a probability of 6e-8.
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
    """The hashes of each text's shingles in order, including repeats, and offsets: all that MinHash needs."""
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
    # leave out shingles that reach from one text into the next
    hashes = hashes[np.arange(offsets[-1]) + np.repeat(np.arange(len(padded)) * (size - 1), counts)]
    # the finaliser of SplitMix64
    hashes ^= hashes >> np.uint64(30)
    hashes *= np.uint64(0xBF58476D1CE4E5B9)
    hashes ^= hashes >> np.uint64(27)
    hashes *= np.uint64(0x94D049BB133111EB)
    hashes >>= np.uint64(64 - HASH_BITS)
    return hashes, offsets


def near_pairs(texts: pl.Series, *, size: int, threshold: float, permutations: int, file: Path) -> Pairs:
    """All pairs of `texts` (distinct, normalised) whose similarity, ignoring punctuation, is at least `threshold`.

    A pair exactly at the threshold is missed with a probability of 1e-4 if there are few candidates, and of 0.02 if
    there are many; a pair above it, less often. If too many texts look alike to guarantee this, more is missed, and a
    warning says how much. Errors name `file`, the source of the texts.
    """
    import numpy as np

    texts = bare(texts)
    signatures = _signatures(texts, size, permutations)
    rows = _rows_per_band(signatures, threshold, file)
    missed = _missed(threshold, rows, permutations)
    if missed > MISSES[1]:
        log.warning(
            "many texts look alike: a pair exactly at the threshold is missed with probability %.2f, a pair at %.2f "
            "with probability %.3f; raise dedupe.permutations to miss fewer",
            missed, (1 + threshold) / 2, _missed((1 + threshold) / 2, rows, permutations),
        )  # fmt: skip
    left, right = _candidates(signatures, rows, threshold, file)
    jaccard = _jaccard(texts, left, right, size)
    keep = jaccard >= threshold - 1e-12  # a ratio of integers may come out slightly below the equal decimal
    return Pairs(np.ascontiguousarray(left[keep]), np.ascontiguousarray(right[keep]), jaccard[keep], missed)


def components(count: int, left: Array, right: Array) -> Array:
    """For each of `count` nodes, the smallest node connected to it by the edges (`left`, `right`)."""
    import numpy as np
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = coo_array((np.ones(len(left), np.int8), (left, right)), (count, count))
    _, component = connected_components(edges, directed=False)
    _, first = np.unique(component, return_index=True)  # components are numbered from 0
    return np.asarray(first[component])


def _chunks(texts: pl.Series) -> Iterator[tuple[int, list[str]]]:
    """Runs of texts of about `CHUNK` characters, each with the index of its first text."""
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
    """Sorted pairs of rows that share a band of their signatures and that the whole signatures don't rule out."""
    import numpy as np

    count, permutations = signatures.shape
    tables = [signatures[:, :FIRST].astype(np.uint8), signatures]  # the small first table rules out most pairs
    candidates = np.empty(0, np.int64)
    for band in range(_bands(rows, permutations)):
        likely = [candidates]
        for left, right in _bucket_pairs(_band_keys(signatures, rows, band)):
            pairs = left * count + right
            if len(candidates):
                nearest = np.searchsorted(candidates, pairs).clip(max=len(candidates) - 1)
                pairs = pairs[candidates[nearest] != pairs]
            for table in tables:
                pairs = _likely(table, pairs, threshold)
            likely.append(pairs)
        candidates = np.unique(np.concatenate(likely))
        if len(candidates) > EASY:
            raise _too_many(len(candidates), file)
    return candidates // max(count, 1), candidates % max(count, 1)


def _missed(jaccard: float, rows: int, permutations: int) -> float:
    """The probability that two texts of this similarity share no band."""
    return float((1 - jaccard**rows) ** _bands(rows, permutations))


def _bands(rows: int, permutations: int) -> int:
    """How many bands a signature has; with zero rows, one band that all texts share."""
    return permutations // rows if rows else 1


def _rows_per_band(signatures: Array, threshold: float, file: Path) -> int:
    """How many rows of the signature make a band: few rows find nearly every pair, many rows give fewer false candidates.

    Returns the fewest rows that leave a cheap number of candidates (EASY), estimated from three bands. If that would
    miss 0.02 of the pairs at the threshold, up to MOST candidates are allowed; if it would miss 0.02 of the pairs
    halfway between the threshold and equality, it is an error. Returns 0, which makes every pair a candidate, if that is
    no more work.
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
    """One number per text: a hash of its signature's part in that band."""
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
    """The pairs of rows with the same key, the smaller row first, in chunks."""
    import numpy as np

    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    here, lag, held, waiting = np.arange(len(keys)), 0, 0, []
    while len(here):
        lag += 1
        here = here[: np.searchsorted(here, len(keys) - lag)]
        here = here[ordered[here] == ordered[here + lag]]
        waiting.append((order[here], order[here + lag]))  # a stable sort puts the smaller row first
        held += len(here)
        if held > CHUNK or not len(here):
            yield np.concatenate([left for left, _ in waiting]), np.concatenate([right for _, right in waiting])
            held, waiting = 0, []


def _likely(table: Array, pairs: Array, threshold: float) -> Array:
    """The pairs whose similarity, estimated from `table`, is at most four standard deviations below the threshold.

    A pair is encoded as one number: left * len(table) + right.
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
        used, indices = np.unique(np.concatenate((left[start:stop], right[start:stop])), return_inverse=True)
        hashes, offsets = shingles(texts.gather(used).to_list(), size)
        first, second = indices[: stop - start], indices[stop - start :]
        common = _common(np.unique(hashes, return_inverse=True)[1], offsets, first, second)
        sizes = np.diff(offsets)
        result[start:stop] = common / (sizes[first] + sizes[second] - common)
        start = stop
    return result


def _common(shingle: Array, offsets: Array, left: Array, right: Array) -> Array:
    """How many shingles the texts of each pair share. `shingle` has the shingles of all texts as small integers."""
    import numpy as np

    common = np.empty(len(left), np.int64)
    marked = np.zeros(shingle.max() + 1, np.uint8)  # the shingles of the left text
    runs = np.flatnonzero(np.concatenate(([True], left[1:] != left[:-1], [True])))
    for start, stop in pairwise(runs.tolist()):
        own = shingle[offsets[left[start]] : offsets[left[start] + 1]]
        marked[own] = 1
        first, counts = offsets[right[start:stop]], offsets[right[start:stop] + 1] - offsets[right[start:stop]]
        starts = np.cumsum(counts) - counts
        theirs = shingle[np.arange(counts.sum()) + np.repeat(first - starts, counts)]
        common[start:stop] = np.add.reduceat(marked[theirs], starts, dtype=np.int64)
        marked[own] = 0
    return common


def _too_many(count: int, file: Path) -> HallmarkError:
    return HallmarkError(
        f"about {count:,} pairs of texts look alike: most records seem to come from one template",
        file=file,
        remedy="raise dedupe.threshold or dedupe.permutations, or map data.input to the columns that differ from "
        "record to record",
    )
