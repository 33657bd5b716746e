"""The records of the page, as its script reads them: what was asked, what was expected, what each model answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from stages.core.outcomes import OUTCOMES
from stages.page.text import LABEL, clip, cut, value
from stages.tasks.predictions import Prediction
from stages.tasks.values import FieldResult

MOST_CHARS = 40_000_000  # of all records on a page: more makes a browser slow


@dataclass(frozen=True)
class Comparator:
    """Another model's answers to the same records, which may give some fields only.

    `right` has for each record whether each of its labels is right, by name.
    """

    title: str
    rows: Sequence[Prediction]
    labels: Sequence[str]
    right: Sequence[dict[str, bool]]


def island(
    base: Sequence[Prediction],
    tuned: Sequence[Prediction],
    others: Sequence[Comparator],
    cells: Sequence[list[Any]],
    *,
    chars: int,
    records: int,
) -> list[dict[str, Any]]:
    """The records as the page's script reads them, worst first: at most `records`, no text longer than `chars`.

    `cells` has for each record its cells in the tables of labels.
    """

    def rank(number: int) -> tuple[Any, ...]:
        before, after = base[number], tuned[number]
        return (
            after.outcome == "pass",
            before.outcome != "pass",  # what the base could do and the tuned model can't comes first
            OUTCOMES.index(after.outcome),
            -sum(field.result != "match" for field in after.fields),
            number,
        )

    rows: list[dict[str, Any]] = []
    left = MOST_CHARS
    for number in sorted(range(len(tuned)), key=rank)[:records]:
        row = _record(number, base[number], tuned[number], others, chars) | {"cells": cells[number]}
        left -= sum(map(_chars, [row["input"], row["context"] or "", row["target"]]))
        left -= sum(_chars(model["text"]) for model in row["models"])
        if left < 0 and rows:
            break
        rows.append(row)
    return rows


def _chars(text: str | list[Any]) -> int:
    return len(text if isinstance(text, str) else text[0])


def _record(
    number: int, before: Prediction, after: Prediction, others: Sequence[Comparator], chars: int
) -> dict[str, Any]:
    given = [other.rows[number] for other in others]
    sides = [before.fields, after.fields]
    # What a comparator is not asked for is nothing that it got wrong.
    sides += [
        [field for field in row.fields if field.path in other.labels] for row, other in zip(given, others, strict=True)
    ]
    return {
        "number": number + 1,
        "id": clip(after.id, LABEL),
        "group": clip(after.group, LABEL),
        "tags": [clip(tag, LABEL) for tag in after.tags or ()],
        "input": cut(after.input, chars),
        "context": cut(after.context, chars) if after.context else None,
        "target": cut(after.target, chars),
        "models": [
            *(
                {
                    "text": cut(row.answer or row.prediction, chars),
                    "outcome": row.outcome,
                    "reason": clip(row.reason or "", 300),
                    "cut_off": row.finish == "length",
                }
                for row in (before, after)
            ),
            *(
                {"text": cut(row.answer, chars), "wrong": [clip(name, LABEL) for name in wrong(other.right[number])]}
                for row, other in zip(given, others, strict=True)
            ),
        ],
        "fields": merge_fields(sides, chars),
    }


def wrong(right: dict[str, bool]) -> list[str]:
    """The labels that are not right."""
    return [name for name, flag in right.items() if not flag]


def merge_fields(sides: Sequence[Sequence[FieldResult]], limit: int) -> list[list[Any]]:
    """One row per field: path, target, and value and result of each model (None: not judged)."""
    rows: dict[str, list[list[FieldResult]]] = {}
    for model, results in enumerate(sides):
        for result in results:
            rows.setdefault(result.path, [[] for _ in sides])[model].append(result)
    merged = []
    for path, columns in rows.items():
        for line in zip_longest(*columns):
            fields = [field for field in line if field is not None]
            cells = [[value(field.prediction, limit), field.result] if field else None for field in line]
            target = value(fields[0].target, limit)
            merged.append([clip(path, LABEL), target, *cells])
    return merged
