"""The chat template, which must make the same prompt in training, in evaluation, on the server, and next year.

So what a template reads beside the messages is fixed once, at its head, when `base` takes the model over: it then goes
wherever the tokenizer goes, into the adapter and the release too, and no caller has to pass it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jinja2

from stages.common.errors import HallmarkError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Messages = list[dict[str, Any]]
SAMPLE: Messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
ANSWER = "ANSWER"


def with_variables(template: str, values: dict[str, Any]) -> str:
    """The template with variables set at its head, whatever a caller passes."""
    return "".join(f"{{% set {name} = {_literal(value)} %}}" for name, value in sorted(values.items())) + template


def _literal(value: Any) -> str:
    """A boolean, number or text as Jinja writes it."""
    return json.dumps(value, ensure_ascii=False)


def render(tokenizer: PreTrainedTokenizerBase, messages: Messages, *, tokenize: bool = False, **options: Any) -> Any:
    """The text of messages, or with `tokenize` its tokens; a HallmarkError where the template refuses them."""
    try:
        made: Any = tokenizer.apply_chat_template(messages, tokenize=tokenize, return_dict=tokenize, **options)
    except jinja2.TemplateError as error:
        raise HallmarkError(
            f"the base model's chat template refuses the messages: {error}",
            file="params.yaml",
            field="base",
            remedy="use a base model whose template takes a system message",
        ) from None
    return list(made["input_ids"]) if tokenize else made


def check_dates(tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a template that writes the day it is used on: tomorrow's prompt would be another than the one trained on."""
    clock = "{% macro strftime_now(format) %}DAY{% endmacro %}"
    template = tokenizer.get_chat_template()
    days = {render(tokenizer, SAMPLE, chat_template=clock.replace("DAY", day) + template) for day in ("one", "two")}
    if len(days) > 1:
        raise HallmarkError(
            "the chat template writes today's date into every prompt",
            file="params.yaml",
            field="base.chat_template_kwargs",
            remedy="fix the variable that the template has for it, as {date_string: 26 Jul 2024} does for Llama 3.2",
        )


def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token with which the template ends an answer: what is trained to come last, and must stop generation."""
    text = render(tokenizer, [*SAMPLE, {"role": "assistant", "content": ANSWER}])
    tail = tokenizer(text.rpartition(ANSWER)[2].lstrip(), add_special_tokens=False).input_ids
    known: Any = tokenizer
    if not tail or tail[0] not in {*known.all_special_ids, *known.added_tokens_decoder}:
        raise HallmarkError(
            "the chat template ends an answer with no token of its own, so the model could not learn to stop",
            file="params.yaml",
            field="base",
            remedy="use an instruct model whose template ends each turn with a special token",
        )
    return int(tail[0])


def tokenize(
    tokenizer: PreTrainedTokenizerBase, prompt: Messages, completion: Messages, tools: list[Any] | None = None
) -> tuple[list[int], int]:
    """A record as it is trained on, and how many of its tokens are the prompt, as the model will see it when it answers.

    Raises ValueError where the template makes another prompt for a finished answer than for one to come.
    """
    start = render(tokenizer, prompt, tokenize=True, tools=tools, add_generation_prompt=True)
    ids = render(tokenizer, [*prompt, *completion], tokenize=True, tools=tools)
    if ids[: len(start)] != start:
        same = next(place for place, token in enumerate(start) if ids[place : place + 1] != [token])
        raise ValueError(tokenizer.decode(start[same:]))
    return ids, len(start)
