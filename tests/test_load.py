"""The load generator against a small server in this process that delays and fails as each request asks it to."""

import asyncio
import itertools
import json
import statistics
import time
from collections.abc import Callable, Coroutine
from typing import Any

import httpx
import pytest

from hallmark.serve.load import Outcome, send_all, summarize
from hallmark.serve.params import Objective

EASY = Objective(ttft=10.0, latency=10.0, share=0.95)


class Scripted:
    """Streams the words that a request's message asks for; counts what is under way and who hung up."""

    def __init__(self) -> None:
        self.under_way = self.most = self.hung_up = 0
        self.seen: list[dict[str, Any]] = []
        self.one_at_a_time = asyncio.Lock()
        self.others_ended = asyncio.Event()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length" in line)
        body = json.loads(await reader.readexactly(length))
        self.seen.append(body)
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await self.answer(json.loads(body["messages"][0]["content"]), writer)
        except ConnectionError:
            self.hung_up += 1
        finally:
            self.under_way -= 1
            writer.close()

    async def answer(self, script: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        headers = f"connection: close\r\n{script.get('headers', '')}\r\n"
        writer.write(f"HTTP/1.1 {script.get('status', 200)} X\r\n{headers}".encode())
        await self.say(writer, {"choices": [{"index": 0, "delta": {"role": "assistant"}}]})
        words = script.get("words", ["hello"])
        if script.get("queue"):
            while self.most < script["together"]:
                await asyncio.sleep(0.01)
            async with self.one_at_a_time:
                await asyncio.sleep(script["queue"])
        for word in words:
            await asyncio.sleep(script.get("gap", 0))
            await self.say(writer, {"choices": [{"index": 0, "delta": {"content": word}}]})
        if script.get("end") == "error":
            await self.say(writer, {"error": "out of memory"})
        if "raw" in script:
            writer.write(b"data: " + script["raw"].encode("latin1") + b"\n\n")
        if script.get("end") == "hang":
            await self.others_ended.wait()
            loop = asyncio.get_running_loop()
            loop.time = lambda: time.monotonic() + 100  # past the limit  # type: ignore[method-assign]
            while True:
                await asyncio.sleep(0.02)
                await self.say(writer, {"choices": []})
        if script.get("end") != "cut":
            usage = {"prompt_tokens": 9, "completion_tokens": len(words) + 1}  # and the token that ends the answer
            await self.say(writer, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": usage})
            writer.write(b"data: [DONE]\n\n")
        await writer.drain()

    async def say(self, writer: asyncio.StreamWriter, chunk: dict[str, Any]) -> None:
        writer.write(f": a comment\ndata: {json.dumps(chunk)}\n\n".encode())
        await writer.drain()


def against(use: Callable[[Scripted, httpx.AsyncClient], Coroutine[Any, Any, Any]]) -> Any:
    async def run() -> Any:
        scripted = Scripted()
        server = await asyncio.start_server(scripted.handle, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        async with server, httpx.AsyncClient(base_url=url, timeout=200) as client:
            return await use(scripted, client)

    return asyncio.run(run())


def ask(**script: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": json.dumps(script)}], "max_tokens": 8}


def test_an_answer_is_timed_at_its_first_text_and_its_end():
    async def use(scripted: Scripted, client: httpx.AsyncClient) -> None:
        bodies = [ask(words=["a", "b", "c"], gap=0.1), ask(words=[])]
        full, empty = await send_all(client, bodies, concurrency=1, timeout=30)
        assert (full.text, full.tokens, full.failure) == ("abc", 4, None)
        assert full.ttft >= 0.1
        assert full.latency >= 0.3
        assert full.tpot == pytest.approx((full.latency - full.ttft) / 3)
        assert (empty.text, empty.tokens, empty.failure) == ("", 1, None)
        assert empty.ttft == empty.latency  # nothing came before the end
        assert scripted.seen[0] == bodies[0] | {"stream": True, "stream_options": {"include_usage": True}}

    against(use)


@pytest.mark.parametrize(
    ("script", "failure"),
    [
        ({"status": 500}, "HTTP 500"),
        ({"end": "cut"}, "cut short"),
        ({"end": "error"}, "error in the stream"),
        ({"end": "hang"}, "timeout"),
    ],
)
def test_a_failure_is_counted_by_its_kind_and_spoils_nothing_else(script, failure):
    async def use(scripted: Scripted, client: httpx.AsyncClient) -> None:
        after = iter([lambda: None, scripted.others_ended.set, lambda: None])
        bodies = [ask(), ask(**script), ask()]
        outcomes = await send_all(client, bodies, concurrency=3, timeout=60, answered=lambda: next(after)())
        assert [outcome.failure for outcome in outcomes] == [None, failure, None]
        summary = summarize([outcomes], EASY)
        assert summary["failures"] == {failure: 1}
        assert (summary["timeouts"], summary["errors"]) == ((1, 0) if failure == "timeout" else (0, 1))
        assert summary["output_tokens"] == 4
        assert summary["objective_kept"] == pytest.approx(2 / 3, abs=1e-3)
        if failure == "timeout":
            while not scripted.hung_up:  # the server is told, and can stop working for nobody
                await asyncio.sleep(0.01)

    against(use)


def test_a_closed_loop_keeps_its_number_under_way_and_sends_each_body_once():
    async def use(scripted: Scripted, client: httpx.AsyncClient) -> None:
        bodies = [ask(words=[str(i)], gap=0.05) for i in range(10)]
        outcomes = await send_all(client, bodies, concurrency=3, timeout=30)
        assert [outcome.text for outcome in outcomes] == [str(i) for i in range(10)]
        assert scripted.most == 3
        assert len(scripted.seen) == 10

    against(use)


def test_an_open_loop_does_not_wait_and_counts_the_queue_it_makes():
    async def use(scripted: Scripted, client: httpx.AsyncClient) -> None:
        patient = await send_all(client, [ask(queue=0.1, together=1)] * 2, concurrency=1, timeout=60)
        assert (len(patient), scripted.most) == (2, 1)
        hurried = await send_all(client, [ask(queue=0.1, together=5)] * 5, rate=50, timeout=60, seed=7)
        assert [outcome.failure for outcome in hurried] == [None] * 5, "answered only when all were sent"
        assert max(outcome.latency for outcome in hurried) > 0.45  # behind four others

    against(use)


def test_arrivals_follow_the_seed_and_the_rate():
    async def use(scripted: Scripted, client: httpx.AsyncClient) -> None:
        async def gaps(seed: int) -> list[float]:
            outcomes = await send_all(client, [ask() for _ in range(40)], rate=200, timeout=30, seed=seed)
            times = [outcome.scheduled for outcome in outcomes]
            return [round(after - before, 6) for before, after in itertools.pairwise(times)]

        first = await gaps(7)
        assert first == await gaps(7)
        assert first != await gaps(8)
        assert 0.5 / 200 < statistics.mean(first) < 2 / 200
        assert statistics.stdev(first) > 0.3 / 200  # not a metronome

    against(use)


def outcome(start: float, first: float, end: float, tokens: int = 11, failure: str | None = None) -> Outcome:
    return Outcome(start, first, end, tokens, "", failure)


def test_the_summary_is_what_one_computes_by_hand():
    outcomes = [
        outcome(0.0, 0.5, 1.5),
        outcome(0.0, 1.0, 3.0, tokens=21),
        outcome(1.0, 1.5, 10.0, failure="timeout"),
        outcome(1.0, 1.0, 1.5, tokens=1),
    ]
    assert summarize([outcomes], Objective(ttft=0.6, latency=2.0, share=0.9)) == {
        "requests": 4,
        "errors": 0,
        "timeouts": 1,
        "failures": {"timeout": 1},
        "ttft_s": {"p50": 0.5, "p95": 0.95, "p99": 0.99},
        "tpot_s": {"p50": 0.1, "p95": 0.1, "p99": 0.1},  # the answer of one token has none
        "latency_s": {"p50": 1.5, "p95": 2.85, "p99": 2.97},
        "output_tokens": 33,
        "output_tokens_per_second": 3.3,  # over ten seconds: the one that timed out is waited for
        "requests_per_second": 0.3,
        "objective_kept": 0.5,
    }
