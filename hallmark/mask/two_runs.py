"""The two runs of `stages/records.py` that masking takes: one is checked and says what is private, of the other each record is masked."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallmark.base.errors import HallmarkError
from hallmark.base.markup import plain_text
from hallmark.base.measured import peak_mib
from hallmark.base.progress import Progress
from hallmark.base.reading import read_json_lines
from hallmark.mask.counts import Counts
from hallmark.mask.gold import Gold
from hallmark.mask.kinds import KINDS, nearest
from hallmark.mask.languages import Languages
from hallmark.mask.leftover import MOST_LEFT, MOST_NAMES
from hallmark.mask.ray_cluster import Ray
from hallmark.mask.record import fault, place
from hallmark.mask.rows import LIVE, Namer, Row, RowMaker, Values
from hallmark.mask.workers import CHUNK, WORKER, chunks, spread
from hallmark.records import Record
from hallmark.records.recipe import RECIPE, Recipe, Run, load
from hallmark.records.targets import check_target
from hallmark.task.task import Task

if TYPE_CHECKING:
    from hallmark.params.loader import Params

Chunk = list[tuple[Record, Values]]


class Runs:
    """Runs the recipe, and reads what `collect` has added, as often as it is asked; the last run is `run`."""

    def __init__(self, params: Params, task: Task) -> None:
        self.params, self.task = params, task
        self.recipe: Recipe = load(RECIPE)
        self.run: Run | None = None

    def records(self, *, check: bool = True) -> Iterator[Record]:
        """All records, each with a target that the task accepts. `check`: keep what the run's warnings are made of."""
        self.run = self.recipe.run(self.params.records, task=self.task, check=check)
        yield from self.run
        for record in live_records():
            yield check_target(record, self.task)


def live_records(folder: Path = LIVE) -> Iterator[Record]:
    """The records that `collect` has written: masked ones, one a line."""
    for file in sorted(folder.glob("[!.]*.jsonl")):
        for number, row in enumerate(read_json_lines(file, "fix the line, or remove the file"), 1):
            if "source" in row:
                remedy = "write the fields of a record but `source`, as `collect` does; other data is for the recipe"
                raise HallmarkError("not a record that `collect` wrote", file=file, row=number, remedy=remedy)
            yield Record(**row, source=f"{file.as_posix()}:{number}")


@dataclass
class First:
    """What the first run says: the values known to be private, by group as records have it, and the sizes."""

    known: dict[str, Values] = field(default_factory=dict)
    count: int = 0
    size: int = 0  # characters
    names: dict[str, set[str]] = field(default_factory=dict)  # of ids, groups and tags that records have as they are


def first_run(
    records: Iterable[Record],
    params: Params,
    task: Task,
    named: Namer,
    languages: Languages,
    seen: Callable[[str], None],
) -> First:
    """Read all records. `languages` counts the languages of their texts; `seen` is told the ids, raw and as records have them."""
    first, known = First(), defaultdict[str, set[tuple[str, str]]](set)
    kinds = {*KINDS, *(rule.kind for rule in params.mask.patterns)}
    with Progress("mask", None, "records read", brief=True) as progress:
        for chunk in chunks(records):
            for record in chunk:
                first.size += size_of(record)
                languages.add(record.prompt if isinstance(record.prompt, str) else _last_words(record))
                _check_private(record, kinds, params)
                if record.tools and not task.kind.calls_tools:
                    remedy = "leave `tools` out, or set task.kind to tool_call"
                    raise fault(record, "only for tasks of kind tool_call is the model shown tools", "tools", remedy)
                group = named("group", record)
                known[group].update(
                    (kind, plain_text(value, params.mask.markup))  # as the texts have it
                    for kind, values in record.private.items()
                    for value in values
                )
                _note_names(first.names, record, own=named.key is None)
                seen(record.id)
                seen(named("id", record))
            first.count += len(chunk)
            progress.add(len(chunk))
    first.known = {group: tuple(sorted(values)) for group, values in known.items() if values}
    return first


def _check_private(record: Record, kinds: set[str], params: Params) -> None:
    for kind in record.private:
        if kind not in kinds:
            own = [rule.kind for rule in params.mask.patterns]
            remedy = f"did you mean {nearest(kind, own)}? docs/masking.md lists all; a rule in mask.patterns adds one"
            raise fault(record, f"there is no kind {kind} of private values", "private", remedy)
    private = {value.casefold() for values in record.private.values() for value in values}
    if params.data.pseudonyms == "none":
        for name in ("id", "group"):
            if getattr(record, name).casefold() in private:
                problem = "is one of the record's private values, and is not masked there"
                raise fault(record, problem, name, "set data.pseudonyms to keyed, or take another column for it")


