"""Which records of the holdout a benchmark asks, which warm a server up, and what a request of one has."""

from __future__ import annotations

import logging
from typing import Any

from hallmark.answer.answers import Prompt, room_in
from hallmark.base.errors import HallmarkError
from hallmark.base.files import BASE, HOLDOUT

log = logging.getLogger("benchmark")


def rows_with_room(prompts: list[Prompt], evaluated: int, timed: int) -> tuple[list[int], list[int]]:
    """The rows whose prompts leave room for an answer of that many tokens in the base's context, and for a timed one too."""
    room = list(map(room_in(BASE), prompts))
    known = [row for row, left in enumerate(room) if left >= evaluated]
    timeable = [row for row in known if room[row] >= timed]
    if len(timeable) < len(prompts):
        words = f"{len(prompts) - len(timeable)} of {len(prompts)} prompts leave no room for {max(evaluated, timed)} tokens in the base's context"
        if not timeable:
            raise HallmarkError(
                words,
                file=HOLDOUT,
                param="benchmark.max_tokens, eval.max_new_tokens",
                remedy="lower them, or take a base that reads more",
            )
        log.warning("%s: they are not timed", words)
    return known, timeable


def drawn_rows(records: int, count: int) -> tuple[list[int], list[int]]:
    """Which of the holdout's records are timed, `count` of them, and which are left to warm a server up.

    The timed ones are spread evenly over the holdout, and repeated if it has too few records.
    """
    if not records:
        raise HallmarkError("holds no record", file=HOLDOUT, remedy="give more data, or raise split.holdout")
    step = max(1.0, records / count)
    timed = [int(i * step) % records for i in range(count)]
    return timed, sorted(set(range(records)) - set(timed)) or timed


def body_of(prompt: Prompt) -> dict[str, Any]:
    """What a record asks, as a request has it."""
    return {"messages": prompt.messages} | ({"tools": prompt.tools} if prompt.tools else {})
