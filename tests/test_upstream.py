"""A model server that is down, slow, busy or wrong: no answer is taken for one that is none, and nothing waits for ever."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from hallmark.service.gateway.upstream import LEAST_WAIT, Reply, Upstream, UpstreamError, wait_of
from tests.stub_model import ChatHandler, ChatServer, Stub, told
from tests.stub_model import Reply as ServerReply


def question(**what: Any) -> dict[str, Any]:
    body = {"messages": [{"role": "user", "content": told(**what)}], "max_tokens": 50, "temperature": 0}
    return body | ({"logprobs": True} if "log" in what else {})


def ask(url: str | list[str], one: dict[str, Any], seconds: float = 60.0, **how: Any) -> Reply:
    async def asked() -> Reply:
        upstream = Upstream(url, "tickets", **how)
        try:
            return await upstream.ask(one, seconds)
        finally:
            await upstream.close()

    return asyncio.run(asked())


def problem(url: str | list[str], one: dict[str, Any], seconds: float = 60.0, **how: Any) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        ask(url, one, seconds, **how)
    return caught.value


def test_an_answer_with_its_tokens_and_log_probabilities(server: Stub) -> None:
    reply = ask(server.url, question(text='{"a": 1}', log=-0.25))
    assert (reply.text, reply.finish, reply.prompt_tokens, reply.answer_tokens) == ('{"a": 1}', "stop", 10, 8)
    assert reply.answer.logs == (-0.25,) * 8
    assert reply.answer.spans is not None
    body = server.counts()["bodies"][-1]
    assert {name: body[name] for name in ("model", "temperature", "max_tokens", "logprobs")} == {
        "model": "tickets", "temperature": 0, "max_tokens": 50, "logprobs": True,
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
        ({"raw": '{"choices": [{"message": {"content": 5}}]}'}, "malformed", True),
        ({"raw": '{"choices": [{"message": {"content": null, "tool_calls": [{"function": 1}]}}]}'}, "malformed", True),
        ({"raw": "[" * 5000}, "malformed", True),
        ({"raw": "x", "times": 3_000_000}, "too_large", True),
        ({"text": "hello", "cut": True}, "down", True),
        ({"status": 404}, "status", False),  # another model's name, say
        ({"status": 500}, "status", False),
        ({"status": 400}, "refused", False),
        ({"status": 429, "headers": {"retry-after": "3600"}}, "busy", False),
        ({"raw": "{}", "headers": {"content-encoding": "gzip"}}, "malformed", True),
    ],
)
def test_what_is_no_answer_is_told_by_its_kind_without_its_words(
    server: Stub, what: dict[str, Any], kind: str, charged: bool
) -> None:
    found = problem(server.url, question(**what))
    assert (found.problem, found.charged) == (kind, charged)
    assert "no" not in str(found).split('"')
    assert len(str(found)) < 100


@pytest.mark.parametrize(
    ("error", "code", "field"),
    [
        ({"code": "context_length_exceeded", "param": "messages"}, "context_length_exceeded", "messages"),
        ({"code": "unsupported_parameter", "param": "stop"}, None, "stop"),
        ({"code": 400, "param": "response_format.json_schema"}, None, "response_format"),
        ({"code": "rosa@miller.example", "param": "rosa@miller.example"}, None, None),
        ({}, None, None),
    ],
)
def test_of_a_refusal_only_known_words_are_taken(server: Stub, error: dict[str, Any], code: str, field: str) -> None:
    found = problem(server.url, question(status=400, error=error))
    assert (found.problem, found.code, found.field) == ("refused", code, field)


def test_another_model_than_was_asked_is_warned_of(server: Stub, caplog: pytest.LogCaptureFixture) -> None:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "x"}}
    for model, warned in (("tickets-2026-01-01", False), (None, False), ("tickets-mini", True)):
        caplog.clear()
        reply = ask(server.url, question(raw=json.dumps({"model": model, "choices": [choice]})))
        assert (reply.text, reply.another, "another model" in caplog.text) == ("x", warned, warned)


def test_a_server_that_is_down_or_slow(server: Stub) -> None:
    down = problem("http://127.0.0.1:9/v1", question(text="x"))
    assert (down.problem, down.charged) == ("down", False)
    start = time.monotonic()
    assert problem(server.url, question(text="x", sleep=300), 0.3).problem == "late"
    assert time.monotonic() - start < 100
    assert problem(server.url, question(text="x"), -1.0).problem == "late"


def test_a_busy_server_is_asked_again_when_it_says(server: Stub) -> None:
    start = time.monotonic()
    reply = ask(server.url, question(text="at last", status=[429, 503, 200], headers={"retry-after": "0"}))
    assert reply.text == "at last"
    assert time.monotonic() - start >= 2 * LEAST_WAIT


class Plain(ChatServer):
    """It answers "yes", but for the first requests, on which it hangs up. `seen`: who asked for what, by which proxy."""

    def __init__(self, breaks: int = 0) -> None:
        super().__init__()
        self.RequestHandlerClass, self.breaks = PlainHandler, breaks
        self.seen: list[tuple[str | None, ...]] = []

    def reply(self, body: dict[str, Any]) -> ServerReply:
        choice = {"message": {"content": "yes"}, "finish_reason": "stop"}
        return 200, {}, json.dumps({"choices": [choice]}).encode()


class PlainHandler(ChatHandler):
    server: Plain

    def do_POST(self) -> None:  # noqa: N802
        self.server.seen.append((self.path, self.headers["Authorization"], self.headers["Proxy-Authorization"]))
        if self.command == "CONNECT":
            self.send_error(403)
        elif len(self.server.seen) <= self.server.breaks:
            self.connection.close()
        else:
            super().do_POST()

    do_CONNECT = do_POST  # noqa: N815


@pytest.mark.parametrize("paid", [False, True])
def test_of_several_servers_each_is_asked_twice_and_none_that_is_paid_once_it_may_have_answered(
    server: Stub, paid: bool
) -> None:
    """A connection that breaks, followed by another server's 500; and of a server that is not there."""
    with Plain(breaks=1) as plain:
        urls, asked = [f"http://127.0.0.1:{plain.server_port}/v1", server.url], question(text="x", status=500)
        if paid:
            assert problem(urls, asked, paid=True).charged
        else:
            assert ask(urls, asked).text == "yes"
    assert len(plain.seen) == 2 - paid
    before = server.counts()["asked"]
    assert problem(["http://127.0.0.1:9/v1", server.url], asked, paid=paid).problem == "status"
    assert server.counts()["asked"] - before == 2


