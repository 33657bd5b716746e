"""Serve a release with an OpenAI-compatible API until Ctrl-C: `python -m stages.tools.serve [DIR]`, or `nox -s serve`.

Not a stage: it runs the server that `benchmark` measured, with the settings in `benchmark.server`. A release is checked
before it is served, also when a server that died is started again.
"""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stages.core.compute import set_up
from stages.core.errors import HallmarkError, run_stage
from stages.core.files import BASE, RELEASE
from stages.params.loader import Params, load_params
from stages.release.checking import check_release
from stages.release.provenance import PROVENANCE, VERDICT
from stages.release.shipping import check_base
from stages.serving.engine import HOST, StartedEngine
from stages.serving.engines import ENGINES
from stages.serving.server import Server, address, free_port, served, until_stopped

log = logging.getLogger("serve")


def check_served(adapter: Path, ungated: bool) -> None:
    """A HallmarkError unless `adapter` is an unchanged release over this base that its gate passed.

    `ungated` also takes a release that its gate did not pass, and an adapter that is no release; it is said of the latter.
    """
    if not os.path.exists(adapter / "adapter_config.json"):  # noqa: PTH110 (Path.exists raises if a name is too long)
        raise HallmarkError("no adapter is there", file=adapter, remedy="run `dvc repro`, or name an adapter's folder")
    if any(os.path.lexists(adapter / name) for name in (PROVENANCE, VERDICT)):
        check_release(adapter, ungated)
        check_base(adapter, BASE, remedy="run `dvc repro base` at the adapter's commit")
        return
    if not ungated:
        raise HallmarkError(
            f"not a release: it has neither {PROVENANCE} nor {VERDICT}",
            file=adapter,
            remedy=f"serve {RELEASE}; to serve an adapter of your own that nothing has checked, add --ungated",
        )
    log.warning("%s is not a release: nothing vouches for what is served", adapter)


def serve_until_stopped(params: Params, adapter: Path, port: int, ungated: bool) -> None:
    """Serve the base with `adapter` until Ctrl-C, with the settings that the benchmark measures."""
    settings = params.benchmark.server
    if address(settings):
        able = " or ".join(kind for kind, engine in ENGINES.items() if isinstance(engine, StartedEngine))
        raise HallmarkError(
            "an endpoint that runs elsewhere can't be served here",
            param="benchmark.server.kind",
            remedy=f"set it to {able}",
        )
    port = free_port(port, "--port")
    set_up(params.compute, params.seed)

    @contextmanager
    def start() -> Iterator[Server]:
        check_served(adapter, ungated)
        with served(["tuned"], {"tuned": port}, adapter, settings, params.compute) as servers:
            yield servers["tuned"]

    with suppress(KeyboardInterrupt):
        until_stopped(start, f"{adapter} answers at http://{HOST}:{port}/v1 as the model 'tuned'")


def main(arguments: argparse.Namespace) -> None:
    """Command line: which adapter, and where to listen."""
    serve_until_stopped(load_params(arguments.params), arguments.adapter, arguments.port, arguments.ungated)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m stages.tools.serve", description=__doc__)
    parser.add_argument(
        "adapter", nargs="?", type=Path, default=RELEASE, metavar="DIR", help="a release (default: %(default)s)"
    )
    parser.add_argument(
        "--ungated", action="store_true", help="also serve what the gate did not pass, or an adapter that is no release"
    )
    parser.add_argument("--port", type=int, default=8000, help="where it listens (default: %(default)s)")
    return parser


if __name__ == "__main__":
    run_stage("serve", __doc__, main, _parser())
