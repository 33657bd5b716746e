"""What the gateway counts, for Prometheus: counters, gauges and histograms of seconds, in its text format 0.0.4.

A name is written `hallmark_<name>`, a counter ends in `_total` and a histogram in `_seconds`, whether or not the caller says
so. `HELP` describes them.
"""

from __future__ import annotations

import re
import threading
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Literal

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
MOST_SERIES = 1_000  # of a name; values of labels come from here, not from callers, so that more are a mistake
HELP = {
    "hallmark_requests_total": "Requests by endpoint and HTTP status; 499: the caller hung up",
    "hallmark_errors_total": "Requests that got an error, by endpoint and the error's code",
    "hallmark_answers_total": "Chat requests that reached a release, by route, version, outcome and reason",
    "hallmark_traces_total": "Traces by state: written, lost, and errors of the disk, which is tried again",
    "hallmark_otlp_spans_total": "Spans by state: sent, rejected by the collector, and lost",
    "hallmark_otlp_errors_total": "Requests to the collector that failed, by problem: an HTTP status, unreachable, ...",
    "hallmark_feedback_total": "Judgements that were kept, by verdict",
    "hallmark_tokens_total": "Tokens by route, and kind: prompt or answer",
    "hallmark_price_total": "What answers cost, by route, in the currency of benchmark.price_per_hour",
    "hallmark_under_way": "Chat requests that are being answered",
    "hallmark_unread_bytes": "Bytes of bodies that are being read",
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
    "hallmark_second_answers_total": "Answers that broke the schema and were asked for once more, by version",
    "hallmark_fallback_errors_total": "Requests that the fallback did not answer, or not so that it may go out, by problem",
    "hallmark_shadow_left_out_total": "Requests that the shadow was not asked, since too many were under way in it",
}
_NAME = re.compile(r"[a-z][a-z0-9_]*")
Kind = Literal["counter", "gauge", "histogram"]
Labels = tuple[tuple[str, str], ...]


@dataclass
class _Histogram:
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    total: float = 0.0


@dataclass
class _Family:
    kind: Kind
    values: dict[Labels, float] = field(default_factory=dict)
    histograms: dict[Labels, _Histogram] = field(default_factory=dict)


class Metrics:
    """Safe to use from several threads. Names and labels are the program's own, so a wrong one is a ValueError."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._families: dict[str, _Family] = {}

    def count(self, name: str, **labels: object) -> None:
        """One more."""
        self.add(name, 1, **labels)

    def add(self, name: str, value: float, **labels: object) -> None:
        """`value` more, which is not negative."""
        if not value >= 0:
            raise ValueError(f"{name}: a counter never falls")
        with self._lock:
            values = self._family(name, "counter").values
            key = _key(labels, values)
            values[key] = values.get(key, 0) + value

    def gauge(self, name: str, value: float, **labels: object) -> None:
        """It is now `value`."""
        with self._lock:
            values = self._family(name, "gauge").values
            values[_key(labels, values)] = value

    def observe(self, name: str, seconds: float, **labels: object) -> None:
        """It took that long once."""
        with self._lock:
            histograms = self._family(name, "histogram").histograms
            histogram = histograms.setdefault(_key(labels, histograms), _Histogram())
            histogram.buckets[bisect_left(BUCKETS, seconds)] += 1
            histogram.total += seconds

    def text(self) -> str:
        """All of it, as Prometheus reads it."""
        with self._lock:
            lines = [line for name, family in sorted(self._families.items()) for line in self._lines(name, family)]
        return "".join(f"{line}\n" for line in lines)

    def _family(self, name: str, kind: Kind) -> _Family:
        ending = {"counter": "_total", "histogram": "_seconds", "gauge": ""}[kind]
        full = f"{'' if name.startswith('hallmark_') else 'hallmark_'}{name}{'' if name.endswith(ending) else ending}"
        if not _NAME.fullmatch(full):
            raise ValueError(f"not the name of a metric: {full!r}")
        family = self._families.setdefault(full, _Family(kind))
        if family.kind != kind:
            raise ValueError(f"{full} is a {family.kind}, not a {kind}")
        return family

    def _lines(self, name: str, family: _Family) -> list[str]:
        lines = [f"# HELP {name} {_escaped(HELP[name])}"] if name in HELP else []
        lines.append(f"# TYPE {name} {family.kind}")
        lines += [f"{name}{_shown(labels)} {_number(value)}" for labels, value in sorted(family.values.items())]
        for labels, histogram in sorted(family.histograms.items()):
            below = 0
            for edge, count in zip((*BUCKETS, "+Inf"), histogram.buckets, strict=True):
                below += count
                lines.append(f"{name}_bucket{_shown((*labels, ('le', str(edge))))} {below}")
            lines.append(f"{name}_sum{_shown(labels)} {_number(histogram.total)}")
            lines.append(f"{name}_count{_shown(labels)} {below}")
        return lines


def _key(labels: dict[str, object], known: dict[Labels, float] | dict[Labels, _Histogram]) -> Labels:
    if not all(map(_NAME.fullmatch, labels)):
        raise ValueError(f"not names of labels: {sorted(labels)}")
    key = tuple(sorted((name, str(value)) for name, value in labels.items()))
    if key in known or len(known) < MOST_SERIES:
        return key
    return tuple((name, "other") for name, _ in key)


def _shown(labels: Labels) -> str:
    pairs = ",".join('{}="{}"'.format(name, _escaped(value).replace('"', r"\"")) for name, value in labels)
    return f"{{{pairs}}}" if pairs else ""


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() and abs(value) < 2**53 else repr(float(value))
