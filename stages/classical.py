"""Let linear models predict the holdout's labels, as the bar to beat: `python -m stages.classical`.

Logistic regression, one for each label (see `hallmark/answer/labels.py`), trained on the training records alone. There
are several, which read different things of a text: TF-IDF of words, of characters (`hallmark/answer/text_model.py`) and,
if params.yaml names a model, its sentence embeddings (`hallmark/answer/embeddings.py`). The one that has all labels right
most often on the validation records is the bar. The floor under it is the most frequent value in
training. If a task has no labels, the report says so and there are no predictions.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from hallmark.answer.embeddings import Embedder
from hallmark.answer.labels import labels_of, right_labels
from hallmark.answer.params import Classical
from hallmark.answer.predictions import Row, prediction, readable
from hallmark.answer.scoring import Scorer
from hallmark.answer.text_model import Features, all_features, linear_model, text_with_tools
from hallmark.base.errors import HallmarkError
from hallmark.base.files import HOLDOUT, REPORTS, TRAIN, VALIDATION, write_json
from hallmark.base.measured import measured
from hallmark.base.records import read_records
from hallmark.base.stats import ClusterBootstrap
from hallmark.params.loader import Params, run_with_params
from hallmark.task.predictions import Prediction, predictions_of, write_predictions
from hallmark.task.task import Task

log = logging.getLogger("classical")


def run(params: Params) -> None:
    """Train, choose, predict, score; write reports/eval/classical/predictions.jsonl and metrics.json."""
    from hallmark.base.compute import environment, set_up

    os.environ.update(environment(params.compute))  # before NumPy is imported: it reads the number of threads once
    if params.classical.embeddings is not None:
        set_up(params.compute, params.seed)
    task = Task(params.task)
    train, validation, holdout = (
        [record | readable(record) for record in read_records(path).rows(named=True)]
        for path in (TRAIN, VALIDATION, HOLDOUT)
    )
    for path, records in ((TRAIN, train), (HOLDOUT, holdout)):
        if not records:
            raise HallmarkError("holds no record", file=path, remedy="fix the shares under split")
    with measured("classical"):
        names = task.kind.label_names(task)
        expected = [labels_of(task, record["target"], names) for record in train]
        values = {name: [labels.get(name) for labels in expected] for name in names}
        usual = {name: most_frequent(column) for name, column in values.items() if any(column)}
        varying = [name for name in usual if len({*values[name]} - {None}) > 1]  # one that never varies says nothing
        tried = [
            Tried(features, *answered(params, task, features, train, values, usual, [validation, holdout]))
            for features in (all_features(params.classical) if usual else [])
        ]
        scores = [all_right(task, varying, validation, one.validation) for one in tried]
        chosen = tried[best(scores)] if tried else None
    scorer = Scorer(task)
    rows = [
        prediction(record, text, scorer.score(**readable(record), prediction=text), finish="stop", tokens=0)
        for record, text in zip(holdout, chosen.holdout if chosen else [], strict=bool(chosen))
    ]
    write_predictions(predictions_of("classical"), rows)
    content = metrics(params, task, holdout, rows, {name: usual[name] for name in varying})
    content["trained_on"] = len(train)
    if chosen and varying:
        content |= {
            "chosen": chosen.features.name,
            "chosen_on": sum(bool(labels_of(task, record["target"], varying)) for record in validation),
            "candidates": [
                {
                    "name": one.features.name,
                    "words": one.features.words,
                    "validation": score,
                    "holdout": all_right(task, varying, holdout, one.holdout),
                }
                for one, score in zip(tried, scores, strict=True)
            ],
        }
        said = "no validation record has labels" if scores[0] is None else f"of {len(tried)} the best on validation"
        log.info("the bar is %s: %s", chosen.features.words, said)
    write_json(REPORTS / "eval" / "classical" / "metrics.json", content)


@dataclass(frozen=True)
class Tried:
    """What a linear model of these features answers to the validation and holdout records."""

    features: Features
    validation: list[str]
    holdout: list[str]


def answered(
    params: Params,
    task: Task,
    features: Features,
    train: list[Row],
    values: dict[str, list[str | None]],
    usual: dict[str, str],
    parts: list[list[Row]],
) -> list[list[str]]:
    """The answers to each part, of models trained for each label."""
    seen, *given = read(params, features, [train, *parts])
    asked = [text for part in given for text in part]
    predicted = {name: predict(params.classical, features, seen, values[name], asked, usual[name]) for name in usual}
    answers = iter(
        [
            task.kind.completion(task, {name: column[row] for name, column in predicted.items()})
            for row in range(len(asked))
        ]
    )
    return [list(islice(answers, len(part))) for part in parts]


def read(params: Params, features: Features, parts: list[list[Row]]) -> list[list[Any]]:
    """What models of these features are shown of each record: its text, or the vector of that, made once for all labels.

    The parts are embedded apart, so that no rounding of one depends on the texts of another.
    """
    texts = [[text_with_tools(record["input"], record["tools"]) for record in part] for part in parts]
    if not features.embedded or params.classical.embeddings is None:
        return texts
    embedder = Embedder(params.classical.embeddings, params.compute.device)
    return [embedder.vectors(part) for part in texts]


def all_right(task: Task, names: Sequence[str], records: list[Row], answers: Sequence[str]) -> float | None:
    """The share of the records with labels that have all of them right; None if there are none."""
    pairs = [(record["target"], answer) for record, answer in zip(records, answers, strict=True)]
    rows = zip(*right_labels(task, names, pairs).values(), strict=True)
    judged = [False not in row for row in rows if {*row} - {None}]
    return round(sum(judged) / len(judged), 6) if judged else None


def best(scores: Sequence[float | None]) -> int:
    """The place of the highest score, the first of equal ones; the first, if there are none."""
    return max(range(len(scores)), key=lambda place: (scores[place] or 0.0, -place))


def most_frequent(values: Sequence[str | None]) -> str:
    """The most frequent value; of several, the first by text."""
    counts = Counter(value for value in values if value is not None)
    return min(counts, key=lambda value: (-counts[value], value))


def predict(
    settings: Classical,
    features: Features,
    train: Sequence[Any],
    values: Sequence[str | None],
    asked: Sequence[Any],
    usual: str,
) -> list[str]:
    """The label of each text asked (or vector), from the training records that have one."""
    from threadpoolctl import threadpool_limits

    texts = [text for text, value in zip(train, values, strict=True) if value is not None]
    labels = [value for value in values if value is not None]
    if len(set(labels)) == 1 or not asked:
        return [usual] * len(asked)
    model = linear_model(settings, len(texts), features)
    try:
        with threadpool_limits(1):  # the same sums whatever `compute.threads` is, and faster on matrices this small
            model.fit(texts, labels)
            return [str(label) for label in model.predict(asked)]
    except ValueError as error:  # no word is in enough records
        log.warning("no linear model can be trained (%s): it answers the most frequent value", str(error).split(".")[0])
        return [usual] * len(asked)


def metrics(
    params: Params, task: Task, holdout: list[Row], rows: Sequence[Prediction], usual: dict[str, str]
) -> dict[str, Any]:
    """How often each label is right, with intervals, and how often the most frequent value would be (`floor`)."""
    pairs = [(row.target, row.prediction) for row in rows]
    labels = []
    for name, right in right_labels(task, list(usual), pairs).items():
        judged = [(row, flag) for row, flag in zip(rows, right, strict=True) if flag is not None]
        if not judged:
            continue
        bootstrap = ClusterBootstrap(
            [row.group for row, _ in judged],
            confidence=params.eval.confidence,
            draws=params.eval.draws,
            seed=params.seed,
        )
        expected = [labels_of(task, row.target, list(usual))[name] for row, _ in judged]
        rate = bootstrap.rate([bool(flag) for _, flag in judged]).rounded()
        floor = sum(label == usual[name] for label in expected) / len(expected)
        labels.append({"name": name, "records": len(judged), "floor": round(floor, 6)} | asdict(rate))
        log.info(
            "%s: right in %.1f %% of %d records, the most frequent value in %.1f %%",
            name,
            100 * rate.value,
            len(judged),
            100 * floor,
        )
    if not labels:
        log.info("the task has no labels that a linear model could predict")
    return {"model": "classical", "records": len(holdout), "labels": labels}


if __name__ == "__main__":
    run_with_params("classical", __doc__, run)
