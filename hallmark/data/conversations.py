"""Extra columns for rows: turns of conversations in OpenAI's or ShareGPT's layout, nested values, spans, an id made from the row.

`data:` can use these if a row has `messages` (OpenAI: role, content, tool_calls) or `conversations` (ShareGPT: from,
value); an Alpaca row (instruction, input, output) needs no conversion, since its keys are plain columns.

    turns.input    the user's last message before that answer
    turns.target   the assistant's last answer, or the last without `weight: 0` (OpenAI's mark of turns that are not
                   trained); with `data.answers: all`, each of them; if it calls tools, the calls as JSON
    turns.earlier  everything before that, one line per turn ("user: ..."); for data.context
    turns.system   the system prompt
    row.id         a hash of the row, for data without ids
    user.login     a value inside another one: see hallmark/data/nested.py
    spans.by_label, tokens.joined: see hallmark/data/spans.py
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

from hallmark.base.errors import HallmarkError
from hallmark.base.params import Data
from hallmark.base.reading import NotJsonError, strict_json
from hallmark.base.records import columns_of
from hallmark.data.copied import opened
from hallmark.data.missing import OR_DROP, MissingValueError, Part
from hallmark.data.nested import is_path, value_at
from hallmark.data.spans import BY_LABEL, JOINED, by_label, is_open, joined

TURNS = ("turns.input", "turns.target", "turns.earlier", "turns.system")
LAYOUTS = {"messages": ("role", "content"), "conversations": ("from", "value")}
ROLES = {
    "system": "system", "developer": "system", "human": "user", "user": "user", "gpt": "assistant", "bing": "assistant",
    "chatgpt": "assistant", "model": "assistant", "assistant": "assistant", "function_call": "assistant", "tool": "tool",
    "function": "tool", "function_response": "tool", "observation": "tool",
}  # fmt: skip


class Extra:
    """Adds to each row the extra columns that `data:` names, and no others."""

    def __init__(self, data: Data, others: Iterable[str] = ()) -> None:
        targets = data.target if isinstance(data.target, list) else [data.target]
        optional = (data.context, data.tools, data.rejected, data.tags, data.split)
        templates = [data.id, data.group, data.input, *targets, *optional]
        named = {column for template in templates if template for column in columns_of(template)}
        self.turns, self.name = not named.isdisjoint(TURNS), "row.id" in named
        self.paths = sorted(name for name in named.union(others) if "." in name and name not in (*TURNS, "row.id"))
        self.markup = data.markup
        self.source = data.input if columns_of(data.input) == [data.input] else None  # of offsets
        self.seen: Counter[str] = Counter()

    def __call__(self, row: dict[str, Any], file: Path, number: int) -> dict[str, Any]:
        """The row with its extra columns; a `HallmarkError` if it needs a conversation and has none."""
        extra = turns(row, file, number) if self.turns else {}
        extra |= {path: self.value(path, row, file, number) for path in self.paths if is_path(path, row)}
        if self.name:
            text = json.dumps(row, sort_keys=True, ensure_ascii=False, default=str)
            name = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
            self.seen[name] += 1  # a repeated row counts as two rows
            extra["row.id"] = name if self.seen[name] == 1 else f"{name}-{self.seen[name]}"
        return row | extra if extra else row

    def value(self, path: str, row: dict[str, Any], file: Path, number: int) -> Any:
        """The value at a path, or what is made of the spans or tokens there."""
        if (found := value_at(row, path)) is not None:
            return found
        if path.endswith(JOINED):
            return joined(opened(value_at(row, path.removesuffix(JOINED))))
        if not path.endswith(BY_LABEL) or is_open(row, path.removesuffix(BY_LABEL)):
            return None
        source = value_at(row, self.source.removesuffix(JOINED)) if self.source else None
        source = opened(source) if self.source and self.source.endswith(JOINED) else source
        return by_label(opened(value_at(row, path.removesuffix(BY_LABEL))), source, file, number, path, self.markup)


def turns(row: dict[str, Any], file: Path, number: int) -> dict[str, Any]:
    """The columns `turns.*` of a row."""
    column = layout_of(row)
    if column is None:
        raise HallmarkError(
            "no conversation in the row", file=file, row=number, field="messages",
            remedy="give each row a list 'messages' (role, content) or 'conversations' (from, value); or name other "
            "columns in data:",
        )  # fmt: skip

    def fail(problem: str, remedy: str) -> NoReturn:
        raise HallmarkError(problem, file=file, row=number, field=column, remedy=remedy)

    def lack(part: Part, problem: str, remedy: str) -> NoReturn:
        raise MissingValueError(problem, part=part, file=file, row=number, field=column, remedy=f"{remedy}; {OR_DROP}")

    role_key, text_key = LAYOUTS[column]
    messages: list[tuple[str, str]] = []
    answer = None
    for number_in_row, message in enumerate(row[column], 1):
        if not isinstance(message, dict) or not isinstance(message.get(role_key), str):
            fail(
                f"message {number_in_row} has no '{role_key}'",
                f"each message is an object with '{role_key}' and '{text_key}'",
            )
        role = ROLES.get(message[role_key])
        if role is None:
            fail(f"message {number_in_row} has an unknown role", f"use one of {', '.join(ROLES)} as '{role_key}'")
        text = text_in(message, text_key)
        if text is None:
            fail(
                f"message {number_in_row} has no text in '{text_key}'",
                "images and sound can't be read; write text, or drop the row",
            )
        messages.append((role, text))
        if (weight := message.get("weight")) not in (None, 0, 1):
            fail(f"message {number_in_row} has a weight other than 0 and 1", "give an answer that is not trained 0")
        if role == "assistant" and weight != 0:
            answer = number_in_row - 1
    if answer is None:
        lack(
            "target",
            "no answer from the assistant without weight 0",
            "the last such answer is what the model learns: add it, or drop the row",
        )
    question = next((index for index in reversed(range(answer)) if messages[index][0] == "user"), None)
    if question is None:
        lack("input", "no message from the user before the last answer", "add the question, or drop the row")
    # Anything between question and answer (a tool's result, say) belongs to the question.
    between = [f"{role}: {text}" for role, text in messages[question + 1 : answer]]
    return {
        "turns.input": "\n".join([messages[question][1], *between]),
        "turns.target": messages[answer][1],
        "turns.earlier": "\n".join(f"{role}: {text}" for role, text in messages[:question] if role != "system"),
        "turns.system": "\n".join(text for role, text in messages if role == "system"),
    }


def earlier_answers(row: dict[str, Any], file: Path, number: int) -> Iterator[tuple[int, dict[str, str]]]:
    """For each answer before the last that is trained: its place among the messages, and the columns `turns.*` up to it.

    The row was checked before. An answer before the first question is none.
    """
    if (column := layout_of(row)) is None:
        return
    messages = row[column]
    roles = [ROLES[message[LAYOUTS[column][0]]] for message in messages]
    trained = [
        role == "assistant" and message.get("weight") != 0 for role, message in zip(roles, messages, strict=True)
    ]
    ends = [end for end in range(1, len(messages) + 1) if trained[end - 1] and "user" in roles[:end]]
    for end in ends[:-1]:
        yield end, turns(row | {column: messages[:end]}, file, number)


def layout_of(row: dict[str, Any]) -> str | None:
    """The column that holds the row's conversation, if any."""
    for column, (role_key, _) in LAYOUTS.items():
        value = row.get(column)
        if isinstance(value, list) and value and isinstance(value[0], dict) and role_key in value[0]:
            return column
    return None


def text_in(message: dict[str, Any], text_key: str) -> str | None:
    """The text of a message: its content, the text parts of its content, or its tool calls as JSON."""
    if message.get("tool_calls"):
        return calls(message["tool_calls"])
    content = message.get(text_key)
    if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in content):
        parts = [part.get("text") for part in content]
        content = "\n".join(parts) if all(isinstance(text, str) for text in parts) else None
    return content if isinstance(content, str) else None


def calls(tool_calls: Any) -> str | None:
    """OpenAI's tool calls as a JSON list of names and arguments."""
    result = []
    for call in tool_calls if isinstance(tool_calls, list) else [None]:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            return None
        arguments = function.get("arguments", {})
        try:
            arguments = strict_json(arguments) if isinstance(arguments, str) else arguments
        except NotJsonError:
            return None
        result.append({"name": function["name"], "arguments": arguments})
    return json.dumps(result, ensure_ascii=False)
