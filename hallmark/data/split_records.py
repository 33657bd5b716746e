"""The records that are split: those that deduplication kept, and frozen ones that it did not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from hallmark.base.files import DEDUPED, MASKED
from hallmark.base.records import scan_records
from hallmark.data.near import compared, normalise, text_of
from hallmark.data.texts import Texts, among, in_order, read_some, row_groups

if TYPE_CHECKING:
    import polars as pl

FEW = 5_000  # records that are Python objects at the same time


def read_columns(frozen: set[str], context: str | None) -> tuple[pl.DataFrame, Texts, set[str]]:
    """The records by id, without their texts, the texts, and which holdout records were restored from the state before
    deduplication.

    New data may contain a duplicate of a frozen record that deduplication keeps instead of it. The holdout takes
    precedence, so the record is restored here from `data/masked.parquet`, and its new duplicate is dropped as a leak.
    So is a holdout that the data names: scores on an official one only compare if it is whole.
    """
    import polars as pl

    wanted = frozen or set(scan_records(MASKED).filter(part="holdout").select("id").collect()["id"])
    missing = wanted.difference(scan_records(DEDUPED).select("id").collect()["id"])
    known: list[pl.DataFrame] = []

    def texts() -> Iterator[pl.Series]:
        names = ("id", "group", "part", "cluster", compared(context, "prompt").alias("text"))
        for batch in read_some(DEDUPED, (part.select(*names) for part in all_records(missing))):
            known.append(batch.select("id", pl.col("group", "part").cast(pl.Categorical), "cluster"))
            yield batch["text"]

    every, text = Texts.kept(texts())
    rows = pl.concat(known).with_columns(pl.col("cluster").rank("dense"), text=text) if known else pl.DataFrame()
    known.clear()
    return rows.sort("id"), every, missing.intersection(rows["id"])


def columns() -> dict[str, pl.Expr]:
    import polars as pl

    return {
        "text": normalise(text_of("prompt")),
        "content": text_of("prompt", "completion"),
        "target": pl.col("completion").list.last().struct.field("content"),
        "tools": pl.col("tools"),
    }


def all_records(restored: set[str]) -> list[pl.LazyFrame]:
    """The records that deduplication kept, by row groups, and those with the ids in `restored`."""
    import polars as pl

    records = row_groups(DEDUPED)
    if restored:
        extra = scan_records(MASKED).filter(pl.col("id").is_in(list(restored))).with_columns(cluster="id")
        records.append(extra.select(records[0].collect_schema().names()))
    return records


def records_of(ids: pl.DataFrame, restored: set[str]) -> Iterator[pl.DataFrame]:
    """The records with these ids, all columns but `source` and `part`, sorted by id: one row group after the other."""
    return in_order(DEDUPED, [part.drop("source", "part") for part in all_records(restored)], ids)


def those_of(ids: pl.DataFrame, restored: set[str]) -> Iterator[pl.LazyFrame]:
    """The records with these ids, which are sorted, in no order."""
    return (among(part.collect(), ids["id"]).drop("at").lazy() for part in all_records(restored))


def in_batches(ids: pl.DataFrame, restored: set[str]) -> Iterator[list[dict[str, Any]]]:
    """The records with these ids, in no order, some at a time."""
    yield from (part.rows(named=True) for part in read_some(DEDUPED, those_of(ids, restored), FEW))


def contents(ids: pl.DataFrame, restored: set[str]) -> Iterator[pl.DataFrame]:
    """What the lock compares of the records with these ids."""
    records = (part.select("id", "group", "source", **columns()) for part in those_of(ids, restored))
    return read_some(DEDUPED, records)
