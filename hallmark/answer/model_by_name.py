"""What a name in `eval` stands for (the base, the tuned model, or a comparator, which asks and answers its own way), and its answers to records."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallmark.answer.answers import Answer, Answerer, Prompt
from hallmark.answer.comparator import Asked, Means, Questions, own_prompts
from hallmark.answer.comparators import COMPARATORS
from hallmark.answer.evaluated_models import WEIGHTS, own_answerers
from hallmark.answer.params import Eval
from hallmark.answer.predictions import Row, readable
from hallmark.answer.scoring import Score, Scorer
from hallmark.base.files import HOLDOUT
from hallmark.model.tool_form import ToolForm
from hallmark.task.task import Task

if TYPE_CHECKING:
    from hallmark.params.loader import Params


def weights_of(settings: Eval, model: str) -> Path:
    """The folder of the model whose chat template and tokenizer count."""
    comparator = settings.comparators.get(model)
    return WEIGHTS[model] if comparator is None else COMPARATORS[comparator.kind].weights(comparator)


def asked_of(settings: Eval, model: str, questions: Questions) -> Asked:
    """What a model is asked: of base and tuned the records' own prompts, of a comparator what its kind makes of them."""
    comparator = settings.comparators.get(model)
    if comparator is None:
        return own_prompts(questions)
    return COMPARATORS[comparator.kind].asked(comparator, questions)


def answerers(
    params: Params, model: str, task: Task, form: ToolForm | None, stack: ExitStack, source: Path = HOLDOUT
) -> Callable[[int, bool], Answerer]:
    """What makes the answerer for a batch size, constrained by the schema or not; see `own_answerers`.

    A comparator is the base, unless its kind says otherwise.
    """
    if comparator := params.eval.comparators.get(model):
        kind, base = COMPARATORS[comparator.kind], cache(lambda: answerers(params, "base", task, form, stack))
        means = partial(Means, model, params.eval, params.compute, task, form, params.seed)
        return lambda size, constrained: kind.answerer(comparator, lambda: base()(size, constrained), means(size))
    return own_answerers(params, model, task, form, stack, source)


def about(settings: Eval, model: str, asked: Asked, answers: Sequence[Answer]) -> dict[str, Any]:
    """What metrics.json says of a comparator alone; of another model nothing."""
    comparator = settings.comparators.get(model)
    if comparator is None:
        return {}
    kind, shown = COMPARATORS[comparator.kind], sum(map(len, asked.examples))
    own = {"words": kind.words(comparator), "examples": round(shown / len(answers), 2)}
    return own | kind.measures(comparator, answers)


@dataclass(frozen=True)
class Answered:
    """Answers with their scores, and the seconds that it took: all of it, and generating alone."""

    pairs: list[tuple[Answer, Score]]
    seconds: float
    generating: float

    def measured(self) -> dict[str, Any]:
        tokens = sum(answer.tokens for answer, _ in self.pairs)
        speed = round(tokens / max(self.seconds, 0.01), 1)  # answers that are looked up take no time
        took = {"answer_seconds": self.seconds, "generate_seconds": self.generating}
        return took | {"tokens": tokens, "tokens_per_second": speed}


@dataclass(frozen=True)
class Examiner:
    """One model and what it is asked. `make`: what makes its answerer for a batch size, held to the schema or not."""

    model: str
    make: Callable[[int, bool], Answerer]
    records: Sequence[Row]
    prompts: Sequence[Prompt]
    scorer: Scorer

    def ask(self, rows: Sequence[int], batch_size: int, what: str = "", *, within_schema: bool = False) -> Answered:
        """The greedy answers to these rows of the records. `what`: how they are answered, for the progress."""
        answerer, began = self.make(batch_size, within_schema), time.perf_counter()
        answers = answerer.answer([self.prompts[row] for row in rows], f"records answered by {self.model}{what}")
        scores = [
            self.scorer.score(**readable(self.records[row]), prediction=answer.text)
            for row, answer in zip(rows, answers, strict=True)
        ]
        seconds = time.perf_counter() - began
        return Answered(list(zip(answers, scores, strict=True)), round(seconds, 2), round(answerer.seconds, 2))
