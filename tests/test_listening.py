"""The gateway as callers meet it: a real server process, real connections, and whatever they do with them."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.stub_model import wait_for
from tests.workspace import ROOT

CHAT = "/v1/chat/completions"


class Running:
    """A gateway in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], folder: Path) -> None:
        assert process.stdout is not None
        self.process, self.folder = process, folder
        self.url = process.stdout.readline().strip()
        assert self.url, (folder / "stderr").read_text()
        self.host, port = self.url.removeprefix("http://").split(":")
        self.port = int(port)

    def connect(self) -> socket.socket:
        return socket.create_connection((self.host, self.port), timeout=120)

    def ask(self, content: str = "Hello", **more: Any) -> httpx.Response:
        body = {"model": "tuned", "messages": [{"role": "user", "content": content}]} | more
        return httpx.post(self.url + CHAT, json=body, timeout=120, trust_env=False)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=120, trust_env=False)

    def raw(self, content: str = "Hello", **headers: str) -> bytes:
        """A request as it is on the wire."""
        body = json.dumps({"model": "tuned", "messages": [{"role": "user", "content": content}]}).encode()
        sent = {
            "Host": f"{self.host}:{self.port}",
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
        }
        lines = [f"{name}: {value}\r\n" for name, value in (sent | headers).items()]
        return f"POST {CHAT} HTTP/1.1\r\n{''.join(lines)}\r\n".encode() + body

    def wait_for(self, words: str) -> None:
        """Until the metrics say so."""
        deadline = time.monotonic() + 60
        while words not in self.get("/metrics").text:
            assert time.monotonic() < deadline, self.get("/metrics").text
            time.sleep(0.05)

    def lines(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / name).read_text().splitlines()]


@contextmanager
def running(folder: Path, *options: str, **changes: Any) -> Iterator[Running]:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "tests.toy_gateway", str(folder), "--changes", json.dumps(changes), *options]
    with (folder / "stderr").open("w") as errors:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True)
    try:
        yield Running(process, folder)
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("gateway")) as started:
        yield started


