"""Measure the models on the stack that serves them, with the holdout's own prompts: `python -m stages.benchmark`.

Everything that ships, the server included, also answers a sample of the holdout, to see whether it answers as evaluated. And
the raw rows of the holdout are asked as callers ask, to see what they get: only counts of that are written.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import asdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from hallmark.answer.answers import Prompt, prompts_of, room_in
from hallmark.answer.endpoint import answer_schema, response_format
from hallmark.answer.parity import Live
from hallmark.answer.predictions import readable
from hallmark.answer.scoring import Scorer
from hallmark.answer.shipped import Shipped, read_evaluated
from hallmark.base.compute import set_up
from hallmark.base.errors import HallmarkError
from hallmark.base.files import ADAPTER, BASE, HOLDOUT, REPORTS, write_json
from hallmark.base.machine import Others, busy, stamp
from hallmark.base.progress import Progress
from hallmark.base.records import read_records
from hallmark.data.callers import Sent, lacking, sent
from hallmark.judge.schema_effect import counts
from hallmark.params.loader import Params, run_with_params
from hallmark.serve.load import Outcome, send_all, summarize
from hallmark.serve.server import Server, free_ports, machine, served
from hallmark.task.task import Task

if TYPE_CHECKING:
    from httpx import AsyncClient

REPORT = REPORTS / "benchmark.json"
KEY_VARIABLE = "BENCHMARK_API_KEY"  # environment variable with the key of an endpoint that wants one
WARMUP_TOKENS = 16  # it is the prompts that a server must have seen before; more answer would only take time
BLOCKS = 8  # the most blocks that a level is cut into; models take turns after each
ROUNDS = 2  # the fewest requests of each caller in a block
log = logging.getLogger(__name__)

Body = dict[str, Any]  # messages, and tools if the record has them
Level = dict[str, Any]  # one load and what was measured at it
Held = tuple[Level, list[Outcome]]  # a level at which answers were held to the schema, and its outcomes


def run(params: Params) -> None:
    """Measure every model of `benchmark.models` at every level, and write the report.

    Raises HallmarkError if the port is taken, a server doesn't start, or a level gets no answer at all.
    """
    settings, task = params.benchmark, Task(params.task)
    schema = answer_schema(task, "benchmark.schema", "set it to false") if settings.schema_held else None
    records = read_records(HOLDOUT).rows(named=True)
    prompts = prompts_of(records)
    known, timeable = rows_with_room(prompts, params.eval.max_new_tokens, settings.max_tokens)
    rows, others = ([timeable[at] for at in drawn] for drawn in drawn_rows(len(timeable), settings.requests))
    asked = callers_of(params, records)  # a bad row is an error before anything is loaded
    evaluated = read_evaluated(records) if settings.parity.records else []
    with running(settings.models, params) as servers:
        measured = stamp(machine(settings.server, params.compute))
        shipped = Shipped(params, records, evaluated, rows, known)
        timed = [body_of(prompts[row]) for row in rows]
        warmup = [body_of(prompts[others[number % len(others)]]) for number in range(settings.warmup)]
        levels, searched, first, held = asyncio.run(measure(servers, timed, warmup, params, schema))
        if "tuned" in servers:
            answered = dict(zip(rows, first["tuned"], strict=True))
            shipped.ask(servers["tuned"], answered, levels["tuned"][0], os.environ.get(KEY_VARIABLE) and KEY_VARIABLE)
    parity = asdict(shipped.parity(asked))
    subject = "tuned" if "tuned" in levels else settings.models[0]
    write_json(
        REPORT,
        {
            "server": servers[subject].kind,
            "device": params.compute.device,
            "measured": measured,
            "models": {
                model: {
                    "levels": levels[model],
                    "searched": searched[model],
                    "largest_load": largest_load(levels[model] + searched[model], settings.objective.share),
                    "startup_s": server.startup_s,
                    "peak_memory_mib": server.peak_memory_mib,
                }
                for model, server in servers.items()
            },
            "parity": parity,
            "schema": with_schema(params, records, rows, first["tuned"], levels["tuned"][0], held) if held else None,
            "ratio": ratios(levels["base"], levels["tuned"]) if levels.keys() == {"base", "tuned"} else None,
            "headline": headline(levels[subject]),
        },
    )


def callers_of(params: Params, records: Sequence[dict[str, Any]]) -> list[Sent] | Live | None:
    """The records as their callers send them, raw text in memory only; or why there are none, or None if none are wanted."""
    if not (params.serve.mask and params.benchmark.parity.records):
        return None
    if reason := lacking(params.data):
        return Live(reason)
    set_up(params.compute, params.seed)
    return sent(records, params.data, params.mask, params.task)


def rows_with_room(prompts: list[Prompt], evaluated: int, timed: int) -> tuple[list[int], list[int]]:
    """The rows whose prompts leave room for an answer of that many tokens in the base's context, and for a timed one too."""
    room = list(map(room_in(BASE), prompts))
    known = [row for row, left in enumerate(room) if left >= evaluated]
    timeable = [row for row in known if room[row] >= timed]
    if len(timeable) < len(prompts):
        words = f"{len(prompts) - len(timeable)} of {len(prompts)} prompts leave no room for {max(evaluated, timed)} tokens in the base's context"
        if not timeable:
            raise HallmarkError(
                words,
                file=HOLDOUT,
                param="benchmark.max_tokens, eval.max_new_tokens",
                remedy="lower them, or take a base that reads more",
            )
        log.warning("%s: they are not timed", words)
    return known, timeable


