"""Traces to a collector: a real HTTP server that takes them, refuses them, is busy, hangs, or is not there."""

from __future__ import annotations

import json
import struct
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hallmark.base.errors import HallmarkError
from hallmark.params.service import Otlp
from hallmark.serve.server import free_port
from hallmark.service.gateway import otlp
from hallmark.service.gateway.metrics import Metrics
from hallmark.service.gateway.otlp import OtlpExporter, read_headers
from hallmark.service.gateway.spans import Span, body_of, span_of
from tests.stub_model import ChatHandler, ChatServer, wait_for
from tests.test_serve import ask, folder, gateway  # noqa: F401 (fixtures)
from tests.test_traces import a_trace
from tests.workspace import change_params

NOON = datetime(2026, 3, 4, 12, 0, 0, 250_000, tzinfo=UTC)


@dataclass
class Answer:
    """What a collector says to a request."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"{}"
    sleep: float = 0.0


class Collector(ChatServer):
    """A collector while it is a context, and what it was sent. `answers`: to the first requests; all others are taken."""

    def __init__(self, *answers: Answer, port: int = 0) -> None:
        super().__init__(port)
        self.RequestHandlerClass, self.answers = Handler, [*answers]
        self.requests: list[tuple[float, str, dict[str, str], bytes]] = []

    @property
    def spans(self) -> list[Span]:
        return [span for *_, body in self.requests for span in spans_in(body)]


class Handler(ChatHandler):
    server: Collector

    def do_POST(self) -> None:  # noqa: N802
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server.answers.pop(0) if self.server.answers else Answer()
        self.server.requests.append((time.monotonic(), self.path, headers, body))
        time.sleep(answer.sleep)
        self.send_response(answer.status)
        for name, value in (answer.headers | {"content-length": str(len(answer.body))}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)


def settings(port: int, *, texts: bool = False, headers: str | None = None) -> Otlp:
    return Otlp(url=f"http://127.0.0.1:{port}", texts=texts, headers=headers)


def exporter(port: int, metrics: Metrics | None = None, **changes: Any) -> OtlpExporter:
    return OtlpExporter(settings(port, **changes), model=lambda _: "tickets", fallback="broad", metrics=metrics)


def fields_of(message: bytes) -> dict[int, list[Any]]:
    """The fields of a protobuf message, by number."""
    found: dict[int, list[Any]] = {}
    at = 0

    def varint() -> int:
        nonlocal at
        start = at
        while message[at] >= 128:
            at += 1
        at += 1
        return sum((byte & 127) << 7 * place for place, byte in enumerate(message[start:at]))

    while at < len(message):
        tag = varint()
        size = {0: 0, 1: 8, 2: None}[tag & 7]
        if size == 0:
            found.setdefault(tag >> 3, []).append(varint())
            continue
        size = varint() if size is None else size
        found.setdefault(tag >> 3, []).append(message[at : at + size])
        at += size
    assert at == len(message)
    return found


def attributes_in(message: bytes, number: int) -> dict[str, Any]:
    """Attributes with their values, by the numbers in opentelemetry/proto/common/v1/common.proto."""

    def plain(value: bytes) -> Any:
        ((kind, (content,)),) = fields_of(value).items()
        if kind == 5:
            return [plain(item) for item in fields_of(content)[1]]
        return {1: bytes.decode, 2: bool, 3: int, 4: lambda packed: struct.unpack("<d", packed)[0]}[kind](content)

    pairs = [fields_of(one) for one in fields_of(message)[number]]
    found = {pair[1][0].decode(): plain(pair[2][0]) for pair in pairs}
    assert len(found) == len(pairs)
    return found


def spans_in(body: bytes) -> list[Span]:
    """By the numbers in opentelemetry/proto/trace/v1/trace.proto."""
    (resource,) = fields_of(body)[1]
    (scope,) = fields_of(resource)[2]
    spans = []
    for message in fields_of(scope)[2]:
        one = fields_of(message)
        start, end = (struct.unpack("<Q", one[number][0])[0] for number in (7, 8))
        assert one[6] == [3]
        failed = 15 in one and fields_of(one[15][0]) == {3: [2]}
        values = attributes_in(message, 9)
        spans.append(Span(one[1][0].hex(), one[2][0].hex(), one[5][0].decode(), start, end, failed, values))
    return spans


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    for name, seconds in {"SECONDS": 0.1, "PAUSE": 0.1, "LAST_PAUSE": 0.1, "CLOSE_SECONDS": 2.0}.items():
        monkeypatch.setattr(otlp, name, seconds)


# What a span says


def test_a_span_has_the_names_of_the_conventions_and_ours_for_the_rest() -> None:
    trace = a_trace(3, NOON, id="tr-" + "0123456789abcdef" * 2, request="rq-" + "ab" * 16, price=0.0)
    span = span_of(trace, "tickets", "broad", texts=False)
    assert span == Span(
        "ab" * 16, "0123456789abcdef", "chat tickets", 1772625600250000000, 1772625600500000000, False, span.attributes
    )
    assert span.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "hallmark",
        "gen_ai.request.model": "tickets",
        "gen_ai.response.id": "chatcmpl-" + "0123456789abcdef" * 2,
        "gen_ai.response.model": "tickets-v1.0.0",
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 40,
        "gen_ai.usage.output_tokens": 8,
        "user.id": "C-3",
        "hallmark.id": trace.id,
        "hallmark.request": trace.request,
        "hallmark.caller": "desk",
        "hallmark.route": "prod",
        "hallmark.version": "v1.0.0",
        "hallmark.digest": "0" * 64,
        "hallmark.outcome": "answered",
        "hallmark.reason": "sure",
        "hallmark.schema_valid": True,
        "hallmark.score": 1.5,
        "hallmark.probability": 0.9,
        "hallmark.masking_s": 0.01,
        "hallmark.model_s": 0.2,
        "hallmark.price": 0.0,
        "hallmark.masked": True,
    }


def test_what_the_fallback_answered_is_not_taken_for_the_releases() -> None:
    found = span_of(a_trace(fallback="its own words"), "tickets", "broad", texts=True).attributes
    assert found["gen_ai.response.model"] == "broad"
    assert json.loads(found["gen_ai.output.messages"])[0]["parts"] == [{"type": "text", "content": "its own words"}]
    assert found["hallmark.answer"] == '{"intent":"refund"}'
    assert (found["hallmark.prompt_tokens"], found["hallmark.answer_tokens"]) == (40, 8)
    assert not any(key.startswith("gen_ai.usage") for key in found)


ANY = st.text(st.characters(codec=None), max_size=40)  # half surrogate pairs too


@given(
    texts=st.lists(ANY, min_size=8, max_size=8),
    numbers=st.lists(st.floats() | st.none(), min_size=4, max_size=4),
    time=st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1)),  # noqa: DTZ001 (made UTC below)
    send=st.booleans(),
)
def test_any_text_and_number_can_be_read_back(
    texts: list[str], numbers: list[float | None], time: datetime, send: bool
) -> None:
    call = {"id": texts[5], "type": "function", "function": {"name": texts[6], "arguments": texts[7]}}
    messages = [
        {"role": "user", "content": texts[0], "name": texts[1]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": texts[2], "tool_call_id": texts[5]},
    ]
    trace = a_trace(
        time=time.replace(tzinfo=UTC), messages=json.dumps(messages), tools=texts[1], answer=texts[3],
        fallback=texts[4], group=texts[5], caller=texts[6], finish=texts[7], score=numbers[0],
        probability=numbers[1], masking_s=numbers[2], price=numbers[3],
    )  # fmt: skip
    sent = span_of(trace, texts[0], texts[1], texts=send)
    (span,) = spans_in(body_of([sent], "one"))
    assert span.start == sent.start <= span.end
    assert ("gen_ai.input.messages" in span.attributes) is send
    clean = {
        key: value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
        for key, value in sent.attributes.items()
        if not isinstance(value, list)
    }
    assert repr({key: span.attributes[key] for key in clean}) == repr(clean)  # NaN is not equal to itself
    if send:
        said = json.loads(span.attributes["gen_ai.input.messages"])[0]["parts"][0]["content"]
        assert said == texts[0].encode("utf-8", "replace").decode()


# What is sent


def test_traces_are_sent_in_batches_with_what_otlp_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp, "SPANS", 4)
    monkeypatch.setattr(otlp, "SECONDS", 30.0)
    monkeypatch.setenv("COLLECTOR_HEADERS", "x-api-key=secret%2Cwith%20comma, X-Scope = 7")
    metrics = Metrics()
    with Collector() as found:
        sender = exporter(found.server_port, metrics, headers="COLLECTOR_HEADERS")
        traces = [a_trace(n) for n in range(10)]
        for trace in traces:
            sender.put(trace)
        sender.close()
        assert [len(spans_in(body)) for *_, body in found.requests] == [4, 4, 2]
        assert [span.span_id for span in found.spans] == [trace.id[-16:] for trace in traces]
        for _, path, headers, body in found.requests:
            assert (path, headers["content-type"]) == ("/v1/traces", "application/x-protobuf")
            assert (headers["x-api-key"], headers["x-scope"]) == ("secret,with comma", "7")
            resource = attributes_in(fields_of(fields_of(body)[1][0])[1][0], 1)
            assert resource["service.name"] == "hallmark-gateway"
            assert b"ticket" not in body.replace(b"tickets", b"")  # no texts, as nobody asked for them
    assert 'hallmark_otlp_spans_total{state="sent"} 10' in metrics.text()
    assert "errors" not in metrics.text()


# When the collector has trouble


def test_a_collector_that_is_down_gets_them_when_it_is_up(caplog: pytest.LogCaptureFixture) -> None:
    port, metrics = free_port(0), Metrics()
    sender = exporter(port, metrics)
    for number in range(5):
        sender.put(a_trace(number))  # and doesn't wait
    wait_for(lambda: sender.counts["errors"] >= 2)
    assert (sender.counts["sent"], sender.counts["lost"]) == (0, 0)
    with Collector(port=port) as found:
        wait_for(lambda: sender.counts["sent"] == 5)
        assert len(found.spans) == 5
    sender.close()
    assert sender.counts["lost"] == 0
    assert 'hallmark_otlp_errors_total{problem="unreachable"}' in metrics.text()
    assert len([line for line in caplog.records if line.name == "traces"]) == 1


@pytest.mark.parametrize("status", [302, 400])
def test_what_it_refuses_is_lost_and_the_next_ones_are_sent(status: int, caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()
    with Collector() as other:
        moved = {"location": f"http://127.0.0.1:{other.server_port}/v1/traces"}
        with Collector(Answer(status, moved, b"no: ticket 1 of C-1")) as found:
            sender = exporter(found.server_port, metrics)
            sender.put(a_trace(1))
            wait_for(lambda: sender.counts["lost"] == 1)
            sender.put(a_trace(2))
            wait_for(lambda: sender.counts["sent"] == 1)
            sender.close()
            assert len(found.requests) == 2
        assert other.requests == []
    text = metrics.text()
    assert 'hallmark_otlp_spans_total{state="lost"} 1' in text
    assert f'hallmark_otlp_errors_total{{problem="{status}"}} 1' in text
    assert "C-1" not in caplog.text + text


@pytest.mark.parametrize("status", [429, 502])
def test_a_busy_collector_is_asked_again_when_it_says_so(status: int) -> None:
    seconds = "1" if status == 429 else "3600"  # 502 says nothing by that header
    with Collector(Answer(status, {"Retry-After": seconds}), Answer(status)) as found:
        sender = exporter(found.server_port)
        sender.put(a_trace())
        wait_for(lambda: sender.counts["sent"] == 1)
        sender.close()
        (first, *_), (second, *_), (third, *_) = found.requests
        assert second - first >= (1 if status == 429 else 0.05)
        assert third - second >= 0.05
        assert len({body for *_, body in found.requests}) == 1
        assert (sender.counts["lost"], sender.counts["errors"]) == (0, 2)


def test_more_than_memory_may_hold_is_lost_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otlp, "MOST_WAITING", 6)
    monkeypatch.setattr(otlp, "CLOSE_SECONDS", 0.3)
    metrics = Metrics()
    sender = exporter(free_port(0), metrics)
    for number in range(20):
        sender.put(a_trace(number))
    assert 8 <= sender.counts["lost"] <= 14  # six wait; if the first batch was taken meanwhile, six more
    sender.close()
    assert sender.counts == Counter(lost=20, errors=sender.counts["errors"])
    sender.put(a_trace())
    assert sender.counts["lost"] == 21
    assert 'hallmark_otlp_spans_total{state="lost"} 21' in metrics.text()


@pytest.mark.parametrize(
    ("answer", "under_way"), [(Answer(sleep=60), True), (Answer(503, {"Retry-After": "3600"}), False)]
)
def test_close_ends_in_time_whatever_the_collector_does(
    answer: Answer, under_way: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otlp, "CLOSE_SECONDS", 0.3)
    with Collector(answer, Answer(sleep=60)) as found:
        sender = exporter(found.server_port)
        sender.put(a_trace())
        if under_way:
            wait_for(lambda: found.requests)
            sender.put(a_trace())
        start = time.monotonic()
        sender.close()
        assert (
            time.monotonic() - start < 30
        )  # the limit, two seconds for a request that began before it, and this machine
        assert (sender.counts["sent"], sender.counts["lost"]) == (0, 1 + under_way)


# What it is told by params and environment


@pytest.mark.parametrize(
    "url",
    ["collector:4318", "https://u:p@host", "https://host/?key=x", "ftp://host"],
)
def test_an_address_that_is_none_or_has_room_for_a_secret_is_refused(url: str) -> None:
    with pytest.raises(ValidationError):
        Otlp(url=url, texts=False, headers=None)


@pytest.mark.parametrize(
    "said",
    ["secret-token", "name=a,secret", "na me=secret", "Host=secret", "content-length=1", "Accept-Encoding=secret",
     "a=secret%0d%0ab", "=secret"],
)  # fmt: skip
def test_headers_that_can_not_be_sent_are_refused_without_a_word_of_them(
    said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLLECTOR_HEADERS", said)
    with pytest.raises(HallmarkError, match="environment variable COLLECTOR_HEADERS") as error:
        read_headers(settings(1, headers="COLLECTOR_HEADERS"))
    assert "secret" not in str(error.value)


# Behind the gateway


def test_serve_sends_spans_also_if_no_traces_are_kept(folder: Path) -> None:  # noqa: F811
    with Collector() as found:
        change_params(folder, {"serve.traces": False, "serve.otlp": {"url": f"http://127.0.0.1:{found.server_port}", "texts": False, "headers": None}})  # fmt: skip
        with gateway(folder) as (process, line):
            response = ask(line, text="so it is")
            assert response.status_code == 200
            wait_for(lambda: len(found.spans) == 1)
            metrics = httpx.get(line.split("/v1 ")[0] + "/metrics", trust_env=False).text
            assert 'hallmark_otlp_spans_total{state="sent"} 1' in metrics
            process.terminate()
            assert process.wait(120) == 0
    (span,) = found.spans
    assert span.name == "chat tickets"
    assert span.attributes["hallmark.id"] == response.headers["x-hallmark-trace"]
    assert span.attributes["gen_ai.response.model"] == "tickets-unregistered"
    took = timedelta(microseconds=(span.end - span.start) // 1000)
    assert timedelta(0) < took < timedelta(seconds=120)
    assert not (folder / "data/traces").exists()
