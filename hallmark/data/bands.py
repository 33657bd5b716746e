"""Candidates for near duplicates: pairs of texts that share a band of their MinHash signatures.

Method: Broder, "On the resemblance and containment of documents" (1997); banding as in Leskovec, Rajaraman, Ullman,
"Mining of Massive Datasets", chapter 3; two bits of each signature value as in Li and König, "b-bit minwise hashing".
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallmark.base.errors import HallmarkError
from hallmark.base.progress import Progress
from hallmark.data.shingles import CHUNK, HASH_BITS, MIX, all_shingles, chunk_starts, mixed
from hallmark.data.texts import Texts, write_temporary

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

MISSES = (1e-6, 0.02)  # share of the pairs exactly at the threshold that may be missed: at best, and with many texts
EASY, MOST = 30_000_000, 200_000_000  # candidate pairs: a cheap number to check, and the most allowed
SAMPLE = 25_000  # texts from which the number of candidates is estimated
BATCH = 50_000  # candidates that are verified first; later batches are larger
STEP = 1 << 15  # pairs whose signatures are compared at once, or shingles: they fit in the processor's cache
RARE = 3e-5  # share of the pairs at the threshold that a comparison of signatures may rule out, if the bands miss few


def signatures_of(texts: Texts, numbers: Array, size: int, permutations: int) -> Array:
    """MinHash signatures, (permutations, texts) of uint32: the smallest of a text's shingles in each of many random orders.

    An order is that of the hashes times an odd number, modulo 2^32.
    """
    import numpy as np

    factors = mixed(np.arange(1, permutations + 1, dtype=np.uint64)).astype(np.uint32) | np.uint32(1)
    signatures = np.empty((permutations, len(numbers)), np.uint32)
    for begin, end in pairwise(chunk_starts(texts.sizes[numbers])):
        hashes, offsets = all_shingles(texts.read(numbers[begin:end]), size)
        shingles = (hashes >> np.uint64(HASH_BITS - 32)).astype(np.uint32)
        for start, stop in pairwise(chunk_starts(np.diff(offsets), STEP)):
            here, first = shingles[offsets[start] : offsets[stop]], offsets[start:stop] - offsets[start]
            order = np.empty_like(here)
            for row, factor in zip(signatures, factors, strict=True):
                np.multiply(here, factor, out=order)
                np.minimum.reduceat(order, first, out=row[begin + start : begin + stop])
    return signatures


def missed(jaccard: float, rows: int, permutations: int) -> float:
    """The probability that two texts of this similarity share no band."""
    return float((1 - jaccard**rows) ** _bands(rows, permutations))


def _bands(rows: int, permutations: int) -> int:
    """How many bands a signature has; with zero rows, one band that all texts share."""
    return permutations // rows if rows else 1


def rows_per_band(sample: Array, count: int, threshold: float, file: Path) -> int:
    """How many rows of the signature make a band: few rows find nearly every pair, many rows give fewer false candidates.

    Returns the fewest rows that leave a cheap number of candidates (EASY), estimated from the signatures of a `sample` of
    the `count` texts. If that would miss 0.02 of the pairs at the threshold, up to MOST candidates are allowed; if it
    would miss 0.02 of the pairs halfway between the threshold and equality, it is an error. Returns 0, which makes every
    pair a candidate, if that is no more work.
    """
    import numpy as np

    permutations, taken = sample.shape
    fewest, most, last = (
        max((r for r in range(1, permutations) if missed(at, r, permutations) <= miss), default=1)
        for at, miss in ((threshold, MISSES[0]), (threshold, MISSES[1]), ((1 + threshold) / 2, MISSES[1]))
    )
    for rows in range(fewest, max(most, last) + 1):
        bands = permutations // rows
        alike = (np.unique(_band_keys(sample, rows, band), return_counts=True)[1] for band in range(bands))
        collisions = sum(int((counts * (counts - 1) // 2).sum()) for counts in alike)
        expected = round(collisions * (count / max(taken, 1)) ** 2)
        if count * (count - 1) // 2 <= min(expected, MOST):
            return 0
        if expected <= (EASY if rows < most else MOST):
            return rows
    raise too_many(expected, file)


def _band_keys(signatures: Array, rows: int, band: int) -> Array:
    """One number per text: a hash of its signature's part in that band."""
    import numpy as np

    keys = np.zeros(signatures.shape[1], np.uint64)
    for row in signatures[band * rows : (band + 1) * rows]:
        keys = (keys ^ row) * np.uint64(MIX)
        keys ^= keys >> np.uint64(32)
    return keys


def _bucket_pairs(keys: Array) -> Iterator[tuple[Array, Array]]:
    """The pairs of rows with the same key, the smaller row first, in chunks."""
    import numpy as np

    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    here, lag, held, waiting = np.flatnonzero(ordered[:-1] == ordered[1:]), 1, 0, []
    while len(here):
        waiting.append((order[here], order[here + lag]))  # a stable sort puts the smaller row first
        held += len(here)
        lag += 1
        here = here[: np.searchsorted(here, len(keys) - lag)]
        here = here[ordered[here] == ordered[here + lag]]
        if held > CHUNK or not len(here):
            yield np.concatenate([left for left, _ in waiting]), np.concatenate([right for _, right in waiting])
            held, waiting = 0, []


