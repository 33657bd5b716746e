"""The answers that the page shows, of each model to each record of the holdout, if they are those that were compared."""

from __future__ import annotations

from collections.abc import Sequence

from hallmark.base.errors import HallmarkError
from hallmark.base.reports import Report
from hallmark.task.predictions import Prediction, paired, read_predictions


def check_compared(rows: Sequence[Prediction], count: int) -> None:
    """Raise a HallmarkError unless comparison.json is about as many answers."""
    if len(rows) != count:
        report = Report("comparison", "compare")
        raise HallmarkError("not about these predictions", file=report.path, remedy=report.remedy)


def answered(name: str, count: int, tuned: Sequence[Prediction]) -> list[Prediction | None]:
    """A model's answer to each record of the holdout; None if it was not asked. `count`: how many were compared."""
    rows = read_predictions(name)
    paired(name, rows, tuned)
    check_compared(rows, count)
    given = {row.id: row for row in rows}
    return [given.get(row.id) for row in tuned]
