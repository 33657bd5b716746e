"""The measures of a model: each is declared here or in the file of its kind, and shows up wherever results do.

To add one, write it as `MEASURE` into a module of a repository's `stages/measures/`, add it to COMMON, or to `measures` of
its kind: metrics.json, comparison, gate, report page, model card, bill of materials and summary then have it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from hallmark.answer.spans import WAYS, span_columns
from hallmark.base.own_modules import own_modules
from hallmark.task.kinds import KINDS
from hallmark.task.measure import Measure, Statistic
from hallmark.task.task import Task
from hallmark.task.values import field_counts

if TYPE_CHECKING:
    from hallmark.task.measure import Predictions

Spans = Sequence[str]


def _flags(name: str) -> Callable[[Predictions, Spans], list[bool]]:
    return lambda rows, _: [bool(getattr(row, name)) for row in rows]


def _field_counts(rows: Predictions, _: Spans) -> list[tuple[int, int, int]]:
    return [field_counts(row.fields) for row in rows]


def _has_fields(rows: Predictions, _: Spans) -> bool:
    return any(row.fields for row in rows)


def _field_measure(name: str, words: str, statistic: Statistic) -> Measure:
    return Measure(name, words, _field_counts, statistic, statistic, applies=_has_fields)


def _span_points(way: str, rows: Predictions, spans: Spans) -> list[list[float]]:
    return span_columns(rows, spans)[way]


def _span_measure(way: str) -> Measure:
    columns = partial(_span_points, way)
    return Measure(f"span_{way}_f1", f"Span F1 ({way})", columns, "ratio", "f1", applies=lambda _, spans: bool(spans))


COMMON: dict[str, Measure] = {
    measure.name: measure
    for measure in (
        Measure("parses", "Parses", _flags("parses"), "rate", "parses", given=lambda task: not task.is_json),
        Measure(
            "schema_validity",
            "Valid under the schema",
            _flags("schema_valid"),
            "rate",
            "schema_validity",
            given=lambda task: not task.has_form,
        ),
        Measure("exact_match", "Exact match", _flags("exact_match"), "rate", "exact_match"),
        _field_measure("field_precision", "Field precision", "precision"),
        _field_measure("field_recall", "Field recall", "recall"),
        _field_measure("field_f1", "Field F1", "f1"),
        *map(_span_measure, WAYS),
        *(module.MEASURE for module in own_modules("measures")),
    )
}


def known_measures() -> dict[str, Measure]:
    """Every measure by name, those of all kinds of task included."""
    return COMMON | {measure.name: measure for kind in KINDS.values() for measure in kind.measures}


def measures_of(task: Task, rows: Predictions, spans: Spans) -> list[Measure]:
    """The measures that these predictions of a task have, in the order in which they are shown."""
    return [measure for measure in (*COMMON.values(), *task.kind.measures) if measure.applies(rows, spans)]
