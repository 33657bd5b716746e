"""What the gateway adds to a model server: `python -m tests.bench.gateway`.

The model server is a stub that answers in 20 ms (`tests/bench/stub.py`), the gateway the real one, in a process of its own,
over a copy of this repository.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from hallmark.base.errors import HallmarkError
from hallmark.serve.load import Outcome, quantiles, send_all
from hallmark.serve.server import free_port
from tests.bench import stub
from tests.bench.page import show, table
from tests.workspace import ROOT, make_workspace

CHARACTERS = 500  # of a request
SECONDS = 30  # of each load
STARTUP = 300  # seconds
RATES = {"without NER": 20.0, "with NER": 5.0}  # requests a second
NO_NER = {"mask.ner.engine": "none", "mask.ner.model": None}
HEAD = ["load", "upstream p50, ms", "p95", "gateway p50, ms", "p95", "added at p95, ms", "failed"]


def texts(count: int) -> list[str]:
    """Tickets of the sample data, run together and cut to the same length, no two alike."""
    rows = [json.loads(line) for line in (ROOT / "data/raw/tickets.jsonl").read_text(encoding="utf-8").splitlines()]
    words = [f"{row['subject']}\n{row['body']}" for row in rows]
    return ["\n".join(words[(number * 3 + at) % len(words)] for at in range(9))[:CHARACTERS] for number in range(count)]


def bodies(model: str, count: int) -> list[dict[str, Any]]:
    """Requests, as callers send them."""
    return [{"model": model, "messages": [{"role": "user", "content": text}]} for text in texts(count)]


@contextmanager
def process(folder: Path, log: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command that runs until the block ends."""
    with log.open("wb") as output:
        started = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=folder, stdout=output, stderr=output,
            env=os.environ | {"PYTHONPATH": str(folder)},
        )  # fmt: skip
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(30)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def wait_for(url: str, started: subprocess.Popen[bytes], log: Path) -> None:
    """Until a server is healthy."""
    deadline = time.monotonic() + STARTUP
    while time.monotonic() < deadline and started.poll() is None:
        try:
            if httpx.get(f"{url}/health", timeout=5, trust_env=False).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    words = log.read_text(encoding="utf-8", errors="replace")[-2000:]
    raise HallmarkError(f"{url} did not answer; its last words:\n{words}", remedy="fix what it says")


@contextmanager
def upstream(folder: Path) -> Iterator[str]:
    port = free_port(0, "--port")
    with process(ROOT, folder / "stub.log", "tests.bench.stub", str(port)) as started:
        wait_for(url := f"http://127.0.0.1:{port}", started, folder / "stub.log")
        yield url


@contextmanager
def gateway(folder: Path, behind: str, changes: dict[str, Any]) -> Iterator[str]:
    """The gateway in front of a model server, over a copy of this repository: where it answers."""
    port = free_port(0, "--port")
    serve = {"serve.port": port, "serve.upstreams": {"prod": {"url": f"{behind}/v1", "model": stub.MODEL, "key": None}}}
    repo = make_workspace(folder, serve | changes)
    if (ROOT / "models").exists():
        (repo / "models").symlink_to(ROOT / "models")
    for command in (["init", "-q"], ["add", "-A"], ["-c", "user.name=b", "-c", "user.email=b@b", "commit", "-qm", "x"]):
        subprocess.run(["git", *command], cwd=repo, check=True)
    log = folder.parent / f"{folder.name}.log"
    with process(repo, log, "hallmark.service.commands.serve") as started:
        wait_for(url := f"http://127.0.0.1:{port}", started, log)
        yield url


def client_of(url: str) -> httpx.AsyncClient:
    """A caller with any number of connections."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=1000)
    return httpx.AsyncClient(base_url=f"{url}/v1", timeout=60, limits=limits, trust_env=False)


async def load(url: str, count: int, **how: Any) -> list[Outcome]:
    """So much load on a server, after a few requests that are not counted."""
    async with client_of(url) as client:
        model = (await client.get("models")).json()["data"][0]["id"]
        await send_all(client, bodies(model, 8), concurrency=2, timeout=60)
        return await send_all(client, bodies(model, count), timeout=60, **how)


def latencies(outcomes: list[Outcome]) -> dict[str, float]:
    """Milliseconds of those that were answered."""
    found = quantiles([outcome.latency for outcome in outcomes if outcome.failure is None])
    return {name: 1000 * (seconds or 0) for name, seconds in found.items()}


def added(name: str, rate: float, behind: str, front: str) -> list[Any]:
    """A line of the table: an open loop against the upstream alone, then through the gateway."""
    count = int(rate * SECONDS)
    alone = latencies(asyncio.run(load(behind, count, rate=rate)))
    outcomes = asyncio.run(load(front, count, rate=rate))
    through = latencies(outcomes)
    failed = sum(outcome.failure is not None for outcome in outcomes)
    loads = f"{rate:g} a second, {name}"
    return [loads, alone["p50"], alone["p95"], through["p50"], through["p95"], through["p95"] - alone["p95"], failed]


def throughput(url: str) -> float:
    """Answers a second to 16 callers."""
    start = time.perf_counter()
    outcomes = asyncio.run(load(url, 600, concurrency=16))
    return sum(outcome.failure is None for outcome in outcomes) / (time.perf_counter() - start)


def main() -> None:
    """Print what the gateway adds."""
    argparse.ArgumentParser(prog="python -m tests.bench.gateway", description=__doc__).parse_args()
    with tempfile.TemporaryDirectory() as name, upstream(folder := Path(name)) as behind:
        rows = []
        for kind, rate in RATES.items():
            changes = NO_NER if kind == "without NER" else {}
            with gateway(folder / kind.replace(" ", "-"), behind, changes) as front:
                rows.append(added(kind, rate, behind, front))
                print(rows[-1], file=sys.stderr)
                if kind == "without NER":
                    alone, through = throughput(behind), throughput(front)
    parts = [
        f"Requests of {CHARACTERS} characters in an open loop of {SECONDS} s, to a stub that answers in "
        f"{1000 * stub.SECONDS:g} ms, alone and through the gateway, which masks, checks the schema and keeps traces.",
        table(HEAD, rows),
        f"Sixteen callers without a pause got {alone:.0f} answers a second from the stub, and {through:.0f} through the gateway.",
    ]
    show("The gateway", "\n\n".join(parts))


if __name__ == "__main__":
    main()
