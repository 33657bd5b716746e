"""What is counted and what is sent to a collector: a real HTTP server that takes spans, refuses them, or is not there."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from pydantic import ValidationError

from hallmark.base.errors import HallmarkError
from hallmark.params.service import Otlp
from hallmark.service.gateway.telemetry import Metrics, Spans, headers_of
from tests.stub_model import ChatHandler, ChatServer, wait_for
from tests.test_serve import ask, folder, gateway  # noqa: F401 (fixtures)
from tests.test_traces import a_trace
from tests.workspace import change_params

NOON = datetime(2026, 3, 4, 12, 0, 0, 250_000, tzinfo=UTC)


class Collector(ChatServer):
    """A collector while it is a context, and what it was sent. It says these `statuses` first, and then 200."""

    def __init__(self, *statuses: int) -> None:
        super().__init__()
        self.RequestHandlerClass, self.statuses = Handler, [*statuses]
        self.requests: list[tuple[str, dict[str, str], bytes]] = []

    @property
    def spans(self) -> list[Span]:
        read = [ExportTraceServiceRequest.FromString(body) for *_, body in self.requests]
        return [span for one in read for span in one.resource_spans[0].scope_spans[0].spans]


class Handler(ChatHandler):
    server: Collector

    def do_POST(self) -> None:  # noqa: N802
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append((self.path, headers, body))
        self.send_response(self.server.statuses.pop(0) if self.server.statuses else 200)
        self.send_header("content-length", "0")
        self.end_headers()


def settings(port: int = 9, *, texts: bool = False, headers: str | None = None) -> Otlp:
    return Otlp(url=f"http://127.0.0.1:{port}", texts=texts, headers=headers)


def span_of(texts: bool = False, **values: Any) -> Any:
    sender = Spans(settings(texts=texts), "broad")
    try:
        return sender.span(a_trace(3, NOON, model="tickets", **values))
    finally:
        sender.close()


@pytest.fixture(autouse=True)
def straight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


def test_a_span_has_the_names_of_the_conventions_and_ours_for_the_rest() -> None:
    span = span_of(id="tr-" + "0123456789abcdef" * 2, request="rq-" + "ab" * 16, price=0.0)
    assert (f"{span.context.trace_id:x}", f"{span.context.span_id:016x}") == ("ab" * 16, "0123456789abcdef")
    assert (span.name, span.start_time, span.end_time) == ("chat tickets", 1772625600250000000, 1772625600500000000)
    expected = {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "hallmark", "gen_ai.request.model": "tickets",
        "gen_ai.response.id": "chatcmpl-" + "0123456789abcdef" * 2, "gen_ai.response.model": "tickets-v1.0.0",
        "gen_ai.response.finish_reasons": ["stop"], "gen_ai.usage.input_tokens": 40,
        "gen_ai.usage.output_tokens": 8, "user.id": "C-3", "hallmark.caller": "desk", "hallmark.route": "prod",
        "hallmark.version": "v1.0.0", "hallmark.digest": "0" * 64, "hallmark.outcome": "answered",
        "hallmark.reason": "sure", "hallmark.schema_valid": True, "hallmark.score": 1.5, "hallmark.probability": 0.9,
        "hallmark.masking_s": 0.01, "hallmark.model_s": 0.2, "hallmark.price": 0.0, "hallmark.masked": True,
        "hallmark.id": "tr-" + "0123456789abcdef" * 2, "hallmark.request": "rq-" + "ab" * 16,
    }  # fmt: skip
    assert dict(span.attributes) == expected


def test_what_the_fallback_answered_is_not_taken_for_the_releases() -> None:
    found = span_of(texts=True, fallback="its own words").attributes
    assert found["gen_ai.response.model"] == "broad"
    assert json.loads(found["gen_ai.output.messages"])[0]["parts"] == [{"type": "text", "content": "its own words"}]
    assert found["hallmark.answer"] == '{"intent":"refund"}'
    assert (found["hallmark.prompt_tokens"], found["hallmark.answer_tokens"]) == (40, 8)
    assert not any(key.startswith("gen_ai.usage") for key in found)


def test_traces_are_sent_whatever_their_texts_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLLECTOR_HEADERS", "x-api-key=secret%2Cwith%20comma, X-Scope = 7")
    call = {"id": "\ud800", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [{"role": "user", "content": "\ud800"}, {"role": "assistant", "content": None, "tool_calls": [call]}]
    with Collector() as found:
        for texts in (False, True):
            sender = Spans(settings(found.server_port, texts=texts, headers="COLLECTOR_HEADERS"))
            for number in range(5):
                sender.put(a_trace(number, answer="\ud800", messages=json.dumps(messages), score=float("nan")))
            sender.close()
        assert len(found.spans) == 10
        for path, headers, _ in found.requests:
            assert (path, headers["content-type"]) == ("/v1/traces", "application/x-protobuf")
            assert (headers["x-api-key"], headers["x-scope"]) == ("secret,with comma", "7")
        names = [{one.key for one in span.attributes} for span in found.spans]
        assert ["gen_ai.input.messages" in one for one in names] == [False] * 5 + [True] * 5


def test_what_the_collector_does_not_take_is_said_without_a_word_of_it(caplog: pytest.LogCaptureFixture) -> None:
    with Collector(503, 400) as found:  # busy, and then for good
        sender = Spans(settings(found.server_port, texts=True))
        sender.put(a_trace(1))
        wait_for(lambda: len(found.requests) == 2)
        sender.put(a_trace(2))
        sender.close()
        assert len(found.requests) == 3
    assert "400" in caplog.text
    assert "ticket 1" not in caplog.text


@pytest.mark.parametrize("url", ["collector:4318", "https://u:p@host", "https://host/?key=x", "ftp://host"])
def test_an_address_that_is_none_or_has_room_for_a_secret_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        Otlp(url=url, texts=False, headers=None)


@pytest.mark.parametrize("said", ["secret-token", "name=a,secret", "na me=secret", "a=secret%0d%0ab", "=secret"])
def test_headers_that_can_not_be_sent_are_refused_without_a_word_of_them(
    said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLLECTOR_HEADERS", said)
    with pytest.raises(HallmarkError, match="environment variable COLLECTOR_HEADERS") as error:
        headers_of(settings(headers="COLLECTOR_HEADERS"))
    assert "secret" not in str(error.value)


def test_without_the_extra_nothing_is_counted_and_a_collector_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    metrics = Metrics()
    metrics.count("hallmark_feedback_total", verdict="accepted")
    metrics.trace(a_trace())
    assert metrics.registry is None
    with pytest.raises(HallmarkError, match=r"serve\.otlp"):
        Spans(settings())


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.integers(0, 10**6))
def test_a_trace_is_counted(price: float, model_s: float, tokens: int) -> None:
    metrics = Metrics()
    metrics.trace(a_trace(price=price, model_s=model_s, total_s=model_s + 0.02, prompt_tokens=tokens))
    value = metrics.registry.get_sample_value
    labels = {"route": "prod", "version": "v1.0.0", "outcome": "answered", "reason": "sure"}
    assert value("hallmark_answers_total", labels) == 1
    assert value("hallmark_price_total", {"route": "prod"}) == price
    assert value("hallmark_tokens_total", {"route": "prod", "kind": "prompt"}) == tokens
    assert value("hallmark_gateway_seconds_sum") == pytest.approx(0.02, abs=1e-6)
    assert b"# HELP hallmark_masking_seconds Masking of a chat request\n" in metrics.text()


def test_serve_sends_spans_also_if_no_traces_are_kept(folder: Path) -> None:  # noqa: F811
    with Collector() as found:
        otlp = {"url": f"http://127.0.0.1:{found.server_port}", "texts": False, "headers": None}
        change_params(folder, {"serve.traces": False, "serve.otlp": otlp})
        with gateway(folder) as (process, line):
            response = ask(line, text="so it is")
            assert response.status_code == 200
            process.terminate()
            assert process.wait(120) == 0
    (span,) = found.spans
    values = {one.key: one.value.string_value for one in span.attributes}
    assert span.name == "chat tickets"
    assert values["hallmark.id"] == response.headers["x-hallmark-trace"]
    assert values["gen_ai.response.model"] == "tickets-unregistered"
    assert not (folder / "data/traces").exists()
