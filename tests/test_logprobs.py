"""Log-probabilities from the default server: those of the model, for whoever asks, and for nobody else."""

from __future__ import annotations

import asyncio
import json
import math
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given

from hallmark.answer.endpoint import answer_of, logs_of
from hallmark.base.params import Compute
from hallmark.serve import server
from hallmark.serve.admission import CHAT, Admission, Limits
from hallmark.serve.engines.transformers_serve import TransformersServer
from hallmark.serve.logprobs import LogProbabilities, listed, token_bytes
from hallmark.task.predictions import is_log
from tests.test_admission import Inner, ask, chat, check_refused
from tests.test_confidence import TEXT, byte_level, pieces
from tests.tiny import make_tiny_base

WAIT = 300  # seconds: a server starts in five, unless the machine is busy
BLOCKS = 3  # of 256 tokens, in the cache: where five answers grow into a second block, some are put off and read again
SHORT = "Hello"
TEXTS = [SHORT, *(f"Order {number} arrived broken. {'Please help me. ' * 14}" for number in range(1, 6))]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a base that ends some of its answers."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("logprobs")
    base = make_tiny_base(folder / "tuned")
    ends, often = AutoTokenizer.from_pretrained(base).eos_token_id, direct(base, SHORT)[0][6]
    model: Any = AutoModelForCausalLM.from_pretrained(base)
    with torch.no_grad():
        rows = model.get_input_embeddings().weight
        rows[ends] = 1.02 * rows[often]
    model.save_pretrained(base)
    return folder


