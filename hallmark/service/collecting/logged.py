"""What a trace says of a request, its answer and its verdict, and the reasons for which one makes no record."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from hallmark.base.errors import HallmarkError
from hallmark.base.reading import NotJsonError, is_folder, strict_json
from hallmark.service.traces.store import read_feedback, read_traces
from hallmark.service.traces.trace import Feedback, Verdict
from hallmark.task.answers import canonical

Said = Verdict | Literal["contradicted"]  # callers who disagree have not judged
Message = dict[str, Any]  # as OpenAI's API has it

# Why a request is left out, in the words of the summary.
REASONS = {
    "route": "of a route that collect.routes does not name",
    "no_answer": "without an answer, and judged by nobody",
    "not_text": "whose messages can't be read",
    "no_customer": "without a customer, so no split could keep it on one side",
    "customer_name": "with a customer's name that looks private",
    "system_prompt": "with another system prompt than task.system_prompt",
    "tools": "with tools, where task.kind calls none",
    "target": "whose answer breaks the schema",
    "private": "with private values that masking can't reach",
    "dropped": "of a kind that mask.actions drops",
    "row": "that would not make a valid record: a text that is empty, too long, or not valid Unicode",
    "exact": "with the text and the answer of an existing record",
    "asked_before": "unjudged, with the text of an existing record",
}


class LeftOutError(Exception):
    """A request that makes no record; `reason` is a key of `REASONS`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """A request, what was answered, and what was said of it. `group` is the customer, as records have it."""

    name: str  # the same whenever the same trace is read
    time: str  # the day in UTC, YYYY-MM-DD
    group: str | None
    outcome: str
    version: str
    messages: list[Message]
    tools: list[Any] | None
    answer: str | None  # the model's
    verdict: Said | None
    target: str | None
    route: str
    reason: str
    fallback: str | None = None  # what went out instead of the model's answer
    score: float | None = None
    probability: float | None = None

    @property
    def id(self) -> str:
        """The id of the record that it becomes."""
        return f"trace:{hashlib.sha256(self.name.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"

    @property
    def shown(self) -> str | None:
        """The answer that the caller got."""
        return self.fallback if self.fallback is not None else self.answer


def messages_of(value: Any) -> list[Message]:
    """Messages in OpenAI's form; LeftOutError if they are none."""
    if not isinstance(value, list) or not value or not all(map(_is_message, value)):
        raise LeftOutError("not_text")
    return value


def _is_message(message: Any) -> bool:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        return False
    calls = message.get("tool_calls")
    return isinstance(message.get("content"), str) or (message.get("content") is None and isinstance(calls, list))


def read_logged(folder: Path, since: datetime | None, left: Counter[str]) -> list[Logged]:
    """The requests in a folder of traces, with what was said of them; those that can't be read are counted in `left`."""
    if folder.exists() and not is_folder(folder):
        raise HallmarkError("not a folder of traces", file=folder, remedy="remove it: the gateway makes the folder")
    return [*_read(folder, since, left)]


def _read(folder: Path, since: datetime | None, left: Counter[str]) -> Iterator[Logged]:
    said: dict[str, list[Feedback]] = defaultdict(list)
    for feedback in read_feedback(folder):
        said[feedback.trace].append(feedback)
    for trace in read_traces(folder, since).iter_rows(named=True):
        try:
            yield _logged(trace, said[trace["id"]])
        except LeftOutError as error:
            left[error.reason] += 1


def _logged(trace: dict[str, Any], said: list[Feedback]) -> Logged:
    verdict, target = judged(said)
    if verdict == "accepted" and trace["outcome"] == "handed_over" and trace["fallback"] is None:
        verdict = None  # the caller got no answer, so nobody accepted the model's own
    try:
        messages, tools = strict_json(trace["messages"]), strict_json(trace["tools"] or "null")
    except NotJsonError:
        raise LeftOutError("not_text") from None
    same = ("group", "route", "outcome", "reason", "version", "answer", "fallback", "score", "probability")
    return Logged(
        name=f"hallmark {trace['id']}",
        time=f"{trace['time']:%Y-%m-%d}",
        messages=messages_of(messages),
        tools=tools if isinstance(tools, list) else None,
        verdict=verdict,
        target=target,
        **{field: trace[field] for field in same},
    )


def judged(said: list[Feedback]) -> tuple[Said | None, str | None]:
    """What callers say together: their word if they agree, else that they contradict each other."""
    words = {(one.verdict, canonical(one.target) if one.target is not None else None) for one in said}
    if not words:
        return None, None
    if len(words) > 1:
        return "contradicted", None
    return said[-1].verdict, said[-1].target
