"""A model server that is down, slow, busy or wrong: no answer is taken for one that is none, and nothing waits for ever."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.gateway.upstream import LEAST_WAIT, Question, Reply, Upstream, UpstreamError, retry_after
from tests.stub_model import Stub, stub, told, wait_for


@pytest.fixture(scope="module")
def server() -> Iterator[Stub]:
    with stub() as running:
        yield running


def question(**what: Any) -> Question:
    logs = "log" in what
    return Question([{"role": "user", "content": told(**what)}], None, 50, logs)


def ask(url: str, one: Question, seconds: float = 10.0, **how: Any) -> Reply:
    async def asked() -> Reply:
        upstream = Upstream(url, "tickets", **how)
        try:
            return await upstream.ask(one, seconds)
        finally:
            await upstream.close()

    return asyncio.run(asked())


def problem(url: str, one: Question, seconds: float = 10.0) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        ask(url, one, seconds)
    return caught.value


def test_an_answer_with_its_tokens_and_log_probabilities(server: Stub) -> None:
    reply = ask(server.url, question(text='{"a": 1}', log=-0.25))
    assert (reply.text, reply.finish, reply.prompt_tokens, reply.answer_tokens) == ('{"a": 1}', "stop", 10, 8)
    assert reply.answer.logs == (-0.25,) * 8
    assert reply.answer.spans is not None
    body = server.counts()["bodies"][-1]
    assert {name: body[name] for name in ("model", "temperature", "max_tokens", "stream", "logprobs")} == {
        "model": "tickets", "temperature": 0, "max_tokens": 50, "stream": False, "logprobs": True,
    }  # fmt: skip


def test_calls_are_taken_with_the_fields_that_callers_know(server: Stub) -> None:
    call = {"id": "a1", "type": "function", "function": {"name": "find", "arguments": '{"x": 1}', "odd": 1}, "odd": 2}
    reply = ask(server.url, question(text="", calls=[call]))
    function = {"name": "find", "arguments": '{"x": 1}'}
    assert reply.tool_calls == [{"id": "a1", "type": "function", "function": function}]
    assert json.loads(reply.answer.text) == {"name": "find", "arguments": {"x": 1}}


@pytest.mark.parametrize(
    ("what", "kind", "charged"),
    [
        ({"raw": '{"choices": [{"mess'}, "malformed", True),
        ({"raw": "[]"}, "malformed", True),
        ({"raw": '{"choices": []}'}, "malformed", True),
        ({"raw": '{"choices": [{"message": {"content": 5}}]}'}, "malformed", True),
        ({"raw": '{"choices": [{"message": {"content": null, "tool_calls": [{"function": 1}]}}]}'}, "malformed", True),
        ({"raw": "[" * 5000}, "malformed", True),
        ({"raw": "x", "times": 3_000_000}, "too_large", True),
        ({"text": "hello", "cut": True}, "down", True),
        ({"status": 404}, "status", False),  # another model's name, say
        ({"status": 500}, "status", False),
        ({"status": 400}, "refused", False),
        ({"status": 429}, "busy", False),
        ({"status": 429, "headers": {"retry-after": "3600"}}, "busy", False),
        ({"raw": "{}", "headers": {"content-encoding": "gzip"}}, "too_large", True),
    ],
)
def test_what_is_no_answer_is_told_by_its_kind_without_its_words(
    server: Stub, what: dict[str, Any], kind: str, charged: bool
) -> None:
    start = time.monotonic()
    found = problem(server.url, question(**what))
    assert (found.problem, found.charged) == (kind, charged)
    assert "no" not in str(found).split('"')
    assert len(str(found)) < 100
    assert time.monotonic() - start < 5


def test_a_server_that_is_down_or_slow(server: Stub) -> None:
    down = problem("http://127.0.0.1:9/v1", question(text="x"))
    assert (down.problem, down.charged) == ("down", False)
    start = time.monotonic()
    assert problem(server.url, question(text="x", sleep=30), 0.3).problem == "late"
    assert time.monotonic() - start < 2
    assert problem(server.url, question(text="x"), -1.0).problem == "late"


def test_a_busy_server_is_asked_again_when_it_says(server: Stub) -> None:
    start = time.monotonic()
    reply = ask(server.url, question(text="at last", status=[429, 503, 200], headers={"retry-after": "0"}))
    assert reply.text == "at last"
    assert 2 * LEAST_WAIT <= time.monotonic() - start < 5


@contextmanager
def plain_server(*, breaks: int = 0) -> Iterator[tuple[int, list[tuple[str | None, ...]]]]:
    """Its port, and of each request the target, the key and the proxy's credentials; it hangs up on so many at first."""
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

    answer = json.dumps({"choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]}).encode()
    asked: list[tuple[str | None, ...]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            asked.append((self.path, self.headers["Authorization"], self.headers["Proxy-Authorization"]))
            if len(asked) <= breaks:
                self.connection.close()
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def do_CONNECT(self) -> None:
            asked.append((self.path, self.headers["Authorization"], self.headers["Proxy-Authorization"]))
            self.send_error(403)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_: Any) -> None:
            """The closed connection can't be flushed."""

    running = Quiet(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield running.server_port, asked
    finally:
        running.shutdown()
        running.server_close()


def test_a_connection_that_broke_is_made_again() -> None:
    """A server may close an idle connection in the very moment in which it is used."""
    with plain_server(breaks=1) as (port, asked):
        assert ask(f"http://127.0.0.1:{port}/v1", question(text="x")).text == "yes"
    assert len(asked) == 2


def test_the_proxy_of_the_environment_is_used_unless_the_server_is_our_own(
    server: Stub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine model.example login no password no\n", encoding="utf-8")
    for name, value in {"NETRC": str(tmp_path / "netrc"), "NO_PROXY": "", "no_proxy": ""}.items():
        monkeypatch.setenv(name, value)
    with plain_server() as (port, asked):
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"me:p%40ss@127.0.0.1:{port}")
        sender = "Basic bWU6cEBzcw=="  # me:p@ss
        assert ask("http://model.example/v1", question(text="x"), key="k").text == "yes"
        assert asked.pop() == ("http://model.example/v1/chat/completions", "Bearer k", sender)
        with pytest.raises(UpstreamError) as refused:  # over TLS, the key is the server's alone
            ask("https://model.example/v1", question(text="x"), key="k", paid=True)
        assert (refused.value.problem, refused.value.charged) == ("down", False)
        assert set(asked) == {("model.example:443", None, sender)}
        asked.clear()
        assert ask(server.url, question(text="straight"), own=True).text == "straight"
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert ask(server.url, question(text="past it")).text == "past it"
        assert asked == []


def test_who_hangs_up_hangs_up_on_the_server(server: Stub) -> None:
    before = server.counts()["gone"]

    async def asked() -> None:
        upstream = Upstream(server.url, "tickets")
        task = asyncio.create_task(upstream.ask(question(text="x", sleep=20), 30))
        await asyncio.sleep(0.5)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await upstream.close()

    asyncio.run(asked())
    wait_for(lambda: server.counts()["gone"] == before + 1, 5)


def test_when_to_come_back_is_read_as_http_has_it() -> None:
    assert retry_after(429, "7") == 7.0
    assert retry_after(503, "0") == LEAST_WAIT
    in_a_minute = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert 50 < (retry_after(503, in_a_minute) or 0) <= 60
    assert retry_after(429, format_datetime(datetime.now(UTC) - timedelta(days=1))) == LEAST_WAIT
    assert retry_after(200, "7") is None
    assert retry_after(500, "7") is None
    assert retry_after(429, "") is None


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40))
def test_no_header_can_hurt(after: str) -> None:
    wait = retry_after(429, after)
    assert wait is None or wait >= LEAST_WAIT
