"""What is kept of a served request, and what people say of its answer. All texts in it are masked."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One request to one model. A request that went to `prod` and to a shadow has two, with the same `request`.

    Seconds are wall time; a part that did not happen is None. Prices are in the currency of `benchmark.price_per_hour`.
    """

    id: str  # what feedback names: `tr-` and 32 hexadecimal digits, the first 12 of them the time
    request: str  # equal in all traces of one request
    time: datetime  # UTC, when the request came in
    group: str | None  # the customer, as records have it (a pseudonym if data.pseudonyms is keyed)
    caller: str  # the name of the API key; "" on loopback without keys
    route: Route
    version: str  # v1.2.0, or "unregistered" for a release without a tag; "" with the route none
    digest: str  # SHA-256 of the release's provenance.json; "" if it has none
    outcome: Outcome
    reason: Reason
    messages: str  # JSON list of role and content, as the model was asked
    tools: str | None  # JSON list
    answer: str | None  # the model's own, before private values are put back; None: there was none
    fallback: str | None  # what the fallback answered instead; None: it was not asked, or failed
    finish: str | None  # finish_reason of the model's answer
    schema_valid: bool | None  # whether `answer` parses and fits the schema; None: there was no answer
    score: float | None  # of the cascade
    probability: float | None  # that the answer is right, by the cascade's calibration
    prompt_tokens: int | None
    answer_tokens: int | None
    masking_s: float | None
    model_s: float | None
    fallback_s: float | None
    total_s: float
    price: float | None  # of model and fallback together; None: not known
    masked: bool  # whether private values were looked for in the request


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """What a caller says of an answer. Of several by one caller about one trace, the last one counts."""

    trace: str
    time: datetime  # UTC
    caller: str
    verdict: Verdict
    target: str | None  # the right answer, masked with the placeholders of its trace; only if corrected


def new_id(time: datetime | None = None, kind: str = "tr") -> str:
    """The id of a trace that came in at this time, or now: ids sort by time (milliseconds), and the rest is
    drawn (80 bits, of which the gateway takes 48 to mark whose it is)."""
    time = datetime.now(UTC) if time is None else time
    return f"{kind}-{int(time.timestamp() * 1000) & (2**48 - 1):012x}{secrets.token_hex(10)}"
