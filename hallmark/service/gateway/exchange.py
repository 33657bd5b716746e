"""What passes between the parts of the gateway: a request that was read and masked, what came of it, and its trace."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from hallmark.mask.restoring import Masked
from hallmark.serve.chat_request import ChatRequest
from hallmark.service.traces.trace import Outcome, Reason, Route, Trace
from hallmark.task.answers import compact_json

if TYPE_CHECKING:
    from hallmark.service.gateway.otlp import OtlpExporter
    from hallmark.service.traces.store import TraceWriter


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that was let through: what is asked, by whom, and how long it may take."""

    request: str  # the same in all its traces
    time: datetime  # UTC
    caller: str  # the name of the API key, or ""
    group: str | None  # the customer, as records have it
    chat: ChatRequest  # with `masked.messages` for its own
    masked: Masked
    deadline: float  # by time.monotonic()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What came of a request. `text` is masked; None: a person must look (`reason`), or nobody answered (`failed`)."""

    trace: str  # the id of its trace
    outcome: Outcome
    reason: Reason
    route: Route
    version: str
    digest: str
    model: str = ""  # the name that it answers by
    text: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    finish: str | None = None
    refused: tuple[str | None, str | None] = (None, None)  # why the server refused it, and which field, if it said so
    answer: str | None = None  # the model's own, whatever went out
    fallback: str | None = None
    schema_valid: bool | None = None
    score: float | None = None
    probability: float | None = None
    prompt_tokens: int | None = None
    answer_tokens: int | None = None
    model_s: float | None = None
    fallback_s: float | None = None
    price: float | None = None

    def restored(self, masked: Masked) -> tuple[str | None, list[dict[str, Any]] | None]:
        """Text and calls of tools, with the caller's own values in them again."""
        calls = self.tool_calls and [
            call | {"function": {name: masked.restored(part) for name, part in call["function"].items()}}
            for call in self.tool_calls
        ]
        return None if self.text is None else masked.restored(self.text), calls


SAME = {field.name for field in fields(Trace)} & {field.name for field in fields(Answered)}


class Traces:
    """Traces of requests, in each of several places or in none."""

    def __init__(self, *places: TraceWriter | OtlpExporter) -> None:
        self._places = places

    def keep(self, asked: Asked, answered: Answered, masking_s: float | None, total_s: float) -> None:
        """Keep the trace of a request. `masking_s`: None if nothing was looked for in it."""
        trace = Trace(
            id=answered.trace,
            request=asked.request,
            time=asked.time,
            group=asked.group,
            caller=asked.caller,
            messages=compact_json(asked.masked.messages),
            tools=None if asked.masked.tools is None else compact_json(asked.masked.tools),
            masking_s=masking_s,
            total_s=total_s,
            masked=masking_s is not None,
            **{name: getattr(answered, name) for name in SAME},
        )
        for place in self._places:
            place.put(trace)

    def close(self) -> None:
        """Close them in their order, each also if one before it fails."""
        with ExitStack() as stack:
            for place in reversed(self._places):
                stack.callback(place.close)
