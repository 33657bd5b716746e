"""The server that answers for each model: one of an engine's, started on the loopback interface, or one that runs.

A server that is started here never outlives the process that uses it.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from hallmark.base.compute import environment, fingerprint
from hallmark.base.errors import HallmarkError
from hallmark.base.files import BASE, QUANTIZED
from hallmark.base.machine import ENDPOINT
from hallmark.base.params import Compute
from hallmark.model.loading import write_merged
from hallmark.serve.admission import MODELS_VARIABLE as MODELS
from hallmark.serve.engine import HOST, Address, Settings, StartedEngine, StartedSettings
from hallmark.serve.engines import ENGINES

STOP_SECONDS = 10  # from SIGTERM to SIGKILL
LOG = "server.log"
TAIL_LINES = 15
POLL_SECONDS = 2.0  # between two looks at the health of a server that serves
HEALTH_SECONDS = 30.0  # a server that doesn't say within them that it is well counts as dead
RESTARTS = (1.0, 10.0)  # pauses before a dead server is started again
DEATH_WINDOW = 600.0  # seconds: more deaths than RESTARTS within them end it
log = logging.getLogger(__name__)

QUIET = {
    "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin while they wait starve each other on a busy machine
    "PYTHONSAFEPATH": "1",  # the folder of the models is no place to import from
}

# The guard stands between us and the server, first of a process group of its own, so that Ctrl-C in a terminal reaches
# only us. Its standard input ends when we close it or die, however we die; then the server goes, and its whole group.
GUARD = f"""
import os, shutil, signal, subprocess, sys, threading

folder, command = sys.argv[1], sys.argv[2:]
server = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL)
asked = threading.Event()

def stop():
    sys.stdin.buffer.read()
    asked.set()
    server.terminate()
    try:
        server.wait({STOP_SECONDS})
    except subprocess.TimeoutExpired:
        server.kill()
    shutil.rmtree(folder, ignore_errors=True)
    os.killpg(0, signal.SIGKILL)

stopper = threading.Thread(target=stop, daemon=True)
stopper.start()
code = server.wait()
if asked.is_set():
    stopper.join()
print("exit code", code, flush=True)
os.killpg(0, signal.SIGKILL)
"""


@dataclass
class Server:
    """A running server: where it answers, what it took to start and what memory it holds."""

    kind: str  # the engine's name and version
    url: str
    names: Mapping[str, str] = field(default_factory=dict)  # what it calls models, if not as we do
    fields: Mapping[str, Any] = field(default_factory=dict)  # what every request to it must have in addition
    process: subprocess.Popen[bytes] | None = None  # None for a server that isn't ours
    health: str = ""  # the address that says whether a server of ours is well
    log: Path | None = None  # what a server of ours writes
    startup_s: float | None = None  # seconds from the start of the process to its first answer
    peak_memory_mib: int | None = None  # resident memory of the server and its children, the highest seen
    others: Sequence[str] = ()  # where the same models answer too

    @property
    def alive(self) -> bool:
        """Whether the process runs; True for a server that isn't ours to look into."""
        return self.process is None or self.process.poll() is None

    def trouble(self) -> str | None:
        """Why a server of ours can answer no more; None if it can, or isn't ours to look into."""
        import httpx

        if self.process is None:
            return None
        problem = "died"
        if self.alive:
            try:
                status = httpx.get(self.health, timeout=HEALTH_SECONDS, trust_env=False).status_code
                if status < 300:
                    return None
                problem = f"says that it is not well (HTTP {status})"
            except httpx.TimeoutException:
                problem = f"gave no answer for {HEALTH_SECONDS:g} s"
            except httpx.HTTPError:  # it dies just now, and its guard with it
                with suppress(subprocess.TimeoutExpired):
                    self.process.wait(STOP_SECONDS)
        return problem

    @property
    def last_words(self) -> str:
        """The kinds of errors in the log and the exit code, for an error: the rest of the log may quote a request."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log and self.log.is_file() else ""
        words = re.findall(r"^(?:[\w.]+\.)?(\w+(?:Error|Exception)|exit code -?\d+)\b", text, re.M)[-3:]
        return f" (its last words: {', '.join(words)})" if words else ""

    def body(self, model: str, max_tokens: int) -> dict[str, Any]:
        """What every request for a greedy answer has, in addition to the prompt."""
        return {"model": self.names.get(model, model), "temperature": 0, "max_tokens": max_tokens, **self.fields}


def address(settings: Settings) -> Address | None:
    """Where the server of these settings runs already; None for one that is started."""
    return ENGINES[settings.kind].address(settings)


def started(settings: StartedSettings) -> StartedEngine[Any]:
    engine = ENGINES[settings.kind]
    assert isinstance(engine, StartedEngine)
    return engine


def machine(
    settings: Settings, compute: Compute, described: Callable[[Compute], dict[str, Any]] = fingerprint
) -> dict[str, Any]:
    """The fingerprint of the machine that a benchmark is of; of an endpoint, of the one that asks it."""
    if address(settings):  # to ask, no GPU is needed, and no code path is pinned
        compute = compute.model_copy(update={"device": "cpu", "portable": False})
    return described(compute)


def free_ports(models: Sequence[str], settings: Settings, field: str) -> dict[str, int]:
    """A free port for each of the models' servers, one after another; none for a server that runs already."""
    if not isinstance(settings, StartedSettings):
        return {}
    return {model: free_port(settings.port and settings.port + i, field) for i, model in enumerate(models)}


