"""Records and texts that don't fit in memory: read some at a time, written in parts, compared by hashes."""

from __future__ import annotations

import os
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from itertools import accumulate, islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from hallmark.base.errors import UnwritableError
from hallmark.base.records import parquet, scan_records
from hallmark.data.shingles import bare

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    Array = np.ndarray[Any, Any]

BATCH, ROWS = 16_000_000, 50_000  # bytes and records that are read at once, at most
PART = 100_000_000  # bytes of records that are put in order at once; for each such part, the whole file is read
GROUP = 100_000  # records in a row group of a Parquet file, at most
BREAK = "\n"  # between what is asked and its passages: no normalised text has one


def rows_in(path: Path, size: int) -> int:
    """How many records of a file have about that number of bytes."""
    from pyarrow.parquet import read_metadata

    file = read_metadata(path)
    whole = sum(file.row_group(number).total_byte_size for number in range(file.num_row_groups))
    return max(1, size * file.num_rows // max(whole, 1))


def row_groups(path: Path) -> list[pl.LazyFrame]:
    """The records of a file by its row groups, which are to be read one after the other: Polars reads many ahead."""
    from pyarrow.parquet import read_metadata

    records, file = scan_records(path), read_metadata(path)
    starts = accumulate((file.row_group(number).num_rows for number in range(file.num_row_groups)), initial=0)
    return [records.slice(start, end - start) for start, end in pairwise(starts)] or [records]


def read_some(path: Path, records: Iterable[pl.LazyFrame], rows: int = ROWS) -> Iterator[pl.DataFrame]:
    """Records that are read from a file, some at a time."""
    rows = min(rows, rows_in(path, BATCH))
    for part in (group.collect() for group in records):
        yield from (part[at : at + rows] for at in range(0, len(part), rows))


def among(frame: pl.DataFrame, ids: pl.Series) -> pl.DataFrame:
    """The records whose ids are among these, which are sorted, with the place of each: `at`."""
    import polars as pl

    frame = frame.with_columns(at=ids.search_sorted(frame["id"])).filter(pl.col("at") < len(ids))
    return frame.filter(ids.gather(frame["at"]) == frame["id"])


def in_order(path: Path, records: Iterable[pl.LazyFrame], chosen: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The records, read from a file, with the ids in `chosen`, which are sorted, and its other columns: by row groups.

    The file is read once. What is chosen goes to the disk by the part of the order that it belongs to, also if there is
    but one: in memory, each selection of Polars keeps all texts of what it was selected from.
    """
    import polars as pl

    rows, (ids, *others), oldest = rows_in(path, PART), chosen.get_columns(), pl.CompatLevel.oldest()
    rows = rows // GROUP * GROUP or rows
    parts: defaultdict[int, list[tuple[int, int]]] = defaultdict(list, {0: []})  # size and start of each piece
    with tempfile.TemporaryFile() as file:
        for group in records:
            found = among(group.collect(), ids).with_columns(run=pl.col("at") // rows)
            for (number,), piece in found.partition_by("run", include_key=False, as_dict=True).items():
                content = piece.write_ipc_stream(None, compression="lz4", compat_level=oldest).getbuffer()
                parts[number].append((len(content), file.tell()))
                write_temporary(file, content)
        empty = found.drop("run").clear()
        del found
        for _, places in sorted(parts.items()):
            part = pl.concat([empty, *(pl.read_ipc_stream(os.pread(file.fileno(), *place)) for place in places)])
            order = part["at"].arg_sort()
            for start in range(0, len(part) or 1, GROUP):
                here = part[order[start : start + GROUP]]
                yield here.drop("at").with_columns(column.gather(here["at"]) for column in others)
            del part, here  # before the next one is read


def write_frames(path: Path, frames: Iterable[pl.DataFrame]) -> None:
    """Write frames of one schema to Parquet, each a row group, of which one at a time is in memory.

    The same frames make the same bytes. Polars can write a frame only as a whole, which is done if there is but one.
    """
    import polars as pl
    from pyarrow.parquet import ParquetWriter

    every = iter(frames)
    held = [frame for frame in (next(every), next(every, None)) if frame is not None]
    if len(held) == 1:
        path.write_bytes(parquet(held[0]))
        return
    oldest, whole = pl.CompatLevel.oldest(), {"compression": "zstd", "write_statistics": False}
    with ParquetWriter(path, held[0].clear().to_arrow(compat_level=oldest).schema, **whole) as writer:
        while held:  # one, while the next is read
            frame = held.pop(0).rechunk()  # chunks depend on threads, and the ends of pages on chunks
            writer.write_table(frame.to_arrow(compat_level=oldest), row_group_size=len(frame))
            del frame
            held += [] if held else islice(every, 1)


def write_temporary(file: Any, content: bytes | memoryview) -> None:
    """Write to a temporary file without a name: on a full disk, the error names the folder."""
    try:
        file.write(content)
        file.flush()
    except OSError as error:
        raise UnwritableError(error.errno, error.strerror, tempfile.gettempdir()) from error


def text_hashes(texts: pl.Series, form: Callable[[str], str] = str) -> Array:
    """64 bits of a hash of each text, in a form in which equal ones are equal.

    Of ten million different ones, two agree by chance once in 370,000 times.
    """
    import numpy as np

    different = texts.unique().sort()  # as Python objects, texts that are all the same can take a gigabyte
    forms = (form(text).encode("utf-8", "surrogatepass") for text in different.to_list())
    hashes = np.frombuffer(b"".join(blake2b(text, digest_size=8).digest() for text in forms), np.uint64)
    return hashes[(texts.rank("dense") - 1).to_numpy()]


class Texts:
    """Different texts without punctuation, numbered in the order in which they came, in a file without a name.

    In memory are 20 bytes of each: where it starts, its size in bytes, and a hash. `parted`: some have passages, after a `BREAK`.
    """

    def __init__(
        self, file: Any, starts: Array, sizes: Array, hashes: Array, *, parted: bool, cut: bool = False
    ) -> None:
        self._file, self._starts, self.sizes, self._hashes, self.parted = file, starts, sizes, hashes, parted
        self._cut = cut

    @classmethod
    def kept(cls, batches: Iterable[pl.Series]) -> tuple[Self, Array]:
        """The texts in the batches, and the number of each; two are different if they are without losing punctuation."""
        import numpy as np

        file: Any = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the texts)
        hashes, sizes, parted = [np.empty(0, np.uint64)], [np.empty(0, np.int32)], False
        for batch in batches:
            hashes.append(text_hashes(batch))
            plain = bare(batch)
            sizes.append(plain.str.len_bytes().to_numpy().astype(np.int32))
            write_temporary(file, "".join(plain.to_list()).encode())
            parted = parted or bool(plain.str.contains(BREAK, literal=True).any())
        every, keys = np.concatenate(sizes), np.concatenate(hashes)
        hashes.clear()
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        new = np.concatenate((keys[:1] == keys[:1], keys[1:] != keys[:-1]))
        first, number = order[new], np.empty(len(keys), np.int32)  # where each text comes first, by hash
        number[order] = np.cumsum(new, dtype=np.int32) - 1
        keys, order = keys[new], np.argsort(first)
        place = np.empty(len(order), np.int32)
        place[order] = np.arange(len(order))
        starts = np.cumsum(every, dtype=np.int64) - every
        return cls(file, starts[first[order]], every[first[order]], keys[order], parted=parted), place[number]

    def only(self, numbers: Array) -> tuple[Self, Array]:
        """Those of the texts that have these numbers, and their new numbers."""
        import numpy as np

        used, place = np.unique(numbers, return_inverse=True)
        if len(used) == len(self):
            return self, numbers
        starts, sizes, hashes = self._starts[used], self.sizes[used], self._hashes[used]
        return type(self)(self._file, starts, sizes, hashes, parted=self.parted), place

    def asked(self) -> Self:
        """The same texts, read without their passages."""
        return type(self)(self._file, self._starts, self.sizes, self._hashes, parted=False, cut=True)

    def __len__(self) -> int:
        return len(self._starts)

    def sample(self, count: int) -> Array:
        """The numbers of that many texts, which depend on the texts alone; of all, if there are no more."""
        import numpy as np

        if len(self) <= count:
            return np.arange(len(self))
        return np.sort(np.argpartition(self._hashes, count)[:count])

    def read(self, numbers: Array | slice) -> list[str]:
        file = self._file.fileno()
        places = zip(self.sizes[numbers].tolist(), self._starts[numbers].tolist(), strict=True)
        texts = [os.pread(file, size, start).decode() for size, start in places]
        return [text.partition(BREAK)[0] for text in texts] if self._cut else texts
