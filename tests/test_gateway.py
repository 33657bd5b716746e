"""The gateway's HTTP side: each step of a request, and each way in which it ends."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from hallmark.base.errors import HallmarkError
from hallmark.base.key import pseudonym
from hallmark.base.refusal import Refusal
from hallmark.serve import front
from hallmark.service.gateway import app as app_module
from hallmark.service.gateway import limits
from hallmark.service.gateway.callers import Keys, is_loopback, marked, read_keys
from hallmark.service.traces.trace import new_id
from tests import hostile
from tests.gateway_toys import until
from tests.test_admission import FIELDS, MESSAGES
from tests.test_hostile_rows import JSON
from tests.toy_gateway import CHAT, PORT, URL, Gateway, ask_async, error_of, params

FEEDBACK = "/v1/feedback"
ADA, BOB = "ada-" + "k" * 20, "bob-" + "k" * 20  # keys
TRACE = "tr-" + "0" * 32
TICKET = {"intent": "refund", "urgency": "high", "product": "NAS", "amount": 12.5, "date": None, "issues": ["late"]}


def chat(content: str = "Hello", **changes: Any) -> dict[str, Any]:
    return {"model": "tuned", "messages": [{"role": "user", "content": content}]} | changes


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def keyed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Gateway]:
    monkeypatch.setenv("GATEWAY_API_KEYS", f"ada={ADA},bob={BOB}")
    return Gateway


async def send(
    gateway: Gateway, body: Any = None, method: str = "POST", path: str = CHAT, key: str | None = None, **headers: str
) -> httpx.Response:
    return await ask_async(
        gateway.app, body, method, path, **headers | ({"authorization": f"Bearer {key}"} if key else {})
    )


def ask(gateway: Gateway, body: Any = None, method: str = "POST", path: str = CHAT, **more: Any) -> httpx.Response:
    return asyncio.run(send(gateway, body, method, path, **more))


# What an ordinary request meets


def test_an_answer_has_the_form_that_clients_read_and_says_who_gave_it(gateway: Gateway) -> None:
    response = ask(gateway, chat())
    assert response.status_code == 200
    answer = response.json()
    assert answer["object"] == "chat.completion"
    assert answer["model"] == "tuned"
    assert answer["system_fingerprint"] == "v1.2.0"
    assert answer["usage"] == {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    (choice,) = answer["choices"]
    message = {"role": "assistant", "content": "Hello", "refusal": None}
    assert choice == {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    (trace,) = gateway.kept.traces
    assert response.headers["x-hallmark-trace"] == trace.id
    assert answer["id"] == trace.id.replace("tr-", "chatcmpl-")
    assert (response.headers["x-hallmark-version"], response.headers["x-hallmark-route"]) == ("v1.2.0", "prod")
    assert "x-hallmark-review" not in response.headers


def test_the_model_sees_stand_ins_and_the_caller_his_own_values(gateway: Gateway) -> None:
    body = chat(
        "Write to rosa@miller.example about <EMAIL_7>", stop="rosa@miller.example", tools=[{"x": "a@b.example"}]
    )
    content = ask(gateway, body).json()["choices"][0]["message"]["content"]
    assert content == "Write to rosa@miller.example about <EMAIL_7>"
    (asked,) = gateway.models.asked
    assert asked["messages"][0]["content"] == "Write to <EMAIL_1> about <EMAIL_7>"
    assert (asked["stop"], asked["tools"]) == (["<EMAIL_1>"], [{"x": "<EMAIL_2>"}])
    (trace,) = gateway.kept.traces
    assert "rosa" not in str(trace)
    assert json.loads(trace.messages) == [{"role": "user", "content": "Write to <EMAIL_1> about <EMAIL_7>"}]
    assert trace.answer == "Write to <EMAIL_1> about <EMAIL_7>"
    assert trace.masked
    assert trace.masking_s is not None


def test_without_masking_a_request_goes_on_as_it_is_and_its_trace_says_so() -> None:
    gateway = Gateway(mask=False)
    assert ask(gateway, chat("rosa@miller.example", stop=["x"])).status_code == 200
    assert gateway.models.asked[0]["messages"][0]["content"] == "rosa@miller.example"
    assert gateway.models.asked[0]["stop"] == ["x"]
    assert (gateway.kept.traces[0].masked, gateway.kept.traces[0].masking_s) == (False, None)


def test_an_answer_that_may_not_go_out_says_that_a_person_must_look(gateway: Gateway) -> None:
    response = ask(gateway, chat("UNSURE rosa@miller.example"))
    assert response.status_code == 200
    assert response.headers["x-hallmark-review"] == "unsure"
    (choice,) = response.json()["choices"]
    assert choice["finish_reason"] == "handed_over"
    assert choice["message"]["content"] is None
    assert "person must look" in choice["message"]["refusal"]
    assert gateway.kept.traces[0].outcome == "handed_over"


@pytest.mark.parametrize("usage", [False, True])
def test_a_stream_is_one_chunk(gateway: Gateway, usage: bool) -> None:
    options = {"stream_options": {"include_usage": True}} if usage else {}
    response = ask(gateway, chat("CALL a@b.example", stream=True, **options))
    assert response.headers["content-type"].startswith("text/event-stream")
    lines = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    chunks = [json.loads(line) for line in lines]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len(chunks) == 1 + usage
    (choice,) = chunks[0]["choices"]
    assert choice["delta"]["tool_calls"][0]["index"] == 0
    assert choice["finish_reason"] == "tool_calls"
    if usage:
        assert chunks[1]["choices"] == []
        assert chunks[1]["usage"]["total_tokens"] == 10


def test_the_length_of_an_answer_is_set_and_limited() -> None:
    gateway = Gateway(answer_tokens=50)
    for changes in ({}, {"max_tokens": 50}, {"max_completion_tokens": 9, "max_tokens": 70}):
        assert ask(gateway, chat(**changes)).status_code == 200
    assert [asked["max_tokens"] for asked in gateway.models.asked] == [50, 50, 9]


def test_documents_that_go_with_a_request_are_masked_as_its_tools_are(gateway: Gateway) -> None:
    def tool(name: str, **more: Any) -> dict[str, Any]:
        return {"type": "function", "function": {"name": name} | more}

    whole = {"description": "", "parameters": {"type": "object", "properties": {}}}
    schema = {"name": "answer", "schema": {"enum": ["ask bo@x.example", "open"], "maxLength": 5}}
    changes = {
        "tools": [tool("ask_bo@x.example")],
        "tool_choice": tool("ask_bo@x.example"),
        "response_format": {"type": "json_schema", "json_schema": schema},
    }
    ask(gateway, chat("I am bo@x.example", **changes))
    asked = gateway.models.asked[0]
    assert asked["tools"] == [tool("<EMAIL_2>", **whole)]
    masked = {"name": "answer", "schema": {"enum": ["ask <EMAIL_1>", "open"], "maxLength": 5}}
    form = {"type": "json_schema", "json_schema": masked}
    assert (asked["tool_choice"], asked["response_format"]) == (tool("<EMAIL_2>"), form)
    ask(gateway, chat(response_format=changes["response_format"], tool_choice="auto"))
    assert not {"tools", "tool_choice"} & {*gateway.models.asked[1]}
    assert "bo@x.example" not in str([trace.tools for trace in gateway.kept.traces])


def test_it_is_healthy_once_a_model_answers(gateway: Gateway) -> None:
    assert ask(gateway, None, "GET", "/health").json()["status"] == "ok"
    gateway.models.names = []
    assert ask(gateway, None, "GET", "/health").status_code == 503


# What is refused: the contract of errors


@dataclass
class Wrong:
    """A request, and the error that it gets."""

    status: int
    code: str
    body: Any = field(default_factory=chat)
    method: str = "POST"
    path: str = CHAT
    param: str | None = None
    headers: dict[str, Any] = field(default_factory=dict)


ROUTES = ((CHAT, "POST"), ("/health", "GET"), ("/v1/models", "GET"), ("/metrics", "GET"), ("/x", "GET"))
OWN = "[::1]:{port}"  # no name of a server on 127.0.0.1 alone, but one of this
HOSTS = [*sorted({*hostile.HOSTS} - {OWN}), f"127.0.0.1:{PORT}.evil.example", f"localhost:{PORT + 1}"]
CUSTOMERS = [
    "",
    " ",
    "a\u200bb",
    "e\u0301",
    "x" * 201,
    "\u3164",
    "a\u00a0b",
    b"\xff",
    "a\u202eb",
    "jo.roe@acme-tools.io",
]
JUDGED = {"trace_id": TRACE, "verdict": "corrected"}
WRONG = [
    Wrong(404, "model_not_found", chat(model="gpt-4"), param="model"),
    Wrong(400, "unsupported_parameter", chat(logprobs=True), param="logprobs"),
    Wrong(400, "invalid_value", chat(max_tokens=51), param="max_tokens"),
    Wrong(400, "invalid_value", chat(max_completion_tokens=51), param="max_completion_tokens"),
    Wrong(413, "request_too_large", b" " * 4097),
    Wrong(413, "request_too_large", b" " * 10_000_000),
    Wrong(415, "unsupported_media_type", headers={"content-encoding": "gzip"}),
    *(Wrong(415, "unsupported_media_type", headers={"content-type": kind}) for kind in hostile.TYPES),
    *(Wrong(431, "headers_too_large", None, method, path, headers={"x-long": "x" * 2**14}) for path, method in ROUTES),
    *(
        Wrong(421, "wrong_host", None, method, path, headers={"host": host.format(port=PORT)})
        for host in HOSTS
        for path, method in ROUTES
    ),
    *(
        Wrong(403, "origin_not_allowed", b"", method, headers={"origin": origin})
        for origin in ("http://evil.example", "null", URL)
        for method in ("POST", "OPTIONS")
    ),
    *(Wrong(404, "unknown_url", path=path) for path in hostile.PATHS if path != "/metrics"),
    *(
        Wrong(405, "method_not_allowed", None, method, path)
        for method, path in (("POST", "/health"), ("DELETE", "/v1/models"), ("GET", CHAT), ("PUT", FEEDBACK))
    ),
    *(
        Wrong(400, "invalid_customer", param="x-customer", headers={"x-customer": name if name == b"\xff" else str(name).encode()})
        for name in CUSTOMERS
    ),
    Wrong(400, "invalid_value", JUDGED, path=FEEDBACK),
    Wrong(400, "invalid_value", JUDGED | {"verdict": "rejected", "messages": chat()["messages"]}, path=FEEDBACK),
    Wrong(400, "invalid_value", JUDGED | {"verdict": "good"}, path=FEEDBACK, param="verdict"),
    Wrong(400, "invalid_value", JUDGED | {"trace_id": TRACE + "\n"}, path=FEEDBACK, param="trace_id"),
    Wrong(400, "invalid_value", JUDGED | {"target": TICKET | {"intent": "rob"}}, path=FEEDBACK, param="target"),
    Wrong(400, "invalid_value", JUDGED | {"target": TICKET | {"date": "a@b.example"}}, path=FEEDBACK, param="target"),
    Wrong(
        400, "invalid_value", JUDGED | {"target": TICKET, "messages": [{"role": "x"}]}, path=FEEDBACK,
        param="messages[0].role",
    ),
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: f"{wrong.code} {wrong.method} {wrong.path}")
def test_a_wrong_request_is_refused_and_reaches_nobody(wrong: Wrong) -> None:
    gateway = Gateway(body_bytes=4096, answer_tokens=50)
    response = ask(gateway, wrong.body, wrong.method, wrong.path, **wrong.headers)
    assert error_of(response, wrong.status, wrong.code)["param"] == wrong.param
    if wrong.status == 405:
        assert response.headers["allow"] == ("POST" if wrong.path in (CHAT, FEEDBACK) else "GET")
    assert gateway.models.asked == gateway.kept.traces == gateway.kept.feedback == []


# Who may ask


def test_with_keys_only_a_known_one_is_let_in(keyed: Callable[..., Gateway]) -> None:
    gateway = keyed()
    for key in (None, "wrong", ADA[:-1], ADA + "x", f"{ADA} {BOB}"):
        for method, path in (("POST", CHAT), ("POST", FEEDBACK), ("GET", "/v1/models"), ("GET", "/metrics")):
            response = ask(gateway, chat(), method, path, key=key)
            error_of(response, 401, "invalid_api_key")
            assert response.headers["www-authenticate"] == "Bearer"
    error_of(ask(gateway, chat(), authorization=f"Basic {ADA}"), 401)
    assert ask(gateway, None, "GET", "/health").status_code == 200
    assert ask(gateway, chat(), key=BOB, host="api.example").status_code == 200
    assert ask(gateway, None, "GET", "/metrics", key=ADA).status_code == 200
    assert [trace.caller for trace in gateway.kept.traces] == ["bob"]


@pytest.mark.parametrize(
    ("value", "names"), [(f"ada={ADA}", ["ada"]), (f" a.b-c={ADA} , ada={BOB},ada=x{BOB}", ["a.b-c", "ada", "ada"])]
)
def test_keys_are_read(value: str, names: list[str]) -> None:
    keys = read_keys(params(), {"GATEWAY_API_KEYS": value})
    with pytest.raises(Refusal):  # a key that is sent twice
        keys.caller([f"Bearer {ADA}".encode()] * 2)
    given = [entry.partition("=")[2].strip() for entry in value.split(",")]
    assert [keys.caller([f"bearer {key}".encode()]) for key in given] == names


@pytest.mark.parametrize(
    "value",
    [ADA, f"={ADA}", f"a b={ADA}", "ada=short", f"ada={ADA},", f"ada={ADA},bob={ADA}", f"ada={ADA} x", f"ada=ü{ADA}"],
)
def test_keys_that_can_not_be_used_are_an_error_that_does_not_show_them(value: str) -> None:
    with pytest.raises(HallmarkError) as caught:
        read_keys(params(), {"GATEWAY_API_KEYS": value})
    assert "GATEWAY_API_KEYS" in str(caught.value)
    assert "kkk" not in str(caught.value)
    assert "short " not in str(caught.value)


@pytest.mark.parametrize(
    ("host", "alone"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False),  # noqa: S104
     ("::", False), ("10.0.0.1", False), ("api.example", False), ("localhost.example", False)],
)  # fmt: skip
def test_without_keys_only_this_machine_is_served(host: str, alone: bool) -> None:
    assert is_loopback(host) == alone
    for name in ("GATEWAY_API_KEYS", None):
        if alone:
            assert not read_keys(params(host=host, keys=name), {})
        else:
            with pytest.raises(HallmarkError, match="API keys are needed"):
                read_keys(params(host=host, keys=name), {"GATEWAY_API_KEYS": " "})


# Which customer


def test_a_customer_is_kept_as_records_have_it() -> None:
    key = b"k" * 32
    for names_key, expected in ((None, "Zoë & Söhne"), (key, pseudonym(key, "group", "Zoë & Söhne"))):
        gateway = Gateway(names_key=names_key)
        headers = {"x-customer": "Zoë & Söhne".encode()}
        ask(gateway, chat(), **headers)  # type: ignore[arg-type]
        ask(gateway, chat())
        assert [trace.group for trace in gateway.kept.traces] == [expected, None]


# Limits


def test_a_body_is_bounded_in_size_however_it_comes() -> None:
    async def chunks(count: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield b" " * 1024

    gateway = Gateway(body_bytes=4096)
    largest = json.dumps(chat()).encode().ljust(4096)
    assert ask(gateway, largest).status_code == 200
    assert "4096" in error_of(ask(gateway, largest + b" "), 413, "request_too_large")["message"]
    error_of(ask(gateway, chunks(5)), 413, "request_too_large")
    error_of(ask(gateway, b" " * 10_000_000), 413)


def test_a_slow_body_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "BODY_SECONDS", 0.2)

    async def slow() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await asyncio.sleep(0.05)

    response = ask(Gateway(), slow())
    error_of(response, 408, "request_timeout")
    assert response.headers["connection"] == "close"


def test_requests_under_way_are_bounded_in_all_and_for_each_key(keyed: Callable[..., Gateway]) -> None:
    async def play() -> None:
        gateway = keyed(under_way=3, under_way_per_key=2)
        waiting = [asyncio.create_task(send(gateway, chat("WAIT"), key=ADA)) for _ in range(2)]
        await until(lambda: len(gateway.models.asked) == 2)
        response = await send(gateway, chat(), key=ADA)
        assert "of this API key" in error_of(response, 429, "too_many_requests")["message"]
        assert response.headers["retry-after"] == "1"
        assert (await send(gateway, {}, path=FEEDBACK, key=ADA)).status_code == 429
        waiting.append(asyncio.create_task(send(gateway, chat("WAIT"), key=BOB)))
        await until(lambda: len(gateway.models.asked) == 3)
        assert "of this API key" not in error_of(await send(gateway, chat(), key=BOB), 429)["message"]
        assert (await send(gateway, None, "GET", "/health")).status_code == 200
        assert gateway.count("hallmark_under_way") == 3
        gateway.models.go.set()
        assert {answer.status_code for answer in await asyncio.gather(*waiting)} == {200}
        assert (await send(gateway, chat(), key=ADA)).status_code == 200
        assert gateway.count("hallmark_under_way") == 0

    asyncio.run(play())


def test_a_request_that_takes_too_long_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_module, "GRACE", 0.0)
    gateway, now = Gateway(seconds=60.0), time.monotonic

    class Late(asyncio.Event):
        async def wait(self) -> Any:
            monkeypatch.setattr(time, "monotonic", lambda: now() + 100)
            return await super().wait()

    gateway.models.go = Late()
    response = ask(gateway, chat("WAIT rosa@miller.example"))
    error_of(response, 504, "timeout")
    assert gateway.models.cancelled == 1
    (trace,) = gateway.kept.traces
    assert (trace.outcome, trace.reason, trace.route, trace.answer) == ("failed", "refused", "prod", None)
    assert response.headers["x-hallmark-trace"] == trace.id
    assert "rosa" not in str(trace)


# What goes wrong behind it


@pytest.mark.parametrize(
    ("text", "status", "code", "reason"),
    [
        ("DOWN", 502, "no_answer", "upstream"),
        ("REFUSED None None", 400, "refused_by_model", "refused"),
        ("RAISE", 500, "server_error", "error"),
    ],
)
def test_a_failure_behind_is_an_error_with_a_trace(
    gateway: Gateway, caplog: pytest.LogCaptureFixture, text: str, status: int, code: str, reason: str
) -> None:
    response = ask(gateway, chat(f"{text} Thandeka-4711"))
    error_of(response, status, code)
    assert "Thandeka" not in response.text + caplog.text + gateway.metrics.text().decode()
    (trace,) = gateway.kept.traces
    assert (trace.outcome, trace.reason) == ("failed", reason)
    labels = {"route": "prod", "version": "v1.2.0", "outcome": "failed", "reason": reason}
    assert gateway.count("hallmark_answers_total", **labels) == 1


def test_a_caller_of_one_call_gets_one(gateway: Gateway) -> None:
    for changes, count in (({}, 2), ({"parallel_tool_calls": True}, 2), ({"parallel_tool_calls": False}, 1)):
        (choice,) = ask(gateway, chat("CALL CALL", **changes)).json()["choices"]
        assert len(choice["message"]["tool_calls"]) == count


def test_what_can_not_be_masked_reaches_no_model(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    response = ask(gateway, chat("BROKEN Thandeka-4711"))
    error_of(response, 503, "masking_failed")
    assert gateway.models.asked == gateway.kept.traces == []
    assert "RuntimeError at toy_gateway.py" in caplog.text
    assert "Thandeka" not in response.text + caplog.text


# Feedback


def judge(gateway: Gateway, body: Any, **more: Any) -> httpx.Response:
    return ask(gateway, body, path=FEEDBACK, **more)


def test_a_judgement_is_kept(keyed: Callable[..., Gateway]) -> None:
    gateway = keyed()
    answer = ask(gateway, chat(), key=ADA)
    trace = answer.headers["x-hallmark-trace"]
    assert judge(gateway, {"trace_id": trace, "verdict": "accepted"}, key=ADA).status_code == 202
    response = judge(gateway, {"trace_id": answer.json()["id"], "verdict": "rejected"}, key=ADA)
    assert response.json() == {"object": "feedback", "trace_id": trace, "verdict": "rejected"}
    kept = [(each.trace, each.caller, each.verdict, each.target) for each in gateway.kept.feedback]
    assert kept == [(trace, "ada", "accepted", None), (trace, "ada", "rejected", None)]
    assert gateway.count("hallmark_feedback_total", verdict="rejected") == 1
    error_of(judge(gateway, {"trace_id": trace, "verdict": "accepted"}, key=BOB), 403, "not_your_trace")
    assert len(gateway.kept.feedback) == 2
    nobody = marked(new_id(), "")  # of a batch, or of a gateway without keys
    assert judge(gateway, {"trace_id": nobody, "verdict": "accepted"}, key=BOB).status_code == 202


@given(st.sampled_from(["", "a", "b"]), st.sampled_from(["a", "b"]))
def test_a_trace_is_its_callers_alone_or_everyones(asked: str, judges: str) -> None:
    keys, trace = Keys([("a", "1"), ("b", "2"), ("b", "3")]), marked(new_id(), asked)
    Keys().check_own(trace, "")
    if asked in ("", judges):
        keys.check_own(trace, judges)
    else:
        with pytest.raises(Refusal):
            keys.check_own(trace, judges)


def test_the_right_answer_is_masked_as_its_request_was(gateway: Gateway) -> None:
    issues = ["mail to rosa@miller.example bounced", "ask bo@x.example"]
    target = TICKET | {"issues": issues}
    messages = chat("I am bo@x.example, not rosa@miller.example")["messages"]
    for form in (target, json.dumps(target)):
        body = {"trace_id": TRACE, "verdict": "corrected", "target": form, "messages": messages}
        assert judge(gateway, body).status_code == 202
    first, second = [each.target for each in gateway.kept.feedback]
    assert first == second
    assert json.loads(str(first))["issues"] == ["mail to <EMAIL_2> bounced", "ask <EMAIL_1>"]
    assert json.loads(str(first))["amount"] == 12.5
    assert str(first).startswith('{"intent"')
    refusal = {"trace_id": TRACE, "verdict": "corrected", "target": {"intent": "refuse"}}
    assert judge(gateway, refusal).status_code == 202, "a refusal is a right answer too"


def test_a_judgement_is_bounded_in_size_and_a_caller_in_their_number(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = {"trace_id": TRACE, "verdict": "corrected", "target": TICKET | {"issues": ["x" * 10**6]}}
    error_of(judge(gateway, large), 413, "request_too_large")
    monkeypatch.setattr(limits, "JUDGED_AT_ONCE", 5.0)
    monkeypatch.setattr(limits, "JUDGED_A_SECOND", 1e-6)
    statuses = [judge(gateway, {"trace_id": TRACE, "verdict": "accepted"}).status_code for _ in range(7)]
    assert statuses == [202] * 5 + [429] * 2
    assert len(gateway.kept.feedback) == 5
    now = [0.0]
    limiter = limits.Limiter(params().limits, now=lambda: now[0])
    monkeypatch.setattr(limits, "JUDGED_A_SECOND", 10.0)
    for _ in range(5):
        limiter.judgement("ada")
    limiter.judgement("bob")
    now[0] += 0.25
    limiter.judgement("ada")
    limiter.judgement("ada")
    with pytest.raises(Refusal):
        limiter.judgement("ada")


def test_a_judgement_that_can_not_be_written_is_an_error(gateway: Gateway) -> None:
    gateway.kept.full = True
    error_of(judge(gateway, {"trace_id": TRACE, "verdict": "accepted"}), 503, "not_kept")
    broken = {"trace_id": TRACE, "verdict": "corrected", "target": TICKET | {"issues": ["BROKEN"]}}
    error_of(judge(gateway, broken), 503, "masking_failed")


# Any caller


@st.composite
def bodies(draw: DrawFn) -> bytes:
    fields = draw(st.dictionaries(st.sampled_from([*FIELDS, "trace_id", "verdict", "target"]), JSON, max_size=3))
    given: dict[str, Any] = draw(
        st.sampled_from(
            [chat(messages=draw(MESSAGES)), {"trace_id": TRACE, "verdict": "corrected", "target": draw(JSON)}]
        )
    )
    return json.dumps(given | fields).encode()


@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()) | bodies())
def test_any_body_is_answered_or_an_error_in_openais_form(body: bytes) -> None:
    gateway = Gateway()
    for path in (CHAT, FEEDBACK):
        response = ask(gateway, body, path=path)
        assert response.status_code < 500
        if response.status_code >= 400:
            error_of(response)
        else:
            assert response.headers["content-type"].startswith(("application/json", "text/event-stream"))


def test_nothing_private_is_written_anywhere(
    keyed: Callable[..., Gateway], caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whatever happens to a request: not in logs, metrics, traces or feedback."""
    caplog.set_level(0)
    caplog.set_level("WARNING", "httpx")  # the client, which may write what it asks for
    private, gateway = "planted.person@corp.example", keyed(seconds=5)
    words = ("", "UNSURE", "DOWN", "RAISE", "CALL", "REFUSED None None", "BROKEN")
    for word in words:
        ask(gateway, chat(f"{word} {private}", stop=[private]), key=ADA)
        ask(gateway, chat(f"{word} {private}", stream=True), key=ADA)
        parts = [{"type": "text", "text": word}, {"type": "text", "text": private}]
        said = [{"role": role, "content": parts} for role in ("developer", "assistant")]
        said += [{"role": "assistant", "content": None, "refusal": private}, {"role": "user", "content": parts}]
        ask(gateway, chat(messages=said, user=private, metadata={private: private}, prediction=parts), key=ADA)
    target, trace = TICKET | {"issues": [private]}, gateway.kept.traces[0].id
    for body in (
        {"trace_id": trace, "verdict": "corrected", "target": target, "messages": chat(private)["messages"]},
        {"trace_id": private, "verdict": private},
        {"trace_id": trace, "verdict": "corrected", "target": private},
        {private: private},
    ):
        judge(gateway, body, key=ADA)
        judge(gateway, body, key=BOB)
    for key in (private, None):
        ask(gateway, private.encode(), key=key, path=f"/{private}")
    written = caplog.text + "".join(capfd.readouterr()) + gateway.metrics.text().decode()
    written += str(gateway.kept.traces) + str(gateway.kept.feedback)
    assert len(gateway.kept.traces) == 3 * (len(words) - 1)
    assert len(gateway.kept.feedback) == 1
    for secret in (private, "planted", ADA, BOB):
        assert secret not in written


@given(st.binary(min_size=1, max_size=300))
def test_any_customer_is_a_name_or_refused(name: bytes) -> None:
    gateway = Gateway()
    value: Any = name
    response = ask(gateway, chat(), x_customer=value)
    if response.status_code == 200:
        assert gateway.kept.traces[0].group == name.decode()
    else:
        error_of(response, 400, "invalid_customer")
