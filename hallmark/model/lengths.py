"""Lengths of records in tokens of the base, rendered as they are for training and for evaluation."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hallmark.base.reading import read_object
from hallmark.model.chat_template import other_prompt, render, with_calls
from hallmark.model.tool_form import ToolForm, calls_in

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger("lengths")

BATCH = 2048  # texts rendered and tokenized together
SECONDS = 10  # between lines of progress
STEP_RECORD, STEP_ANSWER = 64, 8  # tokens: what proposed limits are multiples of
Rows = Sequence[dict[str, Any]]


def record_lengths(
    rows: Rows,
    tokenizer: PreTrainedTokenizerBase,
    form: ToolForm | None,
    file: Path,
    answer: Literal["completion", "rejected"] = "completion",
) -> list[int]:
    """The tokens of each record of `file` with this answer, prompt and answer together, as training counts them.

    `form`: how the chat template writes calls; None if answers are JSON.
    """

    def texts() -> Iterator[str]:
        for row in rows:
            try:
                messages = with_calls(tokenizer, form, row, answer, file) if form else row[answer]
            except ValueError as error:
                raise other_prompt(str(error), file) from None
            yield render(tokenizer, [*row["prompt"], *messages], tools=_tools(row))

    return _counted(texts(), tokenizer, len(rows))


def prompt_lengths(rows: Rows, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens of each record's prompt, as the model reads it before it answers."""
    texts = (render(tokenizer, row["prompt"], tools=_tools(row), add_generation_prompt=True) for row in rows)
    return _counted(texts, tokenizer, len(rows))


def answer_lengths(rows: Rows, tokenizer: PreTrainedTokenizerBase, form: ToolForm | None) -> list[int]:
    """The tokens that a model must write to give each record's answer, with the one that ends it."""

    def texts() -> Iterator[str]:
        for row in rows:
            text = row["completion"][-1]["content"]
            yield form.write(calls) if form and (calls := calls_in(text)) else text

    return [length + 1 for length in _counted(texts(), tokenizer, len(rows))]


def out_of_reach(rows: Rows, limit: int, tokenizer: PreTrainedTokenizerBase, form: ToolForm | None) -> list[bool]:
    """Which records have a target that is longer than may be generated (`eval.max_new_tokens`): they can't pass."""
    lengths = answer_lengths(rows, tokenizer, form)
    log.info("the longest target has %d tokens; eval.max_new_tokens is %d", max(lengths), limit)
    too_long = [length > limit for length in lengths]
    if any(too_long):
        log.warning("%d records have targets with more tokens than may be generated: they can't pass", sum(too_long))
    return too_long


def _tools(row: dict[str, Any]) -> list[Any] | None:
    return json.loads(row["tools"]) if row["tools"] else None


def _counted(texts: Iterator[str], tokenizer: PreTrainedTokenizerBase, total: int) -> list[int]:
    """The number of tokens of each text. The template writes whatever a text starts with, so the tokenizer adds nothing."""
    lengths: list[int] = []
    batch: list[str] = []
    said = time.monotonic()
    for number, text in enumerate(texts, 1):
        batch.append(text)
        if len(batch) == BATCH or number == total:
            ids: Any = tokenizer(batch, add_special_tokens=False, return_attention_mask=False).input_ids
            lengths += map(len, ids)
            batch = []
            if time.monotonic() - said > SECONDS:
                said = time.monotonic()
                log.info("tokens counted of %d of %d records", number, total)
    return lengths


def context_of(folder: Path) -> int | None:
    """The most tokens that the model in a folder reads, as its config.json says; None if it doesn't say."""
    context = read_object(folder / "config.json").get("max_position_embeddings")
    return context if type(context) is int and context > 0 else None


def rounded_up(tokens: float, step: int, context: int | None) -> int:
    """A limit of at least this many tokens, a multiple of `step`; never above the model's context."""
    whole = -int(-tokens // step) * step
    return min(whole, context) if context else whole
