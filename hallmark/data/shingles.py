"""Sets of character shingles, and the exact Jaccard similarity of pairs of them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from hallmark.data.texts import Texts

    Array = np.ndarray[Any, Any]

HASH_BITS = 44  # of a shingle; the bits above hold the row, so that one sort covers a whole chunk
CHUNK = 4_000_000  # bytes of texts (or pairs) processed at once
MIX = 0x9E3779B97F4A7C15  # an odd constant that spreads bits well: 2^64 divided by the golden ratio
HELD = 50_000_000  # most bytes of texts whose shingles are all kept in memory, 4 bytes each
AGAIN = 4  # keep them once the pairs have that number of times the bytes of all texts


def bare(texts: pl.Series) -> pl.Series:
    """Texts without punctuation, which is where copies differ most; a text of nothing else is left unchanged.

    Symbols stay: `x > 5` and `x < 5` do not mean the same.
    """
    words = (
        texts.str.replace_all(r"\p{P}+", " ")
        .str.replace_all(r" {2,}", " ")
        .str.replace_all(" ?\n ?", "\n")
        .str.strip_chars()
    )
    return words.zip_with(words != "", texts)


def chunk_starts(sizes: Array, most: int | None = None) -> list[int]:
    """Where runs of items begin that have about `most` bytes together (`CHUNK`), and the end of the last one."""
    import numpy as np

    ends = np.cumsum(sizes + 8, dtype=np.int64)
    starts = [0]
    while starts[-1] < len(sizes):
        base = ends[starts[-1] - 1] if starts[-1] else 0
        starts.append(max(starts[-1] + 1, int(np.searchsorted(ends, base + (most or CHUNK), side="right"))))
    return starts


def shingles(texts: Sequence[str], size: int) -> tuple[Array, Array]:
    """The set of `size`-character shingles of each text, as hashes: (hashes, sorted within each text; offsets, n + 1).

    A text shorter than `size` is one shingle. Hashes have 44 bits, so that two texts of a thousand shingles
    each share a false match with a probability of 6e-8.
    """
    import numpy as np

    hashes, offsets = all_shingles(texts, size)
    rows = np.repeat(np.arange(len(texts), dtype=np.uint64), np.diff(offsets))
    keys = (rows << np.uint64(HASH_BITS)) | hashes
    keys.sort()
    if len(keys):
        keys = keys[np.concatenate(([True], keys[1:] != keys[:-1]))]
    sizes = np.bincount((keys >> np.uint64(HASH_BITS)).astype(np.int64), minlength=len(texts))
    return keys & np.uint64((1 << HASH_BITS) - 1), np.concatenate(([0], np.cumsum(sizes)))


def all_shingles(texts: Sequence[str], size: int) -> tuple[Array, Array]:
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
    return mixed(hashes) >> np.uint64(64 - HASH_BITS), offsets


def mixed(numbers: Array) -> Array:
    """The numbers (uint64), overwritten, with their bits spread: the finaliser of SplitMix64."""
    import numpy as np

    numbers ^= numbers >> np.uint64(30)
    numbers *= np.uint64(0xBF58476D1CE4E5B9)
    numbers ^= numbers >> np.uint64(27)
    numbers *= np.uint64(0x94D049BB133111EB)
    return numbers


class Similarity:
    """Exact Jaccard similarities of pairs of texts, which may be asked for in many batches.

    The sets of the texts in a batch are made for it, and forgotten; once much has been asked for, the sets of all texts
    are kept, unless they are too large.
    """

    def __init__(self, texts: Texts, size: int) -> None:
        self.texts, self.size = texts, size
        self.asked = 0
        self.sets: tuple[Array, Array] | None = None

    def __call__(self, left: Array, right: Array) -> Array:
        """The similarity of each pair; the pairs are sorted by `left`."""
        import numpy as np

        sizes, total = self.texts.sizes[left] + self.texts.sizes[right], int(self.texts.sizes.sum())
        self.asked += int(sizes.sum(dtype=np.int64))
        if self.sets is None and total <= HELD and self.asked > AGAIN * total:
            self.sets = self._all_sets()
        if self.sets is not None and len(left):
            return _jaccard(*self.sets, left, right)
        result = np.empty(len(left))
        for start, stop in pairwise(chunk_starts(sizes)):
            used, indices = np.unique(np.concatenate((left[start:stop], right[start:stop])), return_inverse=True)
            hashes, offsets = shingles(self.texts.read(used), self.size)
            numbers = np.unique(hashes, return_inverse=True)[1]
            result[start:stop] = _jaccard(numbers, offsets, indices[: stop - start], indices[stop - start :])
        return result

    def _all_sets(self) -> tuple[Array, Array]:
        """The shingles of all texts as small integers, and the offset of each text."""
        import numpy as np

        known, numbers, sizes = [], [], []
        for start, stop in pairwise(chunk_starts(self.texts.sizes)):
            hashes, offsets = shingles(self.texts.read(slice(start, stop)), self.size)
            here, inverse = np.unique(hashes, return_inverse=True)
            known.append(here)
            numbers.append(inverse.astype(np.int32))
            sizes.append(np.diff(offsets))
        every = np.unique(np.concatenate(known))
        for at, here in enumerate(known):
            numbers[at] = np.searchsorted(every, here).astype(np.int32)[numbers[at]]
        return np.concatenate(numbers), np.concatenate(([0], np.cumsum(np.concatenate(sizes))))


def _jaccard(shingle: Array, offsets: Array, left: Array, right: Array) -> Array:
    """The similarity of the pairs, sorted by `left`. `shingle` has the shingles of all texts as small integers."""
    import numpy as np

    common = np.empty(len(left), np.int64)
    marked = np.zeros(shingle.max() + 1, np.uint8)  # the shingles of the left text
    sizes = np.diff(offsets)
    runs = np.flatnonzero(np.concatenate(([True], left[1:] != left[:-1], [True])))
    ramp = np.empty(0, np.int64)
    for start, stop in pairwise(runs.tolist()):
        own = shingle[offsets[left[start]] : offsets[left[start] + 1]]
        marked[own] = 1
        theirs = right[start:stop]
        counts = sizes[theirs]
        ends = np.cumsum(counts)
        if ends[-1] > len(ramp):
            ramp = np.arange(2 * ends[-1])
        place = np.repeat(offsets[theirs] - (ends - counts), counts)
        place += ramp[: ends[-1]]
        common[start:stop] = np.add.reduceat(marked[shingle[place]], ends - counts, dtype=np.int64)
        marked[own] = 0
    return np.asarray(common / (sizes[left] + sizes[right] - common))
