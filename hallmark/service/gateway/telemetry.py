"""Metrics for Prometheus and spans for OpenTelemetry, both made of traces; the extra `telemetry` installs what they need.

Without it, nothing is counted, and `serve.otlp` is an error. The libraries batch, send again and drop; no request waits.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from hallmark.base.errors import HallmarkError
from hallmark.params.service import Otlp
from hallmark.service.gateway.upstream import secret_of
from hallmark.service.traces.trace import Trace

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

EXTRA = "install what the extra `telemetry` in pyproject.toml names"
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
# Name: labels, and help. The end of a name says what it is: `_total` a counter, `_seconds` a histogram, else a gauge.
METRICS = {
    "hallmark_requests_total": ("endpoint status", "Requests by endpoint and HTTP status; 499: the caller hung up"),
    "hallmark_errors_total": ("endpoint code", "Requests that got an error, by endpoint and the error's code"),
    "hallmark_answers_total": (
        "route version outcome reason",
        "Chat requests that reached a release, and what came of it",
    ),
    "hallmark_traces_total": ("state", "Traces: written, lost, and errors of the disk, which is tried again"),
    "hallmark_feedback_total": ("verdict", "Judgements that were kept"),
    "hallmark_tokens_total": ("route kind", "Tokens, of the prompt or the answer"),
    "hallmark_price_total": ("route", "What answers cost, in the currency of benchmark.price_per_hour"),
    "hallmark_under_way": ("", "Chat requests and judgements that are being read or answered"),
    "hallmark_request_seconds": ("endpoint", "From a request's head to its answer"),
    "hallmark_gateway_seconds": ("", "Of an answered chat request, what neither the model nor the fallback took"),
    "hallmark_masking_seconds": ("", "Masking of a chat request"),
    "hallmark_model_seconds": ("route", "Answers of the model server"),
    "hallmark_fallback_seconds": ("route", "Answers of the fallback"),
    "hallmark_release_info": (
        "side version digest",
        "1 for the release that answers on a side now, 0 for what did before",
    ),
    "hallmark_release_swaps_total": ("side", "Changes of what answers"),
    "hallmark_release_start_seconds": ("side", "From the start of a release's server to its first answer"),
    "hallmark_release_failures_total": ("side", "Releases that could not be started"),
    "hallmark_registry_errors_total": ("", "Times that the registry could not be read"),
    "hallmark_servers_draining": (
        "",
        "Replaced servers that finish the requests they have, or stay ready to answer again",
    ),
    "hallmark_server_restarts_total": ("version", "Servers that died"),
    "hallmark_upstream_errors_total": ("version problem", "Requests that a model server did not answer"),
    "hallmark_other_models_total": ("server", "Answers that name another model than was asked for"),
    "hallmark_second_answers_total": ("version", "Answers that broke the schema and were asked for once more"),
    "hallmark_fallback_errors_total": ("problem", "Requests that the fallback did not answer so that it may go out"),
    "hallmark_shadow_left_out_total": (
        "",
        "Requests that the shadow was not asked, since too many were under way in it",
    ),
}


class Metrics:
    """Counts for Prometheus; without prometheus_client, `registry` is None and nothing is counted."""

    def __init__(self) -> None:
        self.registry: Any = None
        self._made: dict[str, Any] = {}
        try:
            import prometheus_client as library
        except ImportError:
            return
        library.disable_created_metrics()
        self.registry = library.CollectorRegistry()
        for name, (labels, text) in METRICS.items():
            how: dict[str, Any] = {"labelnames": labels.split(), "registry": self.registry}
            if name.endswith("_seconds"):
                self._made[name] = library.Histogram(name, text, buckets=BUCKETS, **how)
            else:
                kind = library.Counter if name.endswith("_total") else library.Gauge
                self._made[name] = kind(name, text, **how)

    def count(self, name: str, more: float = 1, **labels: object) -> None:
        if self._made:
            self._of(name, labels).inc(more)

    def gauge(self, name: str, value: float, **labels: object) -> None:
        if self._made:
            self._of(name, labels).set(value)

    def observe(self, name: str, seconds: float, **labels: object) -> None:
        if self._made:
            self._of(name, labels).observe(seconds)

    def trace(self, trace: Trace) -> None:
        """Count what a trace says."""
        route = trace.route
        came = {name: getattr(trace, name) for name in ("route", "version", "outcome", "reason")}
        self.count("hallmark_answers_total", **came)
        self.count("hallmark_tokens_total", trace.prompt_tokens or 0, route=route, kind="prompt")
        self.count("hallmark_tokens_total", trace.answer_tokens or 0, route=route, kind="answer")
        self.count("hallmark_price_total", trace.price or 0, route=route)
        if trace.masking_s is not None:
            self.observe("hallmark_masking_seconds", trace.masking_s)
        if trace.model_s is not None:
            self.observe("hallmark_model_seconds", trace.model_s, route=route)
        if trace.fallback_s is not None:
            self.observe("hallmark_fallback_seconds", trace.fallback_s, route=route)
        if trace.outcome != "failed":
            others = (trace.model_s or 0) + (trace.fallback_s or 0)
            self.observe("hallmark_gateway_seconds", max(0.0, trace.total_s - others))

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        from prometheus_client import generate_latest

        return generate_latest(self.registry)

    def _of(self, name: str, labels: dict[str, object]) -> Any:
        return self._made[name].labels(**labels) if labels else self._made[name]


# A trace as a span of OpenTelemetry, with the attributes of its GenAI conventions. These have no names for how a release is
# routed, judged and paid for: those attributes are called `hallmark.` and the trace's field. Where the fallback answered,
# the answer and its model are the fallback's, and what the release said is under `hallmark.`, its tokens too.
OWN = (
    "id", "request", "caller", "route", "version", "digest", "outcome", "reason", "schema_valid", "score", "probability",
    "masking_s", "model_s", "fallback_s", "price", "masked",
)  # fmt: skip
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Spans:
    """A place for traces that sends them to a collector. `fallback`: the name of that model."""

    def __init__(self, settings: Otlp, fallback: str | None = None) -> None:
        headers = headers_of(settings)
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
        except ImportError:
            raise HallmarkError("opentelemetry-sdk is not installed", param="serve.otlp", remedy=EXTRA) from None
        self._texts, self._fallback = settings.texts, fallback
        self._resource = Resource({"service.name": "hallmark-gateway", "service.instance.id": str(uuid.uuid4())})
        exporter = OTLPSpanExporter(endpoint=f"{settings.url.rstrip('/')}/v1/traces", headers=headers)
        self._processor = BatchSpanProcessor(exporter, schedule_delay_millis=2_000, max_export_batch_size=256)

    def put(self, trace: Trace) -> None:
        """Send a trace soon; returns at once."""
        self._processor.on_end(self.span(trace))

    def close(self) -> None:
        """Send what waits."""
        self._processor.shutdown()

    def span(self, trace: Trace) -> ReadableSpan:
        """The span of a trace. Those of one request (of prod and of the shadow) share its trace id."""
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope
        from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

        numbers = int(hex_of(trace.request, 32), 16), int(hex_of(trace.id, 16), 16)
        start = (trace.time - EPOCH) // timedelta(microseconds=1) * 1000
        values = self._known(trace) | {f"hallmark.{name}": getattr(trace, name) for name in OWN}
        values |= self._said(trace) if self._texts else {}
        return ReadableSpan(
            name=f"chat {trace.model}".rstrip(),
            context=SpanContext(*numbers, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED)),
            resource=self._resource,
            attributes={name: _encodable(value) for name, value in values.items() if value not in (None, "")},
            kind=SpanKind.CLIENT,  # the conventions have none for a server; the gateway asks the model's
            instrumentation_scope=InstrumentationScope("hallmark-gateway"),
            status=Status(StatusCode.ERROR if trace.outcome == "failed" else StatusCode.UNSET),
            start_time=start,
            end_time=start + round(max(trace.total_s, 0.0) * 1e9),
        )

    def _known(self, trace: Trace) -> dict[str, Any]:
        """What the conventions have a name for, except for texts."""
        failed, by_fallback = trace.outcome == "failed", trace.fallback is not None
        release = f"{trace.model}-{trace.version}" if trace.model and trace.version else trace.model
        prompt, answer = "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"
        if by_fallback:
            prompt, answer = "hallmark.prompt_tokens", "hallmark.answer_tokens"
        return {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "hallmark",
            "gen_ai.request.model": trace.model,
            "error.type": trace.reason if failed else None,
            "gen_ai.response.id": None if failed else trace.id.replace("tr-", "chatcmpl-", 1),
            "gen_ai.response.model": None if failed else self._fallback if by_fallback else release,
            "gen_ai.response.finish_reasons": [trace.finish] if trace.finish else ["error"] if failed else None,
            "user.id": trace.group,
            prompt: trace.prompt_tokens,
            answer: trace.answer_tokens,
        }

    def _said(self, trace: Trace) -> dict[str, Any]:
        """Messages and answer, as a JSON text each: some receivers show no others."""
        answer = trace.answer if trace.fallback is None else trace.fallback
        part = {"type": "text", "content": answer}
        said = [{"role": "assistant", "parts": [part], "finish_reason": trace.finish or ""}]
        asked = [_message(message) for message in json.loads(trace.messages)]
        return {
            "gen_ai.input.messages": json.dumps(asked, ensure_ascii=False),
            "gen_ai.output.messages": None if answer is None else json.dumps(said, ensure_ascii=False),
            "gen_ai.tool.definitions": trace.tools,
            "hallmark.answer": None if trace.fallback is None else trace.answer,
        }


def _message(message: dict[str, Any]) -> dict[str, Any]:
    """A message of OpenAI's chat API as the conventions have it. Arguments of calls stay the text that they are there."""
    content, parts = message.get("content"), list[dict[str, Any]]()
    if message["role"] == "tool":
        parts.append({"type": "tool_call_response", "id": message.get("tool_call_id"), "response": content})
    elif content is not None:
        parts.append({"type": "text", "content": content})
    parts += [
        {"type": "tool_call", "id": call.get("id")} | call["function"] for call in message.get("tool_calls") or []
    ]
    return {"role": message["role"], "parts": parts} | ({"name": message["name"]} if message.get("name") else {})


