"""Tool calls as a chat template writes them: text to calls, and calls to text. `chat_template.py` reads the form off it.

Qwen3 writes `<tool_call>{"name": ..., "arguments": ...}</tool_call>`, Llama 3.2 `{"name": ..., "parameters": ...}`: what a
server's parser of calls understands. Records hold calls as JSON whatever the base; the form is put on where a record is
tokenized, and taken off where an answer is scored.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

Call = dict[str, Any]  # name and arguments, and nothing else
DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class ToolForm:
    """What stands around calls, and what they call name and arguments; `between` is None where only one can be written."""

    before: str
    between: str | None
    after: str
    name: str
    arguments: str

    def read(self, text: str) -> list[Call] | None:
        """The calls in a text that is nothing but calls in this form; None for any other. White space around is free."""
        try:
            place = _skipped(self.before, text, 0)
            calls = []
            while True:
                value, place = DECODER.raw_decode(text, place)
                calls.append(self._call(value))
                if re.compile(_loose(self.after)).fullmatch(text, place):
                    return calls
                if self.between is None:
                    return None
                place = _skipped(self.between, text, place)
        except (ValueError, RecursionError):
            return None

    def write(self, calls: list[Call]) -> str:
        """Calls in this form, as the template itself writes them."""
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
        json.dumps(call, allow_nan=False)  # Python reads NaN and 1e999, which are no JSON numbers
        return call


def calls_of(value: Any) -> list[Call]:
    """The calls in a JSON value: one, or a list of them. Empty where it is anything else, if only in part."""
    calls = _listed(value)
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
    """The calls in a completion as records hold it; empty where it is a text, or JSON that isn't just calls."""
    try:
        return calls_of(json.loads(text))
    except (ValueError, RecursionError):
        return []


def has_odd_call(text: str) -> bool:
    """Whether a completion calls otherwise than by a name and an object of arguments."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return not calls_of(value) and any(isinstance(one, dict) and "arguments" in one for one in _listed(value))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _loose(text: str) -> str:
    """A pattern for a text with any white space, or none, where it has some, and around it."""
    return r"\s*".join(["", *map(re.escape, text.split()), ""])


def _skipped(text: str, within: str, place: int) -> int:
    match = re.compile(_loose(text)).match(within, place)
    if match is None:
        raise ValueError(f"not {text!r}")
    return match.end()
