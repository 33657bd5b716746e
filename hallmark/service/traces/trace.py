"""What happens to a request, from the moment it comes in: one `Trace`, filled by each step and written once."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from hallmark.mask.restoring import Masked
    from hallmark.serve.chat_request import ChatRequest

TRACES = Path("data/traces")

Route = Literal["prod", "canary", "shadow", "batch", "none"]  # none: there was no release to answer
Outcome = Literal["answered", "handed_over", "failed"]
Reason = Literal[
    "sure",  # the cascade let the answer out
    "no_cascade",  # the release has none, or it is off: every answer goes out
    "unsure",  # the score is under the threshold
    "no_score",  # the server gave no log-probabilities
    "schema",  # two answers broke the schema
    "placeholder",  # with the caller's values back in it, the answer would still hold a placeholder or part of one
    "upstream",  # the model server gave no answer
    "refused",  # a limit, after the request was read
    "gone",  # the caller hung up, or the gateway was stopped, before there was an answer
    "error",  # the gateway itself failed
]
Verdict = Literal["accepted", "corrected", "rejected"]


def live(default: Any = None) -> Any:
    """A field that the steps share while the request is under way. It is neither written nor shown: it may be private."""
    return field(default=default, repr=False, compare=False, metadata={"kept": False})


@dataclass(slots=True, kw_only=True)
class Trace:
    """One request to one model. A request that went to `prod` and to a shadow has two, with the same `request`.

    Seconds are wall time; a part that did not happen is None. Prices are in the currency of `benchmark.price_per_hour`.
    All texts that are written are masked.
    """

    id: str  # what feedback names: `tr-` and 32 hexadecimal digits, the first 12 of them the time
    request: str  # equal in all traces of one request
    time: datetime  # UTC, when the request came in
    group: str | None = None  # the customer, as records have it (a pseudonym if data.pseudonyms is keyed)
    caller: str = ""  # the name of the API key; "" on loopback without keys
    route: Route = "none"
    version: str = ""  # v1.2.0, or "unregistered" for a release without a tag; "" with the route none
    digest: str = ""  # SHA-256 of the release's provenance.json; "" if it has none
    outcome: Outcome = "failed"  # until a step says otherwise
    reason: Reason = "error"
    messages: str = "[]"  # JSON list of role and content, as the model was asked
    tools: str | None = None  # JSON list
    answer: str | None = None  # the model's own, before private values are put back; None: there was none
    fallback: str | None = None  # what the fallback answered instead; None: it was not asked, or failed
    finish: str | None = None  # finish_reason of the model's answer
    schema_valid: bool | None = None  # whether `answer` parses and fits the schema; None: there was no answer
    score: float | None = None  # of the cascade
    probability: float | None = None  # that the answer is right, by the cascade's calibration
    prompt_tokens: int | None = None
    answer_tokens: int | None = None
    masking_s: float | None = None
    model_s: float | None = None
    fallback_s: float | None = None
    total_s: float = 0.0
    price: float | None = None  # of model and fallback together; None: not known
    masked: bool = False  # whether private values were looked for in the request

    started: float = live(0.0)  # by time.monotonic()
    deadline: float = live(0.0)
    chat: ChatRequest = live()  # noqa: RUF009 (a field)
    prompt: Masked = live()  # noqa: RUF009 # what the model is asked, and the caller's value of each stand-in
    model: str = live("")  # the name that callers know it by
    text: str | None = live()  # what goes out; None: a person must look (`reason`), or nobody answered (`failed`)
    tool_calls: list[dict[str, Any]] | None = live()  # noqa: RUF009
    refused: tuple[str | None, str | None] = live((None, None))  # why the server refused it, and which field


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """What a caller says of an answer. Of several by one caller about one trace, the last one counts."""

    trace: str
    time: datetime  # UTC
    caller: str
    verdict: Verdict
    target: str | None  # the right answer, masked with the placeholders of its trace; only if corrected


class Place(Protocol):
    """Where traces go."""

    def put(self, trace: Trace) -> None:
        """Keep it; never raises, and nobody waits."""

    def close(self) -> None:
        """Keep what waits."""


def new_id(time: datetime | None = None, kind: str = "tr") -> str:
    """An id of this time, or of now: ids sort by time (milliseconds). The rest is drawn: 80 bits, of which the gateway
    takes 48 to mark whose the trace is."""
    time = datetime.now(UTC) if time is None else time
    return f"{kind}-{int(time.timestamp() * 1000) & (2**48 - 1):012x}{secrets.token_hex(10)}"
