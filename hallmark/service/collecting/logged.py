"""What an entry of a log is, whatever tool wrote it, and the reasons for which one makes no record."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hallmark.base.rows import files_of, read_rows
from hallmark.data.conversations import ROLES, text_in
from hallmark.service.traces.trace import Verdict

Said = Verdict | Literal["contradicted"]  # callers who disagree have not judged
Message = dict[str, str]  # role and content

# Why a request is left out, in the words of the summary.
REASONS = {
    "route": "of a route that collect.routes does not name",
    "no_answer": "without an answer, and judged by nobody",
    "not_text": "with images, sound, or anything else that is not text",
    "no_content": "without the texts: what wrote the log was set up to leave them out",
    "no_customer": "without a customer, so no split could keep it on one side",
    "customer_name": "with a customer's name that looks private, or that records may not have",
    "system_prompt": "with another system prompt than task.system_prompt",
    "conversation": "with several turns, where data.input is not turns.input; or with turns that were joined to one text",
    "template": "whose text can't be split into the columns of data.input or data.context",
    "ambiguous": "whose context can't be told from its input",
    "tools": "with tools, where data.tools names no column",
    "target": "whose answer breaks the schema, or does not fit the columns of data.target",
    "private": "with private values that masking can't reach",
    "dropped": "of a kind that mask.actions drops",
    "row": "that would not make a valid row: a text that is empty, too long, or not valid Unicode",
    "exact": "with the text and the answer of an existing record",
    "near": "",  # always 0: the report of no traffic keeps its bytes, which the page is made of
    "asked_before": "unjudged, with the text of an existing record",
}


class LeftOutError(Exception):
    """A request that makes no record; `reason` is a key of `REASONS`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """A request, what was answered, and what was said of it.

    `group` is the customer as the log has it: a pseudonym, where our own gateway wrote it and `data.pseudonyms` is keyed.
    """

    name: str  # the same whenever the same log is read
    time: str  # the day in UTC, YYYY-MM-DD; "" if it is not known
    group: str | None
    outcome: str
    version: str
    messages: list[Message]
    tools: list[Any] | None
    answer: str | None  # the model's
    verdict: Said | None
    target: str | None
    # What only our gateway writes:
    own: bool = False  # from our gateway, which masked it if `masked`
    masked: bool = False
    route: str = "log"
    reason: str = ""
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


def rows_below(path: Path) -> Iterator[tuple[Path, int, dict[str, Any]]]:
    """(file, number, row) of all rows in a log: one file, or a folder of them."""
    return ((file, number, row) for file in files_of(path) for number, row in read_rows(file))


def messages_of(value: Any) -> list[Message]:
    """Messages in OpenAI's form as role and text; LeftOutError if one has no text or no known role."""
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    if not isinstance(value, list) or not value:
        raise LeftOutError("no_content")
    return [message_of(message) for message in value]


def message_of(message: Any) -> Message:
    role = ROLES.get(message["role"]) if isinstance(message, dict) and isinstance(message.get("role"), str) else None
    text = text_in(message, "content") if role else None
    if role is None or text is None:
        raise LeftOutError("not_text")
    return {"role": role, "content": text}
