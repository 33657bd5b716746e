"""What a model is asked and what it answers, wherever it runs: in this process (`generation.py`) or behind a server."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from hallmark.base.errors import HallmarkError

log = logging.getLogger("eval")


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
    Of a bought answer also: `read`, the tokens of the prompt as the server counted them (None: it did not say), and the
    `seconds` that it took.
    """

    text: str
    tokens: int
    finish: Literal["stop", "length"]
    logs: tuple[float, ...] | None = None
    spans: tuple[Span, ...] | None = None
    read: int | None = None
    seconds: float | None = None

    @property
    def cut_off(self) -> bool:
        return self.finish == "length"


UNREAD = Answer(
    "", 0, "length"
)  # to a prompt that leaves no room for an answer in the model's context: it is not asked


class Answerer(Protocol):
    """A model that answers prompts greedily."""

    seconds: float  # spent generating so far

    def answer(self, prompts: Sequence[Prompt], what: str = "records") -> list[Answer]:
        """One answer for each prompt, in the order given. `what`: which prompts these are, for the progress."""


def asked_of(fits: Sequence[bool]) -> list[int]:
    """The places of the prompts that are asked; what isn't is said, since it counts as wrong."""
    asked = [place for place, so in enumerate(fits) if so]
    if len(asked) < len(fits):
        log.warning(
            "%d of %d prompts leave no room for an answer in what the model reads: they are not asked, and count as wrong",
            len(fits) - len(asked),
            len(fits),
        )
    return asked


def check_read(model: str, answers: Sequence[Answer], too_long: str) -> None:
    """Stop at prompts that were not asked if `split.too_long` says so; a comparator may read less than the base."""
    unread = sum(answer is UNREAD for answer in answers)
    if unread and too_long == "error":
        raise HallmarkError(
            f"{unread} of {len(answers)} prompts leave no room for an answer in what {model} reads",
            param="eval.max_new_tokens",
            remedy="lower it; set split.too_long to count, and they count as wrong; or take a model that reads more",
        )


def room_in(folder: Path) -> Callable[[Prompt], float]:
    """What says how many tokens a prompt leaves for an answer in the context of the model in a folder, if there is one."""
    from hallmark.model.lengths import context_of, prompt_lengths
    from hallmark.model.loading import load_tokenizer

    if not folder.is_dir() or (context := context_of(folder)) is None:
        return lambda _: math.inf
    tokenizer = load_tokenizer(folder)

    def room(prompt: Prompt) -> float:
        row = {"prompt": prompt.messages, "tools": json.dumps(prompt.tools) if prompt.tools else None}
        return context - prompt_lengths([row], tokenizer)[0]

    return room


def prompts_of(records: Sequence[dict[str, Any]]) -> list[Prompt]:
    """What is asked of all the records of the holdout, in their order."""
    return [
        Prompt(record["prompt"], json.loads(record["tools"]) if record["tools"] else None, row)
        for row, record in enumerate(records, 1)
    ]
