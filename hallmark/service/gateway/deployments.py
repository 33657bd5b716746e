"""The servers that answer now, and how others take over without a request being lost.

What the registry wants is looked up every `serve.poll_seconds`, and `_settle` brings the servers there: a release whose
server runs takes its side at once, by one assignment; another is started while the old one answers, and takes over then. A
server that was replaced finishes its requests, for at most `serve.drain_seconds`, and stays ready for `serve.warm_seconds`,
unless a start needs its memory: a rollback to it waits for nothing. A start is never cut short. A server that died is
started again; a release that can't be started changes nothing for the one that answers.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

from hallmark.base.errors import HallmarkError
from hallmark.params.service import Serve
from hallmark.serve.server import DEATH_WINDOW
from hallmark.service.gateway.launching import Launched, Launcher, cancelled, in_thread
from hallmark.service.gateway.releases import SIDES, Side, Source, Wanted
from hallmark.service.gateway.telemetry import Metrics

LOOK_SECONDS = 2.0  # between two looks at the health of a server
PAUSES = (
    0.5,
    10.0,
    60.0,
)  # seconds before a dead server is started again, by its deaths of late; the last for all others
RETRIES = (15.0, 60.0, 300.0)  # seconds before a release that could not be started is tried again
log = logging.getLogger("serve")


class Running:
    """A server and the requests under way in it.

    A machine with a price an hour costs the same whether it answers one request or sixty. So each moment that a server is at
    work is shared evenly among the requests under way in it. Time without requests is nobody's.
    """

    def __init__(self, launched: Launched, wanted: Wanted, clock: Callable[[], float] = time.monotonic) -> None:
        self.launched, self.wanted, self.under_way = launched, wanted, 0
        self.idle, self.suspect = asyncio.Event(), asyncio.Event()  # `suspect`: a request found it down
        self.idle.set()
        self.warm_until: datetime | None = None
        self.guard: asyncio.Task[None] | None = None  # sees that it has died
        self.drain: asyncio.Task[None] | None = None  # stops it, once it was replaced
        self._clock, self._shared, self._last = clock, 0.0, clock()

    def begin(self) -> float:
        """A request is under way from now on; what is returned is handed to `end`."""
        self._advance()
        self.under_way += 1
        self.idle.clear()
        return self._shared

    def end(self, began: float) -> float:
        """A request ends: its share of the server's time, in seconds."""
        self._advance()
        self.under_way -= 1
        if not self.under_way:
            self.idle.set()
        return self._shared - began

    def _advance(self) -> None:
        now = self._clock()
        if self.under_way:
            self._shared += (now - self._last) / self.under_way
        self._last = now


@dataclass(frozen=True, slots=True)
class Serving:
    wanted: Wanted
    running: Running


