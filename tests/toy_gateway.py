"""The gateway over joints that tests can see into: a masker of e-mail addresses, and a model that echoes.

`python -m tests.toy_gateway FOLDER` serves it until SIGTERM; traces and feedback go into FOLDER as lines of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import httpx

from hallmark.answer.answers import Answer
from hallmark.base.document import changed
from hallmark.base.markup import Markup
from hallmark.judge.cascade import Shipped, read_shipped
from hallmark.mask.restoring import Masked
from hallmark.params.loader import Params, load_params
from hallmark.params.service import Serve
from hallmark.service.gateway import app as app_module
from hallmark.service.gateway import server
from hallmark.service.gateway.callers import read_keys
from hallmark.service.gateway.deployments import Running, Serving
from hallmark.service.gateway.judging import Judge
from hallmark.service.gateway.launching import Launched
from hallmark.service.gateway.releases import Wanted
from hallmark.service.gateway.upstream import Problem, Reply, UpstreamError
from hallmark.service.traces.store import kept
from hallmark.service.traces.trace import Feedback, Trace
from hallmark.task.task import Task
from tests.made_up_release import CASCADE
from tests.workspace import ROOT

MODEL = "tuned"
CHAT, PORT = "/v1/chat/completions", 8123
URL = f"http://127.0.0.1:{PORT}"
EMAIL = re.compile(r"(?<![\w.])[\w.]{1,64}@[\w.]{1,64}\w")
SURE, UNSURE = -0.1, -2.0  # log-probabilities of a token


@cache
def cascade() -> Shipped:
    """Answers with a mean log-probability of -1 or more go out: the raw score is -log(-mean)."""
    return read_shipped(CASCADE | {"threshold": 0.0})


class Masking:
    """Masks e-mail addresses; a text with BROKEN in it breaks the masker."""

    async def start(self) -> None:
        pass

    close = start

    async def mask(
        self, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None, also: Sequence[str] = ()
    ) -> tuple[Masked, list[str]]:
        known: dict[str, str] = {}

        def masked(value: Any) -> Any:
            if not isinstance(value, str):
                return value
            if "BROKEN" in value:
                raise RuntimeError(f"can't mask {value}")
            return EMAIL.sub(lambda match: known.setdefault(match[0], f"<EMAIL_{len(known) + 1}>"), value)

        done = changed([messages, tools, list(also)], masked)
        values = {stand_in: value for value, stand_in in known.items()}
        return Masked(messages=done[0], tools=done[1], values=values), done[2]


class Models:
    """The release v1.2.0 as prod, which says what it was asked last, or does what a word in it says."""

    def __init__(self) -> None:
        judge = Judge(task(), None, cascade(), check_schema=False)
        parts: Any = self, judge, MODEL, False, True, lambda: None, lambda _: True, lambda: None
        self._serving = Serving(Wanted("v1.2.0", "d" * 64), Running(Launched(*parts), Wanted("v1.2.0", "d" * 64)))
        self.names = [MODEL]
        self.servers: list[dict[str, str | None]] = []
        self.asked: list[dict[str, Any]] = []
        self.cancelled = 0
        self.closed = False
        self.go = asyncio.Event()
        self.folder: Path | None = None

    async def start(self) -> None:
        pass

    async def close(self) -> None:
        self.closed = True

    def serving(self, side: str) -> Serving | None:
        return self._serving if side == "prod" else None

    def answering(self, side: str) -> Serving:
        return self._serving

    async def ask(self, body: dict[str, Any], seconds: float) -> Reply:
        self.asked.append(body)
        text = str(body["messages"][-1]["content"])
        try:
            if "WAIT" in text:
                await self.go.wait()
            while "HELD" in text and self.folder and not (self.folder / "go").exists():
                await asyncio.sleep(0.02)
            if pause := re.search(r"SLEEP ([\d.]+)", text):
                await asyncio.sleep(float(pause[1]))
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if "RAISE" in text:
            raise RuntimeError(f"can't answer {text}")
        refused = re.search(r"REFUSED (\w+) (\w+)", text)
        code, field = (None if word == "None" else word for word in refused.groups()) if refused else (None, None)
        if refused or "DOWN" in text:
            problem: Problem = "refused" if refused else "status"
            raise UpstreamError(problem, "no", charged=False, code=code, field=field)
        answer = Answer(text, 3, "stop", (UNSURE if "UNSURE" in text else SURE,) * 3)
        call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": json.dumps({"a": text})}}
        calls = [call] * text.count("CALL")
        return Reply(answer, text, calls or None, "tool_calls" if calls else "stop", 7, 3, False)


class Kept:
    """Traces and feedback, in a list, and in a file if there is a folder."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder
        self.traces: list[Trace] = []
        self.feedback: list[Feedback] = []
        self.full = False  # the disk

    def put(self, trace: Trace) -> None:
        self.traces.append(trace)
        self._line("traces.jsonl", trace)

    def accept(self, feedback: Feedback) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        self.feedback.append(feedback)
        self._line("feedback.jsonl", feedback)

    def close(self) -> None:
        pass

    def _line(self, name: str, value: Any) -> None:
        if self.folder is not None:
            with (self.folder / name).open("a") as file:
                file.write(
                    json.dumps({one.name: getattr(value, one.name) for one in kept(type(value))}, default=str) + "\n"
                )


