"""The evaluation over HTTP: what is asked is the record's own messages, and no answer is missing or in another's place."""

from __future__ import annotations

import gzip
import json
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from hallmark.answer import endpoint
from hallmark.answer.answers import UNREAD, Answer, prompts_of, room_in
from hallmark.answer.confidence import confidence_of
from hallmark.answer.endpoint import ServedModel, answer_of, answer_schema
from hallmark.base.errors import HallmarkError
from hallmark.model.lengths import prompt_lengths
from hallmark.model.loading import load_tokenizer
from hallmark.params.loader import load_params
from hallmark.serve import server as servers
from hallmark.serve.engines.endpoint import EndpointAsking
from hallmark.task.task import Task
from tests.rows import refused
from tests.stub_model import ChatServer, Reply
from tests.test_eval import some_holdout
from tests.tiny import make_tiny_base
from tests.workspace import ROOT


class Server(ChatServer):
    """Answers with what the last message says; `fail` holds the status codes it sends first."""

    def __init__(self) -> None:
        super().__init__()
        self.fail: list[int] = []
        self.raw: bytes | None = None  # answered to everything, if given
        self.headers: dict[str, str] = {}

    def reply(self, body: dict[str, Any]) -> Reply:
        text = body["messages"][-1]["content"]
        time.sleep(0.002 * (len(text) % 5))  # answers come in another order than questions
        message = {"role": "assistant", "content": f"about {text}"}
        choice = {"message": message, "finish_reason": "length" if text.endswith("1") else "stop"}
        answer = json.dumps({"choices": [choice], "usage": {"completion_tokens": 7}}).encode()
        status = self.fail.pop() if self.fail else 200
        return status, self.headers, answer if self.raw is None else self.raw


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(endpoint, "PAUSES", (0.01, 0.01))
    with Server() as running:
        yield running


def ask(server: Server, others: Sequence[str] = (), **options: Any) -> list[Answer]:
    asking = EndpointAsking(
        kind="endpoint",
        concurrency=4,
        timeout=options.pop("timeout", 60.0),
        key=options.pop("key", None),
        logprobs=options.get("logs", False),
    )
    running = servers.Server("endpoint", server.url, {"base": "the-base"}, others=others)
    model = ServedModel(
        running, "base", asking, max_new_tokens=12, source=Path("data/split/holdout.parquet"), **options
    )
    return model.answer(prompts_of(some_holdout().rows(named=True)))


def test_a_prompt_without_room_for_an_answer_is_not_sent(server: Server, tmp_path: Path) -> None:
    """The tiny base reads 8,192 tokens; room is left by all prompts but the longest."""
    base = make_tiny_base(tmp_path / "base")
    records = some_holdout().rows(named=True)
    longest = sorted(prompt_lengths(records, load_tokenizer(base)))
    assert longest[-1] > longest[0]
    room = room_in(base)
    answers = ask(server, fits=lambda prompt: room(prompt) > 8192 - longest[-1])
    unread = [place for place, answer in enumerate(answers) if answer is UNREAD]
    assert 0 < len(unread) == longest.count(longest[-1]) < len(records) == len(unread) + len(server.asked)
    assert all(room_in(tmp_path / "nowhere")(prompt) == math.inf for prompt in prompts_of(records))
    for place in set(range(len(records))) - set(unread):
        assert answers[place].text == f"about {records[place]['prompt'][-1]['content']}"


def test_every_record_is_asked_as_it_stands_and_gets_its_own_answer(server: Server) -> None:
    answers = ask(server)
    records = some_holdout().rows(named=True)
    assert [answer.text for answer in answers] == [f"about {row['prompt'][-1]['content']}" for row in records]
    assert {answer.finish for answer in answers if answer.text.endswith("1")} == {"length"}
    assert all(answer.tokens == 7 for answer in answers)
    assert all(body["temperature"] == 0 and body["model"] == "the-base" for body in server.asked)
    assert sorted(json.dumps(body["messages"]) for body in server.asked) == sorted(
        json.dumps(row["prompt"]) for row in records
    )
    assert set(server.keys) == {None}


def listed(*tokens: str | bytes) -> list[dict[str, Any]]:
    """What a server says of these tokens, each a little less likely than the one before."""
    raw = [token.encode() if isinstance(token, str) else token for token in tokens]
    return [
        {"token": piece.decode(errors="replace"), "logprob": -0.5 * place, "bytes": list(piece), "top_logprobs": []}
        for place, piece in enumerate(raw)
    ]


def completion(text: str, content: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"content": text}, "finish_reason": "stop", "logprobs": {"content": content}}]}


