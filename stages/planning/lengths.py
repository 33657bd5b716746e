"""How many tokens the records have that will be trained on and evaluated: of the split, or of the raw data before there is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.core.files import HOLDOUT, TRAIN, VALIDATION
from stages.core.records import read_records
from stages.corpus.raw import Raw, raw_rows
from stages.models.lengths import answer_lengths, context_of, prompt_lengths, record_lengths
from stages.tasks.answers import compact_json
from stages.tasks.task import Task

if TYPE_CHECKING:
    from stages.params.loader import Params
    from stages.tasks.params import Task as TaskParams

MOST = 4_000  # records of a part whose tokens are counted: the longest in characters, and others evenly spread
LONGEST = 500  # of these, how many are the longest
BYTES_PER_TOKEN = 2.5  # of UTF-8, where there is no tokenizer yet: English has about 4, JSON with short keys about 2.5
AROUND = 32  # tokens that a chat template writes around a record, where there is no tokenizer yet
TOKENIZER = "tokenizer.json"


@dataclass(frozen=True)
class Part:
    """One part of the split: how many records it has, and of some of them the tokens; each list may be empty."""

    records: int
    prompts: list[int]
    whole: list[int]  # prompt and answer together
    answers: list[int]
    shared: int  # tokens that all prompts start with: those of the system prompt, if it is always the same


@dataclass(frozen=True)
class Lengths:
    """The tokens of training, validation and holdout records, and how they were found."""

    train: Part
    validation: Part
    holdout: Part
    basis: str


def lengths(params: Params, base: Path) -> Lengths:
    """Count the tokens of the split, or of `data.path` before there is a split, by the tokenizer in `base` if it has one.

    Raises HallmarkError for a bad row, as the stages do.
    """
    count, _, whose = counter(params.task, base)
    if all(file.exists() for file in (TRAIN, VALIDATION, HOLDOUT)):
        parts = [read_records(file).rows(named=True) for file in (TRAIN, VALIDATION, HOLDOUT)]
        source = "data/split"
    else:
        task = Task(params.task)
        rows = [record_of(raw, task) for raw in raw_rows(params.data, params.mask, task)]
        held, validation = (
            max(1, round(share * len(rows))) for share in (params.split.holdout, params.split.validation)
        )
        # Which records these will be is drawn later: until then, each part has the lengths of all.
        parts = [rows, rows, rows]
        counts = [max(1, len(rows) - held - validation), validation, held]
        part = _part(rows, count)
        train, watched, answered = (replace(part, records=number) for number in counts)
        return Lengths(train, watched, answered, f"{len(rows)} rows of {params.data.path}, tokens {whose}")
    train, watched, answered = (_part(rows, count) for rows in parts)
    return Lengths(train, watched, answered, f"{sum(map(len, parts))} records of {source}, tokens {whose}")


def _part(rows: Sequence[dict[str, Any]], count: Any) -> Part:
    chosen = rows
    if len(rows) > MOST:
        longest = sorted(range(len(rows)), key=lambda number: _characters(rows[number]))[-LONGEST:]
        spread = range(0, len(rows), -(-len(rows) // (MOST - LONGEST)))
        chosen = [rows[number] for number in sorted({*longest, *spread})]
    prompts, whole, answers = count(chosen)
    starts = {(row["prompt"][0]["role"], row["prompt"][0]["content"], row["tools"]) for row in chosen}
    shared = 0
    if len(chosen) > 1 and len(starts) == 1 and chosen[0]["prompt"][0]["role"] == "system":
        alone = chosen[0] | {"prompt": [chosen[0]["prompt"][0], {"role": "user", "content": ""}]}
        shared = min(count([alone])[0][0], min(prompts) - 1)
    return Part(len(rows), prompts, whole, answers, shared)


def _characters(row: dict[str, Any]) -> int:
    return sum(len(message["content"]) for message in (*row["prompt"], *row["completion"]))


def counter(params: TaskParams, base: Path) -> Any:
    """What gives the tokens of prompts, records and answers, the model's context, and whose tokens they are."""
    if not (base / TOKENIZER).is_file():
        words = f"estimated as UTF-8 bytes / {BYTES_PER_TOKEN:g}, since the base's tokenizer is not there yet"
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
