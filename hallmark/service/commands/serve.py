"""Answer callers with the OpenAI chat API until Ctrl-C: `python -m hallmark.service.commands.serve [DIR]`, or `nox -s serve`.

Not a stage. A gateway (the block `serve` of params.yaml) stands in front of the model servers (`benchmark.server`, started
here, or those in `serve.upstreams`): API keys, masking, routing to prod and canary, the cascade, traces. The registry's prod
and canary answer, or models/release as long as there is no prod; with DIR, that folder, registered or not. A release is
checked before it is served, also when a server that died is started again.

With --direct, the model server alone answers, without the gateway: nothing is masked, routed, judged or kept. Then one
server can serve several DIR of one base, each by its name (`nox -s join`).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from hallmark.base.compute import set_up
from hallmark.base.errors import HallmarkError, run_stage
from hallmark.base.figures import percent
from hallmark.base.files import RELEASE
from hallmark.base.provenance import PROVENANCE
from hallmark.commands.sweep import number
from hallmark.params.loader import Params, load_params
from hallmark.serve.engine import HOST, StartedEngine, StartedSettings
from hallmark.serve.engines import ENGINES
from hallmark.serve.server import Server, address, free_port, served_alone, served_together, until_stopped
from hallmark.service.commands.answering import check_served, gateway_of, name_of
from hallmark.service.gateway.app import Gateway
from hallmark.service.gateway.callers import read_keys
from hallmark.service.gateway.releases import SIDES
from hallmark.service.gateway.server import run
from hallmark.service.traces.store import FeedbackJournal

DIRECT_PORT = 8000


def serve_directly(params: Params, adapters: list[Path], port: int, ungated: bool) -> None:
    """Serve the base with one adapter or several until Ctrl-C, with the settings that the benchmark measures."""
    settings = params.benchmark.server
    several = len(adapters) > 1
    if several:
        ENGINES[settings.kind].check_shares_base(settings)
    if address(settings):
        able = " or ".join(kind for kind, engine in ENGINES.items() if isinstance(engine, StartedEngine))
        raise HallmarkError(
            "an endpoint that runs elsewhere can't be served here",
            param="benchmark.server.kind",
            remedy=f"set it to {able}",
        )
    assert isinstance(settings, StartedSettings)
    port = free_port(port, "--port")
    named, note = checked_by_name(params, adapters, ungated)
    set_up(params.compute, params.seed)
    checked = True

    @contextmanager
    def start() -> Iterator[Server]:
        nonlocal checked
        if not checked:  # they may have been changed while they were served
            checked_by_name(params, adapters, ungated)
        checked = False
        serving: AbstractContextManager[Server]
        if several:
            serving = served_together(named, port, settings, params.compute)
        else:
            serving = served_alone(*next(iter(named.items())), port, settings, params.compute)
        with serving as server:
            yield server

    models = ", ".join(f"'{name}'" for name in (["base", *named] if several else named))
    words = f"answers as the model{'s' if several else ''} {models}{note}"
    with suppress(KeyboardInterrupt):
        until_stopped(start, f"http://{HOST}:{port}/v1 {words}")


def checked_by_name(params: Params, adapters: list[Path], ungated: bool) -> tuple[dict[str, Path], str]:
    """The adapters by the names that they are served by, each checked, and what there is to say of them."""
    named: dict[str, Path] = {}
    notes = []
    for adapter in adapters:
        notes.append(check_served(adapter, ungated))
        name = name_of(params, adapter)
        if name in named:
            problem = f"{named[name]} has the same name, '{name}'"
            remedy = "set a different certify.name in one of the projects, and run `dvc repro` there"
            raise HallmarkError(problem, file=adapter / PROVENANCE, field="certify.name", remedy=remedy)
        named[name] = adapter
    return named, "".join(dict.fromkeys(notes))


def serve_behind_gateway(params: Params, folder: Path | None, *, ungated: bool) -> None:
    """Serve through the gateway until Ctrl-C or SIGTERM; what is under way then is finished."""
    serve = params.serve
    if serve.port:
        free_port(serve.port, "serve.port", serve.host)  # before a model is loaded
    feedback = FeedbackJournal() if serve.traces else None
    gateway = gateway_of(params, folder, ungated=ungated, keys=read_keys(serve), feedback=feedback)
    run(
        gateway, serve.host, serve.port, serve.drain_seconds,
        lambda where: print(ready(where, gateway), flush=True),
    )  # fmt: skip


def ready(where: str, gateway: Gateway) -> str:
    serve, deployments = gateway.serve, gateway.deployments
    versions = deployments.versions
    sides = ", ".join(f"{side} {versions[side]}" for side in SIDES if side in versions)
    if "canary" in versions:
        shadow = "; it is also asked what prod answers" if serve.routing.shadow else ""
        sides += f" for {percent(serve.routing.canary)} of the customers{shadow}"
    prod = deployments.serving("prod")
    cascade = prod is not None and prod.running.launched.judge.cascade is not None
    parts = {"keys": bool(gateway.keys), "masking": serve.mask, "cascade": cascade, "traces": serve.traces}
    parts["fallback"] = serve.fallback is not None
    names = " or ".join(f"'{name}'" for name in deployments.names)
    states = ", ".join(f"{name} {'on' if on else 'off'}" for name, on in parts.items())
    return f"{where}/v1 answers as the model {names}: {sides}; {states}; Ctrl-C stops it"


def main(arguments: argparse.Namespace) -> None:
    params = load_params(arguments.params)
    if arguments.direct:
        port = DIRECT_PORT if arguments.port is None else arguments.port
        serve_directly(params, arguments.releases or [RELEASE], port, arguments.ungated)
        return
    if len(arguments.releases) > 1:
        raise HallmarkError("the gateway serves one release", file="DIR", remedy="add --direct, or name one")
    if arguments.port is not None:
        params = params.model_copy(update={"serve": params.serve.model_copy(update={"port": arguments.port})})
    serve_behind_gateway(params, next(iter(arguments.releases), None), ungated=arguments.ungated)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m hallmark.service.commands.serve", description=__doc__)
    parser.add_argument("releases", nargs="*", type=Path, metavar="DIR", help="a release; several with --direct")
    parser.add_argument("--ungated", action="store_true", help="also what the gate did not pass, or what is no release")
    port = number(int, 0, 65_535)
    parser.add_argument("--port", type=port, help=f"0: any (default: serve.port; with --direct: {DIRECT_PORT})")
    parser.add_argument("--direct", action="store_true", help="the model server alone, without the gateway")
    run_stage("serve", __doc__, main, parser)
