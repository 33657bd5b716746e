"""Constrained decoding: a grammar made of the task's schema allows only tokens that keep an answer valid.

llguidance (https://github.com/guidance-ai/llguidance) turns the schema into token masks; compact JSON, keys in the
schema's order, as targets are written. The refusal is allowed as well.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import llguidance.hf
import numpy as np
import torch
from llguidance import LLMatcher

from hallmark.base.errors import HallmarkError
from hallmark.task.task import Task


def grammar_of(task: Task) -> str:
    """The grammar of the task's answers, in Lark's notation; a HallmarkError if there can be none."""
    if task.schema is None:
        raise HallmarkError(
            "a text task has no schema to constrain by",
            param="eval.constrained",
            remedy="set eval.constrained to 0",
        )
    if task.labels is not None:
        ways = [json.dumps(label, ensure_ascii=False) for label in task.labels]
    else:
        ways = ["%json " + json.dumps(task.schema | {"x-guidance": {"whitespace_flexible": False}})]
    if task.refusal is not None:
        ways.append(json.dumps(task.render(task.refusal), ensure_ascii=False))
    lines = [f"way_{number}: {way}" for number, way in enumerate(ways)]
    start = "start: " + " | ".join(f"way_{number}" for number in range(len(ways)))
    grammar = LLMatcher.grammar_from_lark("\n".join([start, *lines]))
    problem = LLMatcher.validate_grammar(grammar)
    if problem:
        raise HallmarkError(
            f"can't be made a grammar for constrained decoding: {problem.splitlines()[0][:200]}",
            file=task.schema_file,
            remedy="leave that keyword out of the schema, or set eval.constrained to 0",
        )
    return grammar


class Constraint:
    """Masks the scores of each row of a batch by the grammar, from the row's first new token on."""

    def __init__(self, tokenizer: Any, ends: set[int], grammar: str, vocabulary: int) -> None:
        """`vocabulary`: columns of the scores."""
        self._grammar, self._ends = grammar, sorted(ends)
        self._tokenizer = llguidance.hf.from_tokenizer(tokenizer, vocabulary, eos_token=self._ends)
        self._matchers: dict[int, LLMatcher] = {}

    def __call__(self, rows: Sequence[int], last: Sequence[int] | None, scores: torch.Tensor) -> None:
        """Close what may not follow. `rows`: which rows of the batch the scores are of; `last`: the tokens before them."""
        if last is None:
            self._matchers = {row: LLMatcher(self._tokenizer, self._grammar, log_level=0) for row in rows}
        for number, row in enumerate(rows):
            matcher = self._matchers[row]
            if last is not None and not matcher.is_stopped():
                matcher.consume_token(last[number])
            if matcher.is_error():
                raise HallmarkError(
                    f"constrained decoding broke off: {matcher.get_error().splitlines()[0][:200]}",
                    remedy="set eval.constrained to 0",
                )
            if matcher.is_stopped():  # the answer is whole: only its end may follow
                closed = torch.ones(scores.shape[1], dtype=torch.bool)
                closed[self._ends] = False
            else:
                bits = np.unpackbits(np.frombuffer(matcher.compute_bitmask(), np.uint8), bitorder="little")
                closed = torch.from_numpy(bits[: scores.shape[1]] == 0)
            scores[number].masked_fill_(closed.to(scores.device), -float("inf"))
