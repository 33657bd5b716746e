"""Workers on a Ray cluster, which may be on other machines.

Plain actors, and `spread` hands them chunks: Ray Data would put rows together by the size of its blocks, and what the NER
model finds depends on which rows are in a batch. An actor is given its arguments by a call, not when it is made: what one is
made with stays in Ray's control store, and the key is among it.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import hallmark
from hallmark.base.compute import LOCK, installed
from hallmark.base.errors import HallmarkError

INSTALL = (
    "run `pip install -c requirements.lock 'ray[client]>=2.50,<3'` here and on every node, or set data.engine to local"
)
SECONDS = 10.0  # within which the cluster's address must answer
# Usage statistics would be sent to Ray's makers; an error that nobody asked for would be printed, with what it quotes.
OFF = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_IGNORE_UNHANDLED_ERRORS": "1", "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0"}
R = TypeVar("R")


@dataclass(frozen=True)
class Ray:
    """A cluster. `address`: None starts one on this machine. `files`: what workers read, besides the library."""

    address: str | None
    files: Sequence[Path] = ()

    @contextmanager
    def connected(self, workers: int) -> Iterator[Callable[[], Actor]]:
        """What makes a worker, as long as the block lasts."""
        os.environ.update(OFF)
        try:
            import ray
        except ImportError:
            raise HallmarkError("Ray is not installed", param="data.engine", remedy=INSTALL) from None
        versions = installed() if LOCK.is_file() else {}
        if ray.is_initialized():  # by the caller, who also ends it
            yield lambda: Actor(ray, versions)
            return
        stop = signal.getsignal(signal.SIGTERM)
        with tempfile.TemporaryDirectory() as folder:
            try:
                options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
                if self.address is None:  # not what the environment variable RAY_ADDRESS names
                    options |= {"include_dashboard": False}  # without spilling, no row is written to disk
                    options |= {"_system_config": {"automatic_object_spilling_enabled": False}}
                    ray.init("local", num_cpus=workers, **options)
                else:
                    reach(self.address)
                    threads = {name: os.environ[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
                    environment = {"working_dir": str(self._packed(Path(folder))), "env_vars": threads}
                    ray.init(self.address, runtime_env=environment, **options)
            except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
                raise unreachable(self.address or "this machine", f"{type(error).__name__} of Ray's") from error
        with suppress(ValueError):  # Ray has set its own; only the main thread may
            signal.signal(signal.SIGTERM, stop)
        try:
            yield lambda: Actor(ray, versions)
        finally:
            ray.shutdown()

    def _packed(self, folder: Path) -> Path:
        """A folder with the library and the files, which Ray copies to every node: all run the same code."""
        skip = shutil.ignore_patterns("__pycache__")
        shutil.copytree(Path(hallmark.__path__[0]), folder / "hallmark", ignore=skip)
        for file in self.files:
            if file.is_dir():
                shutil.copytree(file, folder / file, ignore=skip)
            elif file.is_file() and not file.is_absolute():
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, folder / file)
        return folder


class Actor:
    """A worker on the cluster, for which it takes one CPU."""

    def __init__(self, ray: Any, versions: dict[str, str]) -> None:
        self.ray, self.versions = ray, versions
        self.died = (ray.exceptions.RayActorError, ray.exceptions.OutOfMemoryError, MemoryError)
        self.actor = ray.remote(num_cpus=1)(Caller).remote()

    def start(self, function: Callable[..., R], *args: Any) -> Future[R]:
        """Call the function, if the node has the packages that are here."""
        return self.call(start_with, self.versions, function, *args)

    def call(self, function: Callable[..., R], *args: Any) -> Future[R]:
        """The result to come."""
        future: Future[R] = Future()
        self.actor.call.remote(function, *args).future().add_done_callback(partial(settle, future))
        return future

    def close(self) -> None:
        """End it."""
        self.ray.kill(self.actor)


class Caller:
    """What runs in a worker. It returns an error instead of raising it: Ray would log it, with what it may quote."""

    def call(self, function: Callable[..., Any], *args: Any) -> tuple[Any, Exception | None]:
        """The result, and the error if there is none."""
        try:
            return function(*args), None
        except Exception as error:
            error.add_note(traceback.format_exc())  # which HALLMARK_TRACEBACK=1 shows
            return None, error


def settle(future: Future[Any], done: Future[tuple[Any, Exception | None]]) -> None:
    """Pass on what a call came to."""
    lost = done.exception()
    result, error = (None, lost) if lost else done.result()
    if error:
        future.set_exception(error)
    else:
        future.set_result(result)


def start_with(versions: dict[str, str], function: Callable[..., R], *args: Any) -> R:
    """Call the function on a node, unless a package there has another version: its bytes might be others."""
    for name, version in versions.items():
        with suppress(metadata.PackageNotFoundError):
            if version not in ("absent", there := metadata.version(name)):
                raise HallmarkError(
                    f"node {socket.gethostname()} of the cluster has {name} {there}, and this machine {version}",
                    param="data.cluster",
                    remedy="install the same on both: `pip install -c requirements.lock ...`",
                )
    return function(*args)


def reach(address: str) -> None:
    """Raise an error if nothing listens at the address: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host:
        try:
            socket.create_connection((host, int(port)), SECONDS).close()
        except OSError as error:
            raise unreachable(address, error.strerror or str(error)) from None


def unreachable(address: str, why: str) -> HallmarkError:
    """The error about a cluster that does not answer."""
    remedy = "start it (`ray start --head`), or fix the address; null starts one on this machine"
    return HallmarkError(f"no Ray cluster at {address}: {why}", param="data.cluster", remedy=remedy)
