"""Releases take over from each other under load: no request is lost, whatever happens to a server or to the registry."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections import Counter
from datetime import UTC, datetime

import pytest

from hallmark.base.errors import HallmarkError
from hallmark.service.gateway.app import Gateway
from hallmark.service.gateway.releases import customer_of, side_of
from hallmark.service.gateway.telemetry import Metrics
from hallmark.service.traces.trace import Trace
from tests.gateway_toys import Wants, ask, params, play, stubs, until
from tests.stub_model import wait_for
from tests.toy_gateway import Kept


async def looked(source: Wants) -> None:
    """Until the registry has been looked at three times more."""
    last = source.looks + 3
    await until(lambda: source.looks >= last)


class Load:
    """Requests that come all the time, as long as the block runs; `answers`: all of them, in the order they ended."""

    def __init__(self, gateway: Gateway, pause: float = 0.01, sleep: float = 0.05) -> None:
        self.answers: list[Trace] = []
        self._gateway, self._pause, self._sleep = gateway, pause, sleep
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Load:
        self._source = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._source.cancel()
        await asyncio.gather(self._source, return_exceptions=True)
        await asyncio.gather(*self._tasks)

    async def _run(self) -> None:
        number = 0
        while True:
            number += 1
            task = asyncio.create_task(self._ask(number))
            self._tasks.add(task)
            await asyncio.sleep(self._pause)

    async def _ask(self, number: int) -> None:
        self.answers.append(await ask(self._gateway, group=f"customer-{number % 50}", sleep=self._sleep))

    def outcomes(self) -> Counter[str]:
        return Counter(answered.outcome for answered in self.answers)

    def versions(self) -> set[str]:
        return {answered.version for answered in self.answers}


def test_releases_are_swapped_under_load_without_losing_a_request(caplog: pytest.LogCaptureFixture) -> None:
    source, metrics = Wants(prod="v1.0.0"), Metrics()

    async def script(gateway: Gateway) -> Load:
        load = Load(gateway)
        async with load:
            await until(lambda: len(load.answers) > 30)
            source.sides = {"prod": "v1.1.0"}  # a promotion
            await until(lambda: "v1.1.0" in load.versions())
            source.sides = {"prod": "v1.1.0", "canary": "v1.2.0"}
            await until(lambda: "v1.2.0" in load.versions())
            source.sides = {"prod": "v1.2.0"}  # the canary takes over
            await until(lambda: gateway.deployments.versions == {"prod": "v1.2.0"})
            source.sides = {"prod": "v1.0.0"}  # a rollback
            await until(lambda: load.answers[-1].version == "v1.0.0")
            count = len(load.answers)
            await until(lambda: len(load.answers) > count + 30)
        await until(lambda: not launcher.running("v1.1.0") and not launcher.running("v1.2.0"))
        return load

    with stubs() as launcher, caplog.at_level(logging.INFO):
        load = play(source, launcher, script, metrics=metrics)
        started = [version for version, _ in launcher.started]
        assert not [stub for _, stub in launcher.started if stub.process.poll() is None]  # none outlives its gateway
    assert len(load.answers) > 60
    assert load.outcomes() == {"answered": len(load.answers)}
    texts = {(answered.version, answered.text) for answered in load.answers}
    assert texts == {(version, f"tickets {version}: ") for version in ("v1.0.0", "v1.1.0", "v1.2.0")}
    assert started.count("v1.2.0") == 1  # what was canary is prod with the server that it had
    assert b"hallmark_upstream_errors_total{" not in metrics.text()
    now = [
        line
        for line in metrics.text().decode().splitlines()
        if line.startswith("hallmark_release_info") and line.endswith(" 1.0")
    ]
    assert now == ['hallmark_release_info{digest="v1.0.0-diges",side="prod",version="v1.0.0"} 1.0']
    assert "prod is now v1.1.0, before v1.0.0" in caplog.text


def test_a_killed_server_comes_back_and_only_its_requests_fail() -> None:
    metrics = Metrics()

    async def script(gateway: Gateway) -> Load:
        load = Load(gateway, sleep=0.1)
        async with load:
            await until(lambda: len(load.answers) > 20)
            os.kill(launcher.started[0][1].process.pid, signal.SIGKILL)
            await until(lambda: "failed" in load.outcomes())
            await until(lambda: len(launcher.started) == 2)
            await until(lambda: load.answers[-1].outcome == "answered")
            count = len(load.answers)
            await until(lambda: len(load.answers) > count + 30)
            assert load.outcomes()["failed"] < len(load.answers)
            assert {answered.outcome for answered in load.answers[-20:]} == {"answered"}
        return load

    with stubs() as launcher:
        load = play(Wants(prod="v1.0.0"), launcher, script, metrics=metrics)
    assert {answered.reason for answered in load.answers if answered.outcome == "failed"} == {"upstream"}
    assert {answered.outcome for answered in load.answers} == {"answered", "failed"}
    assert metrics.registry.get_sample_value("hallmark_server_restarts_total", {"version": "v1.0.0"}) == 1


def test_a_release_that_can_not_be_started_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    source = Wants(prod="v1.0.0")

    async def script(gateway: Gateway) -> None:
        async with Load(gateway) as load:
            source.sides = {"prod": "v2.0.0", "canary": "v1.1.0"}
            await until(lambda: gateway.deployments.versions.get("canary") == "v1.1.0")
            source.broken = True
            await looked(source)
            source.broken = False
            source.sides = {"prod": "v1.0.0"}
            await until(lambda: "canary" not in gateway.deployments.versions)
            await until(lambda: len(load.answers) > 50)
        assert load.outcomes() == {"answered": len(load.answers)}
        assert "v2.0.0" not in load.versions()

    with stubs() as launcher, caplog.at_level(logging.ERROR):
        launcher.refuse = {"v2.0.0"}
        play(source, launcher, script)
    assert caplog.text.count("v2.0.0 can't be started as prod") == 1  # not at each look
    assert "v2.0.0 is damaged" in caplog.text
    assert caplog.text.count("the registry can't be read") == 1
    assert "the tags are gone" in caplog.text


def test_prod_must_start_and_a_canary_need_not(caplog: pytest.LogCaptureFixture) -> None:
    async def script(gateway: Gateway) -> dict[str, str]:
        return {str(side): version for side, version in gateway.deployments.versions.items()}

    with stubs() as launcher:
        launcher.refuse = {"v1.1.0"}
        assert play(Wants(prod="v1.0.0", canary="v1.1.0"), launcher, script) == {"prod": "v1.0.0"}
        with pytest.raises(HallmarkError, match=r"v1\.1\.0 is damaged"):
            play(Wants(prod="v1.1.0"), launcher, script)
        with pytest.raises(HallmarkError, match="no release to serve"):
            play(Wants(canary="v1.0.0"), launcher, script)


def test_a_replaced_server_finishes_what_it_has_or_is_stopped_when_its_time_is_up() -> None:
    source = Wants(prod="v1.0.0")

    async def script(gateway: Gateway, seconds: float) -> Trace:
        task = asyncio.create_task(ask(gateway, sleep={"v1.0.0": seconds}))
        stub = launcher.started[0][1]
        await until(lambda: stub.counts()["asked"])
        source.sides = {"prod": "v1.1.0"}
        await until(lambda: gateway.deployments.versions["prod"] == "v1.1.0")
        return await task

    with stubs() as launcher:
        slow = play(source, launcher, lambda gateway: script(gateway, 1.0), drain_seconds=20.0)
        assert (slow.version, slow.outcome) == ("v1.0.0", "answered")
    source.sides = {"prod": "v1.0.0"}
    with stubs() as launcher:  # the old one is stopped under it: the new one answers
        cut = play(source, launcher, lambda gateway: script(gateway, 100.0), drain_seconds=0.3)
        assert (cut.version, cut.outcome) == ("v1.1.0", "answered")


def test_a_rollback_does_not_wait_for_a_canary_that_starts() -> None:
    source = Wants(prod="v1.0.0")

    async def script(gateway: Gateway) -> None:
        source.sides = {"prod": "v2.0.0"}
        await until(lambda: gateway.deployments.versions["prod"] == "v2.0.0")
        launcher.held = {"v3.0.0"}
        source.sides = {"prod": "v2.0.0", "canary": "v3.0.0"}
        await until(lambda: "v3.0.0" in launcher.begun)
        source.sides = {"prod": "v1.0.0", "canary": "v3.0.0"}
        await until(lambda: gateway.deployments.versions["prod"] == "v1.0.0")
        assert "canary" not in gateway.deployments.versions
        launcher.held.clear()
        await until(lambda: gateway.deployments.versions == source.sides)

    with stubs() as launcher:
        play(source, launcher, script)
        assert [version for version, _ in launcher.started].count("v3.0.0") == 1


@pytest.mark.parametrize(("case", "starts"), [("kept", 1), ("died", 2), ("none left", 2), ("time over", 2)])
def test_a_rollback_waits_for_no_start_while_the_old_server_is_kept(
    caplog: pytest.LogCaptureFixture, case: str, starts: int
) -> None:
    source = Wants(prod="v1.0.0")

    async def script(gateway: Gateway) -> None:
        async with Load(gateway) as load:
            source.sides = {"prod": "v2.0.0"}
            await until(lambda: gateway.deployments.versions["prod"] == "v2.0.0")
            if case == "time over":
                await until(lambda: not launcher.running("v1.0.0"))
            else:
                await until(lambda: "server of v1.0.0 stays ready" in caplog.text)
            if case == "died":
                process = launcher.running("v1.0.0")[0].process
                process.kill()
                process.wait(120)  # else it may be asked while it dies
            if case == "none left":  # something else took the memory, which a canary needs now
                launcher.room = False
                source.sides = {"prod": "v2.0.0", "canary": "v3.0.0"}
                await until(lambda: "canary" in gateway.deployments.versions)
            source.sides = {"prod": "v1.0.0"}
            await until(lambda: gateway.deployments.versions["prod"] == "v1.0.0")
            await until(lambda: load.answers[-1].version == "v1.0.0")
        assert load.outcomes() == {"answered": len(load.answers)}

    with stubs() as launcher, caplog.at_level(logging.INFO):
        play(source, launcher, script, warm_seconds=0.2 if case == "time over" else 60.0)
        assert [version for version, _ in launcher.started].count("v1.0.0") == starts
        assert not [stub for _, stub in launcher.started if stub.process.poll() is None]


def test_customers_stay_on_their_side_and_the_share_is_met() -> None:
    async def script(gateway: Gateway) -> list[Trace]:
        return await asyncio.gather(*(ask(gateway, group=f"customer-{number % 40}") for number in range(200)))

    with stubs() as launcher:
        serve = params(routing__canary=0.3)
        found = play(Wants(prod="v1.0.0", canary="v1.1.0"), launcher, script, serve=serve)
    by_customer: dict[str, set[str]] = {}
    for trace in found:
        by_customer.setdefault(str(trace.group), set()).add(trace.route)
        assert trace.version == {"prod": "v1.0.0", "canary": "v1.1.0"}[trace.route]
        customer = customer_of(trace.group, trace.caller, trace.request)
        assert trace.route == side_of(customer, "v1.1.0", 0.3)
    assert all(len(routes) == 1 for routes in by_customer.values())
    assert 3 <= sum(routes == {"canary"} for routes in by_customer.values()) <= 25


def test_a_shadow_answers_nobody_and_slows_nobody() -> None:
    async def script(gateway: Gateway) -> list[Trace]:
        answers = [await ask(gateway, request=f"rq-{number}") for number in range(10)]
        await until(lambda: len(kept.traces) == 10)
        os.kill(launcher.running("v1.1.0")[0].process.pid, signal.SIGSTOP)  # a shadow that hangs
        start = time.monotonic()
        answers += [await ask(gateway) for _ in range(30)]
        assert time.monotonic() - start < 100
        assert metrics.registry.get_sample_value("hallmark_shadow_left_out_total") == 14  # 16 wait for it
        return answers

    metrics, kept = Metrics(), Kept()
    with stubs() as launcher:
        serve, source = params(routing__canary=0.0, routing__shadow=True), Wants(prod="v1.0.0", canary="v1.1.0")
        answers = play(source, launcher, script, serve=serve, metrics=metrics, kept=kept)
    assert {(trace.route, trace.version, trace.outcome) for trace in answers} == {("prod", "v1.0.0", "answered")}
    shadows = kept.traces[:10]
    assert {(trace.route, trace.version, trace.outcome) for trace in shadows} == {("shadow", "v1.1.0", "answered")}
    assert {trace.request for trace in shadows} == {f"rq-{number}" for number in range(10)}
    assert len({trace.id for trace in answers + kept.traces}) == len(answers) + len(kept.traces)


def test_a_gateway_that_is_closed_while_a_server_starts_leaves_none() -> None:
    source = Wants(prod="v1.0.0")

    async def script(gateway: Gateway) -> None:
        source.sides = {"prod": "v1.1.0"}
        await until(lambda: "v1.1.0" in launcher.begun)

    with stubs() as launcher:
        play(source, launcher, script)
        wait_for(lambda: [stub.process.poll() is None for _, stub in launcher.started] == [False, False])


def test_promoted_taken_back_and_promoted_again_is_one_start_and_what_nobody_wants_by_then_is_kept() -> None:
    source = Wants(prod="v1.0.0")

    def servers(gateway: Gateway) -> set[tuple[str | None, ...]]:
        return {(server["stage"], server["version"], server["state"]) for server in gateway.deployments.servers}

    async def script(gateway: Gateway) -> None:
        launcher.held = {"v2.0.0"}
        for version in ("v2.0.0", "v1.0.0", "v2.0.0"):
            source.sides = {"prod": version}
            await looked(source)
        assert servers(gateway) == {("prod", "v1.0.0", "serving"), ("prod", "v2.0.0", "starting")}
        launcher.held = {"v3.0.0"}
        await until(lambda: servers(gateway) == {("prod", "v2.0.0", "serving"), (None, "v1.0.0", "warm")})
        for version in ("v3.0.0", "v2.0.0"):
            source.sides = {"prod": version}
            await looked(source)
        launcher.held.clear()
        await until(lambda: (None, "v3.0.0", "warm") in servers(gateway))
        assert gateway.deployments.versions == {"prod": "v2.0.0"}
        until_when = next(server["until"] for server in gateway.deployments.servers if server["version"] == "v3.0.0")
        left = datetime.fromisoformat(str(until_when)) - datetime.now(UTC)
        assert 0 < left.total_seconds() <= 60
        source.sides = {"prod": "v3.0.0"}
        await until(lambda: ("prod", "v3.0.0", "serving") in servers(gateway))
        assert [version for version, _ in launcher.started] == ["v1.0.0", "v2.0.0", "v3.0.0"]

    with stubs() as launcher:
        play(source, launcher, script, warm_seconds=60.0)
