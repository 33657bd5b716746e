"""`nox -s serve`: a gateway in a process of its own, in front of a model server."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.gateway_toys import environment, served_folder
from tests.stub_model import Stub, told, wait_for
from tests.workspace import change_params, run_here


@pytest.fixture
def folder(tmp_path: Path, server: Stub) -> Path:
    return served_folder(tmp_path / "repo", server.url, **{"serve.limits.seconds": 120.0})


def command(*options: str) -> list[str]:
    return [sys.executable, "-m", "hallmark.service.commands.serve", *options]


def refused(folder: Path, *options: str, code: int = 1) -> str:
    result = run_here(folder, "hallmark.service.commands.serve", *options)
    assert result.returncode == code, result.stdout
    assert "Traceback" not in result.stderr
    return result.stderr


@contextmanager
def gateway(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process while it answers, and the line that it said."""
    log = folder / "err.txt"
    with log.open("w") as errors:
        process = subprocess.Popen(
            command("--port", "0", *options), cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=errors,
            text=True,
        )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, log.read_text()
        yield process, line
    finally:
        process.kill()
        process.wait()


def ask(line: str, **what: Any) -> httpx.Response:
    found = re.match(r"(\S+) answers as the model '(\S+)'", line)
    assert found
    body = {"model": found[2], "messages": [{"role": "user", "content": told(**what)}]}
    return httpx.post(f"{found[1]}/chat/completions", json=body, timeout=120, trust_env=False)


def test_it_says_what_answers_and_answers_until_it_is_asked_to_stop(folder: Path, server: Stub) -> None:
    change_params(folder, {"serve.mask": True, "mask.ner": {"engine": "none", "model": None}})
    with gateway(folder) as (process, line):
        assert line == (
            f"{line.split(' ')[0]} answers as the model 'tickets': prod unregistered; keys off, masking on, cascade off, "
            "traces on, fallback off; Ctrl-C stops it\n"
        )
        answered = ask(line, text="so it is")
        assert answered.status_code == 200, answered.text
        assert answered.json()["choices"][0]["message"]["content"] == "so it is"
        assert server.counts()["bodies"][-1]["model"] == "served-as"
        assert ask(line, status=500).status_code == 502
        (masker,) = psutil.Process(process.pid).children()
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == 0
        assert not masker.is_running()
        said = (folder / "err.txt").read_text().splitlines()
        assert said == ["serve: the server of unregistered gave no answer: status, HTTP 500"]
    assert list((folder / "data/traces").rglob("*.jsonl"))


def test_a_caller_who_hangs_up_frees_the_model_server(folder: Path, server: Stub) -> None:
    before = server.counts()
    with gateway(folder) as (_, line):
        address = httpx.URL(line.split(" ")[0])
        body = json.dumps({"model": "tickets", "messages": [{"role": "user", "content": told(text="x", sleep=120)}]})
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {address.host}:{address.port}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection((address.host, address.port or 80)) as connection:
            connection.sendall((head + body).encode())
            wait_for(lambda: server.counts()["asked"] == before["asked"] + 1, 60)
        wait_for(lambda: server.counts()["gone"] == before["gone"] + 1, 60)


def test_what_is_wrong_is_told_before_a_model_is_loaded(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"port {port} can't be used" in refused(folder, "--port", str(port))
    assert "--port: not a number from 0 to 65535" in refused(folder, "--port", "99999", code=2)
    change_params(folder, {"serve.host": "0.0.0.0"})  # noqa: S104
    assert "key" in refused(folder, "--port", "0")
    change_params(folder, {"serve.host": "127.0.0.1", "serve.upstreams": {}})
    said = refused(folder, "--port", "0")
    assert "models/release: no adapter is there" in said
    assert "remedy: run `dvc repro`" in said
    (folder / "none").mkdir()
    assert "none: no adapter is there" in refused(folder, "none", "--port", "0")
    assert "models/release: no adapter is there" in refused(folder, "--direct", "--port", "0")
