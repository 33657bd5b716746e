"""Near duplicates: pairs of texts whose character shingles have a Jaccard similarity of at least a threshold.

MinHash signatures (rensa) put texts into LSH buckets, and every pair that meets in a bucket is then verified by the
exact Jaccard similarity of the two shingle sets. The result depends on the texts alone, not on their order, on the
hash seed or on threads. Method: Broder, "On the resemblance and containment of documents" (1997); banding as in
Leskovec, Rajaraman, Ullman, "Mining of Massive Datasets", chapter 3.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from stages.common.errors import HallmarkError

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
EASY, MOST = 30_000_000, 500_000_000  # candidate pairs that are looked at without a thought, and at all


@dataclass(frozen=True)
class Pairs:
    """Verified pairs of text numbers, `left < right`, sorted, with their exact Jaccard similarity."""

    left: Array
    right: Array
    jaccard: Array

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


def distinct(texts: pl.Series) -> tuple[pl.Series, Array]:
    """The distinct texts, sorted, and for each text its number among them."""
    return texts.unique().sort(), (texts.rank("dense") - 1).to_numpy()


def shingles(texts: Sequence[str], size: int) -> tuple[Array, Array]:
    """The set of `size`-character shingles of each text, as hashes: (hashes, sorted in each text; offsets, n + 1).

    A text shorter than `size` is one shingle. Hashes have 44 bits, so that two texts of a thousand shingles
    each have a false match in common with a probability of 6e-8.
    """
    import numpy as np

    padded = [text if len(text) >= size else text.ljust(size, "\0") for text in texts]
    lengths = np.fromiter(map(len, padded), np.int64, len(padded))
    characters = np.frombuffer("".join(padded).encode("utf-32-le"), np.uint32)
    counts = lengths - (size - 1)
    rows = np.repeat(np.arange(len(padded), dtype=np.uint64), counts)
    first = np.arange(len(rows), dtype=np.int64) + rows.astype(np.int64) * (size - 1)
    hashes = np.zeros(len(rows), np.uint64)
    for step in range(size):
        hashes *= np.uint64(MIX)
        hashes += characters[first + step]
    # the finaliser of SplitMix64
    hashes ^= hashes >> np.uint64(30)
    hashes *= np.uint64(0xBF58476D1CE4E5B9)
    hashes ^= hashes >> np.uint64(27)
    hashes *= np.uint64(0x94D049BB133111EB)
    hashes >>= np.uint64(64 - HASH_BITS)
    keys = (rows << np.uint64(HASH_BITS)) | hashes
    keys.sort()
    if len(keys):
        keys = keys[np.concatenate(([True], keys[1:] != keys[:-1]))]
    sizes = np.bincount((keys >> np.uint64(HASH_BITS)).astype(np.int64), minlength=len(padded))
    return keys & np.uint64((1 << HASH_BITS) - 1), np.concatenate(([0], np.cumsum(sizes)))


def near_pairs(texts: pl.Series, *, size: int, threshold: float, permutations: int) -> Pairs:
    """All pairs of `texts` (distinct, normalised) with a Jaccard similarity of at least `threshold`.

    A pair exactly at the threshold is missed with a probability of 1e-6 as long as there are few candidates, and of
    0.02 at most; a pair above it, less often.
    """
    import numpy as np

    left, right = _candidates(_signatures(texts, size, permutations), threshold)
    jaccard = _jaccard(texts, left, right, size)
    keep = jaccard >= threshold - 1e-12  # a ratio of integers may come out a bit below the same decimal
    return Pairs(np.ascontiguousarray(left[keep]), np.ascontiguousarray(right[keep]), jaccard[keep])


def components(count: int, left: Array, right: Array) -> Array:
    """For each of `count` nodes, the smallest number of a node that the edges `left`, `right` connect it with."""
    import numpy as np

    labels = np.arange(count)
    while True:
        least = np.minimum(labels[left], labels[right])
        new = labels.copy()
        np.minimum.at(new, left, least)
        np.minimum.at(new, right, least)
        new = new[new]  # a shortcut: the label of the label
        if (new == labels).all():
            return labels
        labels = new


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
        hashes, offsets = shingles(chunk, size)
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(
            hashes, offsets.astype(np.uint64), permutations, SIGNATURE_SEED
        )
        signatures[start : start + len(chunk)] = matrix.to_rows()
    return signatures


def _candidates(signatures: Array, threshold: float) -> tuple[Array, Array]:
    """Pairs of rows, sorted, that share a band of their signatures and whose whole signatures don't rule them out."""
    import numpy as np

    count, permutations = signatures.shape
    rows = _rows_per_band(signatures, threshold)
    found = np.empty(0, np.int64)
    for band in range(permutations // rows):
        likely = [found]
        for left, right in _bucket_pairs(_band_keys(signatures, rows, band)):
            pairs = left * count + right
            if len(found):
                pairs = pairs[found[np.searchsorted(found, pairs).clip(max=len(found) - 1)] != pairs]
            likely.append(_likely(signatures, pairs, threshold))
        found = np.unique(np.concatenate(likely))
        if len(found) > EASY:
            raise _too_many(len(found))
    return found // max(count, 1), found % max(count, 1)


def _rows_per_band(signatures: Array, threshold: float) -> int:
    """How many rows of the signature make a band: few find nearly every pair, many find fewer that are none.

    The fewest that leave an easy number of candidates are taken, counted in three bands.
    """
    permutations = signatures.shape[1]
    fewest, most = (
        max((r for r in range(1, permutations) if (1 - threshold**r) ** (permutations // r) <= miss), default=1)
        for miss in MISSES
    )
    for rows in range(fewest, most + 1):
        bands = permutations // rows
        sample = range(min(3, bands))
        expected = sum(_collisions(_band_keys(signatures, rows, band)) for band in sample) * bands // len(sample)
        if expected <= EASY:
            return rows
    if expected > MOST:
        raise _too_many(expected)
    return most


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


def _likely(signatures: Array, pairs: Array, threshold: float) -> Array:
    """The pairs whose estimated similarity is within four standard deviations of the threshold, or above it."""
    import numpy as np

    count, permutations = signatures.shape
    for columns in (64, permutations):  # most fall at the first, smaller part
        columns = min(columns, permutations)
        least = (threshold - 4 * (threshold * (1 - threshold) / columns) ** 0.5) * columns
        step = CHUNK // 16
        keep = [np.empty(0, bool)]
        for start in range(0, len(pairs), step):
            left, right = np.divmod(pairs[start : start + step], count)
            keep.append((signatures[left, :columns] == signatures[right, :columns]).sum(1) >= least)
        pairs = pairs[np.concatenate(keep)]
    return pairs


def _too_many(count: int) -> HallmarkError:
    return HallmarkError(
        f"about {count:,} pairs of texts look alike: most of the records seem to come from one template",
        remedy="raise dedupe.threshold or dedupe.permutations, or map data.input to the columns that differ from "
        "record to record",
    )


def _jaccard(texts: pl.Series, left: Array, right: Array, size: int) -> Array:
    """The exact Jaccard similarity of each pair's shingle sets."""
    import numpy as np

    result = np.empty(len(left))
    if not len(left):
        return result
    lengths = texts.str.len_chars().to_numpy().astype(np.int64)
    ends = np.cumsum(lengths[left] + lengths[right] + 8)
    start = 0
    while start < len(left):
        base = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, base + CHUNK, side="right")))
        used, places = np.unique(np.concatenate((left[start:stop], right[start:stop])), return_inverse=True)
        hashes, offsets = shingles(texts.gather(used).to_list(), size)
        sizes = np.diff(offsets)
        one, two = places[: stop - start], places[stop - start :]
        pair = np.arange(stop - start, dtype=np.uint64)
        keys = np.concatenate([_pair_keys(hashes, offsets, sizes, side, pair) for side in (one, two)])
        keys.sort()
        twice = keys[:-1][keys[1:] == keys[:-1]] >> np.uint64(HASH_BITS)
        common = np.bincount(twice.astype(np.int64), minlength=stop - start)
        result[start:stop] = common / (sizes[one] + sizes[two] - common)
        start = stop
    return result


def _pair_keys(hashes: Array, offsets: Array, sizes: Array, side: Array, pair: Array) -> Array:
    """The shingle hashes of the text on one side of each pair, with the number of the pair above them."""
    import numpy as np

    counts = sizes[side]
    ends = np.cumsum(counts)
    places = np.arange(ends[-1]) - np.repeat(ends - counts - offsets[side], counts)
    return (np.repeat(pair, counts) << np.uint64(HASH_BITS)) | hashes[places]
