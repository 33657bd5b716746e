"""Not a stage: show what more data would bring: `python -m hallmark.commands.curve` (`nox -s curve`).

Trains on the shares `curve.shares` of the training groups, each part with all smaller ones in it, answers the validation
records (never the holdout) each time, fits a power law, and says what twice the data would bring. Points that are made
are kept below .hallmark/curve, and the adapter of `sft` is taken for all groups if it is up to date. Writes
reports/curve.json, which belongs in git, and the page reports/curve.html. `--dry` only says what would run and how long
it takes.
"""

from __future__ import annotations

import argparse
import logging
import math
from collections.abc import Mapping
from typing import Any

from hallmark.base.errors import printable, run_stage
from hallmark.base.files import BASE, HOLDOUT, TRAIN, VALIDATION
from hallmark.base.progress import duration
from hallmark.base.records import read_records
from hallmark.commands import curve_report as shown
from hallmark.commands.curve_points import Part, Point, is_made, made, parts, sft_is_current, steps_share
from hallmark.params.loader import Params, load_params, resolved
from hallmark.task.task import Task

log = logging.getLogger("curve")


def curve(params: Params, raw: Mapping[str, Any], planned: list[Part], records: int) -> shown.Curve:
    """Make the points, smallest first; report and page are written after each."""
    task, points = Task(params.task), list[Point]()
    for number, part in enumerate(planned, 1):
        log.info("point %d of %d: %d records of %d groups", number, len(planned), part.records, len(part.groups))
        points.append(made(part, params, raw, records))
        found = shown.drawn(
            points, len(planned), task, params.eval, list(params.gate.floors), params.seed, params.curve.least_steps
        )
        shown.write(found)
    return found


def plan(params: Params, raw: Mapping[str, Any], planned: list[Part], records: int) -> list[str]:
    """What will run, in lines, with the time that it takes, as `nox -s plan` estimates it."""
    left = [part for part in planned if not is_made(part, params, raw, records)]
    trained = [part for part in left if part.whole and sft_is_current()]
    needed = dict(zip(left, seconds(params, left, trained, records), strict=True))
    lines = []
    for part in planned:
        what = "made already"
        if part in needed:
            what = f"about {duration(needed[part])}" if math.isfinite(needed[part]) else "time unknown"
            what += ", with the adapter of `sft`" if part in trained else ""
        lines.append(f"  {len(part.groups):>6,} groups  {part.records:>8,} records  {what}")
    if math.isfinite(total := sum(needed.values())) and left:
        lines.append(f"  about {duration(total)} in all; a point that is made isn't made again")
    return lines


def seconds(params: Params, left: list[Part], trained: list[Part], records: int) -> list[float]:
    """How long each part takes, training and answers; not a number where nobody knows. `trained`: has its adapter."""
    from hallmark.plan.estimate import estimate

    if not left:
        return []
    whole = estimate(params, BASE)
    answered, held = (len(read_records(file)) for file in (VALIDATION, HOLDOUT))
    answers = whole.evaluation_seconds / 2 * answered / max(1, held)  # it is of two models
    least = params.curve.least_steps
    return [
        answers + (0.0 if part in trained else whole.training_seconds * steps_share(part, records, least))
        for part in left
    ]


def main(arguments: argparse.Namespace) -> None:
    """Command line: say what will run, run it, print the table."""
    params = load_params(arguments.params)
    raw = resolved(arguments.params)
    groups = read_records(TRAIN)["group"].to_list()
    planned = parts(groups, params.curve.shares, params.seed)
    print("\n".join(plan(params, raw, planned, len(groups))), flush=True)
    if arguments.dry:
        return
    found = curve(params, raw, planned, len(groups))
    print("\n".join(["", *shown.table(found), ""]))
    for line in (found.headline, *found.notes):
        print(printable(line))
    print(f"page: {shown.PAGE}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m hallmark.commands.curve", description=__doc__)
    parser.add_argument("--dry", action="store_true", help="only say what would run, and how long it takes")
    return parser


if __name__ == "__main__":
    run_stage("curve", __doc__, main, _parser())
