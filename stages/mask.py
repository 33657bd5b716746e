"""Read the domain's raw rows, mask private data in them, and write records: `python -m stages.mask`.

`python -m stages.mask --preview FILE --field text` prints what would be masked in any JSONL, CSV or Parquet file.
`python -m stages.mask --find NAME` prints where the raw rows of a pseudonym (of an id or a group) are, and nothing of them.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import chain, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from hallmark.base.errors import HallmarkError, printable, run_stage
from hallmark.base.files import MASKED, REPORTS, atomic, write_json
from hallmark.base.key import pseudonym, read_key
from hallmark.base.measured import measured
from hallmark.base.progress import Progress
from hallmark.base.rows import read_texts
from hallmark.base.tools import in_words
from hallmark.data.copied import advice
from hallmark.data.gold import gold_spans
from hallmark.data.leftover import MOST_LEFT
from hallmark.data.missing import Missing
from hallmark.data.raw import Raw, Values, identities, raw_rows
from hallmark.data.recording import Recorder, Written, write_groups
from hallmark.mask.examples import masked_examples
from hallmark.mask.languages import unsupported
from hallmark.mask.masking import Masker
from hallmark.mask.params import Mask
from hallmark.params.loader import Params, load_params
from hallmark.task.task import Task

log = logging.getLogger("mask")
SHOWN = ("start", "end", "kind", "recognizer")  # of a span, in the preview
CHUNK = 64  # rows masked together, which is one batch of the NER model: a different number may give different bytes
T = TypeVar("T")
R = TypeVar("R")
Previewed = tuple[str, str, list[tuple[str, str]]]  # id, text, known values


def run(params: Params) -> None:
    """Write `data/masked.parquet` and `reports/mask.json`; write nothing if a row is bad or private data is left."""
    for rules in unsupported(params.mask.language):
        log.warning("mask.language is '%s', which lacks %s", params.mask.language, rules)
    with measured("mask") as numbers, atomic(MASKED) as temporary:
        task = Task(params.task)
        gold = gold_spans(Path(params.mask.gold), params.data) if params.mask.gold else None
        key = read_key(params.data, surrogates=params.mask.keyed)
        name_key = key if params.data.pseudonyms == "keyed" else None
        unseen = set(gold or ())
        missing = Missing()
        checked = raw_rows(params.data, params.mask, task, missing)
        known, rows, size = read_once(crossed_off(unseen, checked, name_key), params.mask)
        if unseen:
            log.warning("%d of the records that %s names are not in the data", len(unseen), params.mask.gold)
        work = chunks((raw, known.get(raw.group, ())) for raw in raw_rows(params.data, params.mask, task))
        written = Written()
        examples: list[dict[str, Any]] = []

        def records(progress: Progress) -> Iterator[tuple[Any, ...]]:
            def loaded() -> None:
                progress.begin()
                progress.to(0, loading=None)

            progress.to(0, loading="models")
            done = spread(params.mask, start_recorder, (params, gold, key), record_chunk, enumerate(work), loaded)
            for (_, chunk), (rows_of_chunk, counts, shown) in done:
                progress.spent("characters", sum(size_of(raw) for raw, _ in chunk))
                progress.add(len(chunk))
                written.add(counts)
                examples.extend(shown)
                if len(written.left) >= MOST_LEFT:
                    written.check(params.data.path)
                yield from rows_of_chunk

        with Progress("mask", rows, "rows", work={"characters": size}) as progress:
            count = write_groups(temporary, all_different(records(progress), params))
        written.check(params.data.path)
        written.check_targets(params.mask, params.data.path)
        if not count:
            raise HallmarkError(
                "every row was dropped", file=params.data.path, field="mask.actions", remedy="drop fewer kinds"
            )
        report: dict[str, Any] = {
            "style": params.mask.style,
            "language": params.mask.language,
            "ner": params.mask.ner.model,
            "level": params.mask.level,
            "examples": examples,
        }
        write_json(REPORTS / "mask.json", report | written.report(gold is not None, missing))
        numbers["rows"] = rows
    if missing.rows:
        log.warning("%d rows left out (data.missing: drop): %s", missing.rows, missing.words(params.data))
    if written.python_types:
        log.warning(
            "types in %s are read as JSON Schema names them: %s", params.data.tools, in_words(written.python_types)
        )
    for line in advice(written.values, params.mask):
        log.warning(line)
    if task.kind.free_text:
        log.info("values that free-text answers copy from their input are not counted: they have no fields")
    log.info(
        "%d rows, %d dropped, %d spans masked in %d records, %d of them found by the second check",
        *(rows, written.dropped, written.total, written.touched, sum(written.second.values())),
    )


def read_once(rows: Iterable[Raw], mask: Mask) -> tuple[dict[str, Values], int, int]:
    """The identity values of each group, the number of rows, and the characters in them."""
    size = 0
    with Progress("mask", None, "rows read", brief=True) as progress:

        def counted() -> Iterator[Raw]:
            nonlocal size
            for raw in rows:
                size += size_of(raw)
                progress.add()
                yield raw

        known, count = identities(counted(), mask)
    return known, count, size


def size_of(raw: Raw) -> int:
    """The characters of a row that take the time."""
    return len(raw.input) + len(raw.context or "")


def crossed_off(names: set[str], rows: Iterable[Raw], key: bytes | None) -> Iterator[Raw]:
    """The rows; each takes its id, and with a key its pseudonym, off `names`."""
    for raw in rows:
        if names:
            names.discard(raw.id)
            if key is not None:
                names.discard(pseudonym(key, "id", raw.id))
        yield raw


def all_different(records: Iterator[tuple[Any, ...]], params: Params) -> Iterator[tuple[Any, ...]]:
    """The records, of which no two have the same id; groups with the same pseudonym only stay on the same side.

    Raw ids are all different, and pseudonyms of 64 bits too, except for once in 370,000 times with 10 million rows.
    """
    seen: set[str] = set()
    for record in records:
        if record[0] in seen:
            raise HallmarkError(
                "two ids have the same pseudonym",
                file=params.data.path,
                field=params.data.id,
                remedy="change one of the ids by a character",
            )
        seen.add(record[0])
        yield record


def find(params: Params, name: str) -> None:
    """Print the file and the row number of each raw row whose id or group has this pseudonym (or is called so)."""
    key = read_key(params.data) if params.data.pseudonyms == "keyed" else None
    lines = []
    for raw in raw_rows(params.data, params.mask, Task(params.task)):
        names = (raw.id, raw.group)
        if key is not None:
            names = (pseudonym(key, "id", raw.id), pseudonym(key, "group", raw.group))
        if name in names:
            lines.append(f"{printable(raw.file)}, row {raw.number}\n")
    if lines:
        show(lines)
    else:
        raise HallmarkError(
            "no row has this name", file=params.data.path, remedy="give an id or a group as reports show it"
        )


def preview(params: Params, file: Path, field: str) -> None:
    """Print one JSON line per row of `file`: `id`, and `masked` and `spans` of the text in `field`."""
    known = {column: kind for column, kind in params.mask.identity_columns.items() if column != field}
    key = read_key(params.data, surrogates=True) if params.mask.keyed else None

    def texts() -> Iterator[Previewed]:
        for number, row, text in read_texts(file, field):
            if len(text) > params.mask.max_chars:
                raise HallmarkError(
                    f"longer than mask.max_chars ({params.mask.max_chars} characters)",
                    file=file, row=number, field=field, remedy="raise mask.max_chars, or shorten the text",
                )  # fmt: skip
            values = [(kind, row[column]) for column, kind in known.items() if isinstance(row.get(column), str)]
            yield str(row.get(params.data.id, row.get("id", number))), text, values

    lines = spread(params.mask, start_masker, (params.mask, key), preview_chunk, chunks(texts()))
    show(line for _, line in lines)


def show(lines: Iterable[str]) -> None:
    """Print lines as they come, until the reader has enough."""
    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
    try:
        for line in lines:
            sys.stdout.write(line)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader (`| head`, say) has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# --- code of the worker processes; each has its own masker

WORKER: dict[str, Any] = {}


def start_masker(mask: Mask, key: bytes | None) -> None:
    """Load the models, once per worker process."""
    WORKER["masker"] = Masker(mask, key=key)
    WORKER["masker"].load()


def start_recorder(params: Params, gold: Any, key: bytes | None) -> None:
    """Load models and schema, once per worker process."""
    WORKER["recorder"] = Recorder(params.data, params.task, params.mask, gold, key)
    WORKER["recorder"].masker.load()


def preview_chunk(chunk: list[Previewed]) -> str:
    """The preview's output lines for a chunk of rows."""
    from hallmark.mask.identity_values import KnownValues
    from hallmark.mask.masking import Record

    masked = WORKER["masker"].records(
        [Record([text], known=KnownValues(values), name=name) for name, text, values in chunk]
    )
    lines = []
    for (name, *_), (text,) in zip(chunk, masked, strict=True):
        spans = [{name: vars(span)[name] for name in SHOWN} for span in text.spans]
        lines.append(json.dumps({"id": name, "masked": text.text, "spans": spans}, ensure_ascii=False) + "\n")
    return "".join(lines)


