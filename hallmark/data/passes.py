"""The two passes over the raw rows that masking takes: one checks them and reads what identifies their groups, one masks them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallmark.base.errors import HallmarkError
from hallmark.base.measured import peak_mib
from hallmark.base.params import Data
from hallmark.base.progress import Progress
from hallmark.data.leftover import MOST_LEFT
from hallmark.data.raw import Raw, Seen, Values, identities
from hallmark.data.recording import Gold, Recorder, Written
from hallmark.mask.examples import masked_examples
from hallmark.mask.languages import Languages
from hallmark.mask.params import Mask
from hallmark.mask.ray_cluster import Ray
from hallmark.mask.workers import CHUNK, WORKER, chunks, spread

if TYPE_CHECKING:
    from hallmark.params.loader import Params

Known = dict[str, Values]  # the identity values of each group
Chunk = list[tuple[Raw, Values]]


def read_once(rows: Iterable[Raw], mask: Mask, languages: Languages) -> tuple[Known, int, int]:
    """The identity values of each group, the number of rows, and the characters in them; `languages` counts theirs."""
    size = 0
    with Progress("mask", None, "rows read", brief=True) as progress:

        def counted() -> Iterator[Raw]:
            nonlocal size
            for chunk in chunks(rows):
                for raw in chunk:
                    size += size_of(raw)
                    languages.add(raw.input)
                    yield raw
                progress.add(len(chunk))

        known, count = identities(counted(), mask)
    return known, count, size


def masked_records(
    rows: Iterable[Raw],
    known: Known,
    params: Params,
    gold: Gold | None,
    key: bytes | None,
    written: Written,
    progress: Progress,
    numbers: dict[str, Any],
) -> Iterator[tuple[Any, ...]]:
    """The records of the rows, in order; `written` counts them, and a run that leaves too much private data in them ends early.

    `numbers` gets what `plan` works out the time of more rows from: the seconds once models are loaded, those of them that this
    process took itself, and the memory of the largest worker.
    """
    begun, memory = (0.0, 0.0), 0

    def loaded(examples: list[dict[str, Any]]) -> None:
        nonlocal begun
        written.examples = examples
        begun = time.perf_counter(), time.process_time()
        progress.begin()
        progress.to(0, loading=None)

    progress.to(0, loading="models")
    work = chunks((raw, known.get(raw.group, ())) for raw in rows)
    ray = None
    if params.data.engine == "ray":
        ray = Ray(params.data.cluster, [Path("stages"), *([Path(file)] if (file := params.task.schema_file) else [])])
    args = (params, gold, key)
    for chunk, (records, counts, used) in spread(
        params.mask.workers, start_recorder, args, record_chunk, work, loaded, place_of, ray, written.leave_out
    ):
        progress.spent("characters", sum(size_of(raw) for raw, _ in chunk))
        progress.add(len(chunk))
        written.add(counts)
        memory = max(memory, used)
        if len(written.left) >= MOST_LEFT:
            written.check(params.data.path)
        yield from records
    seconds, own = time.perf_counter() - begun[0], time.process_time() - begun[1]
    workers = params.mask.workers if progress.done > CHUNK else 1  # a single chunk runs in this process
    numbers |= {"workers": workers, "mask_seconds": round(seconds, 2), "main_seconds": round(own, 2)}
    numbers["worker_memory_mib"] = memory


def start_recorder(params: Params, gold: Gold | None, key: bytes | None) -> list[dict[str, Any]]:
    """Load models and schema, once per worker process; the examples for the report."""
    WORKER["recorder"] = Recorder(params.data, params.task, params.mask, gold, key)
    WORKER["recorder"].masker.load()
    return masked_examples(WORKER["recorder"].masker)


def record_chunk(chunk: Chunk) -> tuple[list[tuple[Any, ...]], Written, int]:
    """The records of a chunk of rows, its counts, and the memory that this process has taken."""
    rows, counts = WORKER["recorder"].records(chunk)
    return rows, counts, peak_mib()


def place_of(chunk: Chunk) -> dict[str, Any]:
    """Where the rows of a chunk are, for an error."""
    rows = [raw for raw, _ in chunk]
    last = f"{rows[-1].number}" if rows[-1].file == rows[0].file else f"{rows[-1].number} of {rows[-1].file}"
    what = "this row" if len(rows) == 1 else f"this row or one of those after it up to row {last}"
    return {"file": rows[0].file, "row": rows[0].number, "what": what}


def size_of(raw: Raw) -> int:
    """The characters of a row that take the time."""
    return len(raw.input) + len(raw.context or "")


def all_different(records: Iterator[tuple[Any, ...]], data: Data) -> Iterator[tuple[Any, ...]]:
    """The records, of which no two have the same id; groups with the same pseudonym only stay on the same side.

    Raw ids are all different, and pseudonyms of 64 bits too, except for once in 370,000 times with 10 million rows.
    """
    seen = Seen()
    for record in records:
        if hash(record[0]) in seen:
            raise HallmarkError(
                "two ids have the same pseudonym",
                file=data.path,
                field=data.id,
                remedy="change one of the ids by a character",
            )
        seen.add(hash(record[0]))
        yield record