def _encodable(value: Any) -> Any:
    """A text without half of a surrogate pair, which UTF-8 can't hold."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def hex_of(name: str, digits: int) -> str:
    """An id of that length for one of ours: its last digits, or those of its SHA-256 if it has none. Never only zeros."""
    match = re.fullmatch(r"[a-z]+-([0-9a-f]{32})", name)
    found = match[1][-digits:] if match else ""
    return found if found.strip("0") else hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:digits]


def headers_of(settings: Otlp) -> dict[str, str] | None:
    """The headers that the environment holds, as OpenTelemetry writes them. A HallmarkError, which quotes none, if they can't be sent."""
    if settings.headers is None:
        return None
    text = secret_of(settings.headers, settings.url, "serve.otlp", "headers")
    from urllib.parse import unquote

    pairs = [entry.partition("=") for entry in text.split(",")]
    found = {name.strip(): unquote(value.strip()) for name, _, value in pairs}
    if not all(re.fullmatch(r"[\w!#$%&'*+.^`|~-]+", name, re.A) for name in found) or not all(
        re.fullmatch("[ -~]+", value) for value in found.values()
    ):
        raise HallmarkError(
            "not headers that can be sent",
            file=f"environment variable {settings.headers}",
            remedy="write `name=value,name=value`, with values in ASCII, and commas in them as %2C",
        )
    return found
