"""The records of the page, as its script reads them: what was asked, what was expected, what each model answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from hallmark.base.outcomes import OUTCOMES, in_words
from hallmark.page.labels import ByLabel
from hallmark.page.text import LABEL, UNSEEN, UNSEEN_IN_NAME, clip, cut, value
from hallmark.task.predictions import Prediction
from hallmark.task.values import FieldResult

MOST_CHARS = 40_000_000  # of all records on a page: more makes a browser slow
MOST_RECORDS, MOST_OF_FIELD = 5_000, 20_000  # records on it, and characters of one field
EXAMPLE = 1_000  # longest text shown whole of a record at the top of the page
SORTS = {  # of records with retrieval, by what they are called in comparison.json
    "held": {"what": "all that is expected", "abstaining": "wrong"},
    "lacking": {"what": "not all that is expected", "abstaining": "better than making something up"},
    "silent": {"what": "something, but no answer is expected", "abstaining": "right"},
    "empty": {"what": "nothing, and no answer is expected", "abstaining": "right"},
}


def answered(rows: Sequence[Prediction], tuned: Sequence[Prediction]) -> list[Prediction | None]:
    """A model's answer to each record of the holdout; None if it was not asked."""
    given = {row.id: row for row in rows}
    return [given.get(row.id) for row in tuned]


@dataclass(frozen=True)
class Example:
    """A record at the top of the page: its texts by what they are, and why the answer is wrong."""

    title: str
    texts: list[tuple[str, str]]
    reason: str | None


def examples(tuned: Sequence[Prediction]) -> list[Example]:
    """The first record that is right, the first of the most frequent failure, and the first of the most serious other one."""
    counts = Counter(row.outcome for row in tuned)
    failures = [name for name in OUTCOMES if counts[name] and name != "pass"]  # the most serious first
    chosen = {"pass": ""} if counts["pass"] else {}
    if failures:
        most = max(failures, key=lambda name: counts[name])
        others = [name for name in failures if name != most]
        chosen |= {most: ", the most frequent failure"} | dict.fromkeys(others[:1], ", the most serious other failure")
    found = []
    for outcome, words in chosen.items():
        row = next(row for row in tuned if row.outcome == outcome)
        title = f"{'Right' if outcome == 'pass' else in_words(outcome)}{words}: {counts[outcome]:,} of {len(tuned):,} records"
        context = [("Context", row.context)] if row.context else []
        texts = [("Input", row.input), *context, ("Expected", row.target), ("Answer", row.answer or row.prediction)]
        found.append(
            Example(title, [(name, clip(text, EXAMPLE)) for name, text in texts], row.reason and clip(row.reason, 300))
        )
    return found


@dataclass(frozen=True)
class Labeller:
    """The answers of a model that can give some fields only, to the same records.

    `right` has for each record whether each of its labels is right, by name.
    """

    rows: Sequence[Prediction]
    labels: Sequence[str]
    right: Sequence[dict[str, bool]]


def filters(models: Iterable[str]) -> dict[str, str]:
    """The fields of the page's form by which outcomes are chosen; a comparator could be called as another field."""
    return {name: name if name in ("base", "tuned") else f"vs_{name}" for name in models if name != "classical"}


def for_script(records: list[dict[str, Any]], total: int, titles: dict[str, str], labels: ByLabel) -> dict[str, Any]:
    """All that the page's script reads: some or all records of `total`, and what it calls models, outcomes and labels."""
    return {
        "records": records,
        "total": total,
        "outcomes": OUTCOMES,
        "titles": list(titles.values()),
        "models": list(filters(titles).values()),
        "labels": [
            [label.name, [head.name for head in label.rows], [head.name for head in label.matrices["tuned"].columns]]
            for label in labels.labels
        ],
        "unseen": [UNSEEN, UNSEEN_IN_NAME],
    }


def island(
    models: Sequence[Sequence[Prediction | None]],
    labellers: Sequence[Labeller],
    cells: Sequence[list[Any]],
    evidence: Sequence[str | None],
) -> list[dict[str, Any]]:
    """The records as the page's script reads them, worst first: at most `MOST_RECORDS`.

    `models` has the answers of each model to each record, None if it was not asked: those of the base first, then those of
    the tuned model, which is asked everything. `cells` has for each record its cells in the tables of labels, `evidence` its
    sort by what was retrieved.
    """
    base, tuned = models[0], [row for row in models[1] if row is not None]

    def rank(number: int) -> tuple[Any, ...]:
        before, after = base[number], tuned[number]
        return (
            after.outcome == "pass",
            before is None or before.outcome != "pass",  # what the base could do and the tuned model can't comes first
            OUTCOMES.index(after.outcome),
            -sum(field.result != "match" for field in after.fields),
            number,
        )

    rows: list[dict[str, Any]] = []
    left = MOST_CHARS
    for number in sorted(range(len(tuned)), key=rank)[:MOST_RECORDS]:
        row = _record(number, tuned[number], [rows[number] for rows in models], labellers, MOST_OF_FIELD)
        row |= {"cells": cells[number], "evidence": evidence[number]}
        left -= sum(map(_chars, [row["input"], row["context"] or "", row["target"]]))
        left -= sum(_chars(model["text"]) for model in row["models"] if model)
        if left < 0 and rows:
            break
        rows.append(row)
    return rows


def _chars(text: str | list[Any]) -> int:
    return len(text if isinstance(text, str) else text[0])


def _record(
    number: int, tuned: Prediction, given: Sequence[Prediction | None], labellers: Sequence[Labeller], chars: int
) -> dict[str, Any]:
    sides = [row.fields if row else [] for row in given]
    # What a model can't give is nothing that it got wrong.
    sides += [[field for field in of.rows[number].fields if field.path in of.labels] for of in labellers]
    return {
        "number": number + 1,
        "id": clip(tuned.id, LABEL),
        "group": clip(tuned.group, LABEL),
        "tags": [clip(tag, LABEL) for tag in tuned.tags or ()],
        "input": cut(tuned.input, chars),
        "context": cut(tuned.context, chars) if tuned.context else None,
        "target": cut(tuned.target, chars),
        "models": [
            *(_answer(row, chars) for row in given),
            *(
                {
                    "text": cut(of.rows[number].answer, chars),
                    "wrong": [clip(name, LABEL) for name, flag in of.right[number].items() if not flag],
                }
                for of in labellers
            ),
        ],
        "fields": merge_fields(sides, chars),
    }


def _answer(row: Prediction | None, chars: int) -> dict[str, Any] | None:
    if row is None:
        return None
    return {
        "text": cut(row.answer or row.prediction, chars),
        "outcome": row.outcome,
        "reason": clip(row.reason or "", 300),
        "cut_off": row.finish == "length",
        "examples": [clip(example, LABEL) for example in row.examples],
    }


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
