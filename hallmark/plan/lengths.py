"""How many tokens the records have that will be trained on and evaluated: of the split, or of what the recipe makes before there is one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hallmark.base.files import CALIBRATION, HOLDOUT, ONLINE, TRAIN, VALIDATION
from hallmark.base.markup import Markup
from hallmark.base.records import read_records
from hallmark.mask.record import request_of, spoken
from hallmark.mask.two_runs import Runs
from hallmark.model.chat_template import tool_form, with_tools
from hallmark.model.lengths import answer_lengths, context_of, prompt_lengths, record_lengths
from hallmark.model.loading import load_tokenizer
from hallmark.params.loader import Params
from hallmark.records import Record
from hallmark.records.recipe import RECIPE
from hallmark.task.answers import compact_json
from hallmark.task.params import Task as TaskParams
from hallmark.task.task import Task

MOST = 4_000  # records of a part whose tokens are counted: the longest in characters, and others evenly spread
LONGEST = 500  # of these, how many are the longest
# Where there is no tokenizer yet. Small models write each digit and line break as a token of its own, and capitals in
# shorter pieces than other letters: a till receipt takes two and a half times the tokens of prose of its length.
_PIECE = re.compile(
    r"(?P<single>\d|\n|_)|(?P<capitals>[A-Z]{2,})|(?P<word>[A-Za-z][a-z]*)|(?P<other>[^\x00-\x7f]+)|[^\w\s]+"
)
CHARACTERS = {"single": 1, "capitals": 2, "word": 4, None: 2}  # of a token, by the kind of the piece; None: punctuation
BYTES = 1.5  # of a token, outside ASCII
READ = 20_000  # characters of a text that an estimate reads; the rest counts as if it were like them
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


NO_PART = Part(0, [], [], [], 0)


@dataclass(frozen=True)
class Lengths:
    """The tokens of the records of each part, and how they were found."""

    train: Part
    validation: Part
    holdout: Part
    basis: str
    calibration: Part = NO_PART
    online: Part = NO_PART


def lengths(params: Params, base: Path) -> Lengths:
    """Count the tokens of the split, or of what `stages/records.py` makes before there is one, by the tokenizer in `base` if it has one.

    Raises HallmarkError for a bad record, as the stages do."""
    count, _, whose = counter(params.task, base)
    if all(file.exists() for file in (TRAIN, VALIDATION, HOLDOUT)):
        parts = [read_records(file).rows(named=True) for file in (TRAIN, VALIDATION, HOLDOUT)]
    else:
        task = Task(params.task)
        rows = [record_of(one, task, params.mask.markup) for one in Runs(params, task).records(check=False)]
        held, validation = (
            max(1, round(share * len(rows))) for share in (params.split.holdout, params.split.validation)
        )
        apart = round(params.split.calibration * len(rows))
        # Which records these will be is drawn later: until then, each part has the lengths of all.
        counts = [max(1, len(rows) - held - validation - apart), validation, held]
        part = _part(rows, count)
        train, watched, answered = (replace(part, records=number) for number in counts)
        basis = f"{len(rows)} records of {RECIPE}, tokens {whose}"
        return Lengths(train, watched, answered, basis, replace(part, records=apart) if apart else NO_PART)
    train, watched, answered = (_part(rows, count) for rows in parts)
    others = [read_records(file).rows(named=True) if file.exists() else [] for file in (CALIBRATION, ONLINE)]
    basis = f"{sum(map(len, [*parts, *others]))} records of data/split, tokens {whose}"
    return Lengths(train, watched, answered, basis, *(_part(rows, count) if rows else NO_PART for rows in others))


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
    spoken = sum(len(message["content"]) for message in (*row["prompt"], *row["completion"]))
    return spoken + len(row["tools"] or "")


def counter(params: TaskParams, base: Path) -> Any:
    """What gives the tokens of prompts, records and answers, the model's context, and whose tokens they are."""
    if not (base / TOKENIZER).is_file():
        words = "estimated from their characters, since the base's tokenizer is not there yet"
        return estimated, None, words
    tokenizer = load_tokenizer(base)
    if isinstance(tokenizer.chat_template, str):  # `base` may have settled it for other params than these
        tokenizer.chat_template = with_tools(tokenizer.chat_template, params)
    form = tool_form(params, tokenizer)

    def count(rows: list[dict[str, Any]]) -> tuple[list[int], list[int], list[int]]:
        return (
            prompt_lengths(rows, tokenizer),
            record_lengths(rows, tokenizer, form, base),
            answer_lengths(rows, tokenizer, form),
        )

    return count, context_of(base), f"of the tokenizer in {base}"


def estimated(rows: list[dict[str, Any]]) -> tuple[list[int], list[int], list[int]]:
    """The tokens of prompts, records and answers by their characters."""

    def tokens(*texts: str | None) -> int:
        return round(sum(tokens_of(text or "") for text in texts))

    prompts = [AROUND + tokens(*(message["content"] for message in row["prompt"]), row["tools"]) for row in rows]
    answers = [1 + tokens(row["completion"][-1]["content"]) for row in rows]
    return prompts, [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)], answers


def tokens_of(text: str) -> float:
    """About how many tokens a text has: within a tenth or so for long English, JSON and numbers, too few for other languages."""
    count, read = 0.0, text[:READ]
    for piece in _PIECE.finditer(read):
        kind, characters = piece.lastgroup, len(piece[0])
        if kind == "other":
            count += len(piece[0].encode("utf-8", "replace")) / BYTES
        else:
            count += max(1, characters / CHARACTERS[kind])
    return count * len(text) / max(1, len(read))


def record_of(record: Record, task: Task, markup: Markup) -> dict[str, Any]:
    """The record as it would be written if nothing in it were masked."""
    request = request_of(record, task.system_prompt, markup)
    prompt, tools = [*map(spoken, request.messages)], request.tools and compact_json(request.tools)
    answer = [{"role": "assistant", "content": task.render(record.target)}]
    return {"id": record.id, "prompt": prompt, "completion": answer, "tools": tools}