def test_log_probabilities_are_asked_for_and_read_by_byte(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    text = '{"a":"é😀"}'
    tokens = listed('{"', 'a":"', b"\xc3", b"\xa9\xf0\x9f", b"\x98\x80", '"}', "<end>")
    server.raw = json.dumps(completion(text, tokens)).encode()
    answers = ask(server, logs=True)
    assert all(body["logprobs"] is True for body in server.asked)
    for answer in answers:
        assert answer.logs == tuple(-0.5 * place for place in range(7))
        assert answer.spans == ((0, 2), (2, 6), (6, 7), (6, 8), (7, 8), (8, 10), (10, 10))
        found = confidence_of(answer, is_json=True)
        assert found is not None and found.fields == {"a": -0.5 - 1 - 1.5 - 2 - 2.5}
    assert caplog.text == ""
    server.asked.clear()
    assert [answer.logs for answer in ask(server)] == [answers[0].logs] * 10, "read, though nobody asked"
    assert not any("logprobs" in body for body in server.asked)


@pytest.mark.parametrize("content", [None, {}, [1], [{}], *([{"token": "a", "logprob": bad}] for bad in (1.0, True))])
def test_what_is_no_log_probability_is_none(content: Any) -> None:
    assert answer_of(completion("{}", content)).logs is None
    for raw in ([300], "x", [1.5]):  # bytes that are none leave the numbers
        answer = answer_of(completion("{}", [{"token": "{}", "logprob": -1, "bytes": raw}]))
        assert (answer.logs, answer.spans) == ((-1.0,), None)


def test_several_servers_give_the_answers_of_one_also_if_some_fail(server: Server) -> None:
    expected = ask(server)
    server.asked.clear()
    with Server() as other, Server() as third:
        assert ask(server, [other.url]) == expected
        assert len(server.asked) + len(other.asked) == 10
        assert server.asked and other.asked
        server.fail = [500] * 10
        assert ask(server, [other.url, "http://127.0.0.1:1/v1"]) == expected
        server.fail, other.fail, third.fail = [500] * 20, [500] * 20, [500] * 20
        server.asked.clear()
        with pytest.raises(HallmarkError, match="HTTP 500"):
            ask(server, [other.url, third.url])
        counts = [[one.asked.count(asked) for one in (server, third)] for asked in server.asked]
        assert max(counts) == [2, 2], "the one that failed was asked twice of each, and none more often"


def test_what_fails_is_sent_again_and_what_keeps_failing_ends_the_stage(server: Server) -> None:
    server.fail = [500, 429, 503]
    assert len(ask(server)) == 10
    assert len(server.asked) == 13
    server.fail = [400] * 10
    with pytest.raises(HallmarkError, match="HTTP 400") as caught:
        ask(server)
    assert "row " in str(caught.value)
    assert "kettle" not in str(caught.value)  # no text of a record


def test_a_key_comes_from_the_environment_and_is_never_shown(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with refused():
        ask(server, key="HALLMARK_TEST_KEY")
    monkeypatch.setenv("HALLMARK_TEST_KEY", "top-secret")
    ask(server, key="HALLMARK_TEST_KEY")
    assert set(server.keys) == {"Bearer top-secret"}
    server.fail = [401] * 10
    with pytest.raises(HallmarkError) as caught:
        ask(server, key="HALLMARK_TEST_KEY")
    assert "top-secret" not in str(caught.value)


def test_the_schema_is_sent_with_the_refusal_beside_it(server: Server) -> None:
    task = Task(load_params(ROOT / "params.yaml").task)
    schema = answer_schema(task)
    assert schema["anyOf"][1] == {"const": {"intent": "refuse"}}
    ask(server, schema=schema)
    assert server.asked[0]["response_format"]["json_schema"]["schema"] == schema


HOSTILE = {
    "nested": b'{"choices":' + b"[" * 100_000,
    "a message that is a text": b'{"choices": [{"message": "x"}]}',
    "a number of 5,000 digits": b'{"choices": [{"message": {"content": "x"}}], "usage": ' + b"9" * 5_000 + b"}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_response_that_is_none_is_one_error(server: Server, name: str) -> None:
    server.raw = HOSTILE[name]
    with refused():
        ask(server)


def test_a_response_without_end_is_one_error(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "PAUSES", ())
    server.drip = 0.05
    with pytest.raises(HallmarkError, match="TimeoutError"):
        ask(server, timeout=0.3)
    server.drip = 0.0
    monkeypatch.setattr(endpoint, "FRAME", 10)
    monkeypatch.setattr(endpoint, "PER_TOKEN", 0)
    with pytest.raises(HallmarkError, match="over 10 bytes"):
        ask(server)


def test_a_compressed_response_is_not_unpacked_and_a_redirect_not_followed(server: Server) -> None:
    server.headers, server.raw = {"Content-Encoding": "gzip"}, gzip.compress(b" " * 1_000_000)
    with pytest.raises(HallmarkError, match="compressed"):
        ask(server)
    server.headers, server.raw, server.fail = {"Location": "file:///etc/passwd"}, b"", [302] * 10
    with pytest.raises(HallmarkError, match="HTTP 302"):
        ask(server)
