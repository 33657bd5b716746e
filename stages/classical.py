"""Let a linear model predict the holdout's labels, as the bar to beat: `python -m stages.classical`.

TF-IDF with logistic regression, one for each label (see `stages/evaluation/labels.py`), trained on the training records
alone. The floor under it is the most frequent value there. If a task has no labels, the report says so and there are no
predictions.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from stages.core.errors import HallmarkError
from stages.core.files import HOLDOUT, REPORTS, TRAIN, write_json
from stages.core.measured import measured
from stages.core.records import read_records
from stages.evaluation.labels import labels_of, right_labels
from stages.evaluation.params import Classical
from stages.evaluation.predictions import Row, prediction, readable
from stages.evaluation.scoring import Scorer
from stages.evaluation.stats import ClusterBootstrap
from stages.evaluation.text_model import linear_model
from stages.params.loader import Params, run_with_params
from stages.tasks.predictions import Prediction, predictions_of, write_predictions
from stages.tasks.task import Task

log = logging.getLogger("classical")


def run(params: Params) -> None:
    """Train, predict, score; write reports/eval/classical/predictions.jsonl and metrics.json."""
    from stages.core.compute import environment

    os.environ.update(environment(params.compute))  # before NumPy is imported: it reads the number of threads once
    task = Task(params.task)
    train, holdout = (
        [record | readable(record) for record in read_records(path).rows(named=True)] for path in (TRAIN, HOLDOUT)
    )
    for path, records in ((TRAIN, train), (HOLDOUT, holdout)):
        if not records:
            raise HallmarkError("holds no record", file=path, remedy="fix the shares under split")
    with measured("classical"):
        names = task.kind.label_names(task)
        expected = [labels_of(task, record["target"], names) for record in train]
        values = {name: [labels.get(name) for labels in expected] for name in names}
        usual = {name: most_frequent(column) for name, column in values.items() if any(column)}
        predicted = {name: predict(params.classical, train, values[name], holdout, usual[name]) for name in usual}
        answers = [
            task.kind.completion(task, {name: column[row] for name, column in predicted.items()}) if predicted else None
            for row in range(len(holdout))
        ]
    scorer = Scorer(task)
    rows = [
        prediction(record, text, scorer.score(**readable(record), prediction=text), finish="stop", tokens=0)
        for record, text in zip(holdout, answers, strict=True)
        if text is not None
    ]
    write_predictions(predictions_of("classical"), rows)
    varying = [name for name in usual if len({*values[name]} - {None}) > 1]  # a label that never varies says nothing
    content = metrics(params, task, holdout, rows, {name: usual[name] for name in varying})
    content["trained_on"] = len(train)
    write_json(REPORTS / "eval" / "classical" / "metrics.json", content)


def most_frequent(values: Sequence[str | None]) -> str:
    """The most frequent value; of several, the first by text."""
    counts = Counter(value for value in values if value is not None)
    return min(counts, key=lambda value: (-counts[value], value))


def predict(
    settings: Classical, train: list[Row], values: Sequence[str | None], holdout: list[Row], usual: str
) -> list[str]:
    """The label of each record of the holdout, from the training records that have one."""
    texts = [row["input"] for row, value in zip(train, values, strict=True) if value is not None]
    labels = [value for value in values if value is not None]
    if len(set(labels)) == 1:
        return [usual] * len(holdout)
    model = linear_model(settings, len(texts))
    try:
        model.fit(texts, labels)
    except ValueError as error:  # no word is in enough records
        log.warning("no linear model can be trained (%s): it answers the most frequent value", str(error).split(".")[0])
        return [usual] * len(holdout)
    return [str(label) for label in model.predict([row["input"] for row in holdout])]


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
