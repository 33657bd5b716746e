"""The answers of linear models to records: one model for each label of the task, all of the same features."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from hallmark.answer.predictions import Row
from hallmark.answer.text_model import Features, predicted, text_with_tools
from hallmark.task.task import Task

if TYPE_CHECKING:
    from hallmark.params.loader import Params

log = logging.getLogger("classical")

Values = Sequence[str | None]  # of one label, for each training record


def answered(
    params: Params,
    task: Task,
    features: Features,
    train: Sequence[Row],
    values: Mapping[str, Values],
    parts: Sequence[Sequence[Row]],
) -> list[list[str]]:
    """The answers to each part, of models trained for each label of `values`."""
    seen, *given = ([text_with_tools(record["input"], record["tools"]) for record in part] for part in (train, *parts))
    asked = [text for part in given for text in part]
    labels = {name: _labels(params, features, seen, column, asked) for name, column in values.items()}
    answers = (
        task.kind.completion(task, {name: column[row] for name, column in labels.items()}) for row in range(len(asked))
    )
    return [list(islice(answers, len(part))) for part in parts]


def most_frequent(values: Values) -> str:
    """The most frequent value; of several, the first by text."""
    counts = Counter(value for value in values if value is not None)
    return min(counts, key=lambda value: (-counts[value], value))


def _labels(
    params: Params, features: Features, train: Sequence[str], values: Values, asked: Sequence[str]
) -> list[str]:
    """The label of each text asked, from the training records that have one."""
    texts = [text for text, value in zip(train, values, strict=True) if value is not None]
    labels = [value for value in values if value is not None]
    try:
        return predicted(params.classical, features, texts, labels, asked)
    except ValueError as error:  # no word is in enough records
        log.warning("no linear model can be trained (%s): it answers the most frequent value", str(error).split(".")[0])
        return [most_frequent(values)] * len(asked)
