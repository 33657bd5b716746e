"""Measure the models on the stack that serves them, with the holdout's own prompts: `python -m stages.benchmark`."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.common.compute import set_up
from stages.common.errors import HallmarkError, run_stage
from stages.common.files import ADAPTER, HOLDOUT, RELEASE, REPORTS, write_json
from stages.common.load import Outcome, send_all, summarize
from stages.common.params import EndpointServer, Params, load_params
from stages.common.records import read_records
from stages.common.server import Server, free_port, model_folder, serve

if TYPE_CHECKING:
    from httpx import AsyncClient

REPORT = REPORTS / "benchmark.json"
KEY_VARIABLE = "BENCHMARK_API_KEY"  # environment variable with the key of an endpoint that wants one
WARMUP_TOKENS = 16  # it is the prompts that a server must have seen before; more answer would only take time
log = logging.getLogger(__name__)

Prompt = dict[str, Any]  # messages, and tools where the record has them
Level = dict[str, Any]  # one load and what was measured at it


def run(params: Params) -> None:
    """Measure every model of `benchmark.models` at every level, and write the report.

    Raises HallmarkError where the port is taken, a server doesn't start, or a level has no answer at all.
    """
    settings = params.benchmark
    if isinstance(settings.server, EndpointServer):
        ports: dict[str, int] = dict.fromkeys(settings.models, 0)
    else:  # a taken port is an error before anything heavy is done
        first = settings.server.port
        ports = {model: free_port(first and first + i) for i, model in enumerate(settings.models)}
        set_up(params.compute, params.seed)
    timed, warmup = read_prompts(settings.requests, settings.warmup)
    with ExitStack() as stack:
        servers = {model: stack.enter_context(running(model, port, params)) for model, port in ports.items()}
        levels = asyncio.run(measure(servers, timed, warmup, params))
    subject = "tuned" if "tuned" in levels else settings.models[0]
    write_json(
        REPORT,
        {
            "server": servers[subject].kind,
            "device": params.compute.device,
            "models": {
                model: {
                    "levels": levels[model],
                    "largest_load": largest_load(levels[model], settings.objective.share),
                    "startup_s": server.startup_s,
                    "peak_memory_mib": server.peak_memory_mib,
                }
                for model, server in servers.items()
            },
            "ratio": ratios(levels["base"], levels["tuned"]) if levels.keys() == {"base", "tuned"} else None,
            "headline": headline(levels[subject]),
        },
    )


def read_prompts(count: int, warmup: int) -> tuple[list[Prompt], list[Prompt]]:
    """What the holdout's records ask: `count` prompts to be timed, and `warmup` others.

    The timed ones are spread evenly over the holdout; where it has too few records they are taken again.
    """
    rows = read_records(HOLDOUT).select("prompt", "tools").rows()
    prompts = [{"messages": prompt} | ({"tools": json.loads(tools)} if tools else {}) for prompt, tools in rows]
    if not prompts:
        raise HallmarkError("holds no record", file=HOLDOUT, remedy="give more data, or raise split.holdout")
    step = max(1.0, len(prompts) / count)
    timed = [int(i * step) % len(prompts) for i in range(count)]
    others = sorted(set(range(len(prompts))) - set(timed)) or timed
    return [prompts[i] for i in timed], [prompts[others[i % len(others)]] for i in range(warmup)]


@contextmanager
def running(model: str, port: int, params: Params) -> Iterator[Server]:
    """A server that answers for `model`: one of ours while the block runs, or the endpoint that params name."""
    settings = params.benchmark.server
    if isinstance(settings, EndpointServer):
        yield Server("endpoint", settings.url.rstrip("/"), settings.names[model])
        return
    adapter = None if model == "base" else ADAPTER
    with (
        model_folder(model, adapter, settings.dtype) as folder,
        serve(model, folder, port, settings, params.compute) as server,
    ):
        log.info("%s answers after %.1f s", model, server.startup_s)
        yield server


async def measure(
    servers: dict[str, Server], timed: list[Prompt], warmup: list[Prompt], params: Params
) -> dict[str, list[Level]]:
    """Every level on every model, the models by turns, so that a slow moment of the machine falls on both."""
    settings = params.benchmark
    loads: list[Level] = [{"concurrency": load} for load in settings.concurrency]
    loads += [{"rate": load} for load in settings.rates]
    levels: dict[str, list[Level]] = {model: [] for model in servers}
    async with AsyncExitStack() as stack:
        clients = {
            model: await stack.enter_async_context(connect(server, settings.timeout))
            for model, server in servers.items()
        }

        async def send(model: str, prompts: list[Prompt], max_tokens: int, load: Level) -> list[Outcome]:
            fixed = {"model": servers[model].name, "temperature": 0, "max_tokens": max_tokens}
            bodies = [prompt | fixed for prompt in prompts]
            return await send_all(clients[model], bodies, timeout=settings.timeout, seed=params.seed, **load)

        for model in servers:
            await send(model, warmup, WARMUP_TOKENS, {"concurrency": len(warmup)})
        turn = list(servers)
        for load in loads:
            for model in turn:
                ((kind, value),) = load.items()
                log.info("%s: %d requests at %s %g", model, len(timed), kind, value)
                outcomes = await send(model, timed, settings.max_tokens, load)
                result = summarize(outcomes, settings.objective, settings.price_per_hour)
                if not servers[model].alive or result["errors"] + result["timeouts"] == result["requests"]:
                    raise HallmarkError(
                        f"the server of {model} {'answered nothing' if servers[model].alive else 'died'} at "
                        f"{kind} {value:g}: {result['failures']}",
                        remedy="lower the load, raise benchmark.timeout, or give the server more memory",
                    )
                levels[model].append(load | result)
                seconds, speed = result["latency_s"]["p95"], result["output_tokens_per_second"]
                log.info("%s: p95 latency %.2f s, %.1f tokens a second", model, seconds, speed)
            turn.reverse()
    return levels


def connect(server: Server, timeout: float) -> AsyncClient:
    """A client of the server; no proxy on the way to one of ours, and no key but for an endpoint."""
    import httpx

    own = server.process is not None
    headers = {} if own or KEY_VARIABLE not in os.environ else {"Authorization": f"Bearer {os.environ[KEY_VARIABLE]}"}
    limits = httpx.Limits(max_connections=None)  # an open loop may have any number under way
    return httpx.AsyncClient(base_url=server.url, headers=headers, timeout=timeout, limits=limits, trust_env=not own)


def largest_load(levels: list[Level], share: float) -> dict[str, float | None]:
    """The largest concurrency and rate measured at which, and at all below, `share` of requests kept the objective."""
    largest: dict[str, float | None] = {}
    for kind in ("concurrency", "rate"):
        largest[kind] = None
        for level in sorted((level for level in levels if kind in level), key=lambda level: level[kind]):
            if level["objective_kept"] < share:
                break
            largest[kind] = level[kind]
    return largest


def ratios(base: list[Level], tuned: list[Level]) -> list[Level]:
    """Tuned over base at each level: times above 1 are slower, rates above 1 are faster."""
    found = []
    for below, above in zip(base, tuned, strict=True):
        level: Level = {kind: above[kind] for kind in ("concurrency", "rate") if kind in above}
        for metric in ("ttft_s", "tpot_s", "latency_s"):
            level[metric] = {name: _ratio(above[metric][name], below[metric][name]) for name in above[metric]}
        for metric in ("output_tokens_per_second", "requests_per_second"):
            level[metric] = _ratio(above[metric], below[metric])
        found.append(level)
    return found


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


def serve_until_stopped(params: Params, adapter: Path, port: int) -> None:
    """Serve the base with `adapter` until Ctrl-C, with the settings that the benchmark measures."""
    settings = params.benchmark.server
    if isinstance(settings, EndpointServer):
        raise HallmarkError(
            "an endpoint that runs elsewhere can't be served here",
            file="params.yaml",
            field="benchmark.server.kind",
            remedy="set it to transformers",
        )
    if not (adapter / "adapter_config.json").exists():
        raise HallmarkError("no adapter is there", file=adapter, remedy="run `dvc repro`, or name an adapter's folder")
    free_port(port)
    set_up(params.compute, params.seed)
    with (
        suppress(KeyboardInterrupt),
        model_folder("tuned", adapter, settings.dtype) as folder,
        serve("tuned", folder, port, settings, params.compute) as server,
    ):
        print(f"{adapter} answers at {server.url} as the model '{server.name}'; Ctrl-C stops it", flush=True)
        while server.alive:
            time.sleep(0.5)
        raise HallmarkError(
            "the server died", file=adapter, remedy="start it again; give it more memory if it was that"
        )


def main(arguments: argparse.Namespace) -> None:
    """Measure, or with `--serve` serve."""
    params = load_params(arguments.params)
    if arguments.serve is None:
        run(params)
    else:
        serve_until_stopped(params, arguments.serve, arguments.port)


if __name__ == "__main__":
    options = argparse.ArgumentParser(prog="python -m stages.benchmark", description=__doc__)
    options.add_argument(
        "--serve",
        nargs="?",
        const=RELEASE,
        type=Path,
        metavar="ADAPTER",
        help=f"serve an adapter until Ctrl-C instead (default: {RELEASE})",
    )
    options.add_argument("--port", type=int, default=8000, help="where --serve listens (default: %(default)s)")
    run_stage("benchmark", __doc__, main, options)
