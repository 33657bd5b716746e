"""Near duplicates: pairs of texts whose character shingles, ignoring punctuation, have a high Jaccard similarity.

MinHash signatures put texts into buckets, and every pair that shares a bucket is then verified by the exact Jaccard
similarity of the two sets of shingles. The result depends on the texts alone, not on their order, the hash seed or threads.
Questions about the same passages, and chats with one system message, are alike in nearly all of their text: such a pair must
be alike in what is asked or said, too.

Method: Broder, "On the resemblance and containment of documents" (1997); banding as in Leskovec, Rajaraman, Ullman,
"Mining of Massive Datasets", chapter 3; some bits of each signature value as in Li and König, "b-bit minwise hashing".
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallmark.base.errors import HallmarkError
from hallmark.base.params import Dedupe
from hallmark.base.progress import Progress
from hallmark.corpus.texts import Texts

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

log = logging.getLogger(__name__)

MISSES = (1e-6, 0.02)  # share of the pairs exactly at the threshold that may be missed: at best, and without a warning
MOST = 30_000_000  # candidate pairs
SAMPLE = 25_000  # texts from which the number of candidates is estimated
CHUNK = 2_000_000  # bytes of texts whose shingles are in memory at once
STEP = 1 << 15  # pairs whose signatures are compared at once, or shingles: they fit in the processor's cache
RARE = 3e-5  # share of the pairs at the threshold that a comparison of signatures may rule out, if the bands miss few
MIX = 0x9E3779B97F4A7C15  # an odd constant that spreads bits well: 2^64 divided by the golden ratio


@dataclass(frozen=True)
class Pairs:
    """Verified pairs of texts, `left < right`, sorted.

    `cluster` has for each text the smallest number of those that pairs link it with. `missed` is the probability that a
    pair exactly at the threshold is not among them.
    """

    left: Array
    right: Array
    cluster: Array
    missed: float

    def __len__(self) -> int:
        return len(self.left)


def near_pairs(texts: Texts, settings: Dedupe, file: Path, most: int | None = None, stage: str = "dedupe") -> Pairs:
    """All pairs of `texts` (normalised) whose similarity, ignoring punctuation, is at least `dedupe.threshold`.

    A pair at the threshold is missed with a probability of 1e-6 if there are few candidates; a pair above it, less often. If
    many texts look alike, more is missed, and a warning says how much. Once more than `most` texts are linked, pairs within
    a cluster are skipped: clusters are whole, and pairs are not. Errors name `file`, the source of the texts.
    """
    import numpy as np

    asked = texts.asked()
    looked = texts if asked is None else asked
    size, threshold, permutations = settings.shingle, settings.threshold, settings.permutations
    rows = rows_per_band(signatures_of(looked.read(slice(SAMPLE)), size, permutations), len(texts), threshold, file)
    missing = missed(threshold, rows, permutations)
    if missing > MISSES[1]:
        log.warning(
            "many texts look alike: a pair exactly at the threshold is missed with probability %.2f, a pair at %.2f "
            "with probability %.3f; raise dedupe.permutations to miss fewer",
            missing, (1 + threshold) / 2, missed((1 + threshold) / 2, rows, permutations),
        )  # fmt: skip
    with Progress(stage, len(texts), "texts read", brief=True) as progress:
        search = Search(looked, settings, rows, progress)
    found = [np.empty((2, 0), np.int32)]
    least = threshold - 1e-12  # a ratio of integers may come out slightly below the equal decimal
    with Progress(stage, len(search.keys), "parts of the texts compared", brief=True) as progress:
        for left, right in search.candidates(file, progress):
            if asked is not None:  # a pair must be alike in what is asked, in any case
                alike = similarity(asked, left, right, size) >= least
                left, right = left[alike], right[alike]
            keep = similarity(texts, left, right, size) >= least
            found.append(np.array((left[keep], right[keep]), np.int32))
            search.link(left[keep], right[keep], most)
    left, right = np.concatenate(found, axis=1)
    order = np.lexsort((right, left))
    return Pairs(left[order], right[order], search.cluster, missing)


class Search:
    """The state of a search: a key of each text for each band, eight bits of each value of its signature, its cluster."""

    def __init__(self, texts: Texts, settings: Dedupe, rows: int, progress: Progress) -> None:
        import numpy as np
        from scipy.special import bdtrc

        count, permutations, apart = len(texts), settings.permutations, 1 - settings.threshold
        rare = max(RARE, missed(settings.threshold, rows, permutations) / 100)
        differ = bdtrc(np.arange(permutations + 1), permutations, apart * (1 - 0.5**8))
        self._allowed = int(np.argmax(differ <= rare))  # how many values may differ
        self.keys = np.empty((permutations // rows, count), np.uint32)
        self._bits = np.empty((count, permutations), np.uint8)
        self.cluster, self._over = np.arange(count, dtype=np.int32), False
        for start, stop in _runs(texts.sizes, STEP):
            signatures = signatures_of(texts.read(slice(start, stop)), settings.shingle, permutations)
            self.keys[:, start:stop] = _band_keys(signatures, rows)
            self._bits[start:stop] = (signatures * np.uint32(MIX & 0xFFFFFFFF) >> np.uint32(24)).T
            progress.to(stop)

    def candidates(self, file: Path, progress: Progress) -> Iterator[tuple[Array, Array]]:
        """Pairs that share a band and that the signatures don't rule out, each once: by bands, sorted."""
        import numpy as np

        count = self.keys.shape[1]
        known = np.empty(0, np.int64)  # pairs as numbers, sorted
        for band, keys in enumerate(self.keys, 1):
            here, total = [known[:0]], len(known)
            for left, right in _bucket_pairs(keys):
                likely = self._likely(left, right)
                new = np.searchsorted(known, likely, "right") == np.searchsorted(known, likely)
                here.append(likely[new])
                total += len(here[-1])
                if total > MOST:  # the estimate was too low
                    raise too_many(total, count, file)
            fresh = np.sort(np.concatenate(here))
            yield np.divmod(fresh, max(count, 1))
            known = np.sort(np.concatenate((known, fresh)))
            progress.to(band, pairs_compared=f"{len(known):,}")

    def _likely(self, left: Array, right: Array) -> Array:
        """The pairs, as numbers, that are similar enough by some bits of each value of their signatures."""
        import numpy as np

        if self._over:
            apart = self.cluster[left] != self.cluster[right]
            left, right = left[apart], right[apart]
        near = np.count_nonzero(self._bits[left] != self._bits[right], axis=1) <= self._allowed
        return np.asarray(left[near] * self.keys.shape[1] + right[near])

    def link(self, left: Array, right: Array, most: int | None) -> None:
        """Join the clusters of the pairs; from the first one of more than `most` texts on, pairs within one are skipped."""
        import numpy as np
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        if len(left):
            count, ends = len(self.cluster), (self.cluster[left], self.cluster[right])
            graph = coo_array((np.ones(len(left), np.int8), ends), (count, count))
            label = connected_components(graph, directed=False)[1]
            first = np.unique(label, return_index=True)[1].astype(np.int32)
            self.cluster = first[label][self.cluster]
            self._over = most is not None and int(np.bincount(self.cluster).max()) > most


