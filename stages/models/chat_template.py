"""The chat template, which must make the same prompt in training, in evaluation, on the server, and next year.

So what a template reads beside the messages is fixed once, at its head, when `base` takes the model over: it then goes
wherever the tokenizer goes, into the adapter and the release too, and no caller has to pass it.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from stages.core.errors import HallmarkError
from stages.models.tool_form import DECODER, Call, ToolForm, calls_in, has_odd_call

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from stages.tasks.params import Task

Messages = list[dict[str, Any]]
SAMPLE: Messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
ANSWER = "ANSWER"
CALLS: list[Call] = [
    {"name": "see_weather", "arguments": {"city": "Bern"}},
    {"name": "ring_bell", "arguments": {"times": 2}},
]
TOOLS = [
    {
        "type": "function",
        "function": {"name": call["name"], "description": "", "parameters": {"type": "object", "properties": {}}},
    }
    for call in CALLS
]


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
            param="base",
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
            param="base.chat_template_kwargs",
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
            param="base",
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


def other_prompt(rest: str, file: Path | str) -> HallmarkError:
    """The error for what `tokenize` raises ValueError for, with the `rest` of the prompt that differs."""
    return HallmarkError(
        f"the chat template makes another prompt for a finished answer than for one to come; it differs from "
        f"{rest!r} on, so the model would not be asked as it was trained",
        file=file,
        field="prompt",
        remedy="fix what it reads with base.chat_template_kwargs (Qwen3: {enable_thinking: false}), "
        "or use another base model",
    )


def answer_text(
    tokenizer: PreTrainedTokenizerBase, prompt: Messages, completion: Messages, tools: list[Any] | None
) -> str:
    """What the model is to write: the text between the prompt and the end of the turn. ValueError as in `tokenize`."""
    start = render(tokenizer, prompt, tools=tools, add_generation_prompt=True)
    whole = render(tokenizer, [*prompt, *completion], tools=tools)
    if not whole.startswith(start):
        same = next(place for place, char in enumerate(start) if whole[place : place + 1] != char)
        raise ValueError(start[same:])
    return str(whole[len(start) :]).rpartition(str(tokenizer.decode([end_of_turn(tokenizer)])))[0]


def tool_form(task: Task, tokenizer: PreTrainedTokenizerBase) -> ToolForm | None:
    """The form in which the template writes calls, read off what it makes of two; None where answers are JSON.

    A HallmarkError where it shows the model no tools, or doesn't write calls as JSON objects of name and arguments.
    """
    if task.tool_format == "json":
        return None

    def unfit(problem: str) -> HallmarkError:
        return HallmarkError(
            f"the base model's chat template {problem}",
            param="task.tool_format",
            remedy="set it to json, or use a base model whose template has tools and writes calls as JSON",
        )

    if render(tokenizer, SAMPLE, tools=TOOLS) == render(tokenizer, SAMPLE):
        raise unfit("shows the model no tools")
    text, found = "", None
    try:
        text = answer_text(tokenizer, SAMPLE, calling(CALLS[:1]), TOOLS)
        found = _place(text, CALLS[0])
    except ValueError as error:
        raise other_prompt(str(error), "params.yaml") from None
    except HallmarkError:  # it takes no calls
        pass
    if found is None:
        raise unfit("writes no tool calls as JSON objects of name and arguments")
    start, end, name, arguments = found
    before, after, between = text[:start], text[end:], None
    with contextlib.suppress(HallmarkError, ValueError):  # some refuse several calls at once
        both = answer_text(tokenizer, SAMPLE, calling(CALLS), TOOLS)
        one, two = (_place(both, call) for call in CALLS)
        if one and two and both[: one[0]] == before and both[two[1] :] == after:
            between = both[one[1] : two[0]]
    return ToolForm(before, between, after, name, arguments)


def _place(text: str, call: Call) -> tuple[int, int, str, str] | None:
    """Where the call's JSON object starts and ends in a text, and its keys of name and arguments."""
    for start in (place for place, char in enumerate(text) if char == "{"):
        with contextlib.suppress(ValueError):
            value, end = DECODER.raw_decode(text, start)
            keys = [key for part in call.values() for key, item in value.items() if item == part]
            if len(keys) == len(value) == 2:
                return start, end, keys[0], keys[1]
    return None


def calling(calls: list[Call]) -> Messages:
    """An answer that is nothing but calls, as templates take it."""
    functions = [{"type": "function", "function": call} for call in calls]
    return [{"role": "assistant", "content": "", "tool_calls": functions}]


def with_calls(
    tokenizer: PreTrainedTokenizerBase, form: ToolForm, row: dict[str, Any], answer: str, path: Path
) -> Messages:
    """A record's answer with its JSON calls as the template takes them; any other as it stands.

    ValueError as in `tokenize`. What is trained must be read back as the same calls when the model writes it, or it is an error.
    """

    def unfit(problem: str, remedy: str) -> HallmarkError:
        remedy += ", or set task.tool_format to json"
        return HallmarkError(f"record '{row['id']}' {problem}", file=path, field=answer, remedy=remedy)

    said = row[answer][-1]["content"]
    calls = calls_in(said)
    if not calls:
        if answer == "completion" and (has_odd_call(said) or form.read(said)):
            raise unfit("has a call that is not just a name and an object of arguments", "write each call so")
        return list(row[answer])
    if len(calls) > 1 and form.between is None:
        problem = f"makes {len(calls)} calls at once, and the base model's chat template takes one"
        raise unfit(problem, "leave such records out, use a base model whose template takes several")
    messages, tools = calling(calls), json.loads(row["tools"]) if row["tools"] else None
    if form.read(answer_text(tokenizer, row["prompt"], messages, tools)) != calls:
        problem = "makes calls that can't be read back from what the chat template writes"
        raise unfit(problem, "use letters, digits, dots, dashes and underscores in the names of tools")
    return messages
