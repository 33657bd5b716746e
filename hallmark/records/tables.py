"""A table as a Polars frame with the place of each row: CSV, TSV, Parquet, Arrow and JSON lines below data/raw."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from hallmark.base.class_labels import KEY, named_columns, named_labels
from hallmark.base.errors import HallmarkError
from hallmark.records.delimited import read_delimited
from hallmark.records.json_files import read_json_lines
from hallmark.records.reading import OWN_SOURCE, SOURCE, ReadFile, Rows, files_at, seen

if TYPE_CHECKING:
    import polars

BATCH = 20_000  # rows that are Python objects at once
MOST_DECLARED, MOST_RATIO = (
    2**26,
    200,
)  # bytes; and how many times as large as the file: real columns take a tenth of it
MOST_EXPANDED = 2**31  # bytes of a column whose values stand in a dictionary
MOST_CELLS = 2 * 10**9
AGAIN = "write the file again, in smaller parts or as JSON lines"


def table(path: str | Path) -> polars.DataFrame:
    """The rows of a CSV, TSV, Parquet, Arrow or JSON lines file below data/raw, of a folder's files, or of a pattern's.

    Each row's place is in the column `source`; a file's own column of that name is `own_source`. Cells of CSV and TSV are text.
    """
    import polars as pl

    root = seen().root
    frames = [_frame(name, file) for name, file in files_at(path, root, READERS)]
    return frames[0] if len(frames) == 1 else pl.concat(frames, how="diagonal_relaxed")


def _frame(name: str, path: Path) -> polars.DataFrame:
    import polars as pl

    read = READERS.get(path.suffix.lower())
    if read is None:
        remedy = "give CSV, TSV, Parquet, Arrow or JSON lines (in Excel, save as CSV UTF-8)"
        raise HallmarkError(f"files ending in '{path.suffix}' can't be read", file=name, remedy=remedy)
    file = ReadFile(name, again=lambda: iter(()), text=read is _delimited)
    try:
        frame, numbers = read(path, file)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise HallmarkError(
            f"can't be read as '{path.suffix}' ({type(error).__name__})", file=name, remedy=AGAIN
        ) from None
    if SOURCE in frame.columns:
        frame = frame.rename({SOURCE: OWN_SOURCE})
    file.columns, file.rows = dict.fromkeys(frame.columns), frame.height
    file.again = partial(_rows_of, frame, numbers)
    seen().begin(file)
    return frame.with_columns((name + ":" + numbers.cast(pl.String)).alias(SOURCE))


def _rows_of(frame: polars.DataFrame, numbers: polars.Series) -> Rows:
    return zip(numbers, frame.iter_rows(named=True), strict=True)


def _delimited(path: Path, file: ReadFile) -> tuple[polars.DataFrame, polars.Series]:
    import polars as pl

    lines = read_delimited(path, file)
    frames, numbers = [], [pl.Series([], dtype=pl.Int64)]
    while batch := list(islice(lines, BATCH)):
        numbers.append(pl.Series([number for number, _ in batch], dtype=pl.Int64))
        frames.append(pl.DataFrame([cells for _, cells in batch], dict.fromkeys(file.columns, pl.String), orient="row"))
    if not frames:
        frames = [pl.DataFrame(schema=dict.fromkeys(file.columns, pl.String))]
    return pl.concat(frames), pl.concat(numbers)


def _json_lines(path: Path, file: ReadFile) -> tuple[polars.DataFrame, polars.Series]:
    import polars as pl

    rows = list(read_json_lines(path, file.name))
    try:
        frame = pl.DataFrame([row for _, row in rows], infer_schema_length=None)
    except (pl.exceptions.PolarsError, TypeError, ValueError, OverflowError):
        remedy = "read it with `json_lines`, row by row"
        raise HallmarkError("a column has values of several types", file=file.name, remedy=remedy) from None
    return frame, pl.Series([number for number, _ in rows], dtype=pl.Int64)


def _parquet(path: Path, file: ReadFile) -> tuple[polars.DataFrame, polars.Series]:
    import polars as pl
    import pyarrow as pa
    from pyarrow import parquet

    try:
        about = parquet.read_metadata(path)
    except (pa.ArrowException, OSError) as error:
        raise HallmarkError(f"not Parquet ({type(error).__name__})", file=file.name, remedy=AGAIN) from None
    declared = sum(about.row_group(number).total_byte_size for number in range(about.num_row_groups))
    if declared > max(MOST_DECLARED, MOST_RATIO * path.stat().st_size):
        problem = f"takes {declared >> 20:,} MiB in memory, over {MOST_RATIO} times what the file has"
        raise HallmarkError(problem, file=file.name, remedy=AGAIN)
    if about.num_rows * about.num_columns > MOST_CELLS:
        raise HallmarkError(f"has {about.num_rows:,} rows of {about.num_columns} columns", file=file.name, remedy=AGAIN)
    frame = pl.read_parquet(path, glob=False, use_pyarrow=False)
    return _finished(frame, (about.metadata or {}).get(KEY.encode()), file)


def _arrow(path: Path, file: ReadFile) -> tuple[polars.DataFrame, polars.Series]:
    """An Arrow file, or a stream, as the `datasets` library saves."""
    import polars as pl
    import pyarrow as pa

    with path.open("rb") as start:
        is_file = start.read(6) == b"ARROW1"
    try:
        with pa.OSFile(str(path)) as source:
            schema = (pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)).schema
    except (pa.ArrowException, OSError) as error:
        raise HallmarkError(f"not Arrow ({type(error).__name__})", file=file.name, remedy=AGAIN) from None
    frame = pl.read_ipc(path) if is_file else pl.read_ipc_stream(path)
    return _finished(frame, (schema.metadata or {}).get(KEY.encode()), file)


def _finished(
    frame: polars.DataFrame, metadata: bytes | None, file: ReadFile
) -> tuple[polars.DataFrame, polars.Series]:
    """Categories as text, and the labels that `datasets` stores as numbers by their names."""
    import polars as pl

    for column in frame.get_columns():
        if column.dtype in (pl.Categorical, pl.Enum):
            if column.cast(pl.Categorical).cat.len_bytes().sum() > MOST_EXPANDED:
                problem = f"takes over {MOST_EXPANDED >> 20:,} MiB in memory"
                raise HallmarkError(problem, file=file.name, field=column.name, remedy=AGAIN)
            frame = frame.with_columns(column.cast(pl.String))
    if named := [name for name in named_columns(metadata) if name in frame.columns]:
        rows = named_labels(enumerate(frame.select(named).iter_rows(named=True), 1), metadata, Path(file.name))
        frame = frame.with_columns(pl.DataFrame([row for _, row in rows], infer_schema_length=None))
    return frame, pl.Series(range(1, frame.height + 1), dtype=pl.Int64)


READERS: dict[str, Callable[[Path, ReadFile], tuple[polars.DataFrame, polars.Series]]] = {
    ".csv": _delimited,
    ".tsv": _delimited,
    ".txt": _delimited,
    ".parquet": _parquet,
    ".arrow": _arrow,
    ".ipc": _arrow,
    ".feather": _arrow,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
}