def drawn_rows(records: int, count: int) -> tuple[list[int], list[int]]:
    """Which of the holdout's records are timed, `count` of them, and which are left to warm a server up.

    The timed ones are spread evenly over the holdout, and repeated if it has too few records.
    """
    if not records:
        raise HallmarkError("holds no record", file=HOLDOUT, remedy="give more data, or raise split.holdout")
    step = max(1.0, records / count)
    timed = [int(i * step) % records for i in range(count)]
    return timed, sorted(set(range(records)) - set(timed)) or timed


def body_of(prompt: Prompt) -> Body:
    """What a record asks, as a request has it."""
    return {"messages": prompt.messages} | ({"tools": prompt.tools} if prompt.tools else {})


@contextmanager
def running(models: Sequence[str], params: Params) -> Iterator[dict[str, Server]]:
    """What answers for each model: servers of ours while the block runs, or the endpoint that params name."""
    settings = params.benchmark.server
    ports = free_ports(models, settings, "benchmark.server.port")  # a taken one is an error before anything is loaded
    if ports:
        set_up(params.compute, params.seed)
    with served(models, ports, ADAPTER, settings, params.compute) as servers:
        yield servers


async def measure(
    servers: dict[str, Server], timed: list[Body], warmup: list[Body], params: Params, schema: dict[str, Any] | None
) -> tuple[dict[str, list[Level]], dict[str, list[Level]], dict[str, list[Outcome]], Held | None]:
    """Every level on every model, every level that the search for the largest load of each went through, the outcomes
    of the first level, in the order of `timed`, and those of the tuned model held to a `schema`."""
    settings = params.benchmark
    loads: list[Level] = [{"concurrency": load} for load in settings.concurrency]
    loads += [{"rate": load} for load in settings.rates]
    levels: dict[str, list[Level]] = {model: [] for model in servers}
    searched: dict[str, list[Level]] = {model: [] for model in servers}
    async with AsyncExitStack() as stack:
        clients = {
            model: await stack.enter_async_context(connect(server, settings.timeout))
            for model, server in servers.items()
        }
        bench = Bench(servers, clients, params)
        for model in servers:
            await bench.send(model, warmup, WARMUP_TOKENS, {"concurrency": len(warmup)})
        turn = list(servers)
        with progress_of(loads * len(servers), len(timed)) as progress:
            for load in loads:
                for model, result in (await bench.level(turn, load, timed, progress)).items():
                    if result["errors"] + result["timeouts"] == result["requests"]:
                        raise failed(model, "answered nothing", load, result["failures"])
                    levels[model].append(result)
        held = await bench.held("tuned", loads[0], timed, warmup, schema) if schema is not None else None
        if settings.search:
            for model in servers:
                searched[model] = await search(bench, model, timed, settings.search.max_concurrency)
    return levels, searched, bench.first, held


class Bench:
    """Sends prompts to the servers' models at a load, and sums up what came back."""

    def __init__(self, servers: dict[str, Server], clients: dict[str, AsyncClient], params: Params) -> None:
        self.servers, self.clients, self.settings, self.seed = servers, clients, params.benchmark, params.seed
        # of each model's first level, and of its last one, in the order of the prompts
        self.first: dict[str, list[Outcome]] = {}
        self.last: dict[str, list[Outcome]] = {}

    async def send(
        self, model: str, prompts: list[Body], max_tokens: int, load: Level, progress: Progress | None = None
    ) -> list[Outcome]:
        """Every prompt once, at that load."""
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
                    outcomes[model].append(await self.send(model, block, self.settings.max_tokens, load, progress))
            turn.reverse()
        levels = {}
        for model, blocks_sent in outcomes.items():
            self.last[model] = [outcome for block in blocks_sent for outcome in block]
            self.first.setdefault(model, self.last[model])
            result = summarize(blocks_sent, self.settings.objective, self.settings.price_per_hour)
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

    async def held(
        self, model: str, load: Level, prompts: list[Body], warmup: list[Body], schema: dict[str, Any]
    ) -> Held:
        """The same prompts at the same load, with the schema; a few before, so that the server has read it once."""
        form = {"response_format": response_format(schema)}
        await self.send(model, [prompt | form for prompt in warmup], WARMUP_TOKENS, {"concurrency": len(warmup)})
        asked = [prompt | form for prompt in prompts]
        with progress_of([load], len(prompts)) as progress:
            level = (await self.level([model], load, asked, progress))[model]
        if level["errors"] + level["timeouts"] == level["requests"]:
            raise HallmarkError(
                f"the server of {model} answered nothing with the schema at {words_of(load)}: {level['failures']}",
                param="benchmark.schema",
                remedy="see whether the server takes this schema as response_format, or set it to false",
            )
        return level, self.last[model]


