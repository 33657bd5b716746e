"""Not a stage: show what more data would bring: `python -m hallmark.commands.curve` (`nox -s curve`).

Trains on the shares `curve.shares` of the training groups, each part containing the smaller ones, answers the validation
records (never the holdout) each time, fits a power law, and says what twice the data would bring. Finished points are
kept below .hallmark/curve, and the adapter of `sft` serves for all groups if it is up to date. Writes
reports/curve.json and reports/curve.md, which belong in git. `--dry` only says what would run and how long it takes.
"""

from __future__ import annotations

import argparse
import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hallmark.answer.measures import measures_of
from hallmark.base.errors import run_stage
from hallmark.base.figures import in_brackets
from hallmark.base.files import BASE, HOLDOUT, TRAIN, VALIDATION
from hallmark.base.progress import duration
from hallmark.base.records import read_records
from hallmark.base.single_run import alone
from hallmark.base.stats import ClusterBootstrap, Interval
from hallmark.commands import sweep
from hallmark.commands.curve_points import (
    FOLDER,
    Part,
    Point,
    is_trained,
    made,
    parts,
    read_by_all,
    settings,
    steps_share,
)
from hallmark.judge.power_law import FALLS, FEW, FLAT, RIGHT, RISES, Outlook, outlook
from hallmark.params.loader import Params, load_params, resolved
from hallmark.task.measure import Measure
from hallmark.task.task import Task

log = logging.getLogger("curve")


@dataclass(frozen=True)
class Measured:
    name: str
    words: str
    values: list[Interval]
    outlook: Outlook


@dataclass(frozen=True)
class Curve:
    """The points made so far, of `planned`, and the measures, the deciding one first; `validation`: records and groups at each."""

    points: list[Point]
    planned: int
    measures: list[Measured]
    validation: dict[str, int]
    confidence: float
    least_steps: float


def planned_parts(params: Params, raw: dict[str, Any]) -> list[Part]:
    groups = read_records(TRAIN)["group"].to_list()
    return parts(groups, params.curve.shares, params.seed, read_by_all(raw, params.curve.least_steps))


def plan(params: Params, planned: list[Part], records: int) -> list[str]:
    """What will run, in lines, with the time that it takes, as `nox -s plan` estimates it."""
    from hallmark.plan.estimate import estimate

    left = [part for part in planned if not part.is_made]
    lines, total = [], 0.0
    if left:
        whole, taken = estimate(params, BASE), is_trained()
        # The holdout is answered by two models.
        answers = whole.evaluation_seconds / 2 * len(read_records(VALIDATION)) / max(1, len(read_records(HOLDOUT)))
    for part in planned:
        what = "made already"
        if part in left:
            trained = not (part.whole and taken)
            least = params.curve.least_steps
            needed = answers + (whole.training_seconds * steps_share(part, records, least) if trained else 0.0)
            what = f"about {duration(needed)}" if math.isfinite(needed) else "time unknown"
            what += "" if trained else ", with the adapter of `sft`"
            total += needed
        lines.append(f"  {len(part.groups):>6,} groups  {part.records:>8,} records  {what}")
    if math.isfinite(total) and left:
        lines.append(f"  about {duration(total)} in all; a point that is made isn't made again")
    return lines


def curve(params: Params, raw: dict[str, Any], planned: list[Part], records: int) -> Curve:
    """Make the points, smallest first; the report is written after each."""
    points = list[Point]()
    for number, part in enumerate(planned, 1):
        log.info("point %d of %d: %d records of %d groups", number, len(planned), part.records, len(part.groups))
        points.append(made(part, settings(raw, part, records, params.curve.least_steps)))
        found = drawn(points, len(planned), params)
        write(found)
    return found


def measures(params: Params, rows: Sequence[Any]) -> list[Measure]:
    """The measure that decides, then those of the gate and the kind (without its own: its gate's); none of form alone."""
    task, floors = Task(params.task), params.gate.floors
    known = {measure.name: measure for measure in measures_of(task, rows)}
    own = [measure.name for measure in task.kind.measures[-1:]] or list(task.kind.gate.get("floors", ()))
    names = dict.fromkeys([sweep.deciding(floors, known), "exact_match", *floors, *own])
    return [known[name] for name in names if name in known and name not in sweep.FORM]


