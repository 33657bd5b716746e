"""Releases, servers and requests for tests of the gateway's model side: stubs in processes of their own, no model."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from hallmark.base.errors import HallmarkError
from hallmark.judge.cascade import Shipped
from hallmark.mask.restoring import Masked
from hallmark.params.service import Serve
from hallmark.serve.chat_request import ChatRequest
from hallmark.service.gateway.app import Gateway
from hallmark.service.gateway.deployments import Deployments
from hallmark.service.gateway.fallback import Fallback
from hallmark.service.gateway.judging import Judge
from hallmark.service.gateway.launching import Launched
from hallmark.service.gateway.releases import Files, Side, Wanted
from hallmark.service.gateway.telemetry import Metrics
from hallmark.service.gateway.upstream import Upstream
from hallmark.service.traces.trace import Trace, new_id
from tests.stub_model import Stub, start, told
from tests.toy_gateway import Kept, loaded, params, task
from tests.workspace import ROOT, change_params

Result = TypeVar("Result")
TICKET = '{"intent":"refund","urgency":"high","product":null,"amount":null,"date":null,"issues":[]}'
REFUSAL = '{"intent":"refuse"}'


def judge(shipped: Shipped | None = None, *, check_schema: bool = False) -> Judge:
    return Judge(task(), None, shipped, check_schema=check_schema)


class Wants:
    """A registry that tests change; `broken`: it can't be read."""

    def __init__(self, **sides: str) -> None:
        self.sides, self.broken, self.looks = dict(sides), False, 0

    def wanted(self) -> dict[Side, Wanted]:
        self.looks += 1
        if self.broken:
            raise HallmarkError("the tags are gone", remedy="bring them back")
        return {side: Wanted(version, f"{version}-digest") for side, version in self.sides.items()}  # type: ignore[misc]

    def files(self, wanted: Wanted) -> Files:
        return Files(None, None)


@dataclass
class Stubs:
    """A launcher of stubs. `refuse`: versions that can't be started; `held`: those whose start waits; `room`: for one more.

    `shared`: one that runs, for all versions; nothing is started then.
    """

    judge: Judge
    logs: bool | None = True
    constrains: bool = True
    refuse: set[str] = field(default_factory=set)
    held: set[str] = field(default_factory=set)
    begun: list[str] = field(default_factory=list)
    room: bool = True
    shared: Stub | None = None
    started: list[tuple[str, Stub]] = field(default_factory=list)

    def key(self, wanted: Wanted, side: Side) -> str:
        return wanted.key

    def launch(self, wanted: Wanted, side: Side) -> Launched:
        if wanted.version in self.refuse:
            raise HallmarkError(f"{wanted.version} is damaged", remedy="make it again")
        self.begun.append(wanted.version)
        while wanted.version in self.held:
            time.sleep(0.02)
        stub = self.shared or start(wanted.version)
        if stub is not self.shared:
            self.started.append((wanted.version, stub))
        upstream = Upstream(stub.url, "tickets", own=True)
        stop = stub.stop if stub is not self.shared else lambda: None
        return Launched(
            upstream, self.judge, "tickets", self.constrains, self.logs, stub.trouble, lambda _: self.room, stop
        )

    def running(self, version: str) -> list[Stub]:
        return [stub for name, stub in self.started if name == version and stub.process.poll() is None]

    def stop(self) -> None:
        for _, stub in self.started:
            stub.stop()


@contextmanager
def stubs(
    shipped: Shipped | None = None,
    *,
    check_schema: bool = False,
    logs: bool | None = True,
    constrains: bool = True,
    shared: Stub | None = None,
) -> Iterator[Stubs]:
    launcher = Stubs(judge(shipped, check_schema=check_schema), logs, constrains, shared=shared)
    try:
        yield launcher
    finally:
        launcher.stop()


def asked(
    seconds: float = 120.0, *, group: str | None = None, caller: str = "", request: str = "", **what: Any
) -> Trace:
    """A request that tells the stub what to do, as it is after masking; what is a field of a request is one."""
    fields = {name: what.pop(name) for name in list(what) if name in ChatRequest.model_fields}
    messages = [{"role": "user", "content": told(**what)}]
    now = time.monotonic()
    return Trace(
        id=new_id(), request=request or f"rq-{time.monotonic_ns()}", time=datetime.now(UTC), caller=caller, group=group,
        chat=ChatRequest.model_validate({"model": "tickets", "messages": messages} | fields),
        prompt=Masked(messages=messages, tools=None, values={}), started=now, deadline=now + seconds,
    )  # fmt: skip


async def ask(gateway: Gateway, trace: Trace | None = None, **what: Any) -> Trace:
    """The trace of a request that was routed, asked and judged."""
    trace = trace or asked(**what)
    await gateway.answer(trace)
    return trace


def play(
    source: Wants,
    launcher: Stubs,
    script: Callable[[Gateway], Awaitable[Result]],
    *,
    serve: Serve | None = None,
    fallback: Fallback | None = None,
    metrics: Metrics | None = None,
    kept: Kept | None = None,
    poll_seconds: float = 0.1,
    drain_seconds: float = 10.0,
    warm_seconds: float = 0.0,
) -> Result:
    """Start a gateway, run the script, and close it."""

    async def run() -> Result:
        seconds = {"poll_seconds": poll_seconds, "drain_seconds": drain_seconds, "warm_seconds": warm_seconds}
        settings = (serve or params()).model_copy(update=seconds)
        changes = {
            "serve": settings,
            "benchmark": loaded().benchmark.model_copy(update={"price_per_hour": 3.6}),
            "eval": loaded().eval.model_copy(update={"max_new_tokens": 64}),
        }
        deployments = Deployments(source, launcher, settings, metrics=metrics)
        gateway = Gateway(
            loaded().model_copy(update=changes), deployments, None, fallback=fallback, metrics=metrics,
            places=[kept] if kept else [],
        )  # fmt: skip
        async with gateway.running():
            return await script(gateway)

    return asyncio.run(run())


async def until(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        await asyncio.sleep(0.02)


def served_folder(place: Path, url: str, **changes: Any) -> Path:
    """A folder that is no repository and has no release, with a model server for its release."""
    (place / "data").mkdir(parents=True)
    for name in ("params.yaml", "data/schema.json", "requirements.lock"):
        shutil.copy(ROOT / name, place / name)
    fixed = {
        "serve.upstreams": {"prod": {"url": url, "model": "served-as", "key": None}},
        "serve.mask": False,
        "serve.check_schema": False,
        "data.pseudonyms": "none",
        "data.key": None,
        "certify.name": "tickets",
    }
    change_params(place, fixed | changes)
    return place


def environment() -> dict[str, str]:
    """That of a command in such a folder."""
    return os.environ | {"PYTHONPATH": str(ROOT), "GIT_CEILING_DIRECTORIES": "/", "NO_COLOR": "1"}
