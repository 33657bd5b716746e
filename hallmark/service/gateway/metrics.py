"""What the gateway counts, for Prometheus, in its text format 0.0.4.

The end of a name says what it is: `_total` a counter, `_seconds` a histogram, any other a gauge. `HELP` describes them.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
KINDS = {"total": "counter", "seconds": "histogram"}
HELP = {
    "hallmark_requests_total": "Requests by endpoint and HTTP status; 499: the caller hung up",
    "hallmark_errors_total": "Requests that got an error, by endpoint and the error's code",
    "hallmark_answers_total": "Chat requests that reached a release, by route, version, outcome and reason",
    "hallmark_traces_total": "Traces by state: written, lost, and errors of the disk, which is tried again",
    "hallmark_otlp_spans_total": "Spans by state: sent and lost",
    "hallmark_otlp_errors_total": "Requests to the collector that failed, by problem: an HTTP status, unreachable, ...",
    "hallmark_feedback_total": "Judgements that were kept, by verdict",
    "hallmark_tokens_total": "Tokens by route, and kind: prompt or answer",
    "hallmark_price_total": "What answers cost, by route, in the currency of benchmark.price_per_hour",
    "hallmark_under_way": "Chat requests and judgements that are being read or answered",
    "hallmark_request_seconds": "From a request's head to its answer, by endpoint",
    "hallmark_gateway_seconds": "Of an answered chat request, what neither the model nor the fallback took",
    "hallmark_masking_seconds": "Masking of a chat request",
    "hallmark_model_seconds": "Answers of the model server, by route",
    "hallmark_fallback_seconds": "Answers of the fallback, by route",
    "hallmark_release_info": "1 for the release that answers on a side now, 0 for what did before",
    "hallmark_release_swaps_total": "Changes of what answers, by side",
    "hallmark_release_start_seconds": "From the start of a release's server to its first answer",
    "hallmark_release_failures_total": "Releases that could not be started, by side",
    "hallmark_registry_errors_total": "Times that the registry could not be read",
    "hallmark_servers_draining": "Replaced servers that finish the requests they have, or stay ready to answer again",
    "hallmark_server_restarts_total": "Servers that died, by version",
    "hallmark_upstream_errors_total": "Requests that a model server did not answer, by version and problem",
    "hallmark_other_models_total": "Answers that name another model than was asked for, by server: a version, or fallback",
    "hallmark_second_answers_total": "Answers that broke the schema and were asked for once more, by version",
    "hallmark_fallback_errors_total": "Requests that the fallback did not answer, or not so that it may go out, by problem",
    "hallmark_shadow_left_out_total": "Requests that the shadow was not asked, since too many were under way in it",
}
Labels = tuple[tuple[str, str], ...]


class Metrics:
    """Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._families: dict[str, dict[Labels, Any]] = {}

    def count(self, name: str, **labels: object) -> None:
        self.add(name, 1, **labels)

    def add(self, name: str, value: float, **labels: object) -> None:
        """`value` more, which is not negative."""
        with self._lock:
            values, key = self._at(name, labels)
            values[key] = values.get(key, 0) + value

    def gauge(self, name: str, value: float, **labels: object) -> None:
        """It is now `value`."""
        with self._lock:
            values, key = self._at(name, labels)
            values[key] = value

    def observe(self, name: str, seconds: float, **labels: object) -> None:
        """It took that long once."""
        with self._lock:
            values, key = self._at(name, labels)
            found = values.setdefault(key, [0] * (len(BUCKETS) + 1) + [0.0])  # of each bucket, and the sum
            found[bisect_left(BUCKETS, seconds)] += 1
            found[-1] += seconds

    def text(self) -> str:
        with self._lock:
            lines = [line for name, values in sorted(self._families.items()) for line in _lines(name, values)]
        return "".join(f"{line}\n" for line in lines)

    def _at(self, name: str, labels: dict[str, object]) -> tuple[dict[Labels, Any], Labels]:
        key = tuple(sorted((label, str(value)) for label, value in labels.items()))
        return self._families.setdefault(name, {}), key


def _lines(name: str, values: dict[Labels, Any]) -> Iterator[str]:
    kind = KINDS.get(name.rpartition("_")[2], "gauge")
    yield from [f"# HELP {name} {HELP[name]}"] if name in HELP else []
    yield f"# TYPE {name} {kind}"
    for labels, value in sorted(values.items()):
        if kind != "histogram":
            yield f"{name}{_shown(labels)} {_number(value)}"
            continue
        *buckets, total = value
        for edge, below in zip((*BUCKETS, "+Inf"), accumulate(buckets), strict=True):
            yield f"{name}_bucket{_shown((*labels, ('le', str(edge))))} {below}"
        yield f"{name}_sum{_shown(labels)} {_number(total)}"
        yield f"{name}_count{_shown(labels)} {sum(buckets)}"


def _shown(labels: Labels) -> str:
    escapes = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
    pairs = ",".join(f'{name}="{value.translate(escapes)}"' for name, value in labels)
    return f"{{{pairs}}}" if pairs else ""


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 2**53 else repr(float(value))