def received(connection: socket.socket) -> bytes:
    """All that comes until the server hangs up."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def test_openais_own_client_reads_what_it_answers(gateway: Running) -> None:
    http = openai.DefaultHttpxClient(trust_env=False)
    client = openai.OpenAI(base_url=gateway.url + "/v1", api_key="none", http_client=http, max_retries=0)
    assert [model.id for model in client.models.list()] == ["tuned"]

    def ask(content: str, **more: Any) -> Any:
        return client.chat.completions.create(model="tuned", messages=[{"role": "user", "content": content}], **more)

    answer = ask("Write to rosa@miller.example")
    assert answer.choices[0].message.content == "Write to rosa@miller.example"
    assert answer.usage.total_tokens == 10
    handed_over = ask("UNSURE")
    assert handed_over.choices[0].finish_reason == "handed_over"
    assert handed_over.choices[0].message.content is None
    assert "person must look" in handed_over.choices[0].message.refusal
    chunks = list(ask("Hello", stream=True, stream_options={"include_usage": True}))
    assert [choice.delta.content for chunk in chunks for choice in chunk.choices] == ["Hello"]
    assert chunks[-1].usage.total_tokens == 10
    raw = client.chat.completions.with_raw_response.create(model="tuned", messages=[{"role": "user", "content": "x"}])
    judgement = {"trace_id": raw.headers["x-hallmark-trace"], "verdict": "accepted"}
    assert client.post("/feedback", body=judgement, cast_to=object) == {"object": "feedback", **judgement}
    with pytest.raises(openai.NotFoundError, match="no such model"):
        client.chat.completions.create(model="gpt-4", messages=[{"role": "user", "content": "x"}])
    with pytest.raises(openai.BadRequestError) as caught:
        ask("x", frequency_penalty=1)
    assert caught.value.code == "unsupported_parameter"
    with pytest.raises(openai.InternalServerError) as failed:
        ask("DOWN")
    assert failed.value.code == "no_answer"


def test_broken_http_is_an_error_and_ends_the_connection(gateway: Running) -> None:
    chunked = gateway.raw(**{"Transfer-Encoding": "chunked"}).replace(b"Content-Length", b"X-Length")
    for sent in (
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100_000,
        chunked.partition(b"\r\n\r\n")[0] + b"\r\n\r\nzz\r\n",
    ):
        with gateway.connect() as connection:
            connection.sendall(sent)
            assert received(connection).startswith(b"HTTP/1.1 400 ")


@given(st.data())
def test_whatever_comes_over_a_connection_ends_it_and_no_other(gateway: Running, data: st.DataObject) -> None:
    whole = gateway.raw("x", Connection="close")
    cut = data.draw(st.integers(0, len(whole)))
    sent = data.draw(
        st.binary(max_size=80) | st.binary(max_size=9).map(lambda noise: whole[:cut] + noise + whole[cut:])
    )
    with gateway.connect() as connection:
        with suppress(OSError):  # the server has hung up already
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
        answer = received(connection)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 ")
    assert b" 500 " not in answer[:20]
    assert gateway.get("/health").status_code == 200
    assert "Traceback" not in (gateway.folder / "stderr").read_text()


def test_requests_in_one_packet_are_answered_in_order(gateway: Running) -> None:
    with gateway.connect() as connection:
        connection.sendall(gateway.raw("one SLEEP 0.2") + gateway.raw("two") + gateway.raw("3", Connection="close"))
        answers = received(connection)
    assert answers.count(b"HTTP/1.1 200 ") == 3
    assert answers.index(b"one SLEEP") < answers.index(b'"two"') < answers.index(b'"3"')


def test_a_body_that_is_announced_too_large_is_refused_unread(gateway: Running) -> None:
    with gateway.connect() as connection:
        connection.sendall(gateway.raw().replace(b"Content-Length: ", b"Content-Length: 99999"))
        assert b"HTTP/1.1 413 " in connection.recv(65536)


def test_a_caller_who_hangs_up_stops_the_model(gateway: Running) -> None:
    with gateway.connect() as connection:
        connection.sendall(gateway.raw("SLEEP 30"))
        gateway.wait_for("hallmark_under_way 1.0\n")
    gateway.wait_for("hallmark_under_way 0.0\n")
    gateway.wait_for('hallmark_requests_total{endpoint="chat",status="499"}')
    trace = gateway.lines("traces.jsonl")[-1]
    assert (trace["outcome"], trace["reason"]) == ("failed", "gone")
    assert (trace["route"], trace["version"]) == ("prod", "v1.2.0"), "it counts against a slow release"


def test_a_flood_is_shed_and_its_health_still_answers(tmp_path: Path) -> None:
    with running(tmp_path / "flood", under_way=16) as gateway:
        limits = httpx.Limits(max_connections=None)
        with httpx.Client(base_url=gateway.url, limits=limits, timeout=120, trust_env=False) as client:
            body = {"model": "tuned", "messages": [{"role": "user", "content": "HELD"}]}
            with ThreadPoolExecutor(64) as pool:
                asked = [pool.submit(client.post, CHAT, json=body) for _ in range(64)]
                for done in range(48):  # the first of them while others come
                    assert client.get("/health").status_code == 200
                    wait_for(lambda least=done: sum(future.done() for future in asked) > least)  # type: ignore[misc]
                (gateway.folder / "go").touch()
                answers = [future.result() for future in asked]
        assert sorted(answer.status_code for answer in answers) == [200] * 16 + [429] * 48
        assert {answer.headers.get("retry-after") for answer in answers if answer.status_code == 429} == {"1"}


def test_a_signal_lets_what_is_under_way_finish(tmp_path: Path) -> None:
    with running(tmp_path / "stopped") as gateway, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(gateway.ask, "HELD")
        gateway.wait_for("hallmark_under_way 1.0\n")
        gateway.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 60
        with pytest.raises(httpx.ConnectError):
            while time.monotonic() < deadline:
                with suppress(httpx.ReadError, httpx.RemoteProtocolError):  # it had taken the connection
                    gateway.get("/health")
        assert not asked.done()
        (gateway.folder / "go").touch()
        assert asked.result().status_code == 200
        assert gateway.process.wait(120) == 0
        assert json.loads((gateway.folder / "ended.json").read_text()) == {"closed": True}
        assert (gateway.folder / "stderr").read_text() == ""


def test_what_takes_longer_than_the_drain_is_told_to_ask_again(tmp_path: Path) -> None:
    with running(tmp_path / "stopped", "--drain", "1") as gateway, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(gateway.ask, "SLEEP 30")
        gateway.wait_for("hallmark_under_way 1.0\n")
        gateway.process.send_signal(signal.SIGTERM)
        response = asked.result()
        assert (response.status_code, response.json()["error"]["code"]) == (503, "stopping")
        assert gateway.process.wait(120) == 0
        assert gateway.lines("traces.jsonl")[-1]["reason"] == "gone"
        assert "SLEEP" not in (gateway.folder / "stderr").read_text()
