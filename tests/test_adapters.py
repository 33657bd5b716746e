"""Adapters on one base behind the gateway: a promotion and a rollback switch the adapter, and start and stop no server."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hallmark.base.errors import HallmarkError
from hallmark.service.commands.answering import gateway_of
from hallmark.service.gateway import deployments
from hallmark.service.gateway.app import Gateway
from hallmark.service.gateway.launching import Given
from hallmark.service.gateway.releases import NOBODYS, RegistrySource, Wanted
from hallmark.service.registry.promotion import promote, roll_back
from tests.gateway_toys import Wants, ask, until
from tests.stub_model import ChatServer, Reply
from tests.test_releases_served import upstreams


class Adapters(ChatServer):
    """A server of a base with adapters by name; each answers with its own."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.names = {*names}

    def reply(self, body: dict[str, Any]) -> Reply:
        if not body:
            return 200, {}, json.dumps({"data": [{"id": name} for name in sorted(self.names)]}).encode()
        if body["model"] not in self.names:
            return 404, {}, b"{}"
        choices = [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": body["model"]}}]
        return 200, {}, json.dumps({"model": body["model"], "choices": choices}).encode()


def settings(url: str) -> Any:
    params = upstreams(prod={"url": url, "model": "tickets-{version}", "key": None})
    changes = {"poll_seconds": 0.1, "cascade": False, "check_schema": False}
    return params.model_copy(update={"serve": params.serve.model_copy(update=changes)})


def test_promote_and_rollback_switch_the_adapter_under_load(
    registered_repo: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(deployments, "RETRIES", (0.5,))
    answers: list[tuple[float, Any, float]] = []  # between when they were asked for and when they came

    async def script(server: Adapters) -> None:
        params = settings(server.url)
        gateway = gateway_of(params, None, ungated=False)
        async with gateway.running():
            await under_load(gateway, server)

    async def under_load(gateway: Gateway, server: Adapters) -> None:
        async def caller() -> None:
            while True:
                start, answered = time.monotonic(), await ask(gateway, text="Where is my parcel?")
                answers.append((start, answered, time.monotonic()))

        async def switched(command: Callable[..., Any], *words: str) -> None:
            before, done = len(answers), await asyncio.to_thread(command, Path(), *words)
            new = done.version.version
            await until(lambda: sum(answered.version == new for _, answered, _ in answers[before:]) > 60)
            first = min(came for _, answered, came in answers[before:] if answered.version == new)
            assert {answered.version for start, answered, _ in answers if start > first} == {new}

        callers = [asyncio.create_task(caller()) for _ in range(20)]
        await until(lambda: len(answers) > 40)
        await switched(promote, "v0.2.0", "prod")
        await switched(roll_back)
        await asyncio.to_thread(promote, Path(), "v0.3.0", "prod")
        await until(lambda: "v0.3.0 can't be started" in caplog.text)
        server.names.add("tickets-v0.3.0")
        await until(lambda: answers[-1][1].version == "v0.3.0")
        await deployments.cancelled(*callers)
        server.names.remove("tickets-v0.3.0")
        assert (await ask(gateway, text="gone")).outcome == "failed"

    shutil.copy(Path(__file__).parents[1] / "data/schema.json", "data")
    promote(Path(), "v0.1.0", "prod")
    with Adapters("tickets-v0.1.0", "tickets-v0.2.0") as server:
        asyncio.run(script(server))
    assert {answered.outcome for _, answered, _ in answers} == {"answered"}
    texts = {(answered.version, answered.text) for _, answered, _ in answers}
    assert texts == {(version, f"tickets-{version}") for version in ("v0.1.0", "v0.2.0", "v0.3.0")}
    lacking = (
        f"'serve.upstreams.prod.model': the server at 127.0.0.1:{server.server_port} has no model 'tickets-v0.3.0'"
    )
    assert f"v0.3.0 can't be started as prod, where v0.1.0 stays: params.yaml, field {lacking}" in caplog.text
    assert "the server of v0.3.0 gave no answer: status, HTTP 404: it has no model 'tickets-v0.3.0'" in caplog.text


def test_a_server_that_lists_no_models_is_asked_and_a_name_needs_a_version() -> None:
    given = Given(settings("http://127.0.0.1:9/v1"), Wants())
    assert given.launch(Wanted("v1.0.0", ""), "prod").upstream.model == "tickets-v1.0.0"
    with pytest.raises(
        HallmarkError, match=r"no version is prod, for which {version} stands\n.*promote -- VERSION prod"
    ):
        given.launch(NOBODYS, "prod")


def test_servers_elsewhere_need_no_weights_here(registered_repo: Path) -> None:
    promote(Path(), "v0.1.0", "prod")
    shutil.rmtree("models/quantized")
    Path(".dvc/cache").rename("elsewhere")
    given, started = (RegistrySource(Path(), Wants, weights=weights) for weights in (False, True))
    assert given.files(given.wanted()["prod"]).weights is None
    with pytest.raises(HallmarkError, match="models/quantized: not available"):
        started.files(started.wanted()["prod"])
