"""The chat template, which must make the same prompt in training, in evaluation, on a server, and next year.

So every variable that a template reads, apart from messages and tools, is set once at the top of the template when `base`
imports the model. The template goes wherever the tokenizer goes, including the adapter and the release, and no caller
has to pass variables.

A record's tools are shown by the template too: in its own form (`task.tool_format: template`), or with `json` by `AS_JSON`
at its top, which writes them into the system message. They are not written there by `mask` or by whoever asks: the template
is the one place that training, evaluation, every server and a notebook share, records keep the prompt and the tools apart
as a live request has them, and another `tool_format` needs no data made again.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallmark.base.errors import HallmarkError
from hallmark.base.files import write_json, write_text
from hallmark.base.reading import STRICT, read_object, time_limit
from hallmark.model.tool_form import Call, ToolForm, calls_in, has_odd_call
from hallmark.task.kinds import KINDS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from hallmark.task.params import Task

Messages = list[dict[str, Any]]
SAMPLE: Messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
SPOKEN: Messages = [  # what a template might shorten, escape or change
    {"role": "system", "content": "Be brief, and answer \"yes\" & 'no' in <b>bold</b>."},
    {"role": "user", "content": "Grüße aus Zürich!\n\n" + "word " * 500 + "{{ end }}"},
]
ANSWER = "ANSWER"
DAYS = ("01", "31", "1999", "2999", "Monday, 1 May 2028")  # what a clock may say
SECONDS = 10
MEMORY = 2**30  # bytes
LONGEST = 10_000_000  # characters of a prompt that is much longer than its record
LONGEST_TEMPLATE = 250_000  # characters; the longest of real ones have about 30,000
OTHER_TEMPLATE = "use a base model with another template, or put a shorter chat_template.jinja into its folder"
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
# Nothing of Jinja that only transformers knows: other programs read the template too.
AS_JSON = (
    "{% if tools %}{% set tools_shown = 'Tools: ' ~ (tools | tojson) %}{% if messages[0]['role'] == 'system' %}"
    "{% set messages = [{'role': 'system', 'content': messages[0]['content'] ~ '\\n\\n' ~ tools_shown}] + messages[1:] %}"
    "{% else %}{% set messages = [{'role': 'system', 'content': tools_shown}] + messages %}{% endif %}"
    "{% set tools = none %}{% endif %}"
)


def with_variables(template: str, values: dict[str, Any]) -> str:
    """The template with variables set at its top, whatever a caller passes."""
    return "".join(f"{{% set {name} = {_literal(value)} %}}" for name, value in sorted(values.items())) + template


def with_tools(template: str, task: Task) -> str:
    """The template that shows tools as `task.tool_format` says; without tools it makes the same prompts as before."""
    return template if task.tool_format == "template" or AS_JSON in template else AS_JSON + template


def settle_template(tokenizer: PreTrainedTokenizerBase, folder: Path, variables: dict[str, Any], task: Task) -> None:
    """Fix the template's variables, and how it shows tools if the task has any, in the tokenizer and in its folder.

    Raises HallmarkError for a tokenizer of several templates.
    """
    as_json = KINDS[task.kind].calls_tools and task.tool_format == "json"
    if not variables and not as_json:
        return
    template = tokenizer.chat_template
    if not isinstance(template, str):
        raise HallmarkError(
            "the tokenizer has several chat templates" if template else "the tokenizer has no chat template",
            param="base.chat_template_kwargs" if variables else "task.kind",
            remedy="put the template you want to use into the folder as chat_template.jinja",
        )
    template = with_variables(template, variables)
    tokenizer.chat_template = with_tools(template, task) if as_json else template
    write_text(folder / "chat_template.jinja", tokenizer.chat_template)
    settings = read_object(folder / "tokenizer_config.json")
    if settings.pop("chat_template", None) is not None:  # where older folders keep it: one copy is enough
        write_json(folder / "tokenizer_config.json", settings)


def _literal(value: Any) -> str:
    """A boolean, number or text as Jinja writes it."""
    return json.dumps(value, ensure_ascii=False)


def render(tokenizer: PreTrainedTokenizerBase, messages: Messages, *, tokenize: bool = False, **options: Any) -> Any:
    """The text of messages, or with `tokenize` its tokens; a HallmarkError if the template refuses them.

    A template is a program that came with the base: it may run for `SECONDS`, and take `MEMORY` more than there is.
    """
    takes = HallmarkError(
        f"the base model's chat template takes over {SECONDS} seconds for one record",
        param="base",
        remedy=OTHER_TEMPLATE,
    )
    try:
        with time_limit(SECONDS, takes), memory_limit(MEMORY):
            text: Any = tokenizer.apply_chat_template(messages, tokenize=False, **options)
    except HallmarkError:
        raise
    except MemoryError:
        problem = f"the base model's chat template takes over {MEMORY >> 20} MiB for one record"
        raise HallmarkError(problem, param="base", remedy=OTHER_TEMPLATE) from None
    except Exception as error:  # a template can end in nearly any
        # What it says may quote the messages: shown only if it is a text of the template's own.
        said = str(error) if str(error) in str(tokenizer.chat_template) else type(error).__name__
        raise HallmarkError(
            f"the base model's chat template refuses the messages: {said}",
            param="base",
            remedy="use a base model whose template accepts a system message",
        ) from None
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        problem = "the base model's chat template writes half a character, which no text can hold"
        raise HallmarkError(problem, param="base", remedy=OTHER_TEMPLATE)
    if len(text) > LONGEST and len(text) > 10 * len(repr((messages, options))):
        problem = f"the base model's chat template makes {len(text)} characters of one record"
        raise HallmarkError(problem, param="base", remedy=OTHER_TEMPLATE)
    # As `apply_chat_template` does with `tokenize`.
    return list(tokenizer(text, add_special_tokens=False).input_ids) if tokenize else text


@contextmanager
def memory_limit(more: int) -> Iterator[None]:
    """A MemoryError in the block if this process takes more than `more` bytes above what it has; only on Linux.

    For Python code that may be hostile, which no check can see through: one operation (`"x" * 10**10`) is enough.
    """
    try:
        data = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5]) * resource.getpagesize()
    except OSError:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limits = [limit for limit in (soft, hard, data + more) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def check_template(tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a template that is no template, leaves out or changes what was said, or makes an absurdly long prompt of it."""
    template = tokenizer.get_chat_template()
    if len(template) > LONGEST_TEMPLATE:
        problem = f"the base model's chat template has {len(template)} characters, over {LONGEST_TEMPLATE}"
        raise HallmarkError(problem, param="base", remedy=OTHER_TEMPLATE)
    if _has_powers(template):
        problem = "the base model's chat template computes powers (**), which nothing can stop once they are large"
        raise HallmarkError(problem, param="base", remedy=OTHER_TEMPLATE)
    for tools in (None, TOOLS):
        text = render(tokenizer, SPOKEN, tools=tools, add_generation_prompt=True)
        for message in SPOKEN:
            if message["content"] not in text:
                problem = f"the base model's chat template leaves out the {message['role']}'s message, or changes it"
                raise HallmarkError(problem, param="base", remedy=OTHER_TEMPLATE)
        text = render(tokenizer, SAMPLE, tools=tools, add_generation_prompt=True)
        if len(text) > LONGEST_TEMPLATE:
            problem = f"the base model's chat template makes {len(text)} characters of a prompt of two words"
            raise HallmarkError(problem, param="base", remedy=OTHER_TEMPLATE)


