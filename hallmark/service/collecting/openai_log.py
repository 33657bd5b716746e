"""Logs of OpenAI-style requests: a row with `request` and `response`, or a stored completion with its `messages`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from hallmark.base.errors import HallmarkError
from hallmark.base.rows import files_of, read_rows
from hallmark.service.collecting.logged import LeftOutError, Logged, message_of, messages_of, name_of
from hallmark.service.collecting.scored import Scores, day_of, named_customer
from hallmark.task.answers import compact_json

CUSTOMER = (  # in this order; OpenAI has renamed it twice
    "request.user",
    "request.safety_identifier",
    "user",
    "input_user",
    "safety_identifier",
)


def is_openai(row: dict[str, Any]) -> bool:
    """Whether a row looks like one of these."""
    return isinstance(row.get("request"), dict) or row.get("object") == "chat.completion"


def openai_log(path: Path, scores: Scores, left: Counter[str]) -> Iterator[Logged]:
    """The requests in a file or a folder; the first row that is none is an error."""
    for file in files_of(path):
        for number, row in read_rows(file):
            try:
                yield _logged(row, file, number, scores)
            except LeftOutError as error:
                left[error.reason] += 1


def _logged(row: dict[str, Any], file: Path, number: int, scores: Scores) -> Logged:
    def fail(problem: str, field: str, remedy: str) -> NoReturn:
        raise HallmarkError(problem, file=file, row=number, field=field, remedy=remedy)

    request = row.get("request") if "request" in row else row
    response = row.get("response") if "request" in row else row
    if not isinstance(request, dict):
        fail("not an object", "request", 'write each row as {"request": {...}, "response": {...}}')
    if "messages" not in request:
        fail(
            "no messages",
            "request.messages" if "request" in row else "messages",
            "log the request's body; to a stored completion, add what `client.chat.completions.messages.list(id)` returns",
        )
    answer = None
    if isinstance(response, dict) and "error" not in response:
        choices = response.get("choices")
        if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
            fail("not a list of choices", "choices", "log the response's body, not its stream of chunks")
        if choices and isinstance(message := choices[0].get("message"), dict):
            answer = message_of({"role": "assistant"} | message)["content"]
    elif response is not None and not isinstance(response, dict):
        fail("not an object", "response", 'write each row as {"request": {...}, "response": {...}}')
    tools = request.get("tools")
    if tools is not None and not isinstance(tools, list):
        fail("not a list", "tools", "log the request's body as it was sent")
    messages = messages_of(request["messages"])
    known = response.get("id") if isinstance(response, dict) else None
    metadata = request.get("metadata") or (response or {}).get("metadata")
    verdict = scores.verdict(metadata.get(scores.name)) if isinstance(metadata, dict) and scores.name else None
    return Logged(
        name=f"openai {known if isinstance(known, str) else name_of(compact_json(messages), answer or '')}",
        file=str(file),
        row=number,
        time=day_of((response or {}).get("created", row.get("timestamp"))),
        own=False,
        masked=False,
        group=named_customer(row, scores.customer, CUSTOMER),
        route="log",
        outcome="failed" if answer is None else "answered",
        reason="",
        version=str(request.get("model") or ""),
        messages=messages,
        tools=tools or None,
        answer=answer,
        fallback=None,
        verdict=verdict,
        target=None,
        score=None,
        probability=None,
    )
