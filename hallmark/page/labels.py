"""Results by label: for each label of the task, how often each of its values is right, and what it is mistaken for."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from hallmark.answer.labels import labels_of
from hallmark.page.charts import heat
from hallmark.page.text import LABEL, clip
from hallmark.task.kind import REFUSAL
from hallmark.task.task import Task

MOST_LABELS = 12  # labels with a matrix; an extraction has one label for each of its fields with listed values
MOST_VALUES = 12  # values with a row of their own in a matrix; the others share one
MOST_ROWS = 100  # rows of the table of values
# What an answer can be besides a value; no label is spelled so.
OTHERS, REFUSED, NOT_VALID = "\0others", "\0refused", "\0not valid"
Labels = Sequence[Mapping[str, str]]  # of each record
Pair = tuple[str, str]  # the value expected, and the one given
Place = list[int]  # row and column in a matrix


@dataclass(frozen=True)
class Head:
    """The head of a row or column: a value, or (`aside`) what is none."""

    name: str
    aside: bool


@dataclass(frozen=True)
class Cell:
    """A cell of a matrix: how many records, a shade from 1 to 4, and whether the answer is right (None: some are)."""

    records: int
    heat: int
    right: bool | None


@dataclass(frozen=True)
class Value:
    """A value: its records, of how many each model was asked and got it right, how often `tuned` gives it, and what it gives
    instead most."""

    name: str
    records: int
    asked: dict[str, int]
    right: dict[str, int]
    given: int
    instead: Head | None


@dataclass(frozen=True)
class Matrix:
    """The confusion matrix of a model: a row for what is expected, a column for what it gives, of what it was asked."""

    columns: list[Head]
    cells: list[list[Cell]]  # by row
    totals: list[int]  # of rows


@dataclass(frozen=True)
class Label:
    """The results of a label: its values, and the matrix of each model. All matrices have the same rows."""

    name: str
    records: int
    values: list[Value]
    more_values: int
    rows: list[Head]
    matrices: dict[str, Matrix]


@dataclass(frozen=True)
class ByLabel:
    """All labels.

    `places` has for each record its cells in the matrices of `tuned`, one for each label. `right` has for each model, and
    for each record, whether each of its labels is right.
    """

    labels: list[Label]
    more_labels: int
    places: list[list[Place | None]]
    right: dict[str, list[dict[str, bool]]]


def by_label(task: Task, targets: Sequence[str], answers: Mapping[str, Sequence[str | None]]) -> ByLabel:
    """The results of each label. `answers` are those of each model, `tuned` among them, to the records of `targets`.

    None: the model was not asked.
    """
    names = task.kind.label_names(task)
    read: dict[str, Mapping[str, str]] = {}

    def labels(texts: Sequence[str | None]) -> Sequence[Mapping[str, str] | None]:
        for text in texts if names else ():
            if text is not None and text not in read:
                read[text] = labels_of(task, text, names)
        return [None if text is None else read.get(text, {}) for text in texts]

    due = [expected or {} for expected in labels(targets)]
    given = {model: labels(texts) for model, texts in answers.items()}
    right = {
        model: [
            {name: answer.get(name) == value for name, value in expected.items()} if answer is not None else {}
            for expected, answer in zip(due, column, strict=True)
        ]
        for model, column in given.items()
    }
    judged = [name for name in names if any(name in expected for expected in due)]
    shown, places = [], []
    for name in judged[:MOST_LABELS]:
        pairs = {model: _pairs(name, due, column) for model, column in given.items()}
        label, column = _label(name, pairs, task.is_json)
        shown.append(label)
        places.append(column)
    by_record = [list(row) for row in zip(*places, strict=True)] or [[] for _ in targets]
    return ByLabel(shown, len(judged) - len(shown), by_record, right)


def _pairs(name: str, due: Labels, given: Sequence[Mapping[str, str] | None]) -> list[Pair | None]:
    """What is expected and given of a label in each record; None if the target has no such label, or nothing was asked."""

    due_refusals = any(expected.get(name) == REFUSAL for expected in due)

    def said(labels: Mapping[str, str]) -> str:
        value = labels.get(name)
        if labels.get(REFUSAL) == "true" if value is None else value == REFUSAL and not due_refusals:
            return REFUSED
        return NOT_VALID if value is None else value

    return [
        (expected[name], said(answer)) if name in expected and answer is not None else None
        for expected, answer in zip(due, given, strict=True)
    ]


def _label(name: str, pairs: Mapping[str, list[Pair | None]], is_json: bool) -> tuple[Label, list[Place | None]]:
    """The results of a label, and the place of each record in the matrix of `tuned`."""
    counts = Counter(pair[0] for pair in pairs["tuned"] if pair)
    ranked = sorted(counts, key=lambda value: (-counts[value], value))
    top = ranked[:MOST_VALUES]
    rows = [*top, OTHERS] if len(ranked) > len(top) else top
    matrices, places = {}, {}
    for model, column in pairs.items():
        given = {pair[1] for pair in column if pair}
        strays = [OTHERS] if given - {*top, REFUSED, NOT_VALID} else []
        columns = [*top, *strays, *(word for word in (REFUSED, NOT_VALID) if word in given)]
        places[model] = [_place(pair, rows, columns) for pair in column]
        numbers = Counter(tuple(place) for place in places[model] if place)
        totals = [sum(count for (at, _), count in numbers.items() if at == row) for row in range(len(rows))]
        cells = [
            [
                _cell(numbers[row, to], totals[row], None if value == said == OTHERS else value == said)
                for to, said in enumerate(columns)
            ]
            for row, value in enumerate(rows)
        ]
        matrices[model] = Matrix([_head(name, value, is_json) for value in columns], cells, totals)
    label = Label(
        clip(name, LABEL),
        counts.total(),
        _values(name, ranked[:MOST_ROWS], counts, pairs, is_json),
        max(0, len(ranked) - MOST_ROWS),
        [_head(name, value, is_json) for value in rows],
        matrices,
    )
    return label, places["tuned"]


def _place(pair: Pair | None, rows: Sequence[str], columns: Sequence[str]) -> Place | None:
    if pair is None:
        return None
    return [axis.index(value if value in axis else OTHERS) for axis, value in zip((rows, columns), pair, strict=True)]


def _cell(records: int, total: int, right: bool | None) -> Cell:
    return Cell(records, heat(records, total), right)


def _values(
    name: str, ranked: Sequence[str], counts: Counter[str], pairs: Mapping[str, list[Pair | None]], is_json: bool
) -> list[Value]:
    hits = {
        model: Counter(pair[0] for pair in column if pair and pair[0] == pair[1]) for model, column in pairs.items()
    }
    asked = {model: Counter(pair[0] for pair in column if pair) for model, column in pairs.items()}
    given = Counter(pair[1] for pair in pairs["tuned"] if pair)
    instead: dict[str, Counter[str]] = {}
    for pair in pairs["tuned"]:
        if pair and pair[0] != pair[1]:
            instead.setdefault(pair[0], Counter())[pair[1]] += 1

    def most(said: Counter[str]) -> Head:
        return _head(name, min(said, key=lambda value: (-said[value], value)), is_json)

    return [
        Value(
            _head(name, value, is_json).name,
            counts[value],
            {model: asked[model][value] for model in hits},
            {model: hits[model][value] for model in hits},
            given[value],
            most(instead[value]) if value in instead else None,
        )
        for value in ranked
    ]


def _head(name: str, value: str, is_json: bool) -> Head:
    """A value as people read it: where answers are JSON, it is the list of a field's values."""
    if value in (OTHERS, REFUSED, NOT_VALID):
        return Head(value[1:], True)
    if is_json and name == REFUSAL:
        return Head("refuse" if value == "true" else "answer", False)
    content: Any = value
    if is_json:
        with suppress(ValueError, RecursionError):
            content = json.loads(value)
    parts = content if isinstance(content, list) else [content]
    texts = [part if isinstance(part, str) else json.dumps(part, ensure_ascii=False) for part in parts]
    return Head(clip(", ".join(texts) or "none", LABEL), False)
