"""Records: read the domain's raw rows, and the one Parquet schema that every stage after `mask` reads and writes."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.errors import HallmarkError
from stages.core.files import write_all
from stages.core.reading import NotJsonError, check_regular, is_folder, read_text, strict_json

if TYPE_CHECKING:
    import polars

FIELD = re.compile(r"\{([^{}]+)\}")
MADE = "run `dvc repro`, which makes it"
RAW = "put the raw records there, or fix data.path"


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
    """Read a Parquet file of records; a HallmarkError unless it has all that a record must have."""
    check_records(frame := _parquet(path, MADE), path)
    for number, tools in enumerate(frame["tools"], 1):
        try:
            sound = not tools or isinstance(strict_json(tools), list)
        except NotJsonError:
            sound = False
        if not sound:
            raise HallmarkError("not a JSON list", file=path, row=number, field="tools", remedy=MADE)
    return frame


def scan_records(path: Path) -> polars.LazyFrame:
    """Read a Parquet file of records lazily: only the columns in use, and only when they are needed."""
    import polars as pl

    check_regular(path, MADE)
    with whole_parquet(path):
        frame = pl.scan_parquet(path, glob=False)
        columns = frame.collect_schema()
    check_columns(columns, path)
    return frame


@contextmanager
def whole_parquet(path: Path, remedy: str = MADE) -> Iterator[None]:
    """A HallmarkError if `path`, which is read in the block, is damaged: with `scan_records`, only a `collect` shows it."""
    import polars as pl

    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise HallmarkError(f"not Parquet ({type(error).__name__})", file=path, remedy=remedy) from None


def check_columns(columns: Mapping[str, Any], path: Path) -> None:
    """A HallmarkError unless each column of a record is there, and of its type."""
    for name, kind in schema().items():
        if columns.get(name) != kind:
            problem = "no such column" if name not in columns else f"not of the type {kind}"
            raise HallmarkError(problem, file=path, field=name, remedy=MADE)


def check_records(frame: polars.DataFrame, path: Path) -> None:
    """A HallmarkError unless each column of a record is there, of its type, and no id, group, prompt or answer is missing."""
    import polars as pl

    check_columns(frame.schema, path)
    part = pl.element().struct.field("role").is_null() | pl.element().struct.field("content").is_null()
    gaps = {
        name: pl.col(name).is_null() | (pl.col(name).list.len() == 0) | pl.col(name).list.eval(part).list.any()
        for name in ("prompt", "completion")
    } | {name: pl.col(name).is_null() for name in ("id", "group")}
    for name, gap in gaps.items():
        found = frame.select(gap.arg_max(), there=gap.any()).row(0)
        if found[1]:
            raise HallmarkError("missing", file=path, row=found[0] + 1, field=name, remedy=MADE)


def check_filled(rows: polars.DataFrame, path: Path) -> None:
    """A HallmarkError if a value is missing in rows that were read from records."""
    if rows.is_empty():
        raise HallmarkError("has no records", file=path, remedy=MADE)
    for column in rows.get_columns():
        if column.null_count():
            raise HallmarkError("values are missing", file=path, field=column.name, remedy=MADE)


def write_records(path: Path, records: polars.DataFrame) -> None:
    """Write records to Parquet, atomically; the same records make the same bytes."""
    write_all({path: parquet(records)})


def parquet(records: polars.DataFrame) -> memoryview:
    """Records as the bytes of a Parquet file. If Polars itself writes to a full disk, it may only say "transport error"."""
    buffer = BytesIO()
    # Rechunk first: Polars ends pages where its chunks end, which depends on threads and on how the frame was built.
    records.rechunk().write_parquet(buffer, compression="zstd", statistics=False, row_group_size=100_000)
    return buffer.getbuffer()


def read_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(row number, row) for each row of a JSONL, JSON, CSV, Parquet or Arrow file, or of a folder of them, by name.

    In CSV the row number is the line number in an editor; the header is line 1.
    """
    if is_folder(path):
        for file in files_of(path):
            yield from read_rows(file)
        return
    if path.suffix not in READERS:
        raise HallmarkError(
            f"files ending in '{path.suffix}' can't be read",
            file=path,
            remedy="give JSONL, JSON, CSV, Parquet or Arrow (data.path)",
        )
    check_regular(path, RAW)
    yield from READERS[path.suffix](path)