def _has_powers(template: str) -> bool:
    import jinja2

    try:
        return any(kind == "operator" and text == "**" for _, kind, text in jinja2.Environment().lex(template))  # noqa: S701
    except jinja2.TemplateError:  # `render` will say so
        return False


def check_dates(tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a template that writes today's date, or anything else that differs when the same is rendered again."""
    clock = "{% macro strftime_now(format) %}DAY{% endmacro %}"
    template = tokenizer.get_chat_template()
    for messages, generate in ((SAMPLE, True), ([*SAMPLE, {"role": "assistant", "content": ANSWER}], False)):
        for tools in (None, TOOLS):
            options: dict[str, Any] = {"tools": tools, "add_generation_prompt": generate}
            before = random.getstate()  # Jinja's `random` and `lipsum` draw from it
            text = render(tokenizer, messages, **options)
            if random.getstate() != before:
                problem = "the base model's chat template draws at random, so no prompt could be repeated"
                raise HallmarkError(problem, param="base", remedy=OTHER_TEMPLATE)
            if re.search(r" at 0x[0-9a-f]{6}", text):
                problem = "the base model's chat template writes an address in memory, so no prompt could be repeated"
                raise HallmarkError(problem, param="base", remedy=OTHER_TEMPLATE)
            days = {
                render(tokenizer, messages, chat_template=clock.replace("DAY", day) + template, **options)
                for day in DAYS
            }
            if len(days) > 1:
                raise HallmarkError(
                    "the chat template writes today's date into prompts, or decides by it",
                    param="base.chat_template_kwargs",
                    remedy="fix the template's variable for it, as {date_string: 26 Jul 2024} does for Llama 3.2",
                )


def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token with which the template ends an answer: training puts it last, and generation must stop at it."""
    text = render(tokenizer, [*SAMPLE, {"role": "assistant", "content": ANSWER}])
    if ANSWER not in text:
        problem = "the chat template leaves the answer out of a finished conversation"
        raise HallmarkError(problem, param="base", remedy=OTHER_TEMPLATE)
    tail = tokenizer(text.rpartition(ANSWER)[2].lstrip(), add_special_tokens=False).input_ids
    known: Any = tokenizer
    if not tail or tail[0] not in {*known.all_special_ids, *known.added_tokens_decoder}:
        raise HallmarkError(
            "the chat template ends an answer without a special token, so the model could not learn to stop",
            param="base",
            remedy="use an instruct model whose template ends each turn with a special token",
        )
    return int(tail[0])


def tokenize(
    tokenizer: PreTrainedTokenizerBase, prompt: Messages, completion: Messages, tools: list[Any] | None = None
) -> tuple[list[int], int]:
    """A record's tokens as used in training, and how many of them are the prompt that the model sees when it answers.

    Raises ValueError if the template makes a different prompt for a finished answer than for one to be generated.
    """
    start = render(tokenizer, prompt, tokenize=True, tools=tools, add_generation_prompt=True)
    ids = render(tokenizer, [*prompt, *completion], tokenize=True, tools=tools)
    if ids[: len(start)] != start:
        same = next(index for index, token in enumerate(start) if ids[index : index + 1] != [token])
        raise ValueError(tokenizer.decode(start[same:]))
    return ids, len(start)


def other_prompt(rest: str, file: Path | str) -> HallmarkError:
    """The user-facing form of `tokenize`'s ValueError; `rest` is the part of the prompt that differs."""
    return HallmarkError(
        f"the chat template makes a different prompt for a finished answer than for one to be generated; it differs from "
        f"{rest!r} on, so the model would not be prompted as it was trained",
        file=file,
        field="prompt",
        remedy="set the template's variables in base.chat_template_kwargs (Qwen3: {enable_thinking: false}), "
        "or use another base model",
    )


def answer_text(
    tokenizer: PreTrainedTokenizerBase, prompt: Messages, completion: Messages, tools: list[Any] | None
) -> str:
    """The text the model must write: everything between the prompt and the end of the turn. ValueError as in `tokenize`."""
    start = render(tokenizer, prompt, tools=tools, add_generation_prompt=True)
    whole = render(tokenizer, [*prompt, *completion], tools=tools)
    if not whole.startswith(start):
        same = next(index for index, char in enumerate(start) if whole[index : index + 1] != char)
        raise ValueError(start[same:])
    return str(whole[len(start) :]).rpartition(str(tokenizer.decode([end_of_turn(tokenizer)])))[0]


def tool_form(task: Task, tokenizer: PreTrainedTokenizerBase) -> ToolForm | None:
    """The form in which the template writes calls, derived from two sample calls; None if answers are JSON.

    A HallmarkError if it doesn't show tools to the model, or doesn't write calls as JSON objects of name and arguments.
    """
    if task.tool_format == "json":
        return None

    def unfit(problem: str) -> HallmarkError:
        return HallmarkError(
            f"the base model's chat template {problem}",
            param="task.tool_format",
            remedy="set it to json, or use a base model whose template supports tools and writes calls as JSON",
        )

    if render(tokenizer, SAMPLE, tools=TOOLS) == render(tokenizer, SAMPLE):
        raise unfit("does not show tools to the model")
    text, located = "", None
    try:
        text = answer_text(tokenizer, SAMPLE, calling(CALLS[:1]), TOOLS)
        located = _locate(text, CALLS[0])
    except ValueError as error:
        raise other_prompt(str(error), "params.yaml") from None
    except HallmarkError:  # it accepts no calls
        pass
    if located is None:
        raise unfit("does not write tool calls as JSON objects of name and arguments")
    start, end, name, arguments = located
    before, after, between = text[:start], text[end:], None
    with contextlib.suppress(HallmarkError, ValueError):  # some templates refuse several calls at once
        both = answer_text(tokenizer, SAMPLE, calling(CALLS), TOOLS)
        first, second = (_locate(both, call) for call in CALLS)
        if first and second and both[: first[0]] == before and both[second[1] :] == after:
            between = both[first[1] : second[0]]
    return ToolForm(before, between, after, name, arguments)


def _locate(text: str, call: Call) -> tuple[int, int, str, str] | None:
    """Start and end of the call's JSON object in a text, and its keys for name and arguments."""
    for start in (index for index, char in enumerate(text) if char == "{"):
        with contextlib.suppress(ValueError, RecursionError):
            value, end = STRICT.raw_decode(text, start)
            keys = [key for part in call.values() for key, item in value.items() if item == part]
            if len(keys) == len(value) == 2:
                return start, end, keys[0], keys[1]
    return None


def calling(calls: list[Call]) -> Messages:
    """An answer of nothing but calls, in the form templates accept."""
    functions = [{"type": "function", "function": call} for call in calls]
    return [{"role": "assistant", "content": "", "tool_calls": functions}]


def with_calls(
    tokenizer: PreTrainedTokenizerBase, form: ToolForm, row: dict[str, Any], answer: str, path: Path
) -> Messages:
    """A record's answer, with JSON calls turned into the form the template accepts; any other answer unchanged.

    ValueError as in `tokenize`. It is an error if the text to train on can't be parsed back into the same calls.
    """

    def unfit(problem: str, remedy: str) -> HallmarkError:
        remedy += ", or set task.tool_format to json"
        return HallmarkError(f"record '{row['id']}' {problem}", file=path, field=answer, remedy=remedy)

    content = row[answer][-1]["content"]
    calls = calls_in(content)
    if not calls:
        if answer == "completion" and (has_odd_call(content) or form.read(content)):
            raise unfit(
                "has a call that is not just a name and an object of arguments",
                'write each call as {"name": ..., "arguments": {...}}',
            )
        return list(row[answer])
    if len(calls) > 1 and form.between is None:
        problem = f"makes {len(calls)} calls at once, but the base model's chat template accepts one"
        raise unfit(problem, "leave such records out, use a base model whose template accepts several")
    messages, tools = calling(calls), json.loads(row["tools"]) if row["tools"] else None
    if form.read(answer_text(tokenizer, row["prompt"], messages, tools)) != calls:
        problem = "makes calls that can't be parsed back from the chat template's output"
        raise unfit(problem, "use letters, digits, dots, dashes and underscores in the names of tools")
    return messages