def with_schema(
    params: Params,
    records: Sequence[dict[str, Any]],
    rows: Sequence[int],
    free: Sequence[Outcome],
    level: Level,
    held: Held,
) -> dict[str, Any]:
    """What the schema does to answers and latency, of the records (each once) that were answered both ways."""
    scorer = Scorer(Task(params.task), params.eval.policy, None, params.eval.facts)
    level_held, outcomes = held
    pairs = {
        row: pair
        for row, pair in zip(rows, zip(free, outcomes, strict=True), strict=True)
        if all(outcome.failure is None and not outcome.calls for outcome in pair)
    }
    scored = [
        [(pair[way], scorer.score(**readable(records[row]), prediction=pair[way].text)) for row, pair in pairs.items()]
        for way in (0, 1)
    ]
    measured = {
        name: {
            key: of[key] for key in ("requests", "errors", "timeouts", "failures", "latency_s", "requests_per_second")
        }
        for name, of in (("free", level), ("constrained", level_held))
    }
    load = {kind: level[kind] for kind in ("concurrency", "rate") if kind in level}
    return {"load": load, "answers": counts(*scored), "measured": measured}


def progress_of(loads: list[Level], requests: int) -> Progress:
    """The progress of that many requests at each of these loads."""
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


async def search(bench: Bench, model: str, timed: list[Body], most: int) -> list[Level]:
    """The levels that the search for the largest concurrency of `model` that keeps the objective went through."""
    levels: list[Level] = []

    async def keeps(load: int) -> bool:
        prompts = [timed[i % len(timed)] for i in range(max(len(timed), ROUNDS * load))]
        with progress_of([{"concurrency": load}], len(prompts)) as progress:
            levels.append((await bench.level([model], {"concurrency": load}, prompts, progress))[model])
        return bool(levels[-1]["objective_kept"] >= bench.settings.objective.share)

    await find_largest(keeps, most)
    return levels


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


async def find_largest(keeps: Callable[[int], Awaitable[bool]], most: int) -> int:
    """The largest load up to `most` that keeps the objective, to an eighth; 0: not even one does.

    The load is doubled until one doesn't keep it; then the gap between the last two is halved.
    """
    kept, broken, load = 0, most + 1, 1
    while True:
        if await keeps(load):
            kept = load
        else:
            broken = load
        if broken - kept <= max(1, kept // 8):
            return kept
        load = min(2 * kept, most) if broken > most else (kept + broken) // 2


def connect(server: Server, timeout: float) -> AsyncClient:
    """A client of the server; no proxy on the way to one of ours, and no key but for an endpoint."""
    import httpx

    own = server.process is not None
    headers = {"Accept-Encoding": "identity"}
    if not own and KEY_VARIABLE in os.environ:
        headers["Authorization"] = f"Bearer {os.environ[KEY_VARIABLE]}"
    limits = httpx.Limits(max_connections=None)  # an open loop may have any number under way
    return httpx.AsyncClient(base_url=server.url, headers=headers, timeout=timeout, limits=limits, trust_env=not own)


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
            words.append(f"not even {broken:g} {unit}")
    return largest | {"words": ", ".join(words)}


def ratios(base: list[Level], tuned: list[Level]) -> list[Level]:
    """Tuned over base at each level: times above 1 are slower, rates above 1 are faster."""
    ratios_by_level = []
    for below, above in zip(base, tuned, strict=True):
        level: Level = {kind: above[kind] for kind in ("concurrency", "rate") if kind in above}
        for metric in ("ttft_s", "tpot_s", "latency_s"):
            level[metric] = {name: _ratio(above[metric][name], below[metric][name]) for name in above[metric]}
        for metric in ("output_tokens_per_second", "requests_per_second"):
            level[metric] = _ratio(above[metric], below[metric])
        ratios_by_level.append(level)
    return ratios_by_level


def _ratio(above: float | None, below: float | None) -> float | None:
    return round(above / below, 3) if above is not None and below else None


def headline(levels: list[Level]) -> Level:
    """The first level in short, for `dvc metrics` and `dvc exp show`; errors and timeouts are those of all levels."""
    first = levels[0]
    return {
        "latency_p50_s": first["latency_s"]["p50"],
        "latency_p95_s": first["latency_s"]["p95"],
        "ttft_p95_s": first["ttft_s"]["p95"],
        "tokens_per_second": first["output_tokens_per_second"],
        "errors": sum(level["errors"] + level["timeouts"] for level in levels),
    }


if __name__ == "__main__":
    run_with_params("benchmark", __doc__, run)