def environment(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    """Only these variables for proxies, in both spellings."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        for spelling in (name, name.upper()):
            monkeypatch.setenv(spelling, variables.get(name, ""))


def test_the_proxy_of_the_environment_is_told_who_asks_and_no_key(
    server: Stub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine model.example login no password no\n", encoding="utf-8")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with Plain() as plain:
        proxy = f"me:p%40ss@127.0.0.1:{plain.server_port}"
        environment(monkeypatch, http_proxy=proxy, https_proxy=proxy)
        sender = "Basic bWU6cEBzcw=="  # me:p@ss
        assert ask("http://model.example/v1", question(text="x")).text == "yes"
        assert plain.seen.pop() == ("http://model.example/v1/chat/completions", None, sender)
        with pytest.raises(UpstreamError) as refused:  # over TLS, the key is the server's alone
            ask("https://model.example/v1", question(text="x"), key="k", paid=True)
        assert (refused.value.problem, refused.value.charged) == ("down", False)
        assert set(plain.seen) == {("model.example:443", None, sender)}
        plain.seen.clear()
        assert ask(server.url, question(text="straight"), key="k").text == "straight"  # clear text on this machine
        assert plain.seen == []


def busy(status: int, after: str) -> Any:
    response = httpx2.Response(status, headers={"retry-after": after}, request=httpx2.Request("POST", "http://x"))
    return openai.APIStatusError("busy", response=response, body=None)


def test_when_to_come_back_is_read_as_http_has_it() -> None:
    assert wait_of(busy(429, "7")) == 7.0
    assert wait_of(busy(503, "0")) == LEAST_WAIT
    in_a_minute = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert 50 < (wait_of(busy(503, in_a_minute)) or 0) <= 60
    assert wait_of(busy(500, "7")) is None
    assert wait_of(busy(429, "")) is None


def test_a_connection_that_broke_is_made_again() -> None:
    """A server may close an idle connection in the very moment in which it is used."""
    with Plain(breaks=1) as plain:
        assert ask(f"http://127.0.0.1:{plain.server_port}/v1", question(text="x")).text == "yes"
    assert len(plain.seen) == 2