@pytest.fixture(scope="module")
def running(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[server.Server]:
    """The real server, with the base."""
    settings = TransformersServer(
        kind="transformers", port=0, dtype="float32", attention="sdpa", cache_blocks=BLOCKS, batch_tokens=64,
        startup_timeout=WAIT,
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("served")
    (folder / "tuned").symlink_to(models / "tuned")
    with server.serve(["tuned"], folder, 0, settings, Compute(device="cpu", threads=1, portable=False)) as started:
        yield started


def body_of(text: str, **changes: Any) -> dict[str, Any]:
    return {"model": "tuned", "messages": [{"role": "user", "content": text}], "max_tokens": 40} | changes


def asked(running: server.Server, *bodies: dict[str, Any]) -> list[httpx.Response]:
    """The answers to all of these, sent at once."""

    async def run() -> list[httpx.Response]:
        async with httpx.AsyncClient(trust_env=False, timeout=WAIT) as client:
            return await asyncio.gather(*(client.post(f"{running.url}/chat/completions", json=body) for body in bodies))

    return asyncio.run(run())


def direct(folder: Path, text: str) -> tuple[list[int], list[float]]:
    """What the model writes, greedily, and the log-probabilities, by one forward pass over prompt and answer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    prompt: Any = tokenizer.apply_chat_template(
        [{"role": "user", "content": text}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    whole = model.generate(**prompt, max_new_tokens=40, do_sample=False)
    start = prompt["input_ids"].shape[1]
    with torch.inference_mode():
        logs = model(input_ids=whole).logits[0, start - 1 : -1].log_softmax(-1)
    tokens = whole[0, start:]
    return tokens.tolist(), logs.gather(1, tokens[:, None])[:, 0].tolist()


def given_logs(response: httpx.Response) -> list[float]:
    assert response.status_code == 200, response.text
    return [one["logprob"] for one in response.json()["choices"][0]["logprobs"]["content"]]


@pytest.mark.full
def test_they_are_those_of_the_model_for_several_at_once_that_do_not_fit_the_cache(
    running: server.Server, models: Path
) -> None:
    from transformers import AutoTokenizer

    tokenizer, ends = AutoTokenizer.from_pretrained(models / "tuned"), set()
    for text, response in zip(TEXTS, asked(running, *(body_of(text, logprobs=True) for text in TEXTS)), strict=True):
        tokens, logs = direct(models / "tuned", text)
        assert given_logs(response) == pytest.approx(logs, abs=1e-4)
        choice = response.json()["choices"][0]
        content = choice["logprobs"]["content"]
        assert [one.keys() for one in content] == [{"token", "logprob", "bytes", "top_logprobs"}] * len(content)
        assert all(one["top_logprobs"] == [] and is_log(one["logprob"]) for one in content)
        ended = tokens[-1] == tokenizer.eos_token_id
        ends.add(ended)
        assert (choice["finish_reason"] == "stop") == ended
        assert (content[-1]["token"] == tokenizer.eos_token) == ended
        assert len(content) == response.json()["usage"]["completion_tokens"] == len(tokens)
        # the tokens' own bytes are those of the text, and of the special tokens that the text leaves out
        assert b"".join(bytes(one["bytes"]) for one in content).decode(errors="replace") == tokenizer.decode(tokens)
    assert ends == {True, False}


@pytest.mark.full
def test_who_does_not_ask_gets_none_and_the_same_answer(running: server.Server) -> None:
    bodies = [body_of(TEXTS[0]), body_of(TEXTS[0], logprobs=False), body_of(TEXTS[0], logprobs=True)]
    plain, refused, with_logs = (response.json()["choices"][0] for response in asked(running, *bodies))
    assert "logprobs" not in plain and "logprobs" not in refused
    assert plain == refused == {key: value for key, value in with_logs.items() if key != "logprobs"}


@pytest.mark.full
def test_streamed_ones_too_many_tokens_and_alternatives_are_refused(running: server.Server) -> None:
    streamed, long, top = asked(
        running,
        body_of(TEXTS[0], logprobs=True, stream=True),
        body_of(TEXTS[0], logprobs=True, max_tokens=256 * BLOCKS),
        body_of(TEXTS[0], logprobs=True, top_logprobs=20),
    )
    assert check_refused(streamed, 400, "unsupported_parameter")["param"] == "logprobs"
    check_refused(long, 400, "context_length_exceeded")
    assert check_refused(top, 400, "unsupported_parameter")["param"] == "top_logprobs"
    (one,) = asked(running, body_of(TEXTS[1], logprobs=True, max_tokens=3))
    assert len(given_logs(one)) == 3


@pytest.mark.full
def test_callers_who_hang_up_take_nothing_from_others(running: server.Server) -> None:
    body = json.dumps(body_of(TEXTS[1], logprobs=True, max_tokens=200)).encode()
    address = httpx.URL(running.url)
    head = f"POST {address.path}/chat/completions HTTP/1.1\r\nhost: {address.host}:{address.port}\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    before = given_logs(asked(running, body_of(TEXTS[1], logprobs=True))[0])
    for _ in range(4):
        with socket.create_connection((address.host, address.port)) as connection:
            connection.sendall(head.encode() + body)
    after = asked(running, *(body_of(TEXTS[1], logprobs=True) for _ in range(3)))
    assert running.trouble() is None
    for response in after:
        assert given_logs(response) == pytest.approx(before, abs=1e-4)


class Noting(Inner):
    """A server that answers, and notes `tokens` and `logs` for a request with an id."""

    def __init__(self, tokens: Sequence[int], logs: Sequence[float], status: int = 200) -> None:
        super().__init__()
        self.noted, self.status, self.layer = (tokens, logs), status, LogProbabilities(self, {1: b"{", 2: b"}"})

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append(json.loads((await receive())["body"]))
        headers = dict(scope["headers"])
        assert int(headers[b"content-length"]) == len(json.dumps(self.asked[-1]))
        self.layer.note("another", [2], [-9.0])
        self.layer.note(headers.get(b"x-request-id", b"none").decode(), *self.noted)
        content = b'{"choices": [{"message": {"content": "{}"}}]}'
        sent = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
        await send({"type": "http.response.start", "status": self.status, "headers": sent})
        await send({"type": "http.response.body", "body": content[:9], "more_body": True})
        await send({"type": "http.response.body", "body": content[9:]})


def answered(inner: Noting, **changes: Any) -> httpx.Response:
    limits = Limits(("tuned",), greedy=True, logs=True)
    response = ask(Admission(inner.layer, limits), chat(**changes), path=CHAT)
    assert inner.layer._wanted == {}
    return response


def test_only_what_was_noted_for_a_request_is_added_to_it() -> None:
    inner = Noting([1, 2], [-0.5, -0.25])
    choice = answered(inner, logprobs=True).json()["choices"][0]
    assert choice["logprobs"]["content"][1] == {"token": "}", "logprob": -0.25, "bytes": [125], "top_logprobs": []}
    assert logs_of(choice, "{}") == ((-0.5, -0.25), ((0, 1), (1, 2)))
    assert "logprobs" not in answered(inner).json()["choices"][0]
    assert all("logprobs" not in request for request in inner.asked)


@pytest.mark.parametrize(
    ("tokens", "logs"), [([], []), ([1], []), ([1, 2], [-0.5]), ([1], [math.nan]), ([1], [-math.inf])]
)
def test_tokens_without_a_number_each_give_none(tokens: list[int], logs: list[float]) -> None:
    response = answered(Noting(tokens, logs), logprobs=True).json()
    assert response["choices"][0]["logprobs"] is None
    assert answer_of(response).logs is None


@given(TEXT)
def test_the_bytes_of_tokens_make_up_the_text(text: str) -> None:
    from transformers import PreTrainedTokenizerFast

    for backend in (byte_level(), pieces()):
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
        vocabulary = token_bytes(tokenizer)
        tokens = tokenizer.encode(text, add_special_tokens=False)
        decoded = str(tokenizer.decode(tokens))
        content = listed([vocabulary[token] for token in tokens], [-1.0] * len(tokens), decoded)
        assert b"".join(bytes(one["bytes"]) for one in content).decode() == decoded
        logs, spans = logs_of({"logprobs": {"content": content}}, decoded)
        assert (logs is None) == (not tokens)
        assert spans is None or (spans[0][0], spans[-1][1]) == (0, len(decoded))
