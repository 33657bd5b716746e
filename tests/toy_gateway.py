"""The gateway's HTTP side over joints that tests can see into: a masker of e-mail addresses, and a model that echoes.

`python -m tests.toy_gateway FOLDER` serves it until SIGTERM; traces and feedback go into FOLDER as lines of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import re
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from hallmark.base.document import changed
from hallmark.base.markup import Markup
from hallmark.mask.restoring import Masked
from hallmark.params.loader import Params, load_params
from hallmark.params.service import Serve
from hallmark.service.gateway import app as app_module
from hallmark.service.gateway import listening
from hallmark.service.gateway.exchange import Answered, Asked, Traces
from hallmark.service.gateway.metrics import Metrics
from hallmark.service.traces.trace import Feedback, Route, Trace, new_id
from hallmark.task.task import Task
from tests.workspace import ROOT

MODEL = "tuned"
EMAIL = re.compile(r"(?<![\w.])[\w.]{1,64}@[\w.]{1,64}\w")


class Restoring(Masked):
    def restored(self, text: str) -> str:
        return re.sub(r"<EMAIL_\d+>", lambda match: self.values.get(match[0], match[0]), text)


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
        return Restoring(messages=done[0], tools=done[1], values=values), done[2]


class Models:
    """Says what it was asked last, masked, or does what a word in it says."""

    def __init__(self) -> None:
        self.names = [MODEL]
        self.servers: list[dict[str, str | None]] = []
        self.asked: list[Asked] = []
        self.cancelled = 0
        self.closed = False
        self.go = asyncio.Event()
        self.folder: Path | None = None

    async def start(self) -> None:
        pass

    def routed(self, asked: Asked) -> tuple[Route, str, str]:
        return "canary", "v1.3.0", "e" * 64

    async def answer(self, asked: Asked) -> Answered:
        self.asked.append(asked)
        text = str(asked.masked.messages[-1]["content"])
        start = time.monotonic()
        try:
            if "WAIT" in text:
                await self.go.wait()
            while "HELD" in text and self.folder and not (self.folder / "go").exists():
                await asyncio.sleep(0.02)
            if seconds := re.search(r"SLEEP ([\d.]+)", text):
                await asyncio.sleep(float(seconds[1]))
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if "RAISE" in text:
            raise RuntimeError(f"can't answer {text}")
        made = Answered(
            trace=new_id(), outcome="answered", reason="sure", route="prod", version="v1.2.0", digest="d" * 64,
            model=MODEL, text=text, finish="stop", answer=text, schema_valid=True, score=-0.1, probability=0.9,
            prompt_tokens=7, answer_tokens=3, model_s=time.monotonic() - start, price=0.01,
        )  # fmt: skip
        if "UNSURE" in text:
            return dataclasses.replace(made, outcome="handed_over", reason="unsure", text=None, route="canary")
        if "DOWN" in text:
            return dataclasses.replace(made, outcome="failed", reason="upstream", text=None, answer=None)
        if refused := re.search(r"REFUSED (\w+) (\w+)", text):
            why = [None if word == "None" else word for word in refused.groups()]
            return dataclasses.replace(
                made, outcome="failed", reason="refused", text=None, answer=None, refused=(why[0], why[1])
            )
        if "CALL" in text:
            call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": json.dumps({"a": text})}}
            calls = [call] * text.count("CALL")
            return dataclasses.replace(made, text=None, tool_calls=calls, finish="tool_calls")
        return made

    async def close(self) -> None:
        self.closed = True


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
                file.write(json.dumps(dataclasses.asdict(value), default=str) + "\n")


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
    """An app and what it is made of."""

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
        self.models, self.metrics, self.kept = Models(), Metrics(), Kept(folder)
        self.models.folder = folder
        kept = self.kept if traces else None
        masking = Masking() if mask else None
        places = Traces(*([kept] if kept else []))
        parts: Any = params(**changes), masking, self.models, places, kept, self.metrics, task(), names_key, markup
        self.app = app_module.app(app_module.Gateway(*parts))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--drain", type=float, default=10)
    parser.add_argument("--changes", type=json.loads, default={})
    parser.add_argument("--unread", type=float, default=listening.UNREAD_SECONDS)
    options = parser.parse_args()
    listening.UNREAD_SECONDS = options.unread
    made = Gateway(folder=options.folder, **options.changes)
    listening.run(made.app, "127.0.0.1", 0, options.drain, lambda address: print(address, flush=True))
    (options.folder / "ended.json").write_text(json.dumps({"closed": made.models.closed}))