def record_chunk(
    numbered: tuple[int, list[tuple[Raw, Any]]],
) -> tuple[list[tuple[Any, ...]], Written, list[dict[str, Any]]]:
    """The records of a chunk of rows, and its counts; with the first chunk also the examples for the report."""
    number, chunk = numbered
    rows, counts = WORKER["recorder"].records(chunk)
    return rows, counts, [] if number else masked_examples(WORKER["recorder"].masker)


def chunks(items: Iterable[T]) -> Iterator[list[T]]:
    """Lists of `CHUNK` items."""
    iterator = iter(items)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk


def spread(
    mask: Mask,
    start: Callable[..., None],
    args: tuple[Any, ...],
    work: Callable[[T], R],
    items: Iterator[T],
    ready: Callable[[], None] = lambda: None,
) -> Iterator[tuple[T, R]]:
    """Every chunk, in order, with `work` applied to it on `mask.workers` processes; a single chunk runs in this process.

    `ready` is called when the models are loaded.
    """
    first = list(islice(items, 2))
    if len(first) < 2 or mask.workers == 1:
        start(*args)
        ready()
        yield from ((chunk, work(chunk)) for chunk in chain(first, items))
        return
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"  # parallel by process, not by thread
    with ProcessPoolExecutor(mask.workers, get_context("spawn"), start, args) as pool:
        waiting: deque[tuple[T, Future[R]]] = deque()
        try:
            pool.submit(int).result()
            ready()
            for chunk in chain(first, items):
                waiting.append((chunk, pool.submit(work, chunk)))
                if len(waiting) > 4 * mask.workers:  # keep only enough in memory to keep every worker busy
                    done, result = waiting.popleft()
                    yield done, result.result()
            while waiting:
                done, result = waiting.popleft()
                yield done, result.result()
        finally:
            pool.shutdown(cancel_futures=True)


def main(arguments: argparse.Namespace) -> None:
    """Command line: `--preview FILE --field NAME` and `--find NAME` print; without them the stage runs."""
    params = load_params(arguments.params)
    if arguments.find is not None:
        find(params, arguments.find)
    elif arguments.preview is not None:
        preview(params, arguments.preview, arguments.field)
    else:
        run(params)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m stages.mask", description=__doc__)
    parser.add_argument(
        "--preview", type=Path, metavar="FILE", help="print what would be masked in this file; write nothing"
    )
    parser.add_argument("--field", default="text", help="the text field of the previewed file (default: %(default)s)")
    parser.add_argument(
        "--find", metavar="NAME", help="print file and row number of the raw rows of this pseudonym; write nothing"
    )
    run_stage("mask", __doc__, main, parser)