def read_texts(path: Path, field: str) -> Iterator[tuple[int, dict[str, Any], str]]:
    """The rows of a file, each with the text in `field`, for a preview."""
    for number, row in read_rows(path):
        text = row.get(field)
        if not isinstance(text, str):
            problem = "no such field" if field not in row else f"not a text but {type(text).__name__}"
            raise HallmarkError(problem, file=path, row=number, field=field, remedy="name a text field with --field")
        yield number, row, text


def files_of(path: Path) -> list[Path]:
    """The file itself, or the data files in a folder, by name (Hugging Face puts its own JSON files next to them)."""
    if not is_folder(path):
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix in READERS and file.name not in NO_ROWS)
    for file in files:
        check_regular(file, "remove it, or put a file with rows there")
    return files


def _read_json(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        rows = strict_json(read_text(path, "save the file as UTF-8", math.inf).removeprefix("\ufeff"))
    except NotJsonError as error:
        raise HallmarkError(f"not JSON ({error})", file=path, row=error.line, remedy="fix it, or write JSONL") from None
    if not isinstance(rows, list):
        raise HallmarkError("not a list of rows", file=path, remedy="write a list of objects, or JSONL")
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise HallmarkError("the row is not a JSON object", file=path, row=number, remedy="write a list of objects")
        yield number, row


def _read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = strict_json(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except UnicodeDecodeError as error:
                raise HallmarkError(
                    f"byte {error.start + 1} of the row is not UTF-8",
                    file=path,
                    row=number,
                    remedy="save the file as UTF-8 (`iconv -f latin1 -t utf-8`)",
                ) from None
            except NotJsonError as error:
                raise HallmarkError(
                    f"the row is not JSON ({error})", file=path, row=number, remedy="write one JSON object per line"
                ) from None
            if not isinstance(row, dict):
                raise HallmarkError(
                    "the row is not a JSON object", file=path, row=number, remedy="write one JSON object per line"
                )
            yield number, row


def _read_csv(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    csv.field_size_limit(2**31 - 1)
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        line = 1
        while True:
            try:
                if reader.fieldnames is None:  # reads the header, once
                    return
                if len(set(reader.fieldnames)) < len(reader.fieldnames):
                    raise HallmarkError("a column appears twice", file=path, row=1, remedy="rename one of them")
                line = reader.line_num + 1
                row = next(reader)
            except StopIteration:
                return
            except UnicodeDecodeError:
                raise HallmarkError(
                    "not UTF-8 at or after this row", file=path, row=line, remedy="save the file as UTF-8"
                ) from None
            except csv.Error as error:
                raise HallmarkError(f"not CSV ({error})", file=path, row=line, remedy="fix the quoting") from None
            if None in row or None in row.values():
                raise HallmarkError(
                    "the row has more or fewer fields than the header", file=path, row=line, remedy="fix the quoting"
                )
            yield line, {key: value if value != "" else None for key, value in row.items()}


def _read_parquet(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    yield from _rows_of(_parquet(path, "write the file again"), path)


def _parquet(path: Path, remedy: str) -> polars.DataFrame:
    import polars as pl

    check_regular(path, remedy)
    with whole_parquet(path, remedy):
        return pl.read_parquet(path, glob=False)


def _read_arrow(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """A shard of a dataset that the `datasets` library saved to disk: an Arrow stream."""
    import polars as pl

    try:
        frame = pl.read_ipc_stream(path)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise HallmarkError(
            f"not an Arrow stream ({type(error).__name__})", file=path, remedy="save the dataset again, or as Parquet"
        ) from None
    yield from _rows_of(frame, path)


def _rows_of(frame: polars.DataFrame, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    import polars as pl

    try:
        yield from enumerate(frame.iter_rows(named=True), 1)
    except pl.exceptions.PanicException:  # a date that Python has no value for; no `Exception`
        remedy = "write dates and times as texts, or leave the column out"
        raise HallmarkError("a value out of range, such as a date", file=path, remedy=remedy) from None


READERS = {
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
    ".arrow": _read_arrow,
}
NO_ROWS = ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json")


def fill(template: str, row: dict[str, Any]) -> str:
    """Fill a template such as `"{subject}\\n\\n{body}"` from a row's columns; a bare column name means that column.

    Only the template is scanned for braces, never the values.
    """
    if not FIELD.search(template):
        template = f"{{{template}}}"
    return FIELD.sub(lambda match: "" if row.get(match[1]) is None else str(row[match[1]]), template).strip()


def columns_of(template: str) -> list[str]:
    """The column names a template uses."""
    return FIELD.findall(template) or [template]
