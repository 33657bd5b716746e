"""The records that are deduplicated and split: their texts are read some at a time, they themselves when they are written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallmark.base.files import DEDUPED, MASKED
from hallmark.base.records import parquet, scan_records
from hallmark.corpus.texts import Texts, compared, normalise, own_system, text_of

if TYPE_CHECKING:
    import polars as pl

ROWS = 10_000  # records that are Python objects at the same time
GROUP = 100_000  # records in a row group of a Parquet file, at most


def row_groups(path: Path) -> list[pl.LazyFrame]:
    """The records of a file by its row groups, which are to be read one after the other: Polars reads many ahead."""
    from pyarrow.parquet import read_metadata

    records, file = scan_records(path), read_metadata(path)
    starts = accumulate((file.row_group(number).num_rows for number in range(file.num_row_groups)), initial=0)
    return [records.slice(start, end - start) for start, end in pairwise(starts)] or [records]


def read_some(records: Iterable[pl.LazyFrame], *columns: Any) -> Iterator[pl.DataFrame]:
    """Columns of records, some records at a time."""
    for group in records:
        yield from group.select(columns).collect().iter_slices(ROWS)


def write_sorted(path: Path, records: pl.DataFrame, *columns: pl.Series) -> None:
    """Write records by id, and columns that are in that order. Many are sorted a row group at a time, which takes less memory.

    The same records make the same bytes.
    """
    import polars as pl
    from pyarrow.parquet import ParquetWriter

    order, oldest = records["id"].arg_sort(), pl.CompatLevel.oldest()

    def group(start: int) -> pl.DataFrame:
        here = slice(start, start + GROUP)
        return records[order[here]].with_columns(column[here] for column in columns).rechunk()

    if len(records) <= GROUP:
        path.write_bytes(parquet(group(0)))
        return
    schema = group(0).clear().to_arrow(compat_level=oldest).schema
    with ParquetWriter(path, schema, compression="zstd", write_statistics=False) as writer:
        for start in range(0, len(records), GROUP):
            writer.write_table(group(start).to_arrow(compat_level=oldest), row_group_size=GROUP)


class Records:
    """The records that are split: those that deduplication kept, and the `restored`, frozen ones that it did not.

    New data may contain a duplicate of a frozen record that deduplication keeps instead of it. The holdout takes
    precedence, so the record is restored from `data/masked.parquet`, and its new duplicate is dropped as a leak. So is a
    holdout that the records name: scores on an official one only compare if it is whole.
    """

    def __init__(self, frozen: set[str], system_prompt: str) -> None:
        import polars as pl

        wanted = frozen or set(scan_records(MASKED).filter(part="holdout").select("id").collect()["id"])
        missing = wanted.difference(scan_records(DEDUPED).select("id").collect()["id"])
        self._system_prompt = system_prompt
        self._groups = row_groups(DEDUPED)
        self._every = scan_records(DEDUPED)
        self.restored: set[str] = set()
        if missing:
            extra = scan_records(MASKED).filter(pl.col("id").is_in(list(missing))).with_columns(cluster="id")
            extra = extra.select(self._every.collect_schema().names())
            self.restored = set(extra.select("id").collect()["id"])
            self._groups.append(extra)
            self._every = pl.concat([self._every, extra])

    def read(self) -> tuple[pl.DataFrame, Texts]:
        """The records by id, without their texts, and the texts."""
        import polars as pl

        known: list[pl.DataFrame] = []

        def texts() -> Iterator[pl.Series]:
            columns = ("id", "group", "part", "cluster", compared(self._system_prompt, "prompt").alias("text"))
            for batch in read_some(self._groups, *columns):
                known.append(batch.select("id", pl.col("group", "part").cast(pl.Categorical), "cluster"))
                yield batch["text"]

        every, text = Texts.kept(texts())
        rows = pl.concat(known).with_columns(pl.col("cluster").rank("dense"), text=text)
        known.clear()
        return rows.sort("id"), every

    def those(self, ids: pl.Series) -> pl.DataFrame:
        """The records with these ids, in no order."""
        import polars as pl

        chosen = self._every.filter(pl.col("id").is_in(ids.implode())).drop("source", "part")
        return chosen.collect()

    def batches(self, ids: pl.Series) -> Iterator[list[dict[str, Any]]]:
        """The same, some at a time."""
        return (part.rows(named=True) for part in self.those(ids).iter_slices(ROWS))

    def contents(self, ids: Iterable[str]) -> Iterator[tuple[str, str, str, str]]:
        """Of each record with one of these ids, what the lock compares: id, group, source, and all texts.

        The task's system prompt is no part of them: it may change.
        """
        import polars as pl

        content = pl.concat_str(text_of("prompt", "completion"), own_system(self._system_prompt))
        chosen = pl.col("id").is_in(list(ids))
        groups = (group.filter(chosen) for group in self._groups)
        for batch in read_some(groups, "id", "group", "source", content.alias("content")):
            yield from batch.iter_rows()

    def judged(self, ids: pl.Series) -> pl.DataFrame:
        """What the search for wrong labels reads of the records with these ids."""
        import polars as pl

        target = pl.col("completion").list.last().struct.field("content").alias("target")
        return self.those(ids).select("id", normalise(text_of("prompt")).alias("text"), target, "tools")