def drawn(points: list[Point], planned: int, params: Params) -> Curve:
    """The curve of these points; each answered the same records."""
    rows, asked = points[0].predictions, params.compare
    groups = [row.group for row in rows]
    bootstrap = ClusterBootstrap(groups, confidence=asked.confidence, draws=asked.bootstrap_samples, seed=params.seed)
    found = []
    for measure in measures(params, rows):
        columns = [measure.columns(point.predictions) for point in points]
        values = [bootstrap.interval(column, measure.statistic).rounded() for column in columns]
        law = Outlook(FEW, points[-1].part.records)
        if len(points) == planned:
            law = outlook([point.part.records for point in points], columns, measure.statistic, bootstrap)
        found.append(Measured(measure.name, measure.words, values, law))
    validation = {"records": len(rows), "groups": bootstrap.clusters}
    return Curve(points, planned, found, validation, asked.confidence, params.curve.least_steps)


def headline(curve: Curve) -> str:
    if len(curve.points) < curve.planned:
        return f"{len(curve.points)} of {curve.planned} points are done."
    first = curve.measures[0]
    law, name = first.outlook, first.words[0].lower() + first.words[1:]
    by = f"{curve.validation['records']} validation records of {curve.validation['groups']} groups"
    if law.verdict == RISES and law.twice and law.gain:
        return (
            f"Twice the data ({2 * law.records:,} records) would bring {name} to about {in_brackets(law.twice, ' %')}, "
            f"{in_brackets(law.gain, ' points')} above the curve at today's {law.records:,} records."
        )
    return {
        FLAT: f"It is not clear that more data would help: on {by}, the curve of {name} may be flat.",
        FALLS: f"More data of this kind would not help: {name} falls as records are added.",
        FEW: f"Whether more data would help is not known: fewer than three points have a right answer ({name}).",
        RIGHT: f"More data can hardly help: {name} is already {100 * first.values[-1].value:.1f} % of {by}.",
    }[law.verdict]


def notes(curve: Curve) -> list[str]:
    missed = curve.measures[0].outlook.missed
    if missed is None or missed.low <= 0 <= missed.high:
        return []
    fewer, side = ("less", "more") if missed.value > 0 else ("more", "less")
    return [
        f"The smaller parts alone predict {abs(100 * missed.value):.1f} points {fewer} than was measured with all records: "
        f"the curve bends, so expect {side} from twice the data than it says."
    ]


def table(curve: Curve) -> sweep.Table:
    """What terminal and reports/curve.md show; the last row is what is predicted."""
    head = ("groups", "records", "steps", "minutes", *(f"{measured.words} %" for measured in curve.measures))
    rows = []
    for number, point in enumerate(curve.points):
        part, values = point.part, (in_brackets(measured.values[number]) for measured in curve.measures)
        row = (f"{len(part.groups):,}", f"{part.records:,}", f"{point.steps:,}", f"{point.seconds / 60:.1f}")
        rows.append((*row, *values))
    predicted = [measured.outlook.twice for measured in curve.measures]
    if any(predicted):
        values = (f"~{in_brackets(value)}" if value else sweep.UNKNOWN for value in predicted)
        rows.append(("twice", f"{2 * curve.measures[0].outlook.records:,}", "", "", *values))
    return sweep.Table(headline(curve), head, rows, notes(curve))


def write(curve: Curve) -> list[str]:
    made = [
        {
            "share": point.part.share,
            "groups": len(point.part.groups),
            "records": point.part.records,
            "steps": point.steps,
            "seconds": point.seconds,
            "measures": {measured.name: asdict(measured.values[number]) for measured in curve.measures},
        }
        for number, point in enumerate(curve.points)
    ]
    report = {
        "points": made,
        "planned": curve.planned,
        "headline": headline(curve),
        "notes": notes(curve),
        "outlook": {measured.name: asdict(measured.outlook) for measured in curve.measures},
        "validation": curve.validation,
        "confidence": curve.confidence,
        "least_steps": curve.least_steps,
    }
    return sweep.write("curve", report, table(curve))


def main(arguments: argparse.Namespace) -> None:
    params, raw = load_params(arguments.params), resolved(arguments.params)
    planned, records = planned_parts(params, raw), len(read_records(TRAIN))
    print("\n".join(plan(params, planned, records)), flush=True)
    if arguments.dry:
        return
    with alone(FOLDER, "another curve is drawn in this repository", "wait for it, or stop it"):
        print("\n".join(["", *table(curve(params, raw, planned, records)).lines()]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m hallmark.commands.curve", description=__doc__)
    parser.add_argument("--dry", action="store_true", help="only say what would run, and how long it takes")
    run_stage("curve", __doc__, main, parser)