def rows_per_band(sample: Array, count: int, threshold: float, file: Path) -> int:
    """How many rows of the signature make a band: few rows find nearly every pair, many rows give fewer false candidates.

    Returns the fewest rows that leave at most `MOST` candidates, estimated from the signatures of a `sample` of the `count`
    texts; it is an error if they would miss 0.02 of the pairs halfway between the threshold and equality.
    """
    import numpy as np

    permutations, taken = sample.shape
    fewest, last = (
        max((r for r in range(1, permutations) if missed(at, r, permutations) <= miss), default=1)
        for at, miss in ((threshold, MISSES[0]), ((1 + threshold) / 2, MISSES[1]))
    )
    for rows in range(fewest, max(fewest, last) + 1):
        alike = np.concatenate([np.unique(keys, return_counts=True)[1] for keys in _band_keys(sample, rows)])
        expected = round(int((alike * (alike - 1) // 2).sum()) * (count / max(taken, 1)) ** 2)
        if min(expected, count * (count - 1) // 2) <= MOST:
            return rows
    raise too_many(expected, round(alike.max() * count / taken), file)


def too_many(pairs: int, texts: int, file: Path) -> HallmarkError:
    """The error for more pairs than can be compared."""
    return HallmarkError(
        f"about {pairs:,} pairs of texts look alike, up to {texts:,} texts as one, and {MOST:,} pairs can be compared: they "
        "seem to come from one template",
        file=file,
        remedy="raise dedupe.threshold or dedupe.permutations, or give prompts only what differs from record to record",
    )


def missed(jaccard: float, rows: int, permutations: int) -> float:
    """The probability that two texts of this similarity share no band."""
    return float((1 - jaccard**rows) ** (permutations // rows))


def signatures_of(texts: Sequence[str], size: int, permutations: int) -> Array:
    """MinHash signatures, (permutations, texts) of uint32: the smallest of a text's shingles in each of many random orders.

    An order is that of the hashes times an odd number, modulo 2^32.
    """
    import numpy as np

    factors = _mixed(np.arange(1, permutations + 1, dtype=np.uint64)).astype(np.uint32) | np.uint32(1)
    signatures = np.empty((permutations, len(texts)), np.uint32)
    for start, stop in _runs(np.fromiter(map(len, texts), np.int64), STEP):
        hashes, offsets = _shingles(texts[start:stop], size)
        shingles = (hashes >> np.uint64(32)).astype(np.uint32)
        order = np.empty_like(shingles)
        for row, factor in zip(signatures, factors, strict=True):
            np.multiply(shingles, factor, out=order)
            np.minimum.reduceat(order, offsets[:-1], out=row[start:stop])
    return signatures


def similarity(texts: Texts, left: Array, right: Array, size: int) -> Array:
    """The exact Jaccard similarity of each pair; the pairs are sorted by `left`."""
    import numpy as np
    from scipy.sparse import csr_array

    if not len(left):
        return np.empty(0)
    both = np.concatenate((left, right))
    used, place = np.unique(both, return_inverse=True)
    held, compared = (int(texts.sizes[numbers].sum(dtype=np.int64)) for numbers in (used, both))
    if len(left) > 1 and (held > CHUNK or compared > 4 * CHUNK):
        middle = len(left) // 2
        halves = (left[:middle], right[:middle]), (left[middle:], right[middle:])
        return np.concatenate([similarity(texts, *half, size) for half in halves])
    hashes, offsets = _shingles(texts.read(used), size)
    numbers = np.unique(hashes, return_inverse=True)[1].astype(np.int32)
    sets = csr_array((np.ones(len(numbers), np.int32), numbers, offsets.astype(np.int32)))
    sets.sum_duplicates()
    sets.data = np.ones(len(sets.data), np.int8)
    one, two = np.split(place, 2)
    common, counts = np.diff(sets[one].multiply(sets[two]).indptr), np.diff(sets.indptr)
    return np.asarray(common / (counts[one] + counts[two] - common))


def _shingles(texts: Sequence[str], size: int) -> tuple[Array, Array]:
    """The hashes of each text's shingles in order, including repeats, and where each text begins, and the last one ends.

    A text shorter than `size` is one shingle. Of two texts of a thousand different ones, two agree by chance once in 10^13.
    """
    import numpy as np

    padded = [text.ljust(size, "\0") for text in texts]
    characters = np.frombuffer("".join(padded).encode("utf-32-le"), np.uint32)
    hashes = np.zeros(max(len(characters) - (size - 1), 0), np.uint64)
    for step in range(size):
        hashes *= np.uint64(MIX)
        hashes += characters[step : step + len(hashes)]
    counts = np.fromiter(map(len, padded), np.int64, len(padded)) - (size - 1)
    offsets = np.concatenate(([0], np.cumsum(counts)))
    # leave out shingles that reach from one text into the next
    hashes = hashes[np.arange(offsets[-1]) + np.repeat(np.arange(len(padded)) * (size - 1), counts)]
    return _mixed(hashes), offsets


def _mixed(numbers: Array) -> Array:
    """The numbers (uint64), overwritten, with their bits spread: the finaliser of SplitMix64."""
    import numpy as np

    numbers ^= numbers >> np.uint64(30)
    numbers *= np.uint64(0xBF58476D1CE4E5B9)
    numbers ^= numbers >> np.uint64(27)
    numbers *= np.uint64(0x94D049BB133111EB)
    return numbers


def _band_keys(signatures: Array, rows: int) -> Array:
    """One number per band and text: a hash of its signature's part in that band."""
    import numpy as np

    bands = len(signatures) // rows
    keys = np.zeros((bands, signatures.shape[1]), np.uint64)
    for row in range(rows):
        keys = (keys ^ signatures[row : bands * rows : rows]) * np.uint64(MIX)
        keys ^= keys >> np.uint64(32)
    return (keys >> np.uint64(32)).astype(np.uint32)


def _bucket_pairs(keys: Array) -> Iterator[tuple[Array, Array]]:
    """The pairs of texts with the same key, the smaller number first, some at a time."""
    import numpy as np

    order = np.argsort(keys, kind="stable")  # which puts the smaller number first
    ordered = keys[order]
    later = np.searchsorted(ordered, ordered, "right") - np.arange(1, len(keys) + 1)  # texts after each in its bucket
    for start, stop in _runs(later, STEP):
        counts = later[start:stop]
        left = np.repeat(np.arange(start, stop), counts)
        right = left + 1 + np.arange(len(left)) - np.repeat(np.cumsum(counts) - counts, counts)
        yield order[left], order[right]


def _runs(sizes: Array, most: int) -> Iterator[tuple[int, int]]:
    """Where runs of texts of about `most` bytes together begin and end."""
    import numpy as np

    starts = np.flatnonzero(np.diff(np.cumsum(sizes + 8, dtype=np.int64) // most, prepend=-1))
    return pairwise([*starts.tolist(), len(sizes)])
