"""Requests that nobody should send to a model server, made from a seed; each must be refused."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

HOSTS = (
    "evil.example",
    "evil.example:{port}",
    "127.0.0.1:1",
    "127.0.0.1",
    "localhost",
    "[::1]:{port}",
    "169.254.169.254",
)
PATHS = ("/", "/reset", "/load_model", "/v1/completions", "/v1/responses", "/v1/audio/transcriptions", "/docs", "/metrics",
         "/openapi.json", "/v1/models/", "/v1/chat/completions/", "/V1/MODELS", "//v1/models", "/v1/load_lora_adapter",
         "/v1/models/../../reset", "/health%00", "/v1/systemone", "/.env")  # fmt: skip
TYPES = ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "application/jsonp")
WRONG: tuple[Any, ...] = (None, True, -1, 0, 1.5, 10**400, "", "x", "\x00", "‮", [], {}, [[]], [{}], [None], {"a": []})
UNKNOWN = ("generation_config", "chat_template_kwargs", "logit_bias", "functions", "top_logprobs", "function_call", "__class__", "\x1b[2J",
           "frequency_penalty", "guided_json", "prompt", "file", "x" * 5000)  # fmt: skip
PARTS = (
    [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}],
    [{"type": "image_url", "image_url": {"url": "http://169.254.169.254/"}}],
    [{"type": "text", "text": "x"}, {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}],
)
RAW = (b"", b"{", b"nul", b"null", b"[]", b'"x"', b"{}", b"\xff\xfe{}", b"\xef\xbb\xbf{}", b"NaN", b"{'a': 1}", b"0" * 9999)  # fmt: skip

MODEL = "tuned"  # the name that the server knows


@dataclass
class Hostile:
    """One request; `headers` replace those that a client sends by itself."""

    method: str
    path: str
    body: bytes
    headers: dict[str, str] = field(default_factory=lambda: {"content-type": "application/json"})


def requests(seed: int, count: int, port: int, limit: int) -> Iterator[Hostile]:
    """`count` requests of all kinds, for a server on `port` that serves `tuned` and holds `limit` tokens, which are bytes."""
    chance = random.Random(seed)
    kinds: list[Callable[[random.Random], Hostile]] = [
        lambda c: Hostile("GET", c.choice(("/health", "/v1/models")), b"", {"host": c.choice(HOSTS).format(port=port)}),
        lambda c: Hostile("POST", "/v1/chat/completions", chat(), {"host": c.choice(HOSTS).format(port=port)}),
        lambda c: with_header(c, "origin", ("null", "http://evil.example", f"http://127.0.0.1:{port}")),
        lambda c: Hostile(c.choice(("GET", "POST", "PUT", "DELETE", "OPTIONS")), c.choice(PATHS), chat()),
        lambda c: Hostile(c.choice(("GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")), "/v1/chat/completions", chat()),
        lambda c: Hostile(c.choice(("POST", "DELETE", "OPTIONS")), c.choice(("/health", "/v1/models")), b"{}"),
        lambda c: Hostile("POST", "/v1/chat/completions", chat(), {"content-type": c.choice(TYPES)}),
        lambda c: with_header(c, "content-encoding", ("gzip", "br", "identity")),
        lambda c: post(c.choice(RAW)),
        lambda c: post(deep(c.choice((101, 1000, 100_000)), c)),
        lambda c: post(chat()[:-1] + c.choice((b', "model": "tuned"}', b', "seed": NaN}', b', "seed": 1e999}', b"}}"))),
        lambda c: post(chat().replace(b"Hello", c.choice((rb"\ud800", rb"\udfff x", b"\x00", b"\n", b"\xc3", rb"\x")))),
        lambda c: post(chat(**{c.choice(UNKNOWN): 1})),
        lambda c: post(chat(model=c.choice(("base", "../base", "gpt2", "org/model", "tuned@main", "/etc", "tuned:x.gguf")))),
        lambda c: post(chat(messages=c.choice(([], None, {}, "Hello", [None], [[]], [{}], [{"content": "x"}])))),
        lambda c: post(chat(messages=[{"role": c.choice(("root", "System", "", "Developer", None, 1)), "content": "x"}])),
        lambda c: post(chat(messages=[{"role": "user", "content": c.choice((None, 1, {}, [], *PARTS))}])),
        lambda c: post(chat(messages=[{"role": "user", "content": "x", c.choice(("tool_calls", "x", "audio")): [{}]}])),
        lambda c: post(chat(messages=[called(c.choice(("", "{", "[]", "1", '{"a": NaN}', '{"a":1,"a":2}', "{" * 5000)))])),
        lambda c: post(chat(**wrong_type(c))),
        lambda c: post(chat(temperature=c.choice((0.1, 1, 2)))),
        lambda c: post(chat(content="x" * c.randint(limit, 4 * limit))),
        lambda c: post(chat(max_tokens=c.choice((limit, limit + 1, 10**6, 10**9, 2**31, 10**30)))),
        lambda c: post(chat(messages=[{"role": "user", "content": "x"}] * c.randint(limit, 2 * limit))),
    ]  # fmt: skip
    for number in range(count):
        yield post(b" " * 10_000_000) if number % 100 == 50 else kinds[number % len(kinds)](chance)


def post(body: bytes) -> Hostile:
    return Hostile("POST", "/v1/chat/completions", body)


def with_header(chance: random.Random, name: str, values: tuple[str, ...]) -> Hostile:
    headers = {"content-type": "application/json", name: chance.choice(values)}
    return Hostile("POST", "/v1/chat/completions", chat(), headers)


def chat(content: str = "Hello", **changes: Any) -> bytes:
    """An ordinary request, with these changes."""
    asked = {"model": MODEL, "messages": [{"role": "user", "content": content}], "temperature": 0, "max_tokens": 2}
    return json.dumps(asked | changes, ensure_ascii=False).encode()


def called(arguments: str) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": arguments}}]}


def deep(levels: int, chance: random.Random) -> bytes:
    start, end = chance.choice(((b"[", b"]"), (b'{"a":', b"}")))
    return chat().replace(b'"Hello"', start * levels + b"1" + end * levels)


def wrong_type(chance: random.Random) -> dict[str, Any]:
    """A field with a value of a type that it can't have."""
    fits = {
        "model": ("", "x"), "messages": (), "max_tokens": (None,), "temperature": (None, 0), "top_p": (None,), "n": (None,),
        "seed": (None, 0, -1), "stream": (None, True), "stream_options": (None, {}), "tools": (None, [{}]),
        "stop": (None, []),
    }  # fmt: skip
    name = chance.choice(list(fits))
    return {name: chance.choice([value for value in WRONG if not is_in(value, fits[name])])}


def is_in(value: Any, values: tuple[Any, ...]) -> bool:
    """Whether it is one of them, and not only equal, as True is to 1."""
    return any(type(value) is type(other) and value == other for other in values)
