"""How a release comes to answer: a server that is started here, or one that runs elsewhere.

The methods of both launchers block, and may be called from any thread.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from hallmark.base.compute import set_up
from hallmark.base.errors import HallmarkError
from hallmark.base.files import BASE
from hallmark.model.chat_template import tool_form
from hallmark.model.loading import load_tokenizer
from hallmark.model.tool_form import ToolForm
from hallmark.params.loader import Params
from hallmark.release.statements import read_provenance
from hallmark.serve.engine import StartedSettings
from hallmark.serve.memory import free_bytes
from hallmark.serve.server import free_port, served_alone, started
from hallmark.serve.several import Several
from hallmark.service.gateway.judging import Judge, read_cascade
from hallmark.service.gateway.releases import UNREGISTERED, Side, Source, Wanted
from hallmark.service.gateway.upstream import Upstream, key_of, listed
from hallmark.task.task import Task

Result = TypeVar("Result")
MARK = "{version}"  # in the model of an upstream: the release that its side has


@dataclass
class Launched:
    """A server that answers for a release. `name`: the model's, for callers; `logs`: None if nobody knows yet.

    `constrains`: it can be asked for another answer than the greedy one. `trouble`: why it can answer no more; None if it
    can, or isn't ours to look into. `room`: whether that number of others like it could start while it runs; False if it isn't ours to keep.
    """

    upstream: Upstream
    judge: Judge
    name: str
    constrains: bool
    logs: bool | None
    trouble: Callable[[], str | None]
    room: Callable[[int], bool]
    stop: Callable[[], None]


class Starter:
    """Starts `benchmark.server` for each release, on a free port of the loopback interface."""

    def __init__(self, params: Params, source: Source, name_of: Callable[[Path], str]) -> None:
        settings = params.benchmark.server
        if not isinstance(settings, StartedSettings):
            raise HallmarkError(
                "a server that runs elsewhere can't be started here",
                param="benchmark.server.kind",
                remedy="set it to transformers or vllm, or name the server in serve.upstreams",
            )
        self._params, self._source, self._name_of, self._settings = params, source, name_of, settings

    def key(self, wanted: Wanted, side: Side) -> str:
        """A release has one server, whichever sides it is on."""
        return wanted.key

    def launch(self, wanted: Wanted, side: Side) -> Launched:
        """Start it, and wait for its first answer."""
        files = self._source.files(wanted)
        assert files.release is not None
        assert files.weights is not None
        engine, name = started(self._settings), self._name_of(files.release)
        form, judge = judge_of(self._params, files.release)
        logs = engine.gives_logs(self._settings)
        if judge.cascade is not None and not logs:
            raise HallmarkError(
                f"{wanted.version} has a cascade, and a server of kind {engine.kind} gives no log-probabilities to apply it to",
                param="benchmark.server.kind",
                remedy="set it to vllm; or set serve.cascade to false, and every answer goes out",
            )
        set_up(self._params.compute, self._params.seed)  # merging is done in this process
        compute = self._params.compute
        before = free_bytes(compute.device)
        with ExitStack() as stack:
            serving = served_alone(name, files.release, free_port(0), self._settings, compute, files.weights)
            server = stack.enter_context(serving)
            model, fields = server.names.get(name, name), dict(server.fields)
            upstream = Upstream(server.url, model, own=True, fields=fields, form=form)
            taken = max(before - free_bytes(compute.device), 2**20 * (server.peak_memory_mib or 0))
            stop = stack.pop_all().close

        def trouble() -> str | None:
            found = server.trouble()
            return found and found + server.last_words

        def room(count: int) -> bool:
            return free_bytes(compute.device) > count * taken

        return Launched(upstream, judge, name, engine.constrains, logs, trouble, room, stop)


class Given:
    """The servers of `serve.upstreams`, which run already and are not ours to stop."""

    def __init__(self, params: Params, source: Source) -> None:
        self._params, self._source = params, source
        for side, settings in params.serve.upstreams.items():  # a missing key is told at once
            key_of(settings, f"serve.upstreams.{side}")

    def key(self, wanted: Wanted, side: Side) -> str:
        """Each side has its own server, whatever it serves."""
        return f"{side} {wanted.key}"

    def launch(self, wanted: Wanted, side: Side) -> Launched:
        """A client of it, which asks for the release's model if `model` has its version. A HallmarkError if a server says
        that it has no such model; one that is down now may be up later."""
        settings, param = self._params.serve.upstreams[side], f"serve.upstreams.{side}"
        model, key = settings.model.replace(MARK, wanted.version), key_of(settings, param)
        if MARK in settings.model and wanted.version == UNREGISTERED:
            remedy = f"run `nox -s promote -- VERSION {side}`, or write the model's name out"
            raise HallmarkError(f"no version is {side}, for which {MARK} stands", param=f"{param}.model", remedy=remedy)
        for url in Several(settings.url).urls if MARK in settings.model else ():
            if (models := asyncio.run(listed(url, key))) is not None and model not in models:
                raise HallmarkError(
                    f"the server at {urlsplit(url).netloc} has no model '{model}'",
                    param=f"{param}.model",
                    remedy=f"have it load {wanted.version} by that name, and it is taken up then; or promote another version",
                )
        files = self._source.files(wanted)
        form, judge = judge_of(self._params, files.release)
        upstream = Upstream(settings.url, model, key=key, form=form)
        name = read_provenance(files.release).build.params.certify.name if files.release else self._params.certify.name
        return Launched(upstream, judge, name, True, None, lambda: None, lambda _: False, lambda: None)


Launcher = Starter | Given


def judge_of(params: Params, release: Path | None) -> tuple[ToolForm | None, Judge]:
    """How a release writes tool calls, and what decides about its answers, by its cascade if that is on."""
    form, cascade = form_of(params, release), read_cascade(release) if params.serve.cascade else None
    return form, Judge(Task(params.task), form, cascade, check_schema=params.serve.check_schema)


def form_of(params: Params, release: Path | None) -> ToolForm | None:
    """How the model was trained to write tool calls; None if as JSON."""
    if params.task.tool_format == "json":
        return None
    source: Any = BASE if release is None else release
    return tool_form(params.task, load_tokenizer(source))


async def cancelled(*tasks: asyncio.Task[Any] | None) -> None:
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
