"""What a model is asked and what it answers, wherever it runs: in this process (`generation.py`) or behind a server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol


@dataclass(frozen=True)
class Prompt:
    """A record's own messages, system prompt included, and its tools: nothing is added."""

    messages: list[dict[str, Any]]
    tools: list[Any] | None
    row: int  # in the holdout, from 1, for errors


Span = tuple[int, int]  # the first character, and the one after the last


@dataclass(frozen=True)
class Answer:
    """The text that a model wrote, the tokens generated for it (the end token not counted), and why it ended.

    `finish` is `stop` (the model ended its turn) or `length` (it was cut off at the limit). `logs` has the log-probability
    of each token, the end token included; None if the engine gives none. `spans` has the characters of the text that each
    of these tokens writes, whole or in part; None if that isn't known, or nobody asks: of a text that is no JSON object.
    """

    text: str
    tokens: int
    finish: Literal["stop", "length"]
    logs: tuple[float, ...] | None = None
    spans: tuple[Span, ...] | None = None


@dataclass(frozen=True)
class Sampling:
    """Answers by chance: the seed and the temperature of the draws."""

    seed: int
    temperature: float


class Answerer(Protocol):
    """A model that answers prompts greedily."""

    seconds: float  # spent generating so far

    def answer(self, prompts: Sequence[Prompt], what: str = "records") -> list[Answer]:
        """One answer for each prompt, in the order given. `what`: which prompts these are, for the progress."""


def prompts_of(records: Sequence[dict[str, Any]]) -> list[Prompt]:
    """What is asked of all the records of the holdout, in their order."""
    return [
        Prompt(record["prompt"], json.loads(record["tools"]) if record["tools"] else None, row)
        for row, record in enumerate(records, 1)
    ]
