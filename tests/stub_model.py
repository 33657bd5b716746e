"""Servers of models without a model: one of the test's own process, and one that does what a request tells it to.

`ChatServer` is the first. The other has a process of its own, and does what the last message of a request tells it to.

That message is JSON: `text` (what to answer), `finish`, `log` (of each of its tokens), `sleep`, `status`, `error`, `headers`, `raw` (bytes to
send in place of an answer), `calls`, `cut` (hang up in the middle), `usage`, and `second` (what to answer to a request that
is not the greedy one). Any other text is answered as it is, with the model's name before it.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import httpx


async def app(scope: Any, receive: Any, send: Any) -> None:
    """The ASGI app, which counts requests under way and those that hung up."""

    if scope["type"] == "lifespan":
        while (message := await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": message["type"] + ".complete"})
        return
    if scope["path"] != "/v1/chat/completions":
        await reply(send, 200, json.dumps(COUNTS).encode())
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    asked = json.loads(body)
    COUNTS["asked"] += 1
    COUNTS["bodies"].append(asked)
    del COUNTS["bodies"][:-50]
    told = read(asked["messages"][-1].get("content") or "")
    greedy = asked.get("temperature") == 0 and "response_format" not in asked
    gone = asyncio.create_task(receive())
    seconds = told.get("sleep", 0.0)
    slept = asyncio.create_task(asyncio.sleep(seconds.get(NAME, 0.0) if isinstance(seconds, dict) else seconds))
    await asyncio.wait([gone, slept], return_when=asyncio.FIRST_COMPLETED)
    if gone.done():
        COUNTS["gone"] += 1
        return
    gone.cancel()
    if status := told.get("status"):
        if isinstance(status, list):  # one after the other, for the same message
            seen = COUNTS["seen"][body.decode()] = COUNTS["seen"].get(body.decode(), 0) + 1
            status = status[min(seen, len(status)) - 1]
        if status != 200:
            error = json.dumps({"error": {"message": "no"} | told.get("error", {})}).encode()
            await reply(send, status, error, told.get("headers", {}))
            return
    if "raw" in told:
        content = told["raw"].encode() * told.get("times", 1)
        await reply(send, 200, content, told.get("headers", {}), cut=told.get("cut", False))
        return
    text = told.get("text", f"{asked['model']} {NAME}: {told.get('plain', '')}")
    if not greedy and "second" in told:
        text = told["second"]
    finish = told.get("finish", "stop")
    choice: dict[str, Any] = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text}}
    if "calls" in told:
        choice["message"]["tool_calls"] = told["calls"]
    if asked.get("logprobs") and told.get("log") is not None:
        log = told["log"] if greedy else told.get("second_log", told["log"])
        content = [{"token": char, "logprob": log, "bytes": list(char.encode()), "top_logprobs": []} for char in text]
        choice["logprobs"] = {"content": content}
    usage = told.get("usage", {"prompt_tokens": 10, "completion_tokens": len(text)})
    answer = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": asked["model"]}
    answer |= {"choices": [choice], "usage": usage}
    await reply(send, 200, json.dumps(answer).encode(), cut=told.get("cut", False))


COUNTS: dict[str, Any] = {"asked": 0, "gone": 0, "bodies": [], "seen": {}}
NAME = ""


def read(text: str) -> dict[str, Any]:
    with suppress(ValueError):
        value = json.loads(text)
        if isinstance(value, dict):
            return value
    return {"plain": text}


async def reply(send: Any, status: int, content: bytes, headers: Any = None, *, cut: bool = False) -> None:
    given = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    given += [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": given})
    if cut:
        await send({"type": "http.response.body", "body": content[: len(content) // 2], "more_body": True})
        raise ConnectionError("cut")
    await send({"type": "http.response.body", "body": content})


Reply = tuple[int, dict[str, str], bytes]  # status, headers, content


class ChatServer(ThreadingHTTPServer):
    """A chat API in this process, while it is a context; `asked` and `keys` are what it was sent. Of a GET, `reply` gets {}."""

    request_queue_size = 64

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), ChatHandler)
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.drip = 0.0  # seconds between two bytes
        self.url = f"http://127.0.0.1:{self.server_port}/v1"

    def reply(self, body: dict[str, Any]) -> Reply:
        raise NotImplementedError

    def handle_error(self, *_: Any) -> None:
        """A caller that ended in an error has hung up."""

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.shutdown()
        self.server_close()


class ChatHandler(BaseHTTPRequestHandler):
    server: ChatServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"] or 0)) or "{}")
        self.server.asked.append(body)
        self.server.keys.append(self.headers["Authorization"])
        status, headers, content = self.server.reply(body)
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        for byte in content if self.server.drip else ():
            self.wfile.write(bytes([byte]))
            time.sleep(self.server.drip)
        if not self.server.drip:
            self.wfile.write(content)
        self.close_connection = True

    def do_GET(self) -> None:
        self.do_POST()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@dataclass
class Stub:
    """A stub that runs."""

    port: int
    process: subprocess.Popen[bytes]
    stopped: list[float] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def counts(self) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"http://127.0.0.1:{self.port}/counts", trust_env=False).json()
        return found

    def stop(self) -> None:
        self.stopped.append(time.monotonic())
        self.process.kill()
        self.process.wait()

    def trouble(self) -> str | None:
        return None if self.process.poll() is None else "died"


def start(name: str, tries: int = 3) -> Stub:
    """A stub that answers; the caller stops it. Tried again where another process takes its port before it does."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert tries, "it ends at once"
    process = subprocess.Popen([sys.executable, "-m", "tests.stub_model", str(port), name])
    stub = Stub(port, process)
    wait_for(lambda: process.poll() is not None or answers(stub))
    return stub if process.poll() is None else start(name, tries - 1)


def answers(stub: Stub) -> bool:
    with suppress(httpx.HTTPError):
        stub.counts()
        return True
    return False


def wait_for(condition: Callable[[], Any], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


@contextmanager
def stub(name: str = "stub") -> Iterator[Stub]:
    """A stub while the block runs."""
    running = start(name)
    try:
        yield running
    finally:
        running.stop()


def told(**what: Any) -> str:
    """The message that tells a stub what to do."""
    return json.dumps(what)


if __name__ == "__main__":
    import uvicorn

    NAME = sys.argv[2]
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="critical", access_log=False)
