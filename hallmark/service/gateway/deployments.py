"""The servers that answer now, and how others take over without a request being lost.

What the registry wants is looked up every `serve.poll_seconds`. The server of a new release is started first, while the
old one answers. Once it does too, one assignment makes it the one for all requests from then on. The old one finishes those
that it has, for at most `serve.drain_seconds`. If memory allows, it then stays ready for `serve.warm_seconds`, so that a
rollback waits for no start, and is stopped. A release that moves from canary to prod keeps its server.
A start is never cut short: what nobody wants by the time that it is done is kept ready too, and the start of what is wanted
again goes on. Two start at once only if memory has room for both. A server that dies is started again; a release that can't be started changes nothing for the one that answers.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from hallmark.base.errors import HallmarkError
from hallmark.params.service import Serve
from hallmark.serve.server import DEATH_WINDOW
from hallmark.service.gateway.launching import Launched, Launcher
from hallmark.service.gateway.metrics import Metrics
from hallmark.service.gateway.price import Meter
from hallmark.service.gateway.releases import Source, Wanted
from hallmark.service.gateway.routing import SIDES, Side

LOOK_SECONDS = 2.0  # between two looks at the health of a server
# Seconds before a dead server is started again, by its deaths of late; the last for all others.
PAUSES = (0.5, 10.0, 60.0)
RETRIES = (15.0, 60.0, 300.0)  # seconds before a release that could not be started is tried again
Result = TypeVar("Result")
log = logging.getLogger("serve")


class Running:
    """A server and the requests under way in it."""

    def __init__(self, launched: Launched, version: str) -> None:
        self.launched, self.version, self.meter, self.under_way = launched, version, Meter(), 0
        self.suspect = asyncio.Event()  # a request found it down
        self.idle = asyncio.Event()
        self.idle.set()
        self.deaths: deque[float] = deque(maxlen=len(PAUSES))
        self.down = False  # it has died, and is started again
        self.warm_until: datetime | None = None
        self.guard: asyncio.Task[None] | None = None  # starts it again when it has died
        self.drain: asyncio.Task[None] | None = None  # stops it, once it was replaced

    @contextmanager
    def taken(self) -> Iterator[None]:
        """A request is under way in it during the block."""
        self.under_way += 1
        self.idle.clear()
        try:
            yield
        finally:
            self.under_way -= 1
            if not self.under_way:
                self.idle.set()


@dataclass(frozen=True, slots=True)
class Serving:
    wanted: Wanted
    running: Running


@dataclass(frozen=True, slots=True)
class Start:
    """A server that starts, and the side that it was first wanted for."""

    version: str
    side: Side
    task: asyncio.Task[Running]


class Deployments:
    """The servers of prod and canary, kept as `source` wants them.

    Without `follow`, that of prod alone, which stays whatever the source wants later.
    """

    def __init__(
        self,
        source: Source,
        launcher: Launcher,
        serve: Serve,
        *,
        metrics: Metrics | None = None,
        follow: bool = True,
    ) -> None:
        self._source, self._launcher, self._metrics = source, launcher, metrics or Metrics()
        self._serve, self._follows = serve, follow
        self._sides: dict[Side, Serving] = {}
        self._running: dict[str, Running] = {}
        self._starts: dict[str, Start] = {}
        self._aim: dict[Side, Wanted] = {}  # what was wanted last
        self._failed: dict[str, tuple[int, float]] = {}  # by key: times it could not be started, and when to try again
        self._follow: asyncio.Task[None] | None = None
        self._stopping: set[asyncio.Task[None]] = set()
        self._unread = False  # whether the registry could not be read last time

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
        for running in self._running.values():
            until = running.warm_until
            state = "restarting" if running.down else "warm" if until else "draining" if running.drain else "serving"
            about = {"version": running.version, "state": state}
            stages: list[str | None] = [side for side, now in self._sides.items() if now.running is running]
            for stage in stages or [None]:
                found.append({"stage": stage, **about, "until": f"{until:%Y-%m-%dT%H:%M:%SZ}" if until else None})
        starting = {"state": "starting", "until": None}
        return found + [{"stage": it.side, "version": it.version, **starting} for it in self._starts.values()]

    async def start(self) -> None:
        """Start what is wanted, and follow the registry from then on. A HallmarkError if prod can't be started."""
        wanted = self._aim = await in_thread(self._source.wanted)
        if "prod" not in wanted:
            raise HallmarkError(
                "there is no release to serve",
                remedy="run `dvc repro`, register it with `nox -s release`, and promote it with `nox -s promote`; or name a folder",
            )
        try:
            await self._take_up("prod", wanted["prod"])
            if self._follows:
                await self._turn(wanted)
        except BaseException:
            await self.close()
            raise
        if self._follows:
            self._follow = asyncio.create_task(self._poll())

    async def close(self) -> None:
        """Let what is under way finish, as long as draining may take, and stop the servers."""
        await _cancelled([self._follow])  # first: it may be about to start one
        await _cancelled([start.task for start in self._starts.values()])  # and what has started has a guard, too
        running = list(self._running.values())
        await _cancelled([*(one.guard for one in running), *(one.drain for one in running)])
        with suppress(TimeoutError):
            async with asyncio.timeout(self._serve.drain_seconds):
                await asyncio.gather(*(one.idle.wait() for one in self._running.values()))
        self._sides = {}
        await asyncio.gather(*(self._stopped(key) for key in list(self._running)), *self._stopping)

    async def _poll(self) -> None:
        """Follow the registry. A rollback does not wait for a server that starts: what is wanted now goes first."""
        turn: asyncio.Task[None] | None = None
        try:
            while True:
                await asyncio.sleep(self._serve.poll_seconds)
                wanted = await self._read()
                if "prod" in wanted and (turn is None or turn.done() or wanted != self._aim):
                    await _cancelled([turn])
                    self._aim, turn = wanted, asyncio.create_task(self._turn(wanted))
        finally:
            await _cancelled([turn])

    async def _read(self) -> dict[Side, Wanted]:
        """What the registry wants; nothing if it can't be read."""
        try:
            wanted = await in_thread(self._source.wanted)
        except Exception as error:  # whatever is wrong with the registry, what answers goes on
            if not self._unread:
                words = error if isinstance(error, HallmarkError) else type(error).__name__
                log.error("the registry can't be read, so the releases that answer stay the same: %s", words)
            self._unread = True
            self._metrics.count("hallmark_registry_errors_total")
            return {}
        self._unread = False
        return wanted

    async def _turn(self, wanted: dict[Side, Wanted]) -> None:
        """Make the sides what is wanted, as far as that can be started."""
        for side in SIDES:
            want, now = wanted.get(side), self._sides.get(side)
            if want is None:
                if now is not None:
                    del self._sides[side]
                    self._tell(side, now, None)
            elif now is None or now.wanted != want:
                if side == "canary" and now is not None:  # it is none any more, whether the next one starts or not
                    del self._sides[side]
                    self._tell(side, now, None)
                with suppress(HallmarkError):
                    await self._take_up(side, want)
        used = {id(serving.running) for serving in self._sides.values()}
        for key, running in self._running.items():
            if id(running) not in used and running.drain is None:
                running.drain = asyncio.create_task(self._drain(key, running))

    async def _take_up(self, side: Side, want: Wanted) -> None:
        """Have a release answer on a side, started if it isn't running; a HallmarkError, which was logged, if it can't be."""
        key = self._launcher.key(want, side)
        if (running := self._running.get(key)) is not None:  # it is wanted again
            drain, running.drain = running.drain, None
            await _cancelled([drain])
            self._tell_draining()
            if drain is not None and await in_thread(running.launched.trouble) is not None:  # nobody was on guard
                await self._stopped(key)
        running = self._running.get(key) or await self._started(key, want, side)  # if it was too late
        before, self._sides[side] = self._sides.get(side), Serving(want, running)
        self._tell(side, before, self._sides[side])

    async def _started(self, key: str, want: Wanted, side: Side) -> Running:
        """A server that was started, by now or on the way already: a start goes on if who waited for it does not."""
        if key not in self._starts:
            times, again = self._failed.get(key, (0, 0.0))
            if time.monotonic() < again:
                raise HallmarkError("could not be started just now", remedy="see the log")
            while self._starts and not await self._room(1 + len(self._starts)):
                await asyncio.wait([start.task for start in self._starts.values()], return_when=asyncio.FIRST_COMPLETED)
            await self._make_room(failed=times > 0)
            self._starts[key] = Start(want.version, side, asyncio.create_task(self._start(key, want, side)))
        return await asyncio.shield(self._starts[key].task)

    async def _room(self, count: int) -> bool:
        """Whether memory has room for that number of servers more, like one that answers."""
        like = next((serving.running.launched for serving in self._sides.values()), None)
        return like is not None and await in_thread(partial(like.room, count))

    async def _start(self, key: str, want: Wanted, side: Side) -> Running:
        start = time.monotonic()
        try:
            launched = await in_thread(lambda: self._launcher.launch(want, side), lambda it: it.stop())
        except Exception as error:
            times, _ = self._failed.get(key, (0, 0.0))
            self._failed[key] = times + 1, time.monotonic() + RETRIES[min(times, len(RETRIES) - 1)]
            self._metrics.count("hallmark_release_failures_total", side=side)
            if not self._sides and side == "prod":
                raise
            words = error if isinstance(error, HallmarkError) else f"unforeseen {type(error).__name__}"
            stays = f"where {now.wanted.version} stays" if (now := self._sides.get(side)) else "so prod answers all"
            log.error("%s can't be started as %s, %s: %s", want.version, side, stays, words)
            raise HallmarkError("could not be started", remedy="see the log") from None
        finally:
            del self._starts[key]
        self._failed.pop(key, None)
        self._metrics.observe("hallmark_release_start_seconds", time.monotonic() - start, side=side)
        running = self._running[key] = Running(launched, want.version)
        running.guard = asyncio.create_task(self._guard(running, want, side))
        if all(self._launcher.key(now, at) != key for at, now in self._aim.items()):  # it is not wanted any more
            running.drain = asyncio.create_task(self._drain(key, running))
        return running

    def _tell(self, side: Side, before: Serving | None, now: Serving | None) -> None:
        if before is not None:
            self._metrics.gauge("hallmark_release_info", 0, side=side, **_labels(before.wanted))
        if now is not None:
            self._metrics.gauge("hallmark_release_info", 1, side=side, **_labels(now.wanted))
        if self._follow is None:
            return  # the start, which has its own words
        self._metrics.count("hallmark_release_swaps_total", side=side)
        was = f", before {before.wanted.version}" if before else ""
        log.info("%s is now %s%s", side, now.wanted.version if now else "nobody", was)

    async def _drain(self, key: str, running: Running) -> None:
        """Let a server that was replaced finish its requests, keep it ready for a while, then stop it."""
        self._tell_draining()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._serve.drain_seconds):
                await running.idle.wait()
        if running.under_way:
            log.warning("a replaced server is stopped with %d requests under way", running.under_way)
        elif self._serve.warm_seconds and await in_thread(running.launched.trouble) is None:
            if await in_thread(partial(running.launched.room, 1)):
                words = "the server of %s stays ready for %g s, in case it is needed again"
                log.info(words, running.version, self._serve.warm_seconds)
                running.warm_until = datetime.now(UTC) + timedelta(seconds=self._serve.warm_seconds)
                try:
                    await asyncio.sleep(self._serve.warm_seconds)
                finally:
                    running.warm_until = None
            log.info("the server of %s is used no more", running.version)
        await self._stopped(key)
        self._tell_draining()

    async def _make_room(self, *, failed: bool) -> None:
        """Before another server starts: stop those that are only kept ready, if there is no memory for it otherwise.

        `failed`: it could not be started before, perhaps since it needs more memory than they do.
        """
        for key, running in list(self._running.items()):
            if running.drain is None or running.under_way:
                continue
            if failed or not await in_thread(partial(running.launched.room, 1)):
                log.info("the server of %s is stopped: its memory is needed", running.version)
                drain, running.drain = running.drain, None  # cancelled here, the next turn drains it again
                await _cancelled([drain])
                await self._stopped(key)
        self._tell_draining()

    def _tell_draining(self) -> None:
        draining = sum(running.drain is not None for running in self._running.values())
        self._metrics.gauge("hallmark_servers_draining", draining)

    async def _stopped(self, key: str) -> None:
        """Stop a server; once begun, that is done whether anyone waits for it or not, and nobody gets the server again."""
        if (running := self._running.pop(key, None)) is not None:
            task = asyncio.create_task(self._stop(running))
            self._stopping.add(task)
            task.add_done_callback(self._stopping.discard)
            await asyncio.shield(task)

    async def _stop(self, running: Running) -> None:
        await _cancelled([running.guard])
        await in_thread(running.launched.stop)
        await running.launched.upstream.close()

    async def _guard(self, running: Running, want: Wanted, side: Side) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await running.suspect.wait()
            running.suspect.clear()
            trouble = await in_thread(running.launched.trouble)
            if trouble is None or running.drain is not None:
                continue
            now, running.down = time.monotonic(), True
            running.deaths.append(now)
            pause = PAUSES[sum(now - death < DEATH_WINDOW for death in running.deaths) - 1]
            log.error("the server of %s %s; starting it again in %g s", want.version, trouble, pause)
            self._metrics.count("hallmark_server_restarts_total", version=want.version)
            await in_thread(running.launched.stop)
            await running.launched.upstream.close()
            while True:
                await asyncio.sleep(pause)
                try:
                    running.launched = await in_thread(lambda: self._launcher.launch(want, side), lambda it: it.stop())
                except Exception as error:
                    words = error if isinstance(error, HallmarkError) else f"unforeseen {type(error).__name__}"
                    pause = PAUSES[-1]
                    log.error("the server of %s can't be started; tried again in %g s: %s", want.version, pause, words)
                else:
                    break
            running.suspect.clear()
            running.down = False
            log.info("the server of %s answers again", want.version)


