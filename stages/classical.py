"""Let linear models predict the holdout's labels, as the baseline to beat: `python -m stages.classical`.

Reads the parts `train`, `validation` and `holdout` of the split. Trains logistic regression on the training records alone,
one model for each label (see `hallmark/answer/labels.py`), and that several times, with models that read different things of
a text: TF-IDF of words, or of characters too (`hallmark/answer/text_model.py`). The one that has all labels right most often
on the validation records is the baseline. The floor under it is the most frequent value in training. If a task has no labels,
the report says so and there are no predictions. Writes predictions.jsonl and metrics.json to `reports/eval/classical`, and
what it took to `reports/measured/`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

from hallmark.answer.labels import all_right, labels_of
from hallmark.answer.predictions import prediction, readable
from hallmark.answer.scoring import Scorer
from hallmark.answer.text_model import all_features, answered, most_frequent
from hallmark.base.errors import HallmarkError
from hallmark.base.files import HOLDOUT, TRAIN, VALIDATION, write_json
from hallmark.base.measured import measured
from hallmark.base.records import read_records
from hallmark.judge.metrics import label_metrics
from hallmark.params.loader import Params, run_with_params
from hallmark.task.predictions import metrics_of, predictions_of, write_predictions
from hallmark.task.task import Task

log = logging.getLogger("classical")


def run(params: Params) -> None:
    """Train, choose, predict, score; write reports/eval/classical/predictions.jsonl and metrics.json."""
    from hallmark.base.compute import environment

    os.environ.update(environment(params.compute))  # before NumPy is imported: it reads the number of threads once
    task = Task(params.task)
    train, validation, holdout = (
        [record | readable(record) for record in read_records(path).rows(named=True)]
        for path in (TRAIN, VALIDATION, HOLDOUT)
    )
    for path, records in ((TRAIN, train), (HOLDOUT, holdout)):
        if not records:
            raise HallmarkError("holds no record", file=path, remedy="fix the shares under split")

    with measured("classical"):
        # The labels to learn: those with a value in training. One that never varies there says nothing of a model.
        names = task.kind.label_names(task)
        expected = [labels_of(task, record["target"], names) for record in train]
        values = {name: [labels.get(name) for labels in expected] for name in names}
        values = {name: column for name, column in values.items() if any(column)}
        varying = [name for name, column in values.items() if len({*column} - {None}) > 1]

        # What each candidate answers, and the one that is the baseline.
        candidates = all_features(params.classical) if values else []
        parts = [validation, holdout]
        answers = [answered(params, task, features, train, values, parts) for features in candidates]
        scores = [all_right(task, varying, validation, on_validation) for on_validation, _ in answers]
        chosen = best(scores) if candidates else None

    scorer, texts = Scorer(task), [] if chosen is None else answers[chosen][1]
    rows = [
        prediction(record, text, scorer.score(**readable(record), prediction=text), finish="stop", tokens=0)
        for record, text in zip(holdout, texts, strict=chosen is not None)
    ]
    write_predictions(predictions_of("classical"), rows)

    usual = {name: most_frequent(values[name]) for name in varying}
    labels = label_metrics(task, rows, usual)
    content = {"model": "classical", "records": len(holdout), "labels": labels, "trained_on": len(train)}
    if chosen is not None and varying:
        content |= {
            "chosen": candidates[chosen].name,
            "chosen_on": sum(bool(labels_of(task, record["target"], varying)) for record in validation),
            "candidates": [
                {
                    "name": features.name,
                    "words": features.words,
                    "validation": score,
                    "holdout": all_right(task, varying, holdout, on_holdout),
                }
                for features, score, (_, on_holdout) in zip(candidates, scores, answers, strict=True)
            ],
        }
    write_json(metrics_of("classical"), content)
    said = ", ".join(f"{label['name']} {100 * label['value']:.1f} %" for label in labels)
    log.info("right by a linear model: %s", said or "nothing, the task has no labels that one could predict")


def best(scores: Sequence[float | None]) -> int:
    """The place of the highest score, the first of equal ones; the first, if there are none."""
    return max(range(len(scores)), key=lambda place: (scores[place] or 0.0, -place))


if __name__ == "__main__":
    run_with_params("classical", __doc__, run)
