"""Read the domain's raw rows, mask private data in them, and write records: `python -m stages.mask`.

The rows are read twice: a value that an identity column names in one row is masked in all rows of its group. Dropped are
rows that hold a kind with the action `drop`, and unless `data.missing` is error those that lack a group, an input or a target.
If anything else is wrong with a row, or private data is left in a record, nothing is written.

`python -m stages.mask --find NAME` prints where the raw rows of a pseudonym (of an id or a group) are, but not the rows.
`python -m hallmark.commands.preview FILE` prints what would be masked in any file.
"""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path
from typing import Any

from hallmark.base.errors import HallmarkError, printable, run_stage
from hallmark.base.files import MASKED, REPORTS, atomic, write_json
from hallmark.base.key import pseudonym, read_key
from hallmark.base.measured import measured
from hallmark.base.printing import show
from hallmark.base.progress import Progress
from hallmark.base.rows import files_of
from hallmark.base.tools import in_words
from hallmark.data.copied import advice
from hallmark.data.gold import crossed_off, gold_spans
from hallmark.data.leftover import check_people, check_written, names_written, noted
from hallmark.data.missing import Missing
from hallmark.data.passes import all_different, masked_records, read_once
from hallmark.data.raw import raw_rows
from hallmark.data.recording import Written, write_groups
from hallmark.mask.languages import Languages, unsupported
from hallmark.mask.surrogates import uses_key
from hallmark.params.loader import Params, load_params
from hallmark.task.task import Task

log = logging.getLogger("mask")


def run(params: Params) -> None:
    """Write `data/masked.parquet` and `reports/mask.json`; write nothing if a row is bad or private data is left."""
    for rules in unsupported(params.mask.language):
        log.warning("mask.language is '%s', which lacks %s", params.mask.language, rules)
    with measured("mask") as numbers, atomic(MASKED) as temporary:
        task = Task(params.task)
        gold = gold_spans(Path(params.mask.gold), params.data) if params.mask.gold else None
        key = read_key(params.data, surrogates=uses_key(params.mask))

        # What a person wrote for git is not masked.
        places: dict[str | Path, Any] = {
            "task.system_prompt": params.task.system_prompt,
            "task.refusal": params.task.refusal,
        }
        places |= {task.schema_file: task.schema} if task.schema_file else {}
        raw = {"data.path": [str(file) for file in files_of(Path(params.data.path))]}
        check_written([*places.items(), *raw.items()], params.mask)
        for warning in names_written(places.items(), params.mask):
            log.warning(warning)

        # First pass: every row is checked, before an hour of masking, and what identifies each group is read.
        unseen, missing = set(gold or ()), Missing()
        checked = raw_rows(params.data, params.mask, task, missing)
        name_key = key if params.data.pseudonyms == "keyed" else None
        languages = Languages(params.mask.language)
        columns: dict[str, set[str]] = {}  # of names that records have as they are
        named = crossed_off(unseen, noted(checked, params.data, columns), name_key)
        begin = time.perf_counter()
        known, rows, size = read_once(named, params.mask, languages)
        numbers |= {"rows": rows, "read_seconds": round(time.perf_counter() - begin, 2)}
        check_people(columns, params.mask, params.data.path)
        if other := languages.warning():
            log.warning(other)
        if unseen:
            log.warning("%d of the records that %s names are not in the data", len(unseen), params.mask.gold)

        # Second pass: each row is masked, checked for what is left, and becomes a record, with pseudonyms for id and group.
        written = Written()
        with Progress("mask", rows, "rows", work={"characters": size}) as progress:
            again = raw_rows(params.data, params.mask, task, again=True)
            records = masked_records(again, known, params, gold, key, written, progress, numbers)
            write_groups(temporary, all_different(records, params.data))
        written.check_all(params.mask, params.data.path)
        write_json(REPORTS / "mask.json", written.report(params.mask, missing))

    for line in missing.lines(params.data):
        log.warning(line)
    if written.crashed:
        crashed = "; ".join(f"{printable(str(raw.file))}, row {raw.number}" for raw in written.crashed)
        log.warning("%d rows left out, which no worker survived: %s", len(written.crashed), crashed)
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


def main(arguments: argparse.Namespace) -> None:
    """Command line: `--find NAME` prints; without it the stage runs."""
    params = load_params(arguments.params)
    if arguments.find is not None:
        find(params, arguments.find)
    else:
        run(params)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m stages.mask", description=__doc__)
    parser.add_argument(
        "--find", metavar="NAME", help="print file and row number of the raw rows of this pseudonym; write nothing"
    )
    run_stage("mask", __doc__, main, parser)
