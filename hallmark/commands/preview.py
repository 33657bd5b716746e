"""Print what would be masked in any JSONL, CSV or Parquet file: `python -m hallmark.commands.preview FILE --field text`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from hallmark.base.errors import HallmarkError, run_stage
from hallmark.base.key import read_key
from hallmark.base.markup import plain_text
from hallmark.base.printing import show
from hallmark.base.rows import read_rows
from hallmark.data.conversations import Extra
from hallmark.mask.identity_values import KnownValues
from hallmark.mask.masking import Masker, Record
from hallmark.mask.params import Mask
from hallmark.mask.surrogates import uses_key
from hallmark.mask.workers import WORKER, chunks, spread
from hallmark.params.loader import Params, load_params

SHOWN = ("start", "end", "kind", "recognizer")  # of a span
Previewed = tuple[str, str, list[tuple[str, str]]]  # id, text, known values


def preview(params: Params, file: Path, field: str) -> None:
    """Print one JSON line per row of `file`: `id`, and `masked` and `spans` of the text in `field`."""
    known = {column: kind for column, kind in params.mask.identity_columns.items() if column != field}
    others = dict.fromkeys(("context", "tools", "rejected", "tags", "split"))
    only = params.data.model_copy(update=others | dict.fromkeys(("id", "group", "input", "target"), field))
    key = read_key(params.data, surrogates=True) if uses_key(params.mask) else None

    def texts() -> Iterator[Previewed]:
        extra = Extra(only)
        for number, read in read_rows(file):
            row = extra(read, file, number)
            text = row.get(field)
            if not isinstance(text, str):
                problem = "no such field" if field not in row else f"not a text but {type(text).__name__}"
                raise HallmarkError(
                    problem, file=file, row=number, field=field, remedy="name a text field with --field"
                )
            if len(text) > params.mask.max_chars:
                raise HallmarkError(
                    f"longer than mask.max_chars ({params.mask.max_chars} characters)",
                    file=file, row=number, field=field, remedy="raise mask.max_chars, or shorten the text",
                )  # fmt: skip
            values = [(kind, row[column]) for column, kind in known.items() if isinstance(row.get(column), str)]
            yield str(row.get(params.data.id, row.get("id", number))), plain_text(text, params.data.markup), values

    args, where = (params.mask, key), {"file": file}
    lines = spread(params.mask.workers, start_masker, args, preview_chunk, chunks(texts()), where=lambda _: where)
    show(line for _, line in lines)


def start_masker(mask: Mask, key: bytes | None) -> None:
    WORKER["masker"] = Masker(mask, key=key)
    WORKER["masker"].load()


def preview_chunk(chunk: list[Previewed]) -> str:
    records = [Record([text], known=KnownValues(values), name=name) for name, text, values in chunk]
    masked = WORKER["masker"].records(records)
    lines = []
    for (name, *_), (text,) in zip(chunk, masked, strict=True):
        spans = [{name: vars(span)[name] for name in SHOWN} for span in text.spans]
        lines.append(json.dumps({"id": name, "masked": text.text, "spans": spans}, ensure_ascii=False) + "\n")
    return "".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m hallmark.commands.preview", description=__doc__)
    parser.add_argument("file", type=Path, metavar="FILE", help="print what would be masked in it; write nothing")
    parser.add_argument("--field", default="text", help="the text field of the file (default: %(default)s)")
    run_stage("preview", __doc__, lambda given: preview(load_params(given.params), given.file, given.field), parser)
