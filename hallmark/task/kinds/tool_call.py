"""Tool calls: a request to one call, `{"name": ..., "arguments": {...}}`, or a list of them; calls have no order."""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from hallmark.task.answers import Parsed, strict_answer
from hallmark.task.kind import REFUSAL, GateValues, JsonKind
from hallmark.task.measure import of_score
from hallmark.task.values import Values, key, leaves

if TYPE_CHECKING:
    from hallmark.base.patterns import Pattern
    from hallmark.task.task import Task

NAME = "name"


class ToolCall(JsonKind):
    name = "tool_call"
    calls_tools = True
    measures = (
        of_score("tool_names", "Right tools", "rate", "accuracy"),
        of_score("tool_calls", "Right tool calls", "rate", "accuracy"),
    )
    gate: ClassVar[GateValues] = {
        **JsonKind.gate,
        "floors": {"schema_validity": 0.95, "exact_match": 0.6},  # a call with one wrong argument does the wrong thing
        "ceilings": {"unsafe_answer": 0.05, "hallucination": 0.1, "omission": 0.1},  # made-up calls are carried out
        "serving": {"requests_per_second": 0.2},
    }

    def prompt_hint(self, target: str, schema: Mapping[str, Any]) -> str:
        return "Call the tools that the request needs, as JSON."

    def fields(self, value: Any, facts: Mapping[str, Pattern]) -> Values:
        calls = calls_in(value)
        return leaves(calls[0] if len(calls) == 1 else calls)

    def scores(self, expected: Parsed, predicted: Parsed, target: str, prediction: str) -> dict[str, bool | float]:
        calls = [calls_in(parsed.value) for parsed in (expected, predicted)]
        same_kind = expected.kind == predicted.kind
        return {
            "tool_names": same_kind and _same(calls, lambda call: key(call.get("name"))),
            "tool_calls": same_kind and _same(calls, lambda call: key(call, leaderboard_spelling)),
        }

    def is_listed(self, path: str) -> bool:
        return path == NAME  # the record's own tools list the names

    def listed_fields(self, schema: dict[str, Any]) -> list[str]:
        return [NAME]

    def listed_values(self, value: Any) -> dict[str, Any]:
        return {NAME: sorted(str(call.get("name")) for call in calls_in(value))}

    def completion(self, task: Task, labels: Mapping[str, str]) -> str:
        if labels.get(REFUSAL) == "true":
            return task.render(task.refusal)
        calls = [{"name": name, "arguments": {}} for name in json.loads(labels[NAME])]
        return task.render(calls[0] if len(calls) == 1 else calls)


def calls_in(value: Any) -> list[dict[str, Any]]:
    """The calls in an answer: one object or a list of them; `arguments` may be JSON text, as in OpenAI's API."""
    calls = []
    for call in value if isinstance(value, list) else [value]:
        if isinstance(call, dict):
            arguments = call.get("arguments")
            if isinstance(arguments, str):
                with contextlib.suppress(ValueError, RecursionError):
                    arguments = strict_answer(arguments)
            calls.append(call | ({"arguments": arguments} if "arguments" in call else {}))
    return calls


def leaderboard_spelling(text: str) -> str:
    """A string as the Berkeley Function Calling Leaderboard compares it: no case, spaces or light punctuation."""
    return re.sub(r"[ ,./\-_*^]", "", text).lower().replace("'", '"')


def _same(calls: list[list[dict[str, Any]]], of: Callable[[dict[str, Any]], Any]) -> bool:
    expected, predicted = (Counter(map(of, side)) for side in calls)
    return expected == predicted


KIND = ToolCall()
