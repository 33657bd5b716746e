"""Ask the servers of models at a load, the models by turns, and sum up what came back."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from hallmark.base.errors import HallmarkError
from hallmark.base.machine import Others, busy
from hallmark.base.progress import Progress
from hallmark.serve.load import Outcome, send_all, summarize
from hallmark.serve.params import Benchmark
from hallmark.serve.server import Server

if TYPE_CHECKING:
    from httpx import AsyncClient

KEY_VARIABLE = "BENCHMARK_API_KEY"  # environment variable with the key of an endpoint that wants one
WARMUP_TOKENS = 16  # it is the prompts that a server must have seen before; more answer would only take time
BLOCKS = 8  # the most blocks that a level is cut into; models take turns after each
ROUNDS = 2  # the fewest requests of each caller in a block
log = logging.getLogger("benchmark")

Body = dict[str, Any]  # messages, and tools if the record has them
Level = dict[str, Any]  # one load and what was measured at it


class Bench:
    """Sends prompts to the servers' models at a load, and sums up what came back."""

    def __init__(
        self, servers: dict[str, Server], clients: dict[str, AsyncClient], settings: Benchmark, seed: int
    ) -> None:
        self.servers, self.clients, self.settings, self.seed = servers, clients, settings, seed
        self.first: dict[str, list[Outcome]] = {}  # of each model's first level, in the order of the prompts

    async def warm_up(self, model: str, prompts: list[Body]) -> None:
        await self._send(model, prompts, WARMUP_TOKENS, {"concurrency": len(prompts)})

    async def _send(
        self, model: str, prompts: list[Body], max_tokens: int, load: Level, progress: Progress | None = None
    ) -> list[Outcome]:
        body = self.servers[model].body(model, max_tokens)
        bodies = [prompt | body for prompt in prompts]

        def answered() -> None:
            if progress:
                progress.spent(*cost(load))
                progress.add()

        return await send_all(
            self.clients[model], bodies, timeout=self.settings.timeout, seed=self.seed, answered=answered, **load
        )

    async def level(self, turn: list[str], load: Level, prompts: list[Body], progress: Progress) -> dict[str, Level]:
        """One level, the models by turns (A B, B A, ...), so that a slow moment of the machine falls on both.

        Raises HallmarkError if a server died; `turn` is left in the order in which the next level starts.
        """
        outcomes: dict[str, list[list[Outcome]]] = {model: [] for model in turn}
        others = {model: Others() for model in turn}
        for block in blocks(prompts, load):
            for model in turn:
                progress.to(progress.done, asking=f"{model} at {words_of(load)}")
                with others[model].watched():
                    outcomes[model].append(await self._send(model, block, self.settings.max_tokens, load, progress))
            turn.reverse()
        levels = {}
        for model, blocks_sent in outcomes.items():
            self.first.setdefault(model, [outcome for block in blocks_sent for outcome in block])
            result = summarize(blocks_sent, self.settings.objective)
            if (trouble := self.servers[model].trouble()) is not None:
                raise failed(model, trouble, load, result["failures"], self.servers[model].last_words)
            seconds, speed = result["latency_s"]["p95"], result["output_tokens_per_second"]
            log.info("%s at %s: p95 latency %s s, %.1f tokens a second", model, words_of(load), seconds, speed)
            # An endpoint may run on this machine, and would then count among the others.
            by_others = others[model].load if self.servers[model].process else None
            if said := busy(by_others):
                log.warning("%s at %s: %s", model, words_of(load), said)
            levels[model] = load | result | {"load_by_others": by_others}
        return levels


def progress_of(loads: Sequence[Level], requests: int) -> Progress:
    work = {"requests": 0.0, "seconds": 0.0}
    for kind, amount in map(cost, loads):
        work[kind] += amount * requests
    return Progress("benchmark", len(loads) * requests, "requests", work=work)


def cost(load: Level) -> tuple[str, float]:
    """What a request takes: in an open loop, a time that is known."""
    return ("seconds", 1 / load["rate"]) if "rate" in load else ("requests", 1)


def words_of(load: Level) -> str:
    """`concurrency 4` or `rate 0.5`."""
    return " ".join(f"{kind} {value:g}" for kind, value in load.items())


def failed(model: str, what: str, load: Level, failures: dict[str, int], words: str = "") -> HallmarkError:
    """The error of a server that died or answered nothing."""
    return HallmarkError(
        f"the server of {model} {what} at {words_of(load)}: {failures}{words}",
        remedy="lower the load, raise benchmark.timeout, or give the server more memory",
    )


def unanswered(level: Level) -> bool:
    """Whether no request of a level was answered."""
    return bool(level["errors"] + level["timeouts"] == level["requests"])


def blocks(prompts: list[Body], load: Level) -> list[list[Body]]:
    """A closed loop's prompts in up to BLOCKS blocks, each of at least ROUNDS requests a caller.

    At the end of a block fewer requests are under way, so short ones would measure a lower load. An open loop is one
    block: what waits at the end of a block would not be there at the start of the next.
    """
    if "rate" in load:
        return [prompts]
    count = max(1, min(BLOCKS, len(prompts) // (ROUNDS * load["concurrency"])))
    cuts = [len(prompts) * i // count for i in range(count + 1)]
    return [prompts[start:end] for start, end in pairwise(cuts)]


def largest_load(levels: list[Level], share: float) -> dict[str, Any]:
    """The largest concurrency and rate measured at which, and at all below, `share` of requests kept the objective.

    `words` says so; "or more" if no level missed the objective.
    """
    largest: dict[str, Any] = {}
    words = []
    for kind, unit in (("concurrency", "at once"), ("rate", "a second")):
        largest[kind] = None
        ordered = sorted((level for level in levels if kind in level), key=lambda level: level[kind])
        broken = next((level[kind] for level in ordered if level["objective_kept"] < share), None)
        kept = [level[kind] for level in ordered if broken is None or level[kind] < broken]
        if kept:
            largest[kind] = kept[-1]
            words.append(f"{kept[-1]:g} {'or more ' if broken is None else ''}{unit}")
        elif ordered:
            words.append(f"below {broken:g} {unit}")
    return largest | {"words": ", ".join(words)}


def connect(server: Server, timeout: float) -> AsyncClient:
    """A client of the server; no proxy on the way to one of ours, and no key but for an endpoint."""
    import httpx

    own = server.process is not None
    headers = {"Accept-Encoding": "identity"}
    if not own and KEY_VARIABLE in os.environ:
        headers["Authorization"] = f"Bearer {os.environ[KEY_VARIABLE]}"
    limits = httpx.Limits(max_connections=None)  # an open loop may have any number under way
    return httpx.AsyncClient(base_url=server.url, headers=headers, timeout=timeout, limits=limits, trust_env=not own)
