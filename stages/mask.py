"""Make the records with `stages/records.py`, mask private data in them, and write them: `python -m stages.mask`.

The recipe runs twice: a value that one record calls private is masked in all records of its group. Dropped are records
that hold a kind with the action `drop`. If the two runs differ, a record is wrong, or private data is left in one, nothing
is written. What should be looked at is said here and in reports/mask.json.

`python -m stages.mask --find NAME` prints where the raw rows of a pseudonym (of an id or a group) are, but not the rows.
"""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path
from typing import Any

from hallmark.base.errors import HallmarkError, printable, run_stage
from hallmark.base.files import MASKED, REPORTS, atomic, write_json
from hallmark.base.key import read_key
from hallmark.base.measured import measured
from hallmark.base.printing import show
from hallmark.base.progress import Progress
from hallmark.mask.copied import advice
from hallmark.mask.counts import Counts
from hallmark.mask.gold import gold_spans
from hallmark.mask.languages import Languages, unsupported
from hallmark.mask.leftover import check_people, check_written, names_written
from hallmark.mask.rows import Namer, write_groups
from hallmark.mask.surrogates import uses_key
from hallmark.mask.two_runs import Runs, all_different, first_run, masked_rows
from hallmark.params.loader import Params, load_params
from hallmark.records.recipe import RECIPE
from hallmark.records.second_run import SecondRun
from hallmark.task.task import Task

log = logging.getLogger("mask")

RAW = Path("data/raw")


def run(params: Params) -> None:
    """Write `data/masked.parquet` and `reports/mask.json`; write nothing if a record is bad or private data is left."""
    for rules in unsupported(params.mask.language):
        log.warning("mask.language is '%s', which lacks %s", params.mask.language, rules)
    with measured("mask") as numbers, atomic(MASKED) as temporary:
        task = Task(params.task)
        gold = gold_spans(Path(params.mask.gold), params.mask) if params.mask.gold else None
        key = read_key(params.data, surrogates=uses_key(params.mask))
        check_places(params, task)

        # First run: every record is checked, before an hour of masking, and what is private in each group is read.
        runs, named = Runs(params, task), Namer(params.data, key)
        languages, unseen = Languages(params.mask.language), set(gold or ())
        begin = time.perf_counter()
        with SecondRun(RECIPE, params.records) as second:
            first = first_run(runs.records(), params, task, named, languages, unseen.discard)
            made = runs.run
            assert made is not None
            second.compare(made)
        numbers |= {"records": first.count, "read_seconds": round(time.perf_counter() - begin, 2)}
        check_people(first.names, params.mask, str(RECIPE))
        for line in made.lines():
            log.info(line)
        warnings = made.warnings()
        for warning in warnings:
            log.warning("%s", warning.words)
        if other := languages.warning():
            log.warning(other)
        if unseen:
            log.warning("%d of the records that %s names are not in the data", len(unseen), params.mask.gold)

        # Second run: each record is masked, checked for what is left, and becomes a row, with pseudonyms for id and group.
        counts = Counts()
        with Progress("mask", first.count, "records", work={"characters": first.size}) as progress:
            again = runs.records(check=False)
            masked = masked_rows(again, first, params, named, gold, key, counts, progress, numbers)
            write_groups(temporary, all_different(masked))
        if runs.run is None or runs.run.digest != made.digest:
            problem = "made other records than the run before: what it reads has changed in the meantime"
            raise HallmarkError(problem, file=RECIPE, remedy="run it again when nothing else writes to data/raw")
        counts.check_all(params.mask, str(RECIPE))
        rows = {"read": sum(file.rows for file in made.read), "records": first.count, "left_out": dict(made.skipped)}
        recipe = {
            "files": [{"file": file.name, "rows": file.rows} for file in made.read],
            "prompt_columns": sorted(made.prompt_columns),
            "warnings": [vars(warning) for warning in warnings],
        }
        write_json(REPORTS / "mask.json", counts.report(params.mask, rows) | recipe)

    if counts.crashed:
        log.warning("%d records left out, which no worker survived: %s", len(counts.crashed), "; ".join(counts.crashed))
    for line in advice(counts.values, params.mask):
        log.warning(line)
    if task.kind.free_text:
        log.info("values that free-text answers copy from their input are not counted: they have no fields")
    log.info(
        "%d records, %d dropped, %d spans masked in %d records, %d of them found by the second check",
        *(first.count, counts.dropped, counts.total, counts.touched, sum(counts.second.values())),
    )


def check_places(params: Params, task: Task) -> None:
    """Fail if params, schema or the names of raw files hold what is private: git and reports have them as they are."""
    places: dict[str | Path, Any] = {
        "task.system_prompt": params.task.system_prompt,
        "task.refusal": params.task.refusal,
        "records": params.records,
    }
    places |= {task.schema_file: task.schema} if task.schema_file else {}
    files = {RAW: sorted(file.as_posix() for file in RAW.rglob("*") if file.is_file())}
    check_written([*places.items(), *files.items()], params.mask)
    for warning in names_written(places.items(), params.mask):
        log.warning(warning)


def find(params: Params, name: str) -> None:
    """Print the source of each record whose id or group has this pseudonym (or is called so)."""
    named = Namer(params.data, read_key(params.data) if params.data.pseudonyms == "keyed" else None)
    lines = []
    for record in Runs(params, Task(params.task)).records(check=False):
        if name in (named("id", record), named("group", record)):
            lines.append(f"{printable(record.source)}\n")
    if not lines:
        raise HallmarkError("no record has this name", file=RECIPE, remedy="give an id or a group as reports show it")
    show(lines)


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
