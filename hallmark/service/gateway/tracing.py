"""The trace of a request: its id, and what is kept of what was asked and answered. Masked text only."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Protocol

from hallmark.service.gateway.exchange import Answered
from hallmark.service.traces.trace import Reason, Route, Trace, new_id
from hallmark.task.answers import compact_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hallmark.service.gateway.exchange import Asked
    from hallmark.service.traces.trace import Feedback


class Traces(Protocol):
    """Where traces go."""

    def put(self, trace: Trace) -> None:
        """Keep it. Never raises, and never waits for a disk."""

    def close(self) -> None:
        """Write what is not written yet."""


class Several:
    """Traces that go to each of several places."""

    def __init__(self, places: Sequence[Traces]) -> None:
        self._places = places

    def put(self, trace: Trace) -> None:
        """Keep it in all of them."""
        for place in self._places:
            place.put(trace)

    def close(self) -> None:
        """Close them in their order, each also if one before it fails."""
        with ExitStack() as stack:
            for place in reversed(self._places):
                stack.callback(place.close)


class Judged(Protocol):
    """Where feedback goes."""

    def accept(self, feedback: Feedback) -> None:
        """Keep it: once this returns, it outlives a crash."""


def nobody(reason: Reason, routed: tuple[Route, str, str]) -> Answered:
    """What came of a request that ended before the release that it was routed to had answered (route, version, digest)."""
    route, version, digest = routed
    return Answered(
        trace=new_id(), outcome="failed", reason=reason, route=route, version=version, digest=digest, model="",
        text=None, tool_calls=None, finish=None, answer=None, fallback=None, schema_valid=None, score=None,
        probability=None, prompt_tokens=None, answer_tokens=None, model_s=None, fallback_s=None, price=None,
    )  # fmt: skip


def trace_of(asked: Asked, answered: Answered, *, masking_s: float | None, total_s: float) -> Trace:
    """The trace of a request. `masking_s`: None if nothing was looked for in it."""
    return Trace(
        id=answered.trace,
        request=asked.request,
        time=asked.time,
        group=asked.group,
        caller=asked.caller,
        route=answered.route,
        version=answered.version,
        digest=answered.digest,
        outcome=answered.outcome,
        reason=answered.reason,
        messages=_json(asked.masked.messages),
        tools=None if asked.masked.tools is None else _json(asked.masked.tools),
        answer=_whole(answered.answer),
        fallback=_whole(answered.fallback),
        finish=answered.finish,
        schema_valid=answered.schema_valid,
        score=answered.score,
        probability=answered.probability,
        prompt_tokens=answered.prompt_tokens,
        answer_tokens=answered.answer_tokens,
        masking_s=masking_s,
        model_s=answered.model_s,
        fallback_s=answered.fallback_s,
        total_s=total_s,
        price=answered.price,
        masked=masking_s is not None,
    )


def _json(value: Any) -> str:
    return _whole(compact_json(value)) or ""


def _whole(text: str | None) -> str | None:
    """A server may send half of a surrogate pair, which no file takes."""
    return None if text is None else text.encode("utf-8", "replace").decode("utf-8")
