"""Records of train as earlier turns of a conversation: which ones each record is shown, and how many of them fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, Literal

from hallmark.answer.answers import Prompt
from hallmark.answer.comparator import Asked, Questions
from hallmark.answer.fair_order import fair_order
from hallmark.answer.labels import labels_of
from hallmark.answer.nearest import nearest
from hallmark.answer.predictions import readable
from hallmark.base.errors import HallmarkError
from hallmark.base.files import TRAIN

Row = dict[str, Any]
Rule = Literal["nearest", "stratified", "fixed"]


def with_examples(questions: Questions, *, count: int, rule: Rule, max_tokens: int) -> Asked:
    """Each record's prompt with as many of `count` examples as fit, the best of them; the best comes last."""
    train = train_records()
    prompts, shown = [], []
    best = RULES[rule](train, questions, count)
    for prompt, ranked in zip(questions.prompts, best, strict=True):
        longer, many = _with_examples(prompt, [train[row] for row in ranked], max_tokens, questions)
        prompts.append(longer)
        shown.append([train[row]["id"] for row in ranked[:many]])
    return Asked(prompts, shown)


def train_records() -> list[Row]:
    """The training records; a HallmarkError if there are none."""
    from hallmark.base.records import read_records

    train = read_records(TRAIN).rows(named=True)
    if not train:
        raise HallmarkError("holds no record", file=TRAIN, remedy="fix the shares under split")
    return train


def in_words(count: int) -> str:
    """How many examples: "1 example"."""
    return f"{count} example{'' if count == 1 else 's'}"


def _with_examples(prompt: Prompt, ranked: Sequence[Row], limit: int, questions: Questions) -> tuple[Prompt, int]:
    """The prompt with the first examples of `ranked` that fit, and their number: `limit` tokens in all, and the context."""
    from hallmark.model.chat_template import render

    def length(messages: list[Row]) -> int:
        options: dict[str, Any] = {"tools": prompt.tools, "add_generation_prompt": True, "tokenize": True}
        return len(render(questions.tokenizer, messages, **options))

    start = next((number for number, said in enumerate(prompt.messages) if said["role"] != "system"), 0)
    bare = length(prompt.messages)
    for many in range(len(ranked), 0, -1):
        turns = [message for row in reversed(ranked[:many]) for message in _turns(row, questions)]
        messages = [*prompt.messages[:start], *turns, *prompt.messages[start:]]
        tokens = length(messages)
        if tokens - bare <= limit and (questions.room is None or tokens <= questions.room):
            return replace(prompt, messages=messages), many
    return prompt, 0


def _turns(row: Row, questions: Questions) -> list[Row]:
    """A record as turns of a conversation, without its system prompt; the answer as the model would have to write it."""
    from hallmark.model.tool_form import calls_in

    answer = row["completion"][-1]["content"]
    if questions.form and (calls := calls_in(answer)):
        answer = questions.form.write(calls)
    asked = [{"role": said["role"], "content": said["content"]} for said in row["prompt"] if said["role"] != "system"]
    return [*asked, {"role": "assistant", "content": answer}]


def _nearest(train: list[Row], questions: Questions, count: int) -> list[list[int]]:
    """For each record, the training records whose inputs are most like it; of equally like ones, the earlier."""
    known = [readable(row)["input"] for row in train]
    found = nearest(known, [readable(row)["input"] for row in questions.records], count)
    return _fixed(train, questions, count) if found is None else [[row for row, _ in ranked] for ranked in found]


def _stratified(train: list[Row], questions: Questions, count: int) -> list[list[int]]:
    """The same for all records: of each combination of labels in turn, the most frequent first, one."""
    names = questions.task.kind.label_names(questions.task)
    if not names:
        raise HallmarkError(
            "the task has no labels to draw examples by",
            param="eval.comparators",
            remedy="set the comparator's rule to nearest or fixed",
        )
    strata: dict[tuple[tuple[str, str], ...], list[int]] = {}
    for row in _fair(train, questions.seed):
        labels = labels_of(questions.task, readable(train[row])["target"], names)
        strata.setdefault(tuple(sorted(labels.items())), []).append(row)
    ranked = sorted(strata, key=lambda labels: (-len(strata[labels]), labels))
    turns = ((strata[labels], turn) for turn in range(len(train)) for labels in ranked)
    chosen = list(islice((rows[turn] for rows, turn in turns if turn < len(rows)), min(count, len(train))))
    return [chosen] * len(questions.records)


def _fixed(train: list[Row], questions: Questions, count: int) -> list[list[int]]:
    """The same for all records: the first in fair order of the groups."""
    return [_fair(train, questions.seed)[:count]] * len(questions.records)


def _fair(train: list[Row], seed: int) -> list[int]:
    return fair_order([row["id"] for row in train], [row["group"] for row in train], seed)


RULES: dict[Rule, Callable[[list[Row], Questions, int], list[list[int]]]] = {
    "nearest": _nearest,
    "stratified": _stratified,
    "fixed": _fixed,
}