def _labels(wanted: Wanted) -> dict[str, str]:
    return {"version": wanted.version, "digest": wanted.digest[:12]}


async def _cancelled(tasks: list[asyncio.Task[Any] | None]) -> None:
    live = [task for task in tasks if task is not None]
    for task in live:
        task.cancel()
    await asyncio.gather(*live, return_exceptions=True)


async def in_thread(call: Callable[[], Result], unwanted: Callable[[Result], None] | None = None) -> Result:
    """What a blocking call returns. Its thread holds up nothing: neither other calls, nor the end of the process.

    `unwanted`: what is done with a result that nobody waits for any more, since the caller was cancelled.
    """
    done: concurrent.futures.Future[Result] = concurrent.futures.Future()
    done.set_running_or_notify_cancel()  # from now on, no caller that gives up can cancel it

    def work() -> None:
        try:
            done.set_result(call())
        except BaseException as error:
            done.set_exception(error)

    def discard(ended: concurrent.futures.Future[Result]) -> None:
        if unwanted is not None and ended.exception() is None:
            threading.Thread(target=unwanted, args=[ended.result()], daemon=True).start()

    threading.Thread(target=work, daemon=True).start()
    try:
        return await asyncio.wrap_future(done)
    except asyncio.CancelledError:
        done.add_done_callback(discard)
        raise