class Deployments:
    """The servers of prod and canary, kept as `source` wants them.

    Without `follow`, that of prod alone, which stays whatever the source wants later.
    """

    def __init__(
        self, source: Source, launcher: Launcher, serve: Serve, *, metrics: Metrics | None = None, follow: bool = True
    ) -> None:
        self._source, self._launcher, self._metrics = source, launcher, metrics or Metrics()
        self._serve, self._follows = serve, follow
        self._aim: dict[Side, Wanted] = {}  # what is wanted now
        self._sides: dict[Side, Serving] = {}
        # By the key of a release: its server, its start, and how often it died or could not be started lately, the last time
        # of that, and when to try again.
        self._running: dict[str, Running] = {}
        self._starts: dict[str, tuple[Side, Wanted, asyncio.Task[None]]] = {}
        self._troubles: dict[str, tuple[int, float, float]] = {}
        self._error: BaseException | None = None  # of the last start
        self._poll_task: asyncio.Task[None] | None = None
        self._stopping: set[asyncio.Task[None]] = set()
        self._unread = self._closed = False  # `unread`: the registry could not be read last time

    def serving(self, side: Side) -> Serving | None:
        return self._sides.get(side)

    def answering(self, side: Side) -> Serving | None:
        """What answers there: without a canary, prod."""
        return self._sides.get(side) or self._sides.get("prod")

    @property
    def versions(self) -> dict[Side, str]:
        return {side: serving.wanted.version for side, serving in self._sides.items()}

    @property
    def names(self) -> list[str]:
        """The names of the models, that of prod first."""
        found = [serving.running.launched.name for side in SIDES if (serving := self._sides.get(side)) is not None]
        return [*dict.fromkeys(found)]

    @property
    def servers(self) -> list[dict[str, str | None]]:
        """Each server: its stage if it has one, its version, its state, and until when it stays ready."""
        found: list[dict[str, str | None]] = []
        for side, serving in self._sides.items():
            state = "serving" if serving.running in self._running.values() else "restarting"
            found.append({"stage": side, "version": serving.wanted.version, "state": state, "until": None})
        used = [serving.running for serving in self._sides.values()]
        for running in self._running.values():
            if running not in used:
                until = f"{running.warm_until:%Y-%m-%dT%H:%M:%SZ}" if running.warm_until else None
                state = "warm" if until else "draining"
                found.append({"stage": None, "version": running.wanted.version, "state": state, "until": until})
        for side, wanted, _ in self._starts.values():
            if not any(it["state"] == "restarting" and it["version"] == wanted.version for it in found):
                found.append({"stage": side, "version": wanted.version, "state": "starting", "until": None})
        return found

    async def start(self) -> None:
        """Start what is wanted, and follow the registry from then on. A HallmarkError if prod can't be started."""
        wanted = await in_thread(self._source.wanted)
        if "prod" not in wanted:
            raise HallmarkError(
                "there is no release to serve",
                remedy="run `dvc repro`, register it with `nox -s release`, and promote it with `nox -s promote`; or name a folder",
            )
        sides: tuple[Side, ...] = SIDES if self._follows else ("prod",)
        for side in sides:  # prod first: without it, there is nothing
            if side in wanted:
                self._aim[side] = wanted[side]
            self._settle()
            await asyncio.gather(*(task for *_, task in self._starts.values()))
            if "prod" not in self._sides:
                assert self._error is not None
                raise self._error
        if self._follows:
            self._poll_task = asyncio.create_task(self._poll())

    async def close(self) -> None:
        """Let what is under way finish, as long as draining may take, and stop the servers."""
        self._closed = True
        await cancelled(self._poll_task, *(task for *_, task in self._starts.values()))
        running = list(self._running.values())
        await cancelled(*(one.guard for one in running), *(one.drain for one in running))
        with suppress(TimeoutError):
            async with asyncio.timeout(self._serve.drain_seconds):
                await asyncio.gather(*(one.idle.wait() for one in running))
        self._sides = {}
        for key, one in [*self._running.items()]:
            self._stop(key, one)
        await asyncio.gather(*self._stopping)

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(self._serve.poll_seconds)
            try:
                wanted = await in_thread(self._source.wanted)
            except Exception as error:  # whatever is wrong with the registry, what answers goes on
                if not self._unread:
                    log.error("the registry can't be read, so what answers stays the same: %s", _words(error))
                self._unread = True
                self._metrics.count("hallmark_registry_errors_total")
                continue
            self._unread = False
            if "prod" in wanted:
                self._aim = wanted
                self._settle()

    def _settle(self) -> None:
        """Take every step towards what is wanted that waits for nothing; a start calls this again when it is done."""
        if self._closed:
            return
        for side in SIDES:
            want, now = self._aim.get(side), self._sides.get(side)
            if side == "canary" and now is not None and now.wanted != want:  # it is none any more
                self._take(side, None)
            key = None if want is None else self._launcher.key(want, side)
            running = None if key is None else self._running.get(key)
            if want is not None and running is not None and running.drain is None:
                if now is None or now.wanted != want or now.running is not running:
                    self._take(side, Serving(want, running))
            elif want is not None and key is not None and self._may_start(key):
                self._starts[key] = side, want, asyncio.create_task(self._start(key, want, side))
        wanted = {self._launcher.key(want, side) for side, want in self._aim.items()}
        used = [serving.running for serving in self._sides.values()]
        for key, running in self._running.items():
            if running not in used and key not in wanted and running.drain is None:
                running.drain = asyncio.create_task(self._drain(key, running))
        self._metrics.gauge("hallmark_servers_draining", sum(one.drain is not None for one in self._running.values()))

    def _may_start(self, key: str) -> bool:
        return key not in self._starts and (key not in self._troubles or time.monotonic() >= self._troubles[key][2])

    def _take(self, side: Side, serving: Serving | None) -> None:
        """Have a server answer on a side, or none."""
        before = self._sides.pop(side, None)
        if serving is not None:
            self._sides[side] = serving
        for value, one in ((0, before), (1, serving)):
            if one is not None:
                labels = {"version": one.wanted.version, "digest": one.wanted.digest[:12]}
                self._metrics.gauge("hallmark_release_info", value, side=side, **labels)
        if before is not None and serving is not None and before.wanted == serving.wanted:
            log.info("the server of %s answers again", serving.wanted.version)
        elif self._poll_task is not None:  # the start has its own words
            self._metrics.count("hallmark_release_swaps_total", side=side)
            was = f", before {before.wanted.version}" if before else ""
            log.info("%s is now %s%s", side, serving.wanted.version if serving else "nobody", was)

    async def _start(self, key: str, want: Wanted, side: Side) -> None:
        """Have a server that is kept ready, or start one; whoever wants it by the time that it is there."""
        try:
            if not await self._is_ready(key):
                await self._make_room(key)
                start = time.monotonic()
                launched = await in_thread(lambda: self._launcher.launch(want, side), lambda it: it.stop())
                self._metrics.observe("hallmark_release_start_seconds", time.monotonic() - start, side=side)
                running = self._running[key] = Running(launched, want)
                running.guard = asyncio.create_task(self._guard(key, running))
        except Exception as error:
            self._error = error
            self._metrics.count("hallmark_release_failures_total", side=side)
            if self._sides:
                stays = f"where {now.wanted.version} stays" if (now := self._sides.get(side)) else "so prod answers all"
                log.error("%s can't be started as %s, %s: %s", want.version, side, stays, _words(error))
            self._again(key, RETRIES)
        finally:
            del self._starts[key]
        self._settle()

    async def _is_ready(self, key: str) -> bool:
        """Whether a server that was replaced can answer again; if so, it is stopped no more."""
        kept = self._running.get(key)
        if kept is None:
            return False
        trouble = await in_thread(kept.launched.trouble)
        if self._running.get(key) is not kept:
            return False
        if trouble is not None:
            self._stop(key, kept)
            return False
        if kept.drain is not None:
            kept.drain.cancel()
        kept.drain = kept.warm_until = None
        return True

    def _again(self, key: str, pauses: Sequence[float]) -> float:
        """Have a release started after a pause, which is longer each time; how long it is."""
        now = time.monotonic()
        times, last, _ = self._troubles.get(key, (0, now, now))
        times = 1 + (times if now - last < DEATH_WINDOW else 0)
        pause = pauses[min(times, len(pauses)) - 1]
        self._troubles[key] = times, now, now + pause
        asyncio.get_running_loop().call_later(pause + 0.01, self._settle)
        return pause

    async def _make_room(self, key: str) -> None:
        """Before a server starts: stop those that are only kept ready, and wait for others that start, if there is no memory
        for all; ready ones also if it could not be started before, perhaps since it needs more memory than others."""
        while True:
            names = list(self._starts)
            before = [self._starts[other][2] for other in names[: names.index(key)]]
            like = next(iter(self._running.values()), None)
            room = like is not None and await in_thread(partial(like.launched.room, 1 + len(before)))
            ready = [(it, one) for it, one in self._running.items() if one.drain is not None and not one.under_way]
            if ready and (key in self._troubles or not room):
                for other, one in ready:
                    log.info("the server of %s is stopped: its memory is needed", one.wanted.version)
                    self._stop(other, one)
                await asyncio.gather(*self._stopping)
            elif before and not room:
                await asyncio.wait(before, return_when=asyncio.FIRST_COMPLETED)
            else:
                return

    async def _drain(self, key: str, running: Running) -> None:
        """Let a server that was replaced finish its requests, keep it ready for a while, then stop it."""
        version, warm = running.wanted.version, self._serve.warm_seconds
        with suppress(TimeoutError):
            async with asyncio.timeout(self._serve.drain_seconds):
                await running.idle.wait()
        if running.under_way:
            log.warning("a replaced server is stopped with %d requests under way", running.under_way)
        elif warm and await in_thread(partial(running.launched.room, 1)):
            log.info("the server of %s stays ready for %g s, in case it is needed again", version, warm)
            running.warm_until = datetime.now(UTC) + timedelta(seconds=warm)
            await asyncio.sleep(warm)
            log.info("the server of %s is used no more", version)
        running.drain = None
        self._stop(key, running)
        self._settle()

    def _stop(self, key: str, running: Running) -> None:
        """Nobody gets this server again; it is stopped, whether anyone waits for that or not."""
        if self._running.get(key) is not running:
            return  # it is stopped already
        del self._running[key]

        async def stop() -> None:
            await cancelled(running.guard, running.drain)
            await in_thread(running.launched.stop)
            await running.launched.upstream.close()

        task = asyncio.create_task(stop())
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)

    async def _guard(self, key: str, running: Running) -> None:
        """Have a server that died started again, after a pause; until then, requests to it fail."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await running.suspect.wait()
            running.suspect.clear()
            if (trouble := await in_thread(running.launched.trouble)) is not None:
                break
        running.guard = None
        if running.drain is None and self._running.get(key) is running:
            version, pause = running.wanted.version, self._again(key, PAUSES)
            log.error("the server of %s %s; starting it again in %g s", version, trouble, pause)
            self._metrics.count("hallmark_server_restarts_total", version=version)
        self._stop(key, running)
        self._settle()


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, HallmarkError) else f"unforeseen {type(error).__name__}"
