"""Columns that rows have beside their own: conversations as OpenAI and ShareGPT files hold them, and a name for the row.

`data:` can name these where a row has `messages` (OpenAI: role, content, tool_calls) or `conversations` (ShareGPT: from,
value); an Alpaca row (instruction, input, output) is columns as it stands.

    turns.input    what the user said last before the last answer
    turns.target   the last answer of the assistant; where it calls tools, the calls as JSON
    turns.earlier  all that was said before that, one line a turn ("user: ..."); for data.context
    turns.system   the system prompt
    row.id         a hash of the row, for data whose rows have no name
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

from stages.core.errors import HallmarkError
from stages.core.params import Data
from stages.core.records import columns_of

TURNS = ("turns.input", "turns.target", "turns.earlier", "turns.system")
LAYOUTS = {"messages": ("role", "content"), "conversations": ("from", "value")}
ROLES = {
    "system": "system", "developer": "system", "human": "user", "user": "user", "gpt": "assistant", "bing": "assistant",
    "chatgpt": "assistant", "model": "assistant", "assistant": "assistant", "function_call": "assistant", "tool": "tool",
    "function": "tool", "function_response": "tool", "observation": "tool",
}  # fmt: skip


class Extra:
    """Adds to each row the extra columns that `data:` names, and no others."""

    def __init__(self, data: Data) -> None:
        targets = data.target if isinstance(data.target, list) else [data.target]
        templates = [data.id, data.group, data.input, *targets, data.context, data.tools, data.rejected, data.tags]
        named = {column for template in templates if template for column in columns_of(template)}
        self.turns, self.name = not named.isdisjoint(TURNS), "row.id" in named
        self.seen: Counter[str] = Counter()

    def __call__(self, row: dict[str, Any], file: Path, number: int) -> dict[str, Any]:
        """The row with its extra columns; a `HallmarkError` where it is no conversation."""
        extra = turns(row, file, number) if self.turns else {}
        if self.name:
            text = json.dumps(row, sort_keys=True, ensure_ascii=False, default=str)
            name = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
            self.seen[name] += 1  # a row that stands there twice is two rows
            extra["row.id"] = name if self.seen[name] == 1 else f"{name}-{self.seen[name]}"
        return row | extra if extra else row


def turns(row: dict[str, Any], file: Path, number: int) -> dict[str, Any]:
    """The columns `turns.*` of a row."""
    column = layout_of(row)
    if column is None:
        raise HallmarkError(
            "no conversation in the row", file=file, row=number, field="messages",
            remedy="a row has a list 'messages' (role, content) or 'conversations' (from, value); or name other "
            "columns in data:",
        )  # fmt: skip

    def fail(problem: str, remedy: str) -> NoReturn:
        raise HallmarkError(problem, file=file, row=number, field=column, remedy=remedy)

    who, what = LAYOUTS[column]
    said: list[tuple[str, str]] = []
    for at, message in enumerate(row[column], 1):
        if not isinstance(message, dict) or not isinstance(message.get(who), str):
            fail(f"message {at} has no '{who}'", f"each message is an object with '{who}' and '{what}'")
        role = ROLES.get(message[who])
        if role is None:
            fail(f"message {at} is of an unknown role", f"'{who}' is one of {', '.join(ROLES)}")
        text = text_in(message, what)
        if text is None:
            fail(f"message {at} has no text in '{what}'", "images and sound are not read; write texts, or drop the row")
        said.append((role, text))
    answer = next((at for at in reversed(range(len(said))) if said[at][0] == "assistant"), None)
    if answer is None:
        fail("no answer of the assistant", "the last answer is what the model learns: add it, or drop the row")
    asked = next((at for at in reversed(range(answer)) if said[at][0] == "user"), None)
    if asked is None:
        fail("no message of the user before the last answer", "add what was asked, or drop the row")
    # What came between question and answer (a tool's result, say) belongs to the question.
    between = [f"{role}: {text}" for role, text in said[asked + 1 : answer]]
    return {
        "turns.input": "\n".join([said[asked][1], *between]),
        "turns.target": said[answer][1],
        "turns.earlier": "\n".join(f"{role}: {text}" for role, text in said[:asked] if role != "system"),
        "turns.system": "\n".join(text for role, text in said if role == "system"),
    }


def layout_of(row: dict[str, Any]) -> str | None:
    """The column in which the row holds a conversation, if any."""
    for column, (who, _) in LAYOUTS.items():
        value = row.get(column)
        if isinstance(value, list) and value and isinstance(value[0], dict) and who in value[0]:
            return column
    return None


def text_in(message: dict[str, Any], what: str) -> str | None:
    """The text of a message: its content, its content's text parts, or the tools it calls, as JSON."""
    if message.get("tool_calls"):
        return calls(message["tool_calls"])
    content = message.get(what)
    if isinstance(content, list) and all(isinstance(part, dict) and part.get("type") == "text" for part in content):
        content = "\n".join(str(part.get("text", "")) for part in content)
    return content if isinstance(content, str) else None


def calls(tool_calls: Any) -> str | None:
    """OpenAI's tool calls as a JSON list of name and arguments."""
    found = []
    for call in tool_calls if isinstance(tool_calls, list) else [None]:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            return None
        arguments = function.get("arguments", {})
        try:
            arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
        except (ValueError, RecursionError):
            return None
        found.append({"name": function["name"], "arguments": arguments})
    return json.dumps(found, ensure_ascii=False)
