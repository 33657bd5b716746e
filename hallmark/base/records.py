"""Records: the one Parquet schema that every stage after `mask` reads and writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallmark.base.errors import HallmarkError
from hallmark.base.files import write_all
from hallmark.base.reading import check_regular

if TYPE_CHECKING:
    import polars

MADE = "run `dvc repro`, which makes it"


def schema() -> dict[str, Any]:
    """The columns of a record from `mask` on, in order: TRL's conversational prompt/completion format plus ids."""
    import polars as pl

    messages = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))
    return {
        "id": pl.String,
        "group": pl.String,
        "prompt": messages,
        "completion": messages,
        "context": pl.String,
        "tools": pl.String,  # JSON: each record may have different tools
        "rejected": messages,
        "tags": pl.List(pl.String),
    }


def read_records(path: Path) -> polars.DataFrame:
    """Read a Parquet file of records. What is in it is trusted: a stage wrote it, and DVC knows its hash."""
    return scan_records(path).collect()


def scan_records(path: Path) -> polars.LazyFrame:
    """Read a Parquet file of records lazily: only the columns in use, and only when they are needed."""
    import polars as pl

    check_regular(path, MADE)
    return pl.scan_parquet(path, glob=False)


@contextmanager
def whole_parquet(path: Path, remedy: str = MADE) -> Iterator[None]:
    """A HallmarkError if `path`, which is read in the block, is damaged."""
    import polars as pl

    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise HallmarkError(f"not Parquet ({type(error).__name__})", file=path, remedy=remedy) from None


def check_filled(rows: polars.DataFrame, path: Path) -> None:
    """A HallmarkError if a value is missing in rows that were read from records, or an id is there twice."""
    if rows.is_empty():
        raise HallmarkError("has no records", file=path, remedy=MADE)
    for column in rows.get_columns():
        if column.null_count():
            raise HallmarkError("values are missing", file=path, field=column.name, remedy=MADE)
    if "id" in rows.columns and rows["id"].is_duplicated().any():
        raise HallmarkError("two records have the same id", file=path, field="id", remedy=MADE)


def write_records(path: Path, records: polars.DataFrame) -> None:
    """Write records to Parquet, atomically; the same records make the same bytes."""
    write_all({path: parquet(records)})


def parquet(records: polars.DataFrame) -> memoryview:
    """Records as the bytes of a Parquet file. If Polars itself writes to a full disk, it may only say "transport error"."""
    buffer = BytesIO()
    # Rechunk first: Polars ends pages where its chunks end, which depends on threads and on how the frame was built.
    records.rechunk().write_parquet(buffer, compression="zstd", statistics=False, row_group_size=100_000)
    return buffer.getbuffer()


def read_parquet(path: Path, remedy: str) -> polars.DataFrame:
    """The whole of a Parquet file; a HallmarkError if it is none."""
    import polars as pl

    check_regular(path, remedy)
    with whole_parquet(path, remedy):
        return pl.read_parquet(path, glob=False)
