"""What metrics.json says of a model: its measures, failures and fields, as counted. Intervals are `compare`'s."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from hallmark.answer.measures import measures_of
from hallmark.base.errors import HallmarkError
from hallmark.base.outcomes import FAILURES
from hallmark.base.stats import whole
from hallmark.task.predictions import Prediction
from hallmark.task.task import Task


def metrics(model: str, rows: Sequence[Prediction], task: Task) -> dict[str, Any]:
    """The measures, failures and fields, as metrics.json has them."""
    report: dict[str, Any] = {
        "model": model,
        "records": len(rows),
        "groups": len({row.group for row in rows}),
        "failures": {name: sum(row.outcome == name for row in rows) for name in FAILURES},
        "cut_off": sum(row.finish == "length" for row in rows),
    }
    for measure in measures_of(task, rows):
        columns = measure.columns(rows)
        if measure.statistic == "mean" and not all(0 <= value <= 1 for value in columns):
            raise HallmarkError(
                f"the measure {measure.name} has values that are no share of 1",
                file="stages/measures",
                remedy="let it return numbers from 0 to 1, the higher the better",
            )
        report[measure.name] = round(whole(columns, measure.statistic), 6)
    if any(row.fields for row in rows):
        report["by_field"] = by_field(rows)
    return report


def counts(rows: Sequence[Prediction]) -> dict[str, Any]:
    """The measures of a part that only the tuned model answers: how much there is to learn from, how much of it is right."""
    return {
        "model": "tuned",
        "records": len(rows),
        "groups": len({row.group for row in rows}),
        "exact_match": sum(row.exact_match for row in rows),
        "with_confidence": sum(row.confidence is not None for row in rows),
    }


def in_words(report: dict[str, Any], measured: dict[str, Any]) -> str:
    """The main measures in one line, for the log."""
    return (
        f"{report['model']}: {report['records']} records, exact match {100 * report['exact_match']:.1f} %, "
        f"valid {100 * report['schema_validity']:.1f} %, {measured['tokens']} tokens, "
        f"{measured['tokens_per_second']:.0f} a second"
    )


def by_field(rows: Sequence[Prediction]) -> list[dict[str, Any]]:
    """Precision, recall and F1 of each field of an answer, and how many values of it were expected (`n`)."""
    results: dict[str, Counter[str]] = {}
    for row in rows:
        for value in row.fields:
            results.setdefault(writable(value.path), Counter())[value.result] += 1
    table = []
    for path, counts in sorted(results.items()):
        right, given = counts["match"], counts["match"] + counts["wrong"] + counts["spurious"]
        expected = counts["match"] + counts["wrong"] + counts["missing"]
        if expected:  # a base model can make up any number of fields
            shares = {
                "precision": right / given if given else 0.0,
                "recall": right / expected,
                "f1": 2 * right / (given + expected),
            }
            table.append({"name": path, "n": expected} | {name: round(share, 6) for name, share in shares.items()})
    return table


def writable(text: str) -> str:
    """The text, with a question mark for each half of a surrogate pair: JSON has those, UTF-8 has not."""
    return text.encode("utf-8", "replace").decode()