def free_port(port: int, field: str = "benchmark.server.port", host: str = HOST) -> int:
    """`port` if nothing listens there, else a HallmarkError; 0 asks for any free one. `field`: a param, or an option."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: a port just left is free
        try:
            probe.bind((host, port))
        except OSError as error:
            raise HallmarkError(
                f"port {port} can't be used ({os.strerror(error.errno or 0)})",
                param=None if field.startswith("--") else field,
                remedy=f"stop what listens there, or set {field} to 0 for any free port",
            ) from None
        return int(probe.getsockname()[1])


@contextmanager
def served(
    models: Sequence[str], ports: Mapping[str, int], adapter: Path, settings: Settings, compute: Compute
) -> Iterator[dict[str, Server]]:
    """What answers for each of the models `base` and `tuned` (the base with `adapter`), while the block runs.

    That is one server for each, at its port; one server for both, at the first port, if the engine shares the base;
    or the one that the settings name.
    """
    if running := address(settings):
        fields = ENGINES[settings.kind].fields
        yield dict.fromkeys(models, Server(ENDPOINT, running.url, running.names, fields, others=running.others))
        return
    assert isinstance(settings, StartedSettings)
    engine = started(settings)
    engine.version(settings, compute)  # before any weights are written
    if engine.shares_base(settings) and "tuned" in models:
        with served_together({"tuned": adapter}, ports[models[0]], settings, compute) as server:
            yield dict.fromkeys(models, server)
        return
    engine.check_room(BASE, len(models), settings, compute)
    with ExitStack() as stack:
        servers = {}
        for model in models:
            over = None if model == "base" else adapter
            servers[model] = stack.enter_context(served_whole(model, over, ports[model], settings, compute))
        yield servers


def served_alone(
    name: str, adapter: Path, port: int, settings: StartedSettings, compute: Compute, weights: Path = QUANTIZED
) -> AbstractContextManager[Server]:
    """One server that answers as `name` for the base with `adapter`; if the engine shares the base, as `base` too.

    `weights`: the folder that the adapter was trained over.
    """
    engine = started(settings)
    engine.version(settings, compute)  # before any weights are written
    if engine.shares_base(settings):
        return served_together({name: adapter}, port, settings, compute, weights)
    return served_whole(name, adapter, port, settings, compute, weights)


@contextmanager
def served_whole(
    name: str, adapter: Path | None, port: int, settings: StartedSettings, compute: Compute, weights: Path = QUANTIZED
) -> Iterator[Server]:
    """One server that answers as `name` for the base, or for `weights` with `adapter` folded in unless it is None."""
    with (
        model_folder(name, adapter, settings.dtype, weights) as folder,
        serve([name], folder, port, settings, compute) as server,
    ):
        yield server


@contextmanager
def served_together(
    adapters: dict[str, Path], port: int, settings: StartedSettings, compute: Compute, weights: Path = QUANTIZED
) -> Iterator[Server]:
    """One server that answers for what all `adapters` were trained over, as `base`, and for each of them by its name."""
    from hallmark.model.adapter import check_adapter, check_trained_over

    started(settings).version(settings, compute)
    for adapter in adapters.values():  # the server reads them where they lie
        check_adapter(adapter)
        check_trained_over(adapter, weights)
    with temporary_folder() as folder:
        (folder / "base").symlink_to(weights.resolve())
        for name, adapter in adapters.items():
            (folder / name).symlink_to(adapter.resolve())
        with serve(["base", *adapters], folder, port, settings, compute) as server:
            yield server


@contextmanager
def model_folder(model: str, adapter: Path | None, dtype: str, weights: Path = QUANTIZED) -> Iterator[Path]:
    """A temporary folder that holds what to serve under the name `model`: the base, or `weights` with `adapter` folded in."""
    with temporary_folder() as folder:
        if adapter is None:
            (folder / model).symlink_to(BASE.resolve())
        else:
            write_merged(adapter, weights, dtype, folder / model)
        yield folder


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A temporary folder next to the base, for weights to serve or to compare.

    A server takes the path it is given as the model's name, so those in here are short and tell nothing of the machine.
    """
    import psutil

    # of a process killed before it had a guard to clear up after it
    for remains in sorted(BASE.parent.glob(".serving-*-*")):
        if not psutil.pid_exists(int(remains.name.split("-")[1])):
            shutil.rmtree(remains, ignore_errors=True)
    prefix = f".serving-{os.getpid()}-"
    with tempfile.TemporaryDirectory(dir=BASE.parent, prefix=prefix, ignore_cleanup_errors=True) as name:
        yield Path(name)