@cache
def loaded() -> Params:
    return load_params(ROOT / "params.yaml")


def params(**changes: Any) -> Serve:
    """`serve` of params.yaml with changes by dotted name, with `__` for a dot; those of `limits` by their own names."""
    block = loaded().serve.model_dump()
    for name, value in changes.items():
        *parents, last = name.split("__")
        inner = block if parents or last in block else block["limits"]
        for parent in parents:
            inner = inner[parent]
        inner[last] = value
    return Serve.model_validate(block)


@cache
def task() -> Task:
    """The reference's task, wherever the test runs."""
    made = Task(loaded().task)
    made.schema_file = ROOT / "data/schema.json"
    return made


class Gateway:
    """A gateway, its app and what it is made of."""

    def __init__(
        self,
        *,
        folder: Path | None = None,
        mask: bool = True,
        traces: bool = True,
        names_key: bytes | None = None,
        markup: Markup = "none",
        **changes: Any,
    ) -> None:
        self.models, self.kept, serve = Models(), Kept(folder), params(**changes)
        self.models.folder = folder
        changed = {"serve": serve, "mask": loaded().mask.model_copy(update={"markup": markup})}
        more: Any = {"feedback": self.kept, "places": [self.kept]} if traces else {}
        parts: Any = loaded().model_copy(update=changed), self.models, Masking() if mask else None
        self.steps = app_module.Gateway(*parts, keys=read_keys(serve), names_key=names_key, **more)
        self.steps.task = task()
        self.metrics, self.app = self.steps.metrics, server.app(self.steps)

    def count(self, name: str, **labels: str) -> float:
        """What a counter or a gauge says."""
        return float(self.metrics.registry.get_sample_value(name, labels) or 0)


async def ask_async(app: Any, body: Any, method: str = "POST", path: str = CHAT, **headers: str) -> httpx.Response:
    sent = {"content-type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    content = body if isinstance(body, bytes) or hasattr(body, "__aiter__") else json.dumps(body).encode()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=URL) as client:
        return await client.request(method, path, content=content, headers=sent)


def error_of(response: httpx.Response, status: int | None = None, code: str | None = None) -> dict[str, Any]:
    """It is an error in OpenAI's form, and says so with the right status and code."""
    assert response.headers["content-type"] == "application/json"
    assert response.json().keys() == {"error"}
    error: dict[str, Any] = response.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["type"] == ("server_error" if response.status_code >= 500 else "invalid_request_error")
    assert status in (None, response.status_code), error
    assert code in (None, error["code"]), error
    return error


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--drain", type=float, default=10)
    parser.add_argument("--changes", type=json.loads, default={})
    options = parser.parse_args()
    made = Gateway(folder=options.folder, **options.changes)
    server.run(made.steps, "127.0.0.1", 0, options.drain, lambda address: print(address, flush=True))
    (options.folder / "ended.json").write_text(json.dumps({"closed": made.models.closed}))
