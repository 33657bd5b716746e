"""Send chat completions to an OpenAI-compatible server, as streams, at a stated load, and time every answer."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hallmark.base.reading import strict_json
from hallmark.serve.params import Objective

if TYPE_CHECKING:
    from httpx import AsyncClient, Response

MALFORMED = (ValueError, LookupError, TypeError, AttributeError)  # raised by a stream of another shape
LARGEST = 64_000_000  # bytes of a stream
MOST_TOKENS = 2**31
QUANTILES = {"p50": 0.50, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True)
class Outcome:
    """One answer. Times are seconds on the monotonic clock; `failure` is None, "timeout" or the kind of error.

    `calls`: the server took tool calls out of the text. `cut_off`: the answer ended at the limit.
    """

    scheduled: float
    first: float  # when the first text or tool call (or, for an empty answer, its end) came
    end: float
    tokens: int
    text: str
    failure: str | None = None
    calls: bool = False
    cut_off: bool = False

    @property
    def ttft(self) -> float:
        return self.first - self.scheduled

    @property
    def tpot(self) -> float:
        return (self.end - self.first) / (self.tokens - 1)

    @property
    def latency(self) -> float:
        return self.end - self.scheduled


async def send_all(
    client: AsyncClient,
    bodies: Sequence[dict[str, Any]],
    *,
    concurrency: int | None = None,
    rate: float | None = None,
    timeout: float,
    seed: int = 0,
    answered: Callable[[], None] = lambda: None,
) -> list[Outcome]:
    """Send every body (of a chat completion, less its streaming options) once, in order; give the outcomes in order.

    `concurrency` is a closed loop: the number of callers, each of which sends its next request when it has its answer.
    `rate` is an open loop: the number of requests per second, whatever the server does, at Poisson intervals drawn from
    `seed`. Times count from the scheduled start, so a server that falls behind can't hide it (coordinated omission).
    `answered` is called after each request, its time taken.
    """

    async def send(body: dict[str, Any], scheduled: float) -> Outcome:
        outcome = await _send(client, body, scheduled, timeout)
        answered()
        return outcome

    if rate is None:
        slots = asyncio.Semaphore(concurrency or 1)

        async def caller(body: dict[str, Any]) -> Outcome:
            async with slots:
                return await send(body, time.perf_counter())

        return await asyncio.gather(*(caller(body) for body in bodies))
    import numpy as np

    arrivals = np.random.default_rng(seed).exponential(1 / rate, len(bodies)).cumsum()
    start, tasks = time.perf_counter(), []
    for body, arrival in zip(bodies, arrivals.tolist(), strict=True):
        scheduled = start + arrival
        await asyncio.sleep(max(0.0, scheduled - time.perf_counter()))
        tasks.append(asyncio.create_task(send(body, scheduled)))
    return await asyncio.gather(*tasks)


async def _send(client: AsyncClient, body: dict[str, Any], scheduled: float, timeout: float) -> Outcome:
    import httpx

    body = body | {"stream": True, "stream_options": {"include_usage": True}}
    first, tokens, parts, failure, calls, cut_off = 0.0, 0, [], "cut short", False, False
    try:
        async with asyncio.timeout(timeout), client.stream("POST", "chat/completions", json=body) as response:
            response.raise_for_status()
            async for line in _lines(response):
                if not line.startswith(b"data: {"):  # comments, empty lines, [DONE]
                    continue
                chunk = strict_json(line[6:].decode())
                if "error" in chunk:
                    failure = "error in the stream"
                    break
                if usage := chunk.get("usage"):
                    tokens = _tokens(usage["completion_tokens"])
                for choice in chunk.get("choices", []):
                    delta = choice.get("delta", {})
                    if delta.get("content") or delta.get("tool_calls"):
                        first = first or time.perf_counter()
                        parts.append(_text(delta.get("content") or ""))
                        calls = calls or bool(delta.get("tool_calls"))
                    if reason := choice.get("finish_reason"):
                        failure, cut_off = "", reason == "length"
    except (TimeoutError, httpx.TimeoutException):
        failure = "timeout"
    except httpx.HTTPStatusError as error:
        failure = f"HTTP {error.response.status_code}"
    except (httpx.HTTPError, *MALFORMED) as error:
        failure = type(error).__name__
    end = time.perf_counter()
    text = "".join(parts)
    return Outcome(scheduled, first or end, end, tokens or len(parts), text, failure or None, calls, cut_off)


async def _lines(response: Response) -> AsyncIterator[bytes]:
    """The lines of a stream. ValueError if it is compressed, which nobody asked for, or longer than any answer."""
    if response.headers.get("content-encoding", "identity") != "identity":
        raise ValueError("compressed")
    rest, length = bytearray(), 0
    async for piece in response.aiter_raw():
        length += len(piece)
        if length > LARGEST:
            raise ValueError("too long")
        rest += piece
        if b"\n" in piece:
            *lines, rest = rest.split(b"\n")
            for line in lines:
                yield bytes(line)


def _tokens(count: Any) -> int:
    if type(count) is not int or not 0 <= count < MOST_TOKENS:
        raise ValueError("not a number of tokens")
    return count


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def summarize(blocks: Sequence[Sequence[Outcome]], objective: Objective) -> dict[str, Any]:
    """Counts over all requests, times and rates over those that were answered, in blocks with pauses between them.

    ttft_s: to the first text or tool call. tpot_s: per token after the first. latency_s: to the end. All in seconds,
    from the scheduled start; quantiles are interpolated linearly, and None if nothing was answered.
    objective_kept is the share of all requests whose answers kept the objective.
    """
    outcomes = [outcome for block in blocks for outcome in block]
    good = [outcome for outcome in outcomes if outcome.failure is None]
    failures = Counter(outcome.failure for outcome in outcomes if outcome.failure is not None)
    wall = sum(max(outcome.end for outcome in block) - min(outcome.scheduled for outcome in block) for block in blocks)
    timeouts = failures["timeout"]
    tokens = sum(outcome.tokens for outcome in good)
    kept = sum(outcome.ttft <= objective.ttft and outcome.latency <= objective.latency for outcome in good)
    return {
        "requests": len(outcomes),
        "errors": failures.total() - timeouts,
        "timeouts": timeouts,
        "failures": dict(sorted(failures.items())),
        "ttft_s": quantiles([outcome.ttft for outcome in good]),
        "tpot_s": quantiles([outcome.tpot for outcome in good if outcome.tokens > 1]),
        "latency_s": quantiles([outcome.latency for outcome in good]),
        "output_tokens": tokens,
        "output_tokens_per_second": round(tokens / wall, 2),
        "requests_per_second": round(len(good) / wall, 3),
        "objective_kept": round(kept / len(outcomes), 4),
    }


def quantiles(values: Sequence[float]) -> dict[str, float | None]:
    """p50, p95 and p99, rounded to a tenth of a millisecond."""
    import numpy as np

    return {name: round(float(np.quantile(values, share)), 4) if values else None for name, share in QUANTILES.items()}
