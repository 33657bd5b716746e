"""Raw rows: read the files that a domain has, whatever tool wrote them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallmark.base.class_labels import KEY, named_labels
from hallmark.base.conll import read_conll
from hallmark.base.errors import HallmarkError
from hallmark.base.reading import LARGEST, NotJsonError, check_regular, is_folder, read_text, strict_json
from hallmark.base.records import read_parquet, whole_parquet
from hallmark.base.tables import first_line, read_table, separator_of

if TYPE_CHECKING:
    import polars

Numbered = Iterator[tuple[int, dict[str, Any]]]
RAW = "put the raw records there, or name another file (in params.yaml: data.path)"
SPEAKERS = ("role", "from")  # keys of the turns of a conversation, which is one row
MOST_SPEAKERS = 8


def read_rows(path: Path) -> Numbered:
    """(row number, row) for each row of a JSON, CSV, TSV, CoNLL, Parquet or Arrow file, or of a folder of them, by name.

    Of a table or CoNLL, the row number is the line number in an editor; a header is line 1. A file by any other name is read if
    it has JSON lines, or is a text with tabs between its columns.
    """
    if is_folder(path):
        for file in files_of(path):
            yield from read_rows(file)
        return
    check_regular(path, RAW)
    yield from (READERS.get(path.suffix) or _reader_of(path))(path)


def files_of(path: Path) -> list[Path]:
    """The file itself, or the data files in a folder, by name (Hugging Face puts its own JSON files next to them).

    Of a saved `DatasetDict`, those of all its splits.
    """
    if not is_folder(path):
        return [path]
    if (path / SPLITS).is_file():
        return [file for split in sorted(path.iterdir()) if is_folder(split) for file in files_of(split)]
    files = sorted(file for file in path.iterdir() if file.suffix in READERS and file.name not in NO_ROWS)
    for file in files:
        check_regular(file, "remove it, or put a file with rows there")
    return files


def only_texts(path: Path) -> bool:
    """Whether the values of a file are all texts, numbers too, because it is a table."""
    return path.suffix in (".csv", ".tsv") or (path.suffix not in READERS and not _has_json(path))


def _unreadable(path: Path) -> HallmarkError:
    return HallmarkError(
        f"files ending in '{path.suffix}' can't be read",
        file=path,
        remedy="give JSON lines, JSON, CSV, TSV, CoNLL, Parquet or Arrow (data.path); in Excel, save as CSV UTF-8",
    )


def _reader_of(path: Path) -> Callable[[Path], Numbered]:
    """How to read a file whose name doesn't say what is in it."""
    if _has_json(path):
        return _read_json
    if path.suffix == ".txt" and separator_of(first_line(path)) == "\t" and "\t" in first_line(path):
        return read_table
    raise _unreadable(path)


def _has_json(path: Path) -> bool:
    return first_line(path).lstrip()[:1] in ("{", "[")


def _read_json(path: Path) -> Numbered:
    """A list of rows, an object with one (as APIs answer), or JSON lines by another name."""
    text = read_text(path, "save the file as UTF-8", math.inf).removeprefix("\ufeff")
    try:
        value = strict_json(text)
    except NotJsonError as error:
        if text.lstrip().startswith("{") and _is_object(first_line(path)):
            yield from _read_jsonl(path)
            return
        raise HallmarkError(f"not JSON ({error})", file=path, row=error.line, remedy="fix it, or write JSONL") from None
    rows = _rows_in(value, path)
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise HallmarkError("the row is not a JSON object", file=path, row=number, remedy="write a list of objects")
        yield number, row


def _is_object(line: str) -> bool:
    try:
        return isinstance(strict_json(line), dict)
    except NotJsonError:
        return False


def _rows_in(value: Any, path: Path) -> list[Any]:
    if isinstance(value, list):
        return value
    if isinstance(value, dict):
        lists = lists_in(value)
        if any(_are_turns(items) for items in lists.values()):
            return [value]
        first, *others = sorted(lists.values(), key=len, reverse=True) or [[]]
        if first and all(2 * len(one) < len(first) and 2 * len(str(one)) < len(str(first)) for one in others):
            return first
        if lists:
            raise HallmarkError(
                f"{len(lists)} lists of objects, any of which may be the rows",
                file=path,
                remedy="write the list of the rows into a file of its own",
            )
        if value and _is_object(first_line(path)):  # JSON lines, of one line
            return [value]
    raise HallmarkError("not a list of rows", file=path, remedy="write a list of objects, or JSONL")


def _are_turns(items: list[dict[str, Any]]) -> bool:
    """Whether few speak, by their names: messages are rows, and each may be from somebody else."""
    said = [[item.get(key) for item in items] for key in SPEAKERS if key in items[0]]
    return any(all(isinstance(one, str) for one in of) and len({*of}) <= MOST_SPEAKERS for of in said)


def lists_in(value: Any) -> dict[str, list[dict[str, Any]]]:
    """The lists of objects in a JSON object; the rows are one of them."""
    lists = {key: of for key, of in value.items() if isinstance(of, list) and of} if isinstance(value, dict) else {}
    return {key: of for key, of in lists.items() if all(isinstance(item, dict) for item in of)}


def _read_jsonl(path: Path) -> Numbered:
    with path.open("rb") as file:
        for number, line in enumerate(iter(lambda: file.readline(LARGEST), b""), 1):
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


def _read_parquet(path: Path) -> Numbered:
    import polars as pl

    frame = read_parquet(path, "write the file again")
    with whole_parquet(path, "write the file again"):
        metadata = pl.read_parquet_metadata(path)
    yield from named_labels(_rows_of(frame, path), metadata.get(KEY), path)


def _read_arrow(path: Path) -> Numbered:
    """A shard of a dataset that the `datasets` library saved to disk: an Arrow stream.

    In a saved `DatasetDict`, each row has the name of its split in a column `split`, unless it has such a column.
    """
    import polars as pl
    import pyarrow as pa

    try:
        frame = pl.read_ipc_stream(path)
        with pa.OSFile(str(path)) as file:
            metadata = pa.ipc.open_stream(file).schema.metadata or {}
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, pa.ArrowException, OSError) as error:
        raise HallmarkError(
            f"not an Arrow stream ({type(error).__name__})", file=path, remedy="save the dataset again, or as Parquet"
        ) from None
    split = {"split": path.parent.name} if (path.parent.parent / SPLITS).is_file() else {}
    for number, row in named_labels(_rows_of(frame, path), metadata.get(KEY.encode()), path):
        yield number, split | row


def _rows_of(frame: polars.DataFrame, path: Path) -> Numbered:
    import polars as pl

    try:
        yield from enumerate(frame.iter_rows(named=True), 1)
    except pl.exceptions.PanicException:  # a date that Python has no value for; no `Exception`
        remedy = "write dates and times as texts, or leave the column out"
        raise HallmarkError("a value out of range, such as a date", file=path, remedy=remedy) from None


READERS: dict[str, Callable[[Path], Numbered]] = {
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".json": _read_json,
    ".csv": read_table,
    ".tsv": read_table,
    **dict.fromkeys((".conll", ".conllup", ".bio"), read_conll),
    ".parquet": _read_parquet,
    ".arrow": _read_arrow,
}
SPLITS = "dataset_dict.json"  # of `datasets`: the folders next to it are the splits of one dataset
NO_ROWS = ("dataset_info.json", "dataset_infos.json", SPLITS, "state.json")
