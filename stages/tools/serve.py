"""Serve a release with an OpenAI-compatible API until Ctrl-C: `python -m stages.tools.serve [DIR]`, or `nox -s serve`.

Not a stage: it runs the server that `benchmark` measured, with the settings in `benchmark.server`. A release is checked
before it is served, also when a server that died is started again.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stages.core.compute import set_up
from stages.core.errors import HallmarkError, run_stage
from stages.core.files import QUANTIZED, RELEASE
from stages.params.loader import Params, load_params
from stages.release.checking import check_release
from stages.release.provenance import PROVENANCE, VERDICT
from stages.release.shipping import check_weights
from stages.release.statements import read_provenance
from stages.serving.engine import HOST, StartedEngine, StartedSettings
from stages.serving.engines import ENGINES
from stages.serving.server import LOG, Server, address, free_port, served_alone, until_stopped

log = logging.getLogger("serve")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")  # used as both a folder name and a model name


def served_name(name: str, file: Path, remedy: str) -> str:
    """The certified name, if a server can answer to it; else a HallmarkError about `certify.name` in `file`."""
    if not NAME.fullmatch(name) or name in ("base", LOG):
        raise HallmarkError(
            f"can't be used as a model name: use letters, digits, dots and dashes, and not 'base' or '{LOG}'",
            file=file,
            field="certify.name",
            remedy=remedy,
        )
    return name


def release_name(release: Path) -> str:
    """The name by which a server answers for a release: the one that it was certified with."""
    remedy = "set a different certify.name in its project, and run `dvc repro` there"
    return served_name(read_provenance(release).build.params.certify.name, release / PROVENANCE, remedy)


def check_served(adapter: Path, ungated: bool) -> str:
    """A HallmarkError unless `adapter` is an unchanged release over the weights here that its gate passed.

    `ungated` also takes a release that its gate did not pass, and an adapter that is no release; what is returned says so.
    """
    if not os.path.exists(adapter / "adapter_config.json"):  # noqa: PTH110 (Path.exists raises if a name is too long)
        raise HallmarkError("no adapter is there", file=adapter, remedy="run `dvc repro`, or name an adapter's folder")
    if any(os.path.lexists(adapter / name) for name in (PROVENANCE, VERDICT)):
        passed = check_release(adapter, ungated).passed
        check_weights(adapter, QUANTIZED, remedy="run `dvc repro quantize` at the adapter's commit")
        return "" if passed else "; its gate did not pass it: do not release it"
    if not ungated:
        raise HallmarkError(
            f"not a release: it has neither {PROVENANCE} nor {VERDICT}",
            file=adapter,
            remedy=f"serve {RELEASE}; to serve an adapter of your own that nothing has checked, add --ungated",
        )
    log.warning("%s is not a release: nothing vouches for what is served", adapter)
    return "; it is not a release"


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
    assert isinstance(settings, StartedSettings)
    port = free_port(port, "--port")
    set_up(params.compute, params.seed)
    note = check_served(adapter, ungated)
    certified = os.path.lexists(adapter / PROVENANCE)
    own = params.certify.name
    name = release_name(adapter) if certified else served_name(own, Path("params.yaml"), "set a different name")
    checked = True

    @contextmanager
    def start() -> Iterator[Server]:
        nonlocal checked
        if not checked:  # it may have been changed while it was served
            check_served(adapter, ungated)
        checked = False
        with served_alone(name, adapter, port, settings, params.compute) as server:
            yield server

    with suppress(KeyboardInterrupt):
        until_stopped(start, f"{adapter} answers at http://{HOST}:{port}/v1 as the model '{name}'{note}")


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
