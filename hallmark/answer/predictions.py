"""From a record and the score of its answer to a line of predictions.jsonl; such lines read again, and the bootstrap over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from hallmark.answer.scoring import Score, Scorer
from hallmark.base.errors import HallmarkError
from hallmark.base.stats import ClusterBootstrap
from hallmark.task.predictions import Prediction, predictions_of, read_predictions, stage_of
from hallmark.task.task import Task

if TYPE_CHECKING:
    from hallmark.params.loader import Params

Row = dict[str, Any]


def readable(record: Row) -> dict[str, Any]:
    """What the model could read, and the target, as the scorer takes them."""
    said = [message["content"] for message in record["prompt"] if message["role"] != "system"]
    return {"input": "\n".join(said), "context": record["context"], "target": record["completion"][-1]["content"]}


def prediction(record: Row, text: str, score: Score, *, finish: Literal["stop", "length"], tokens: int) -> Prediction:
    """One line of predictions.jsonl."""
    texts = readable(record)
    return Prediction(
        id=record["id"],
        group=record["group"],
        tags=record["tags"] or [],
        **texts,
        length=len(texts["input"]),
        prediction=text,
        finish=finish,
        tokens=tokens,
        parses=score.parses,
        schema_valid=score.schema_valid,
        exact_match=score.exact_match,
        outcome=score.outcome,
        reason=score.reason,
        fields=score.fields,
        retrieved=score.retrieved,
        read=score.read,
        scores=score.scores,
    )


def answers_of(model: str, params: Params) -> list[Prediction]:
    """The predictions of a model. Which are right is counted once more, from their texts; an error if the file says otherwise."""
    rows, scorer = read_predictions(model), Scorer(Task(params.task))
    remedy = f"run `dvc repro {stage_of(model)}`, which makes it"
    for number, row in enumerate(rows, 1):
        if {row.exact_match, row.outcome == "pass"} != {scorer.same(row.target, row.answer)}:
            problem = "says of an answer that it is right, or wrong, and its texts say otherwise"
            raise HallmarkError(problem, file=predictions_of(model), row=number, field="exact_match", remedy=remedy)
    return rows


def bootstrap_of(rows: Sequence[Prediction], params: Params) -> ClusterBootstrap:
    """The bootstrap that draws the groups of these records, as the params of `compare` ask for it."""
    settings, groups = params.compare, [row.group for row in rows]
    return ClusterBootstrap(groups, confidence=settings.confidence, draws=settings.bootstrap_samples, seed=params.seed)
