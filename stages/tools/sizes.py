"""The limits on lengths that fit the rows of a sample, with room to spare, for `python -m stages.tools.propose`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from stages.core.errors import HallmarkError
from stages.corpus.raw import Raw
from stages.models.lengths import (
    STEP_ANSWER,
    STEP_RECORD,
    answer_lengths,
    context_of,
    prompt_lengths,
    record_lengths,
    rounded_up,
)
from stages.tasks.answers import compact_json
from stages.tasks.params import Task as TaskParams
from stages.tasks.task import Task

MEASURED = 1_000  # records whose tokens are counted: the longest in characters
BYTES_PER_TOKEN = 2.5  # of UTF-8, where there is no tokenizer yet: English has about 4, JSON with short keys about 2.5
AROUND = 32  # tokens that a chat template writes around a record, where there is no tokenizer yet
PROMPT = 128  # tokens by which the system prompt may grow: it is a first draft
ROOM = 1.1  # of records: the next ones may be longer
ROOM_ANSWER = 1.25  # of answers: a model may write a longer one than expected, and is cut off at the limit


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
    counted_by: str  # whose tokens they are

    def warnings(self) -> list[str]:
        """What does not fit into the context of the base."""
        if self.context and self.record > self.context:
            return [
                f"the longest record has {self.record} tokens, and the base reads at most {self.context}: set sft.too_long to "
                "drop, shorten such rows, or take a base with a longer context"
            ]
        if self.context and self.prompt + self.max_new_tokens > self.context:
            return [
                f"the longest prompt has {self.prompt} tokens; with eval.max_new_tokens = {self.max_new_tokens} it is over "
                f"the {self.context} that the base reads: shorten such rows, or take a base with a longer context"
            ]
        return []


def sizes(raws: Sequence[Raw], masked: dict[str, dict[str, Any]], params: TaskParams, task: Task, base: Path) -> Sizes:
    """Measure the longest rows in tokens of the base; without a base, by their bytes.

    `masked` has the masked records of some of the rows, by id: a placeholder can be longer than what it replaces.
    """
    longest = sorted(raws, key=lambda raw: len(raw.input) + len(raw.context or ""))[-MEASURED:]
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
    return Sizes(
        characters=max(len(raw.input) + len(raw.context or "") for raw in raws),
        prompt=prompt,
        record=record,
        answer=answer,
        max_length=rounded_up(ROOM * growth[1] * record + PROMPT, STEP_RECORD, context),
        max_new_tokens=rounded_up(ROOM_ANSWER * growth[2] * answer, STEP_ANSWER, context),
        context=context,
        counted_by=counted_by,
    )


def counter(params: TaskParams, base: Path) -> Any:
    """What gives the tokens of prompts, records and answers, the model's context, and whose tokens they are."""
    if not base.is_dir():
        words = (
            f"estimated as UTF-8 bytes / {BYTES_PER_TOKEN:g}, since there is no {base} yet (`dvc repro base` makes it)"
        )
        return estimated, None, words
    from stages.models.chat_template import tool_form
    from stages.models.loading import load_tokenizer

    tokenizer = load_tokenizer(base)
    form = tool_form(params, tokenizer)

    def count(rows: list[dict[str, Any]]) -> tuple[list[int], list[int], list[int]]:
        return (
            prompt_lengths(rows, tokenizer),
            record_lengths(rows, tokenizer, form, base),
            answer_lengths(rows, tokenizer, form),
        )

    return count, context_of(base), f"of the tokenizer in {base}"


def estimated(rows: list[dict[str, Any]]) -> tuple[list[int], list[int], list[int]]:
    """The tokens of prompts, records and answers by their bytes."""

    def tokens(*texts: str | None) -> int:
        return round(sum(len((text or "").encode("utf-8", "replace")) for text in texts) / BYTES_PER_TOKEN)

    prompts = [AROUND + tokens(*(message["content"] for message in row["prompt"]), row["tools"]) for row in rows]
    answers = [1 + tokens(row["completion"][-1]["content"]) for row in rows]
    return prompts, [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)], answers


def record_of(raw: Raw, task: Task) -> dict[str, Any]:
    """The record that the row would make if nothing in it were masked."""
    user = f"{raw.context}\n\n{raw.input}" if raw.context else raw.input
    return {
        "id": raw.id,
        "prompt": [{"role": "system", "content": task.system_prompt}, {"role": "user", "content": user}],
        "completion": [{"role": "assistant", "content": task.render(raw.target)}],
        "tools": None if raw.tools is None else compact_json(raw.tools),
    }


def grown(before: list[int], after: list[int]) -> float:
    """The most by which masking lengthens the longer half of some texts; at least 1."""
    middle = median(before or [0])
    return max([1.0, *(new / old for old, new in zip(before, after, strict=True) if old >= middle)])
