"""Measure the models on the stack that serves them, with the holdout's own prompts: `python -m stages.benchmark`.

It reads the holdout, the models, and the evaluated answers of the tuned one; it writes reports/benchmark.json. Each model
is sent the same prompts at each load of `benchmark.concurrency` and `benchmark.rates`.

Everything that ships, the server included, also answers a sample of the holdout, to see whether it answers as evaluated. And
the records of the holdout are asked as callers ask, to see what they get: only counts of that are written.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import asdict
from typing import Any

from hallmark.answer.answers import prompts_of
from hallmark.answer.artefact_sample import body_of, drawn_rows, rows_with_room
from hallmark.answer.parity import Live
from hallmark.answer.shipped import Shipped, read_evaluated
from hallmark.base.compute import set_up
from hallmark.base.files import ADAPTER, HOLDOUT, REPORTS, write_json
from hallmark.base.machine import stamp
from hallmark.base.records import read_records
from hallmark.mask.callers import Sent, lacking, sent
from hallmark.params.loader import Params, run_with_params
from hallmark.serve.bench import (
    KEY_VARIABLE,
    Bench,
    Body,
    Level,
    connect,
    failed,
    largest_load,
    progress_of,
    unanswered,
)
from hallmark.serve.load import Outcome
from hallmark.serve.server import Server, free_ports, machine, served

log = logging.getLogger("benchmark")

REPORT = REPORTS / "benchmark.json"


def run(params: Params) -> None:
    """Measure every model of `benchmark.models` at every level, and write the report.

    Raises HallmarkError if the port is taken, a server doesn't start, or a level gets no answer at all.
    """
    settings = params.benchmark
    records = read_records(HOLDOUT).rows(named=True)
    prompts = prompts_of(records)
    known, timeable = rows_with_room(prompts, params.eval.max_new_tokens, settings.max_tokens)
    rows, others = ([timeable[at] for at in drawn] for drawn in drawn_rows(len(timeable), settings.requests))
    asked = callers_of(params, records)  # a bad row is an error before anything is loaded
    evaluated = read_evaluated(records, params) if settings.parity.records else []
    with running(settings.models, params) as servers:
        measured = stamp(machine(settings.server, params.compute))
        shipped = Shipped(params, records, evaluated, rows, known)
        timed = [body_of(prompts[row]) for row in rows]
        warmup = [body_of(prompts[others[number % len(others)]]) for number in range(settings.warmup)]
        levels, first = asyncio.run(measure(servers, timed, warmup, params))
        if "tuned" in servers:
            answered = dict(zip(rows, first["tuned"], strict=True))
            shipped.ask(servers["tuned"], answered, levels["tuned"][0], os.environ.get(KEY_VARIABLE) and KEY_VARIABLE)
    parity = asdict(shipped.parity(asked))  # the servers are gone: the artefacts on disk need the device's memory
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
                    "largest_load": largest_load(levels[model], settings.objective.share),
                    "startup_s": server.startup_s,
                    "peak_memory_mib": server.peak_memory_mib,
                }
                for model, server in servers.items()
            },
            "parity": parity,
        },
    )
    loads = (f"{model} {largest_load(of, settings.objective.share)['words']}" for model, of in levels.items())
    log.info("largest load with answers in time: %s", ", ".join(loads))


def callers_of(params: Params, records: Sequence[dict[str, Any]]) -> list[Sent] | Live | None:
    """The records as their callers send them, raw text in memory only; or why there are none, or None if none are wanted."""
    if not (params.serve.mask and params.benchmark.parity.records):
        return None
    if reason := lacking():
        return Live(reason)
    set_up(params.compute, params.seed)
    return sent(records, params)


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
    servers: dict[str, Server], timed: list[Body], warmup: list[Body], params: Params
) -> tuple[dict[str, list[Level]], dict[str, list[Outcome]]]:
    """Every level on every model, and the outcomes of the first, in the order of `timed`."""
    settings = params.benchmark
    loads: list[Level] = [{"concurrency": load} for load in settings.concurrency]
    loads += [{"rate": load} for load in settings.rates]
    levels: dict[str, list[Level]] = {model: [] for model in servers}
    async with AsyncExitStack() as stack:
        clients = {
            model: await stack.enter_async_context(connect(server, settings.timeout))
            for model, server in servers.items()
        }
        bench = Bench(servers, clients, settings, params.seed)
        for model in servers:
            await bench.warm_up(model, warmup)
        turn = list(servers)
        with progress_of(loads * len(servers), len(timed)) as progress:
            for load in loads:
                for model, result in (await bench.level(turn, load, timed, progress)).items():
                    if unanswered(result):
                        raise failed(model, "answered nothing", load, result["failures"])
                    levels[model].append(result)
    return levels, bench.first


if __name__ == "__main__":
    run_with_params("benchmark", __doc__, run)