def _note_names(names: dict[str, set[str]], record: Record, *, own: bool) -> None:
    """Note different names that records have as they are. `own`: ids and groups, too."""
    for name, values in {"tags": record.tags, **({"id": [record.id], "group": [record.group]} if own else {})}.items():
        known = names.setdefault(name, set())
        if len(known) < MOST_NAMES:
            known.update(values)


def masked_rows(
    records: Iterable[Record],
    first: First,
    params: Params,
    named: Namer,
    gold: Gold | None,
    key: bytes | None,
    counts: Counts,
    progress: Progress,
    numbers: dict[str, Any],
) -> Iterator[Row]:
    """The rows of the records, in order; `counts` counts them, and a run that leaves too much private data in them ends early.

    `numbers` gets what `plan` works out the time of more records from: the seconds once models are loaded, those of them that
    this process took itself, and the memory of the largest worker.
    """
    begun, memory = (0.0, 0.0), 0

    def loaded(examples: list[dict[str, Any]]) -> None:
        nonlocal begun
        counts.examples = examples
        begun = time.perf_counter(), time.process_time()
        progress.begin()
        progress.to(0, loading=None)

    progress.to(0, loading="models")
    work = chunks((record, first.known.get(named("group", record), ())) for record in records)
    ray = None
    if params.data.engine == "ray":
        ray = Ray(params.data.cluster, [Path("stages"), *([Path(file)] if (file := params.task.schema_file) else [])])
    args = (params, gold, key)
    for chunk, (rows, new, used) in spread(
        params.mask.workers, start, args, rows_of, work, loaded, place_of, ray, counts.leave_out
    ):
        progress.spent("characters", sum(size_of(record) for record, _ in chunk))
        progress.add(len(chunk))
        counts.add(new)
        memory = max(memory, used)
        if len(counts.left) >= MOST_LEFT:
            counts.check(str(RECIPE))
        yield from rows
    seconds, own = time.perf_counter() - begun[0], time.process_time() - begun[1]
    workers = params.mask.workers if progress.done > CHUNK else 1  # a single chunk runs in this process
    numbers |= {"workers": workers, "mask_seconds": round(seconds, 2), "main_seconds": round(own, 2)}
    numbers["worker_memory_mib"] = memory


def start(params: Params, gold: Gold | None, key: bytes | None) -> list[dict[str, Any]]:
    """Load models and schema, once per worker process; the examples for the report."""
    WORKER["maker"] = RowMaker(params.data, params.task, params.mask, gold, key)
    examples: list[dict[str, Any]] = WORKER["maker"].masker.load()
    return examples


def rows_of(chunk: Chunk) -> tuple[list[Row], Counts, int]:
    """The rows of a chunk of records, its counts, and the memory that this process has taken."""
    rows, counts = WORKER["maker"].rows(chunk)
    return rows, counts, peak_mib()


def place_of(chunk: Sequence[tuple[Record, Values]]) -> dict[str, Any]:
    """Where the records of a chunk are from, for an error."""
    sources = [record.source for record, _ in chunk]
    what = (
        "this row" if len(sources) == 1 else f"this row, or one of the {len(sources)} records from it to {sources[-1]},"
    )
    return place(chunk[0][0]) | {"what": what}


def size_of(record: Record) -> int:
    """The characters of a record that take the time."""
    texts = [record.prompt] if isinstance(record.prompt, str) else [one["content"] for one in record.prompt]
    return sum(len(text) for text in (*texts, record.context) if text)


def _last_words(record: Record) -> str:
    assert not isinstance(record.prompt, str)
    return next((one["content"] for one in reversed(record.prompt) if one["content"]), "")


def all_different(rows: Iterable[Row]) -> Iterator[Row]:
    """The rows, of which no two have the same id."""
    seen = set[int]()
    for row in rows:
        if (digest := hash(row[0])) in seen:
            problem = (
                "two records have the same id in the end: a live one and one of the recipe, or two with one pseudonym"
            )
            raise HallmarkError(problem, file=RECIPE, field="id", remedy="change one of the ids by a character")
        seen.add(digest)
        yield row