class Bands:
    """What the search keeps of the signatures: a key for each band, in a file, and four bits of each value."""

    def __init__(self, count: int, permutations: int, rows: int, threshold: float) -> None:
        import numpy as np
        from scipy.special import bdtrc

        self.count, self.permutations, self.rows = count, permutations, rows
        self.bands = _bands(rows, permutations)
        self.compared = 0  # pairs so far
        rare = max(RARE, missed(threshold, rows, permutations) / 100)
        values = np.arange(permutations + 1)
        self.allowed = {  # how many values may differ in their first bits
            bits: int(np.argmax(bdtrc(values, permutations, (1 - threshold) * (1 - 0.5**bits)) <= rare))
            for bits in (2, 4)
        }
        self._keys: Any = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the bands)
        # for each 64 values, four bits of each: one number per text for each bit
        self.words = [[np.empty(count, np.uint64) for _ in range(4)] for _ in range(0, permutations, 64)]

    def fill(self, texts: Texts, sample: Array, size: int, progress: Progress) -> None:
        """Read the texts, some at a time. If the `sample` has the signatures of all, it is read instead."""
        import numpy as np

        if sample.shape[1] == self.count:
            self._add(0, sample)
            return
        for start, stop in pairwise(chunk_starts(texts.sizes)):
            self._add(start, signatures_of(texts, np.arange(start, stop), size, self.permutations))
            progress.to(stop)

    def _add(self, start: int, signatures: Array) -> None:
        """Note the texts from number `start` on."""
        import numpy as np

        for band in range(self.bands):
            self._keys.seek(4 * (band * self.count + start))
            keys = (_band_keys(signatures, self.rows, band) >> np.uint64(32)).astype(np.uint32)
            write_temporary(self._keys, keys.tobytes())
        for first in range(0, signatures.shape[1], STEP):
            spread = signatures[:, first : first + STEP] * np.uint32(MIX & 0xFFFFFFFF)
            here = slice(start + first, start + first + spread.shape[1])
            for at, word in enumerate(self.words):
                for bit, numbers in enumerate(word):
                    numbers[here] = _word(spread[64 * at : 64 * at + 64] >> np.uint32(31 - bit))

    def candidates(self, file: Path, progress: Progress) -> Iterator[tuple[Array, Array]]:
        """Pairs of rows that share a band and that the signatures don't rule out, each pair once: in batches, sorted."""
        import numpy as np

        known = np.empty(0, np.int64)  # of earlier bands, sorted
        waiting, size, total, batch = [known], 0, 0, BATCH
        for band in range(self.bands):
            here = [known[:0]]
            self._keys.seek(4 * band * self.count)
            for left, right in _bucket_pairs(np.frombuffer(self._keys.read(4 * self.count), np.uint32)):
                for start in range(0, len(left), STEP):
                    here.append(_without(self._likely(left[start : start + STEP], right[start : start + STEP]), known))
                    waiting.append(here[-1])
                    size += len(here[-1])
                    total += len(here[-1])
                    if size >= batch:
                        yield self._sorted(waiting)
                        waiting, size, batch = [], 0, min(4 * batch, CHUNK)
                    self.compared += min(STEP, len(left) - start)
                    if self.compared > 1.5 * MOST or total > EASY:  # the estimate was too low
                        raise too_many(self.compared, file)
                    progress.to(band, pairs_compared=f"{self.compared:,}")
            known = np.concatenate((known, *here))
            known.sort()
            progress.to(band + 1)
        yield self._sorted([known[:0], *waiting])

    def _likely(self, left: Array, right: Array) -> Array:
        """The pairs, as numbers, that are similar enough by two and by four bits of each value."""
        import numpy as np

        for bits, allowed in self.allowed.items():
            near = self._differing(left, right, bits) <= allowed
            left, right = left[near], right[near]
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


def _without(numbers: Array, known: Array) -> Array:
    """The numbers that are not among the `known`, which are sorted."""
    if not len(known):
        return numbers
    return numbers[known[known.searchsorted(numbers).clip(max=len(known) - 1)] != numbers]


def _word(bits: Array) -> Array:
    """The lowest bits of up to 64 rows as one number per column."""
    import numpy as np

    packed = np.zeros((bits.shape[1], 8), np.uint8)
    part = np.packbits((bits & 1).astype(np.uint8), axis=0)
    packed[:, : len(part)] = part.T
    return packed.view(np.uint64)[:, 0].copy()


def too_many(count: int, file: Path) -> HallmarkError:
    """The error for more pairs than can be compared."""
    return HallmarkError(
        f"about {count:,} pairs of texts look alike, too many to compare: they seem to come from one template",
        file=file,
        remedy="raise dedupe.threshold or dedupe.permutations, or map data.input to the columns that differ from "
        "record to record",
    )
