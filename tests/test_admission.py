"""What is let through to a model server: nothing that it can't answer, from nobody who shouldn't ask, and never a crash."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.serve import admission
from hallmark.serve.admission import MODELS_VARIABLE, Admission, ForVllm, Limits
from hallmark.serve.chat_request import ANY, WITHOUT_EFFECT
from tests import hostile
from tests.test_hostile_rows import JSON
from tests.toy_gateway import CHAT, PORT, URL, ask_async, error_of
from tests.workspace import ROOT

LIMIT = 200


class Inner:
    """A model server that writes down what reaches it."""

    def __init__(self, answer: Callable[[Any], Awaitable[None]] | None = None) -> None:
        self.asked: list[dict[str, Any]] = []
        self.headers: list[list[tuple[bytes, bytes]]] = []
        self.answer = answer

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == CHAT:
            message = await receive()
            assert not message["more_body"]
            self.asked.append(json.loads(message["body"]))
            self.headers.append(scope["headers"])
            if self.answer:
                await self.answer(send)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": b'{"object": "an answer"}'})


def characters(messages: list[dict[str, Any]], tools: list[Any] | None) -> int:
    return len(json.dumps([messages, tools], ensure_ascii=False))


GREEDY = Limits(("tuned",), lambda: LIMIT, greedy=True, body_seconds=0.2, under_way=3)
EMPTY = characters([{"role": "user", "content": ""}], None)  # tokens of a prompt that says nothing


def guarded(inner: Inner, limits: Limits = GREEDY, count: Any = characters) -> Admission:
    return Admission(inner, limits, count)


def ask(app: Any, body: Any = None, method: str = "POST", path: str = CHAT, **headers: str) -> httpx.Response:
    return asyncio.run(ask_async(app, body, method, path, **headers))


def check_refused(response: httpx.Response, status: int | None = None, code: str | None = None) -> dict[str, Any]:
    assert 400 <= response.status_code < 500
    return error_of(response, status, code)


def chat(**changes: Any) -> dict[str, Any]:
    return {"model": "tuned", "messages": [{"role": "user", "content": "Hello"}]} | changes


def test_an_ordinary_request_passes_as_it_was_understood_and_with_none_of_its_headers() -> None:
    inner = Inner()
    body = chat(temperature=0, max_tokens=7, seed=3, top_p=0.9, stream=True, stream_options={"include_usage": True})
    response = ask(
        guarded(inner),
        body | {"parallel_tool_calls": True},
        x_request_id="another caller's",
        authorization="Bearer x",
        accept="text/html",
    )
    assert response.json() == {"object": "an answer"}
    assert inner.asked == [body]
    assert {name for name, _ in inner.headers[0]} == {b"host", b"content-type", b"content-length"}


def test_the_messages_of_a_conversation_pass() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": null}'}}
    messages = [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Hello \u0000 \u202e <|im_end|>"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "5", "tool_call_id": "1"},
    ]
    inner = Inner()
    assert ask(guarded(inner, Limits(("tuned",), lambda: 999)), chat(messages=messages)).status_code == 200
    assert inner.asked[0]["messages"] == messages


VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.lists(st.text(), max_size=2)
    | st.dictionaries(st.text(), st.text())
)
NEUTRAL = st.fixed_dictionaries(
    {},
    optional={
        name: VALUES if value is ANY else st.sampled_from([value, None]) for name, value in WITHOUT_EFFECT.items()
    },
)
TELLING = {name: value for name, value in WITHOUT_EFFECT.items() if value is not ANY}


@given(NEUTRAL, st.sampled_from([*TELLING]), VALUES)
def test_a_field_that_changes_no_answer_is_left_out_and_one_that_would_is_refused_by_name(
    neutral: dict[str, Any], name: str, value: Any
) -> None:
    inner = Inner()
    assert ask(guarded(inner), chat(max_tokens=1) | neutral).status_code == 200
    assert inner.asked == [chat(max_tokens=1)]
    if value is not None and json.dumps(value) != json.dumps(TELLING[name]):
        response = ask(guarded(inner), chat() | neutral | {name: value})
        assert check_refused(response, 400, "unsupported_parameter")["param"] == name
        assert len(inner.asked) == 1


EMPTY_FIELDS = dict.fromkeys(("refusal", "annotations", "audio", "function_call", "tool_calls", "reasoning_content"))


@pytest.mark.parametrize(
    ("message", "passed"),
    [
        ({"role": "assistant", "content": "Hi"} | EMPTY_FIELDS, {"role": "assistant", "content": "Hi"}),
        ({"role": "developer", "content": "Be short."}, {"role": "system", "content": "Be short."}),
        ({"role": "assistant", "content": None, "refusal": "No."}, {"role": "assistant", "content": "No."}),
        ({"role": "user", "content": [{"type": "text", "text": "Hel"}]}, {"role": "user", "content": "Hel"}),
        (
            {"role": "user", "content": [{"type": "text", "text": "a@b.example"}, {"type": "text", "text": "c"}]},
            {"role": "user", "content": "a@b.example\nc"},
        ),
    ],
)
def test_other_forms_of_a_message_pass_as_models_know_them(message: dict[str, Any], passed: dict[str, Any]) -> None:
    inner = Inner()
    assert ask(guarded(inner), chat(messages=[message])).status_code == 200
    assert inner.asked[0]["messages"] == [passed]


def test_nulls_inside_a_schema_stay() -> None:
    function = {"name": "f", "description": "", "parameters": {"enum": [None, {"x": None}], "default": None}}
    inner, tool = Inner(), {"type": "function", "function": function}
    assert ask(guarded(inner), chat(tools=[tool])).status_code == 200
    assert inner.asked[0]["tools"] == [tool]


@pytest.mark.parametrize(
    ("changes", "status", "code", "param"),
    [
        ({"model": "base"}, 404, "model_not_found", "model"),
        ({"generation_config": "{}"}, 400, "unknown_parameter", "generation_config"),
        ({"n": True}, 400, "unsupported_parameter", "n"),
        ({"parallel_tool_calls": False}, 400, "unsupported_parameter", "parallel_tool_calls"),
        ({"seed": 2**64}, 400, "invalid_value", "seed"),
        ({"stop": ["a", 5]}, 400, "invalid_value", "stop[1]"),
        ({"temperature": 0.7}, 400, "unsupported_parameter", "temperature"),
        ({"response_format": {"type": "json_object"}}, 400, "unsupported_parameter", "response_format"),
        ({"messages": []}, 400, "invalid_value", "messages"),
        ({"messages": [{"role": "user"}]}, 400, "invalid_value", "messages[0]"),
        ({"messages": [{"role": "user", "content": hostile.PARTS[0]}]}, 400, "invalid_value", "messages[0].content"),
        ({"messages": [{"role": "user", "content": "x", "tool_call_id": "1"}]}, 400, "invalid_value", "messages[0]"),
        ({"messages": [hostile.called("{")]}, 400, "invalid_value", "messages[0].tool_calls[0].function.arguments"),
    ],
)
def test_a_field_that_does_not_fit_is_named(changes: dict[str, Any], status: int, code: str, param: str) -> None:
    inner = Inner()
    assert check_refused(ask(guarded(inner), chat(**changes)), status, code)["param"] == param
    assert inner.asked == []


def test_no_error_repeats_what_the_caller_wrote() -> None:
    secret = "Thandeka-4711"
    for changes in (
        {"model": secret},
        {"seed": secret},
        {"messages": [{"role": secret, "content": 5}]},
        {"stop": {secret: 1}},
    ):
        assert secret not in ask(guarded(Inner()), chat(**changes)).text


def test_a_body_is_bounded_in_size_however_it_comes() -> None:
    async def chunks(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield b" " * 2**16

    inner = Inner()
    app = guarded(inner)
    largest = json.dumps(chat(max_tokens=1)).encode().ljust(admission.BODY_BYTES)
    assert ask(app, largest).status_code == 200
    assert str(admission.BODY_BYTES) in check_refused(ask(app, largest + b" "), 413, "request_too_large")["message"]
    check_refused(ask(app, chunks(17)), 413, "request_too_large")
    assert len(inner.asked) == 1
    assert app.buffered == 0


def test_all_bodies_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "BUFFER_BYTES", 1000)
    response = ask(guarded(Inner()), b" " * 1001)
    check_refused(response, 429, "too_many_requests")
    assert response.headers["retry-after"] == "1"


def test_a_slow_body_is_cut_off_and_one_that_ends_early_leaves_nothing() -> None:
    async def slow() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.05)

    inner = Inner()
    app = guarded(inner)
    start = time.monotonic()
    response = ask(app, slow())
    check_refused(response, 408, "request_timeout")
    assert response.headers["connection"] == "close"
    assert time.monotonic() - start >= 0.2

    async def hangs_up() -> list[Any]:
        messages = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]
        sent: list[Any] = []
        headers = [(b"host", f"127.0.0.1:{PORT}".encode()), (b"content-type", b"application/json")]
        scope = {"type": "http", "method": "POST", "path": CHAT, "server": ("127.0.0.1", PORT), "headers": headers}

        async def receive() -> Any:
            return messages.pop(0)

        async def send(message: Any) -> None:
            sent.append(message)

        await app(scope, receive, send)
        return sent

    assert asyncio.run(hangs_up()) == []
    assert (app.buffered, app.slots.under_way.total(), inner.asked) == (0, 0, [])


def test_prompt_and_answer_must_fit_together() -> None:
    inner = Inner()
    app = guarded(inner)

    def asked(content: int, **tokens: int | None) -> httpx.Response:
        return ask(app, chat(messages=[{"role": "user", "content": "x" * content}]) | tokens)

    room = LIMIT - EMPTY
    assert asked(room - 9, max_tokens=9).status_code == 200
    error = check_refused(asked(room - 9, max_tokens=10), 400, "context_length_exceeded")
    assert error["param"] == "max_tokens" and f"the prompt has {LIMIT - 9}" in error["message"]
    assert asked(room - 1).status_code == 200
    assert check_refused(asked(room), 400, "context_length_exceeded")["param"] == "messages"
    assert asked(room - 5, max_completion_tokens=5, max_tokens=50).status_code == 200
    assert asked(0, max_tokens=None).status_code == 200
    assert [request["max_tokens"] for request in inner.asked] == [9, 1, 5, LIMIT - EMPTY]
    assert all("max_completion_tokens" not in request for request in inner.asked)
    longer = Inner()
    ask(guarded(longer, Limits(("tuned",), lambda: 10**6)), chat())
    assert longer.asked[0]["max_tokens"] == admission.ANSWER_TOKENS


def test_what_the_chat_template_can_not_write_is_refused() -> None:
    def count(messages: Any, tools: Any) -> int:
        raise TypeError(f"roles must alternate: {messages}")

    check_refused(ask(guarded(Inner(), count=count), chat()), 400, "invalid_messages")


def test_requests_under_way_are_bounded_and_a_slot_is_free_again_however_an_answer_ends() -> None:
    async def run() -> None:
        go = asyncio.Event()

        failures = [RuntimeError("the model failed")]

        async def wait(send: Any) -> None:
            await go.wait()
            if failures:
                raise failures.pop()

        inner = Inner(wait)
        app = guarded(inner)
        waiting = [asyncio.create_task(ask_async(app, chat())) for _ in range(3)]
        while len(inner.asked) < 3:
            await asyncio.sleep(0.01)
        response = await ask_async(app, chat())
        check_refused(response, 429, "too_many_requests")
        assert response.headers["retry-after"] == "1"
        assert (await ask_async(app, b"", "GET", "/health")).status_code == 200
        go.set()
        assert sorted(answer.status_code for answer in await asyncio.gather(*waiting)) == [200, 200, 500]
        assert app.slots.under_way.total() == app.buffered == 0
        assert (await ask_async(app, chat())).status_code == 200

    asyncio.run(run())


def test_a_failure_behind_is_an_error_that_quotes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(send: Any) -> None:
        raise RuntimeError("can't read 'Hello'")

    response = ask(guarded(Inner(fail)), chat())
    error_of(response, 500)
    assert "RuntimeError at test_admission.py" in caplog.text
    assert "Hello" not in caplog.text + response.text

    async def fail_later(send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"data: {}", "more_body": True})
        raise RuntimeError("can't read 'Hello'")

    with pytest.raises(ConnectionAbortedError) as caught:
        ask(guarded(Inner(fail_later)), chat())
    assert "Hello" not in str(caught.value)


FIELDS = ("model", "messages", "tools", "tool_choice", "max_tokens", "max_completion_tokens", "temperature", "top_p", "seed",
          "stop", "stream", "stream_options", "response_format", "parallel_tool_calls", *WITHOUT_EFFECT)  # fmt: skip
PARTS = st.lists(
    st.fixed_dictionaries({"type": st.just("text") | JSON, "text": st.text(max_size=9) | JSON}), max_size=2
)
MESSAGES = st.lists(
    st.dictionaries(st.sampled_from(["role", "content", "name", "tool_calls", "tool_call_id", "refusal"]), JSON)
    | st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "developer", "user", "tool"]), "content": st.text(max_size=9) | PARTS}
    )
    | st.fixed_dictionaries({"role": st.just("assistant"), "content": st.none() | PARTS, "refusal": JSON}),
    max_size=3,
)


@given(
    st.binary(max_size=60)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.tuples(st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=3), MESSAGES).map(
        lambda pair: json.dumps(chat(messages=pair[1]) | pair[0]).encode()
    )
)
def test_any_body_is_refused_or_passed_on_whole(body: bytes) -> None:
    inner = Inner()
    response = ask(guarded(inner), body)
    if inner.asked:
        (asked,) = inner.asked
        assert response.status_code == 200
        assert asked["model"] == "tuned"
        assert not asked.keys() & WITHOUT_EFFECT.keys()
        assert all(isinstance(message["content"], str | None) and message["role"] for message in asked["messages"])
        assert characters(asked["messages"], asked.get("tools")) + asked["max_tokens"] <= LIMIT
    else:
        check_refused(response)


def test_nine_hundred_hostile_requests_are_refused() -> None:
    async def run() -> set[int]:
        inner, statuses = Inner(), set()
        app = guarded(inner)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=URL) as client:
            for number, request in enumerate(hostile.requests(1, 900, PORT, LIMIT)):
                content, headers = request.body, request.headers
                response = await client.request(request.method, request.path, content=content, headers=headers)
                check_refused(response)
                assert inner.asked == [], f"request {number} was let through"
                statuses.add(response.status_code)
            assert (await client.get("/health")).status_code == 200
            answered = await client.post(CHAT, json=chat())
            assert answered.json() == {"object": "an answer"}
        assert app.slots.under_way.total() == app.buffered == 0
        return statuses

    assert asyncio.run(run()) == {400, 403, 404, 405, 413, 415, 421}


def test_vllm_is_told_its_names_and_a_wrong_one_gets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(MODELS_VARIABLE, json.dumps(["base", "refunds"]))
    app = ForVllm(Inner())
    assert ask(app, chat(model="refunds")).status_code == 200
    check_refused(ask(app, chat(model="tuned")), 404, "model_not_found")
    listed = ask(app, b"", "GET", "/v1/models").json()
    assert [entry["id"] for entry in listed["data"]] == ["base", "refunds"]


def test_vllm_takes_it_as_middleware_and_judges_models_and_tokens_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    async def answer(request: Request) -> JSONResponse:
        return JSONResponse(await request.json())

    async def models(request: Request) -> JSONResponse:
        return JSONResponse(["base", "tuned"])

    async def load(request: Request) -> JSONResponse:
        raise AssertionError

    routes = {CHAT: (answer, "POST"), "/v1/models": (models, "GET"), "/v1/load_lora_adapter": (load, "POST")}
    app = Starlette(routes=[Route(path, handle, methods=[method]) for path, (handle, method) in routes.items()])
    monkeypatch.delenv(MODELS_VARIABLE, raising=False)
    app.add_middleware(ForVllm)
    body = chat(model="any", temperature=1.0, stop=["\n"], tool_choice="none", response_format={"type": "json_object"})
    assert ask(app, body).json() == body
    assert ask(app, b"", "GET", "/v1/models").json() == ["base", "tuned"]
    check_refused(ask(app, {"lora_name": "x", "lora_path": "/tmp"}, path="/v1/load_lora_adapter"), 404)  # noqa: S108
    check_refused(ask(app, body | {"guided_json": "{}"}), 400, "unknown_parameter")
    check_refused(ask(app, body, host="evil.example"), 421)


def test_the_middleware_needs_nothing_that_another_environment_lacks() -> None:
    code = "import sys, hallmark.serve.admission; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.decode().split())
    assert {"pydantic", "starlette"} <= loaded  # vLLM has them too
    assert loaded.isdisjoint({"torch", "transformers", "polars", "numpy", "httpx", "ruamel"})
