"""Tool calls in the form a chat template writes them: parse text into calls, and write calls as text.

Qwen3 writes `<tool_call>{"name": ..., "arguments": ...}</tool_call>`, Llama 3.2 `{"name": ..., "parameters": ...}`: what
a server's parser of calls understands. `chat_template.py` derives the form from the template. Records hold calls as JSON
whatever the base; they are converted to this form when a record is tokenized, and back when an answer is scored.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from hallmark.base.reading import STRICT

Call = dict[str, Any]  # name and arguments, and nothing else


@dataclass(frozen=True)
class ToolForm:
    """The text around calls, and their keys for name and arguments; `between` is None if only one call can be written."""

    before: str
    between: str | None
    after: str
    name: str
    arguments: str

    def read(self, text: str) -> list[Call] | None:
        """The calls in a text of nothing but calls in this form; None for any other text. White space around is ignored."""
        try:
            position = _skip(self.before, text, 0)
            calls = []
            while True:
                value, position = STRICT.raw_decode(text, position)
                calls.append(self._call(value))
                if re.compile(_loose(self.after)).fullmatch(text, position):
                    return calls
                if self.between is None:
                    return None
                position = _skip(self.between, text, position)
        except (ValueError, RecursionError):
            return None

    def write(self, calls: list[Call]) -> str:
        """Calls in this form, exactly as the template writes them."""
        parts = [
            json.dumps({self.name: call["name"], self.arguments: call["arguments"]}, ensure_ascii=False)
            for call in calls
        ]
        return self.before + (self.between or "\n").join(parts) + self.after

    def _call(self, value: Any) -> Call:
        if not isinstance(value, dict) or value.keys() != {self.name, self.arguments}:
            raise ValueError("other keys")
        call = {"name": value[self.name], "arguments": value[self.arguments]}
        if not calls_of(call):
            raise ValueError("other types")
        json.dumps(call, allow_nan=False)  # Python parses NaN and 1e999, which are not JSON numbers
        return call


def calls_of(value: Any) -> list[Call]:
    """The calls in a JSON value that is a call or a list of calls; empty if any part of it is something else."""
    calls = _as_list(value)
    if all(
        isinstance(call, dict)
        and call.keys() == {"name", "arguments"}
        and isinstance(call["name"], str)
        and isinstance(call["arguments"], dict)
        for call in calls
    ):
        return calls
    return []


def calls_in(text: str) -> list[Call]:
    """The calls in a record's completion; empty if it is plain text, or JSON that isn't just calls."""
    try:
        return calls_of(json.loads(text))
    except (ValueError, RecursionError):
        return []


def has_odd_call(text: str) -> bool:
    """Whether a completion has a call that is not just a name and an object of arguments."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return not calls_of(value) and any(isinstance(item, dict) and "arguments" in item for item in _as_list(value))


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _loose(text: str) -> str:
    """A pattern for a text, with any amount of white space (or none) around it and wherever it has some."""
    return r"\s*".join(["", *map(re.escape, text.split()), ""])


def _skip(text: str, within: str, position: int) -> int:
    match = re.compile(_loose(text)).match(within, position)
    if match is None:
        raise ValueError(f"not {text!r}")
    return match.end()