@contextmanager
def serve(
    models: Sequence[str], folder: Path, port: int, settings: StartedSettings, compute: Compute
) -> Iterator[Server]:
    """Serve what `folder` holds by these names, on the loopback interface, until the block ends; `folder` is then gone.

    Raises HallmarkError if the port is taken, or if the server dies or gives no answer in time.
    """
    engine = started(settings)
    port = free_port(port)
    kind = engine.version(settings, compute)
    command = engine.command(models, folder, port, settings, compute)
    variables = environment(compute) | QUIET | engine.variables(settings, compute) | {MODELS: json.dumps([*models])}
    start = time.perf_counter()
    health = f"http://{HOST}:{port}{engine.ready}"
    with guarded([*command, *engine.admission()], folder, variables) as process:
        server = Server(
            kind, f"http://{HOST}:{port}/v1", fields=engine.fields, process=process, health=health, log=folder / LOG
        )
        threading.Thread(target=_watch_memory, args=[server, process], daemon=True).start()
        _wait_for_an_answer(server, health, models[-1], folder / LOG, start + settings.startup_timeout)
        server.startup_s = round(time.perf_counter() - start, 2)
        log.info("%s answers after %.1f s", " and ".join(models), server.startup_s)
        yield server


def until_stopped(start: Callable[[], AbstractContextManager[Server]], words: str) -> None:
    """Serve what `start` starts until Ctrl-C; say `words` once it answers. A server that dies is started again.

    Until it has, its port is closed. A HallmarkError if it dies again and again, or doesn't start.
    """
    deaths: list[float] = []
    while True:
        with start() as server:
            print(f"{words}; Ctrl-C stops it", flush=True)
            while (trouble := server.trouble()) is None:
                time.sleep(POLL_SECONDS)
            trouble += server.last_words
        now = time.monotonic()
        deaths = [*(death for death in deaths if now - death < DEATH_WINDOW), now]
        if len(deaths) > len(RESTARTS):
            raise HallmarkError(
                f"the server {trouble}, and has died {len(deaths)} times within {DEATH_WINDOW / 60:g} minutes",
                remedy="give it more memory, or make its cache smaller in benchmark.server",
            )
        print(f"{datetime.now().astimezone():%F %T%z} the server {trouble}; starting it again", flush=True)
        time.sleep(RESTARTS[len(deaths) - 1])


@contextmanager
def guarded(command: Sequence[str], folder: Path, variables: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run `command` in `folder`, its output in `folder/server.log`, until the block ends or this process does.

    Then it is stopped with all that it started (SIGTERM, later SIGKILL), and `folder` is deleted. What is yielded is
    the guard, which ends when the command does.
    """
    with (folder / LOG).open("wb") as log:
        guard = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", GUARD, str(folder.resolve()), *command],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=os.environ | variables,
        )
    assert guard.stdin is not None
    try:
        yield guard
    finally:
        guard.stdin.close()  # asks the guard to stop the command
        with suppress(subprocess.TimeoutExpired):
            guard.wait(STOP_SECONDS + 5)
        with suppress(ProcessLookupError):  # the guard itself was killed, or hangs
            os.killpg(guard.pid, signal.SIGKILL)
        guard.wait()


def _watch_memory(server: Server, guard: subprocess.Popen[bytes]) -> None:
    """Sample the resident memory of all below the guard until it ends; pages that two processes share count twice."""
    import psutil

    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(guard.pid)
        while server.alive:
            total = 0
            for child in parent.children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    total += child.memory_info().rss
            server.peak_memory_mib = max(server.peak_memory_mib or 0, total // 2**20)
            time.sleep(0.1)


def _wait_for_an_answer(server: Server, ready: str, model: str, log: Path, deadline: float) -> None:
    """Wait until the address `ready` answers and the server has answered one short request (some set themselves up only then).

    The request holds no text of a record, so neither does the log that an error quotes.
    """
    import httpx

    body = {"messages": [{"role": "user", "content": "Hello"}], **server.body(model, 1)}
    problem = "was not ready in time"
    with httpx.Client(trust_env=False) as client:
        while (left := deadline - time.perf_counter()) > 0:
            if not server.alive:
                problem = "died while starting"
                break
            try:
                if client.get(ready, timeout=left).is_success:
                    answer = client.post(server.url + "/chat/completions", json=body, timeout=left)
                    if answer.is_success and server.alive:
                        return
                    problem = f"gave no answer (HTTP {answer.status_code})"
                    break
            except httpx.HTTPError:
                pass
            time.sleep(0.1)
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    words = "\n".join("  | " + line for line in lines[-TAIL_LINES:])
    raise HallmarkError(
        f"the server {problem}; its last words:\n{words}",
        remedy="fix what it says; if it was only slow, raise its startup_timeout",
    )
