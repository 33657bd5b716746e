"""What passes between the parts of the gateway: a request that was read and masked, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from hallmark.mask.restoring import Masked
from hallmark.service.traces.trace import Outcome, Reason, Route

if TYPE_CHECKING:
    from hallmark.serve.chat_request import ChatRequest


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
    model: str  # the name that it answers by
    text: str | None
    tool_calls: list[dict[str, Any]] | None
    finish: str | None
    answer: str | None  # the model's own, whatever went out
    fallback: str | None
    schema_valid: bool | None
    score: float | None
    probability: float | None
    prompt_tokens: int | None
    answer_tokens: int | None
    model_s: float | None
    fallback_s: float | None
    price: float | None


class Masking(Protocol):
    """Masks what callers send, away from the event loop."""

    async def mask(
        self, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None, also: Sequence[str] = ()
    ) -> tuple[Masked, list[str]]:
        """The request masked; and the texts in `also` masked with it, the same values by the same stand-ins."""


class Models(Protocol):
    """The releases that answer, and the fallback."""

    @property
    def names(self) -> list[str]:
        """The names of models that callers may ask for."""

    def routed(self, asked: Asked) -> tuple[Route, str, str]:
        """Where a request goes: the route, and the release's version and digest; `none` if there is no release."""

    async def answer(self, asked: Asked) -> Answered:
        """The answer of the release that this caller's customer is routed to. Never raises for what a server does."""

    async def close(self) -> None:
        """Finish what is under way, and stop the servers that were started."""
