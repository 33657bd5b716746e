"""The limits on lengths that fit the rows of a sample, with room to spare, for `python -m hallmark.commands.propose`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from hallmark.base.errors import HallmarkError
from hallmark.data.raw import Raw
from hallmark.model.lengths import STEP_ANSWER, STEP_RECORD, rounded_up
from hallmark.plan.lengths import counter, estimated, record_of
from hallmark.task.answers import compact_json
from hallmark.task.params import Task as TaskParams
from hallmark.task.task import Task

MEASURED = 1_000  # records whose tokens are counted: the longest in characters
PROMPT = 128  # tokens by which the system prompt may grow: it is a first draft
ROOM = 1.1  # of records: the next ones may be longer
ROOM_ANSWER = 1.25  # of answers: a model may write a longer one than expected, and is cut off at the limit


# What `split` does with records that the base can't read, by `split.too_long`.
BEYOND = {
    "error": ("split will stop at records", "Set split.too_long to drop or count, s"),
    "drop": ("split will leave records out", "S"),
    "count": ("split will keep records out of training, and count them as wrong elsewhere", "S"),
}


@dataclass
class Sizes:
    """The longest records of a sample in tokens, before masking, and the limits that would fit."""

    characters: int  # of the longest input with its context
    prompt: int
    record: int
    answer: int
    max_length: int
    max_new_tokens: int
    context: int | None
    over: int  # of those that were measured, records that are longer than the context, or whose prompt leaves no room there for an answer
    counted_by: str  # whose tokens they are

    def warnings(self, too_long: str) -> list[str]:
        """What does not fit into the context of the base; `too_long`: what `split.too_long` says."""
        if not self.over:
            return []
        does, remedy = BEYOND[too_long]
        return [
            f"{does}: at least {self.over} are too long for the {self.context} tokens that the base reads (the longest record: "
            f"{self.record}, the longest prompt: {self.prompt}; eval.max_new_tokens: {self.max_new_tokens}). {remedy}horten such rows, or "
            "take a base with a longer context"
        ]


def sizes(raws: Sequence[Raw], masked: dict[str, dict[str, Any]], params: TaskParams, task: Task, base: Path) -> Sizes:
    """Measure the longest rows in tokens of the base; without a base, by their bytes.

    `masked` has the masked records of some of the rows, by id: a placeholder can be longer than what it replaces.
    """
    longest = sorted(raws, key=_characters)[-MEASURED:]
    answers = sorted(raws, key=lambda raw: len(task.render(raw.target)))[-MEASURED:]
    records = {raw.id: record_of(raw, task) for raw in (*longest, *answers)}
    pairs = [(record_of(raw, task), masked[raw.id]) for raw in raws if raw.id in masked]
    both = [[pair[side] for pair in pairs] for side in (0, 1)]
    try:
        count, context, counted_by = counter(params, base)
        found, before, after = (count(rows) for rows in (list(records.values()), *both))
    except HallmarkError as error:  # of the base, say; `split` will say it again
        counted_by = f"estimated, since {error.problem}"
        context, (found, before, after) = None, (estimated(rows) for rows in (list(records.values()), *both))
    prompt, record, answer = map(max, found)
    growth = [grown(*lengths) for lengths in zip(before, after, strict=True)]
    max_new_tokens = rounded_up(ROOM_ANSWER * growth[2] * answer, STEP_ANSWER, context)
    over = [max(whole, start + max_new_tokens) > (context or math.inf) for start, whole, _ in zip(*found, strict=True)]
    return Sizes(
        characters=max(len(raw.input) + len(raw.context or "") for raw in raws),
        prompt=prompt,
        record=record,
        answer=answer,
        max_length=rounded_up(ROOM * growth[1] * record + PROMPT, STEP_RECORD, context),
        max_new_tokens=max_new_tokens,
        context=context,
        over=sum(over),
        counted_by=counted_by,
    )


def _characters(raw: Raw) -> int:
    """Of a prompt, apart from what all have."""
    return len(raw.input) + len(raw.context or "") + len(compact_json(raw.tools or []))


def grown(before: list[int], after: list[int]) -> float:
    """The most by which masking lengthens the longer half of some texts; at least 1."""
    middle = median(before or [0])
    return max([1.0, *(new / old for old, new in zip(before, after, strict=True) if old >= middle)])
