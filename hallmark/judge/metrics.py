"""What metrics.json says of a model, as counted: its measures, failures, fields and labels, and what a schema changes.

Intervals are `compare`'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from hallmark.answer.labels import labels_of, right_labels
from hallmark.answer.measures import measures_of
from hallmark.answer.scoring import Score
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


def label_metrics(task: Task, rows: Sequence[Prediction], usual: Mapping[str, str]) -> list[dict[str, Any]]:
    """How often each label is right; `floor`: how often `usual`, its most frequent value in training, is."""
    labels = []
    for name, right in right_labels(task, list(usual), [(row.target, row.prediction) for row in rows]).items():
        judged = [(row, flag) for row, flag in zip(rows, right, strict=True) if flag is not None]
        if not judged:
            continue
        expected = [labels_of(task, row.target, list(usual))[name] for row, _ in judged]
        rate = sum(bool(flag) for _, flag in judged) / len(judged)
        floor = sum(label == usual[name] for label in expected) / len(expected)
        labels.append({"name": name, "records": len(judged), "floor": round(floor, 6), "value": round(rate, 6)})
    return labels


def held_to_schema(free: Sequence[tuple[Any, Score]], held: Sequence[tuple[Any, Score]]) -> dict[str, Any]:
    """How many records holding `fixed` (now an exact match), only `hid` (was not valid, is now valid but still wrong), and
    `lost` (was an exact match). Each is an answer, which has `tokens` and `cut_off`, and its score."""
    pairs = [(before, after) for (_, before), (_, after) in zip(free, held, strict=True)]
    return {
        "records": len(pairs),
        **{
            name: {
                "parses": sum(score.parses for _, score in answers),
                "schema_validity": sum(score.schema_valid for _, score in answers),
                "exact_match": sum(score.exact_match for _, score in answers),
                "cut_off": sum(answer.cut_off for answer, _ in answers),
                "tokens": sum(answer.tokens for answer, _ in answers),
            }
            for name, answers in (("free", free), ("constrained", held))
        },
        "fixed": sum(not before.exact_match and after.exact_match for before, after in pairs),
        "hidden": sum(
            not before.schema_valid and after.schema_valid and not after.exact_match for before, after in pairs
        ),
        "lost": sum(before.exact_match and not after.exact_match for before, after in pairs),
    }
