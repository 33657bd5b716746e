"""A learning curve and what twice the data would bring: reports/curve.json, the table in the terminal, reports/curve.html."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hallmark.answer.measures import measures_of
from hallmark.answer.params import Eval
from hallmark.base.errors import printable
from hallmark.base.files import REPORTS, write_json, write_text
from hallmark.base.stats import ClusterBootstrap, Interval
from hallmark.commands.curve_points import Point
from hallmark.commands.experiments import FORM
from hallmark.judge.power_law import FALLS, FEW, FLAT, RIGHT, RISES, Outlook, outlook
from hallmark.page.charts import line_chart
from hallmark.page.text import STYLE, csp_hash, environment, read_part
from hallmark.task.measure import Measure
from hallmark.task.task import Task

REPORT, PAGE = REPORTS / "curve.json", REPORTS / "curve.html"
TEMPLATE = Path(__file__).with_name("curve.html.jinja")
STEPS_DRAWN = 40  # points of the fitted line


@dataclass(frozen=True)
class Measured:
    """A measure at each point, and what its curve says."""

    name: str
    words: str
    values: list[Interval]
    outlook: Outlook


@dataclass(frozen=True)
class Curve:
    """The points that are made so far, of `planned`, and the measures; the first is the one that decides.

    `validation_records` of `validation_groups` were answered at each point.
    """

    points: list[Point]
    planned: int
    measures: list[Measured]
    validation_records: int
    validation_groups: int
    confidence: float
    least_steps: float

    @property
    def headline(self) -> str:
        """What more data would bring, by the measure that decides, in a sentence or two."""
        if len(self.points) < self.planned:
            return f"{len(self.points)} of {self.planned} points are made."
        return words(self.measures[0], self)

    @property
    def notes(self) -> list[str]:
        """What to keep in mind."""
        found = []
        first = self.measures[0].outlook
        if first.missed is not None and not first.missed.low <= 0 <= first.missed.high:
            side = "more" if first.missed.value > 0 else "less"
            found.append(
                f"The smaller parts alone foretell {side_of(first.missed)} than was measured with all records: the curve "
                f"bends, so expect {side} of twice the data than it says."
            )
        return found


def side_of(missed: Interval) -> str:
    """By how much the measure was missed, in words."""
    return f"{abs(100 * missed.value):.1f} points {'less' if missed.value > 0 else 'more'}"


def measures(task: Task, rows: Sequence[Any], spans: Sequence[str], floors: Sequence[str]) -> list[Measure]:
    """Exact match, or what the gate asks for instead, then its other measures and that of the kind; none of form alone.

    A kind without a measure of its own has those that its gate starts with.
    """
    known = {measure.name: measure for measure in measures_of(task, rows, spans)}
    asked = [name for name in floors if name not in FORM]
    first = asked[0] if asked and "exact_match" not in asked else "exact_match"
    own = [measure.name for measure in task.kind.measures[-1:]] or list(task.kind.gate.get("floors", ()))
    named = dict.fromkeys([first, "exact_match", *asked, *own])
    return [known[name] for name in named if name in known and name not in FORM]


def drawn(
    points: list[Point], planned: int, task: Task, settings: Eval, floors: Sequence[str], seed: int, least: float
) -> Curve:
    """The curve of these points; each answered the same records."""
    rows = points[0].predictions
    bootstrap = ClusterBootstrap(
        [row.group for row in rows], confidence=settings.confidence, draws=settings.draws, seed=seed
    )
    found = []
    for measure in measures(task, rows, settings.spans, floors):
        columns = [measure.columns(point.predictions, settings.spans) for point in points]
        values = [bootstrap.interval(column, measure.statistic).rounded() for column in columns]
        law = Outlook(FEW, points[-1].part.records)
        if len(points) == planned:
            law = outlook([point.part.records for point in points], columns, measure.statistic, bootstrap)
        found.append(Measured(measure.name, measure.words, values, law))
    return Curve(points, planned, found, len(rows), bootstrap.clusters, settings.confidence, least)


def words(measured: Measured, curve: Curve) -> str:
    """What twice the data would bring to a measure."""
    law, now = measured.outlook, measured.values[-1].value
    name = measured.words[0].lower() + measured.words[1:]
    by = f"{curve.validation_records} validation records of {curve.validation_groups} groups"
    if law.verdict == RISES and law.twice and law.gain:
        return (
            f"Twice the data ({2 * law.records:,} records) would bring {name} to about {share(law.twice)}, {points(law.gain)} "
            f"above the curve at today's {law.records:,} records."
        )
    return {
        FLAT: f"What more data would bring can't be told: by {by}, the curve of {name} may as well be flat.",
        FALLS: f"More data of this kind would bring nothing: {name} falls with the records.",
        FEW: f"What more data would bring can't be told: fewer than three points have a right answer ({name}).",
        RIGHT: f"More data can't show: {name} is {100 * now:.1f} % of {by} already.",
    }[law.verdict]


def share(of: Interval) -> str:
    """A share and its interval in percent."""
    return f"{100 * of.value:.1f} % [{100 * of.low:.1f}, {100 * of.high:.1f}]"


def points(of: Interval) -> str:
    """A gain and its interval in points."""
    return f"{100 * of.value:.1f} points [{100 * of.low:.1f}, {100 * of.high:.1f}]"


def table(curve: Curve) -> list[str]:
    """The table in lines for a terminal; the last is what is foretold."""
    rows = [("groups", "records", "steps", "minutes", *(measured.words for measured in curve.measures))]
    for number, point in enumerate(curve.points):
        minutes = f"{point.seconds / 60:.1f}"
        values = (share(measured.values[number]) for measured in curve.measures)
        rows.append((f"{len(point.part.groups):,}", f"{point.part.records:,}", f"{point.steps:,}", minutes, *values))
    if any(measured.outlook.twice for measured in curve.measures):
        twice = (measured.outlook.twice for measured in curve.measures)
        foretold = (f"~{share(value)}" if value else "-" for value in twice)
        rows.append(("twice", f"{2 * curve.measures[0].outlook.records:,}", "", "", *foretold))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return [f"  {printable(line)}".rstrip() for line in lines]


def content(curve: Curve) -> dict[str, Any]:
    """reports/curve.json."""
    made = [
        {
            "share": point.part.share,
            "groups": len(point.part.groups),
            "records": point.part.records,
            "steps": point.steps,
            "seconds": point.seconds,
            "reused": point.reused,
            "measures": {measured.name: asdict(measured.values[number]) for measured in curve.measures},
        }
        for number, point in enumerate(curve.points)
    ]
    return {
        "points": made,
        "planned": curve.planned,
        "headline": curve.headline,
        "notes": curve.notes,
        "outlook": {measured.name: asdict(measured.outlook) for measured in curve.measures},
        "validation": {"records": curve.validation_records, "groups": curve.validation_groups},
        "confidence": curve.confidence,
        "least_steps": curve.least_steps,
    }


def chart(measured: Measured, curve: Curve) -> dict[str, Any]:
    """Points, whiskers, fitted line and what is foretold, on a canvas of 100 x 100; measures in percent."""
    law = measured.outlook
    at = [float(point.part.records) for point in curve.points]
    lines: dict[str, list[tuple[float, float]]] = {"fit": [], "twice": []} | {
        name: [(x, 100 * getattr(value, name)) for x, value in zip(at, measured.values, strict=True)]
        for name in ("value", "low", "high")
    }
    if law.scale is not None:
        end = at[-1] * (2 if law.twice else 1)
        steps = [at[0] + (end - at[0]) * number / STEPS_DRAWN for number in range(STEPS_DRAWN + 1)]
        lines["fit"] = [(x, 100 * max(0.0, law.at(x) or 0.0)) for x in steps]
    if law.twice:
        lines["twice"] = [(2 * at[-1], 100 * getattr(law.twice, name)) for name in ("low", "value", "high")]
    made = line_chart(lines, zero=True)
    bars = [(low[0], low[1], high[1]) for low, high in zip(made["lines"]["low"], made["lines"]["high"], strict=True)]
    return made | {
        "name": measured.words,
        "bars": bars,
        "words": words(measured, curve) if len(curve.points) == curve.planned else "",
    }


def page(curve: Curve) -> str:
    """reports/curve.html as one text, which loads nothing and has no script."""
    style = read_part(STYLE)
    template = environment(**{TEMPLATE.name: TEMPLATE.read_text(encoding="utf-8")}).get_template(TEMPLATE.name)
    charts = [chart(measured, curve) for measured in curve.measures]
    return template.render(curve=curve, charts=charts, style=style, style_hash=csp_hash(style))


def write(curve: Curve) -> None:
    """Write report and page."""
    write_json(REPORT, content(curve))
    write_text(PAGE, page(curve))
