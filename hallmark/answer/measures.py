"""The measures of a model: each is declared here or in the file of its kind, and shows up wherever results do.

To add one, write it as `MEASURE` into a module of a repository's `stages/measures/`, add it to COMMON, or to `measures` of
its kind: metrics.json, comparison, gate, report page, model card and summary then have it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from hallmark.base.own_modules import own_modules
from hallmark.task.kinds import KINDS
from hallmark.task.measure import Measure, Statistic
from hallmark.task.task import Task
from hallmark.task.values import field_counts

if TYPE_CHECKING:
    from hallmark.task.measure import Predictions


def _flags(name: str) -> Callable[[Predictions], list[bool]]:
    return lambda rows: [bool(getattr(row, name)) for row in rows]


def _field_counts(rows: Predictions) -> list[tuple[int, int, int]]:
    return [field_counts(row.fields) for row in rows]


def _has_fields(rows: Predictions) -> bool:
    return any(row.fields for row in rows)


def _field_measure(name: str, words: str, statistic: Statistic) -> Measure:
    return Measure(name, words, _field_counts, statistic, statistic, applies=_has_fields)


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
        *(module.MEASURE for module in own_modules("measures")),
    )
}


def known_measures() -> dict[str, Measure]:
    """Every measure by name, those of all kinds of task included."""
    return COMMON | {measure.name: measure for kind in KINDS.values() for measure in kind.measures}


def measures_of(task: Task, rows: Predictions) -> list[Measure]:
    """The measures that these predictions of a task have, in the order in which they are shown."""
    return [measure for measure in (*COMMON.values(), *task.kind.measures) if measure.applies(rows)]
