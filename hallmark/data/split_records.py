"""The records that are split: those that deduplication kept, and frozen ones that it did not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hallmark.base.errors import HallmarkError
from hallmark.base.files import DEDUPED, MASKED
from hallmark.base.records import check_filled, scan_records, whole_parquet
from hallmark.data.near import normalise, text_of

if TYPE_CHECKING:
    import polars as pl


def read_columns(frozen: set[str]) -> tuple[pl.DataFrame, set[str]]:
    """The records by id, and which holdout records were restored from the state before deduplication.

    New data may contain a duplicate of a frozen record that deduplication keeps instead of it. The holdout takes
    precedence, so the record is restored here from `data/masked.parquet`, and its new duplicate is dropped as a leak.
    So is a holdout that the data names: scores on an official one only compare if it is whole.
    """
    import polars as pl

    columns = {
        "text": normalise(text_of("prompt")),
        "content": text_of("prompt", "completion"),
        "target": pl.col("completion").list.last().struct.field("content"),
        "tools": pl.col("tools"),
    }
    for path in (MASKED, DEDUPED):
        for column in ("source", "part"):
            if column not in scan_records(path).collect_schema():
                raise HallmarkError(
                    f"has no column '{column}'", file=path, remedy="run `dvc repro`, which makes it again"
                )
    with whole_parquet(DEDUPED):
        rows = scan_records(DEDUPED).select("id", "group", "source", "part", "cluster", **columns).collect()
    with whole_parquet(MASKED):
        wanted = frozen or set(scan_records(MASKED).filter(part="holdout").select("id").collect()["id"])
    missing = wanted - set(rows["id"].to_list())
    if missing:
        restored = scan_records(MASKED).filter(pl.col("id").is_in(list(missing)))
        with whole_parquet(MASKED):
            rows = pl.concat(
                [rows, restored.select("id", "group", "source", "part", cluster="id", **columns).collect()]
            )
    check_filled(rows.drop("part", "tools"), DEDUPED)
    return rows.sort("id"), missing & set(rows["id"].to_list())


def full_records(part: pl.DataFrame, restored: set[str]) -> pl.DataFrame:
    """The records with the ids in `part`, all columns but `source` and `part`, sorted by id."""
    import polars as pl

    records = [scan_records(DEDUPED)]
    if restored:
        extra = scan_records(MASKED).filter(pl.col("id").is_in(list(restored))).with_columns(cluster="id")
        records.append(extra.select(records[0].collect_schema().names()))
    chosen = pl.concat(records).join(part.lazy().select("id"), on="id", how="semi").drop("source", "part")
    with whole_parquet(DEDUPED):
        return chosen.sort("id").collect()
