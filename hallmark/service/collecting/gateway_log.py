"""Traces and feedback of our own gateway."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from hallmark.base.errors import HallmarkError
from hallmark.base.reading import NotJsonError, strict_json
from hallmark.service.collecting.logged import LeftOutError, Logged, Said, messages_of
from hallmark.service.traces.feedback import read_feedback
from hallmark.service.traces.store import read_traces
from hallmark.service.traces.trace import Feedback
from hallmark.task.answers import canonical

DAMAGED = "restore the file, or move it away"


def own_traces(folder: Path, since: datetime | None, left: Counter[str]) -> Iterator[Logged]:
    """The traces in a folder with what was said of them, by time; those with nothing to read are counted in `left`."""
    said: dict[str, list[Feedback]] = defaultdict(list)
    for feedback in read_feedback(folder):
        said[feedback.trace].append(feedback)
    for number, trace in enumerate(read_traces(folder, since).iter_rows(named=True), 1):
        try:
            yield _logged(trace, folder, number, said.get(trace["id"], []))
        except LeftOutError as error:
            left[error.reason] += 1


def _logged(trace: dict[str, Any], folder: Path, number: int, said: list[Feedback]) -> Logged:
    verdict, target = judged(said)
    return Logged(
        name=f"hallmark {trace['id']}",
        file=str(folder),
        row=number,
        time=f"{trace['time']:%Y-%m-%d}",
        own=True,
        masked=trace["masked"],
        group=trace["group"],
        route=trace["route"],
        outcome=trace["outcome"],
        reason=trace["reason"],
        version=trace["version"],
        messages=messages_of(_json(trace["messages"], folder, number, "messages")),
        tools=_json(trace["tools"], folder, number, "tools") if trace["tools"] else None,
        answer=trace["answer"],
        fallback=trace["fallback"],
        verdict=verdict,
        target=target,
        score=trace["score"],
        probability=trace["probability"],
    )


def judged(said: list[Feedback]) -> tuple[Said | None, str | None]:
    """What callers say together: their word if they agree, else that they contradict each other."""
    words = {(one.verdict, canonical(one.target) if one.target is not None else None) for one in said}
    if not words:
        return None, None
    if len(words) > 1:
        return "contradicted", None
    return said[-1].verdict, said[-1].target


def _json(text: str, folder: Path, number: int, field: str) -> list[Any]:
    try:
        value = strict_json(text)
    except NotJsonError:
        value = None
    if not isinstance(value, list):
        raise HallmarkError("not a JSON list", file=folder, row=number, field=field, remedy=DAMAGED)
    return value
