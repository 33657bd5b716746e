"""Candidates for near duplicates: pairs of texts that share a band of their MinHash signatures.

Method: Broder, "On the resemblance and containment of documents" (1997); banding as in Leskovec, Rajaraman, Ullman,
"Mining of Massive Datasets", chapter 3; two bits of each signature value as in Li and König, "b-bit minwise hashing".
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallmark.base.errors import HallmarkError
from hallmark.base.progress import Progress
from hallmark.data.shingles import CHUNK, MIX, all_shingles, chunk_starts, lengths_of

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    Array = np.ndarray[Any, Any]

SIGNATURE_SEED = 1
MISSES = (1e-6, 0.02)  # share of the pairs exactly at the threshold that may be missed: at best, and with many texts
EASY, MOST = 30_000_000, 200_000_000  # candidate pairs: a cheap number to check, and the most allowed
SAMPLE = 25_000  # texts from which the number of candidates is estimated
BATCH = 50_000  # candidates that are verified first; later batches are larger
STEP = 1 << 16  # pairs whose signatures are compared at once: they fit in the processor's cache
RARE = 3e-5  # share of the pairs at the threshold that a comparison of signatures may rule out, if the bands miss few


def signatures_of(texts: pl.Series, size: int, permutations: int, progress: Progress) -> Array:
    """MinHash signatures, (texts, permutations) of uint32."""
    import numpy as np
    from rensa import RMinHash

    signatures = np.empty((len(texts), permutations), np.uint32)
    for start, stop in pairwise(chunk_starts(lengths_of(texts))):
        hashes, offsets = all_shingles(texts[start:stop].to_list(), size)
        matrix = RMinHash.digest_matrix_from_flat_token_hashes(
            hashes, offsets.astype(np.uint64), permutations, SIGNATURE_SEED
        )
        signatures[start:stop] = matrix.to_rows()
        progress.to(stop)
    return signatures


def missed(jaccard: float, rows: int, permutations: int) -> float:
    """The probability that two texts of this similarity share no band."""
    return float((1 - jaccard**rows) ** _bands(rows, permutations))


def _bands(rows: int, permutations: int) -> int:
    """How many bands a signature has; with zero rows, one band that all texts share."""
    return permutations // rows if rows else 1


def rows_per_band(signatures: Array, threshold: float, file: Path) -> int:
    """How many rows of the signature make a band: few rows find nearly every pair, many rows give fewer false candidates.

    Returns the fewest rows that leave a cheap number of candidates (EASY), estimated from some of the texts. If that would
    miss 0.02 of the pairs at the threshold, up to MOST candidates are allowed; if it would miss 0.02 of the pairs
    halfway between the threshold and equality, it is an error. Returns 0, which makes every pair a candidate, if that is
    no more work.
    """
    count, permutations = signatures.shape
    fewest, most, last = (
        max((r for r in range(1, permutations) if missed(at, r, permutations) <= miss), default=1)
        for at, miss in ((threshold, MISSES[0]), (threshold, MISSES[1]), ((1 + threshold) / 2, MISSES[1]))
    )
    sample = signatures[:: max(1, count // SAMPLE)]
    for rows in range(fewest, max(most, last) + 1):
        bands = permutations // rows
        collisions = sum(_collisions(_band_keys(sample, rows, band)) for band in range(bands))
        expected = round(collisions * (count / max(len(sample), 1)) ** 2)
        if count * (count - 1) // 2 <= min(expected, MOST):
            return 0
        if expected <= (EASY if rows < most else MOST):
            return rows
    raise too_many(expected, file)


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


class Bands:
    """What the search keeps of the signatures: a key for each band, and four bits of each value."""

    def __init__(self, signatures: Array, rows: int, threshold: float) -> None:
        import numpy as np
        from scipy.stats import binom

        self.count, self.permutations = signatures.shape
        self.compared = 0  # pairs so far
        rare = max(RARE, missed(threshold, rows, self.permutations) / 100)
        self.allowed = {  # how many values may differ in their first bits
            bits: float(binom.isf(rare, self.permutations, (1 - threshold) * (1 - 0.5**bits))) for bits in (2, 4)
        }
        self.keys = np.empty((self.count, _bands(rows, self.permutations)), np.uint32)
        for band in range(self.keys.shape[1]):
            self.keys[:, band] = _band_keys(signatures, rows, band) >> np.uint64(32)
        # for each 64 values, four bits of each: one number per text for each bit
        self.words = [[np.empty(self.count, np.uint64) for _ in range(4)] for _ in range(0, self.permutations, 64)]
        for start in range(0, self.count, STEP):  # in parts, since the signatures take most of the memory
            mixed = signatures[start : start + STEP] * np.uint32(MIX & 0xFFFFFFFF)
            for at, word in enumerate(self.words):
                for bit, numbers in enumerate(word):
                    numbers[start : start + STEP] = _word(mixed[:, 64 * at : 64 * at + 64] >> np.uint32(31 - bit))

    def candidates(self, file: Path, progress: Progress) -> Iterator[tuple[Array, Array]]:
        """Pairs of rows that share a band and that the signatures don't rule out, each pair once: in batches, sorted."""
        import numpy as np

        held: list[Array] = []
        size, total, batch = 0, 0, BATCH
        for band in range(self.keys.shape[1]):
            for left, right in _bucket_pairs(self.keys[:, band]):
                for start in range(0, len(left), STEP):
                    held.append(self._likely(left[start : start + STEP], right[start : start + STEP], band))
                    size += len(held[-1])
                    if size >= batch:
                        yield self._sorted(held)
                        held, size, total, batch = [], 0, total + size, min(4 * batch, CHUNK)
                        if total > EASY:
                            raise too_many(total, file)
                    self.compared += min(STEP, len(left) - start)
                    if self.compared > 1.5 * MOST:  # the estimate was too low
                        raise too_many(self.compared, file)
                    progress.to(band, pairs_compared=f"{self.compared:,}")
            progress.to(band + 1)
        if total + size > EASY:
            raise too_many(total + size, file)
        yield self._sorted([np.empty(0, np.int64), *held])

    def _likely(self, left: Array, right: Array, band: int) -> Array:
        """The pairs, as numbers, that are similar enough by two and by four bits of each value and share no earlier band."""
        import numpy as np

        for bits, allowed in self.allowed.items():
            near = self._differing(left, right, bits) <= allowed
            left, right = left[near], right[near]
        if band:
            seen = (self.keys[left, :band] == self.keys[right, :band]).any(axis=1)
            left, right = left[~seen], right[~seen]
        return np.asarray(left * self.count + right)

    def _differing(self, left: Array, right: Array, bits: int) -> Array:
        """How many values of the two signatures of each pair differ in their first bits."""
        import numpy as np

        count = np.zeros(len(left), np.uint16)
        for word in self.words:
            differ = word[0][left] ^ word[0][right]
            for bit in word[1:bits]:
                differ |= bit[left] ^ bit[right]
            count += np.bitwise_count(differ)
        return count

    def _sorted(self, held: list[Array]) -> tuple[Array, Array]:
        import numpy as np

        return np.divmod(np.sort(np.concatenate(held)), max(self.count, 1))


def _word(bits: Array) -> Array:
    """The lowest bits of up to 64 columns as one number per row."""
    import numpy as np

    packed = np.zeros((len(bits), 8), np.uint8)
    part = np.packbits((bits & 1).astype(np.uint8), axis=1)
    packed[:, : part.shape[1]] = part
    return packed.view(np.uint64)[:, 0].copy()


def too_many(count: int, file: Path) -> HallmarkError:
    """The error for more pairs than can be compared."""
    return HallmarkError(
        f"about {count:,} pairs of texts look alike, too many to compare: they seem to come from one template",
        file=file,
        remedy="raise dedupe.threshold or dedupe.permutations, or map data.input to the columns that differ from "
        "record to record",
    )
