"""Puts records to a model, and scores what it answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from hallmark.answer.answers import Answer, Answerer, Prompt
from hallmark.answer.predictions import Row, readable
from hallmark.answer.scoring import Score, Scorer


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
