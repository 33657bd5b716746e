"""Serve several releases over one base from one server, each by its name: `python -m hallmark.service.commands.join DIR DIR ...`.

Not a stage of the pipeline: it combines releases of several projects. It runs in the folder of one of them and uses that
project's base and `benchmark.server`.
"""

from __future__ import annotations

import argparse
import logging
from contextlib import suppress
from functools import partial
from pathlib import Path

from hallmark.base import provenance as prov
from hallmark.base.compute import set_up
from hallmark.base.errors import HallmarkError, run_stage
from hallmark.base.files import QUANTIZED
from hallmark.model.adapter import TRAINING, base_precision
from hallmark.params.loader import Params, load_params
from hallmark.release.checking import check_release
from hallmark.release.shipping import check_weights
from hallmark.release.statements import read_provenance
from hallmark.serve.engine import HOST, StartedSettings
from hallmark.serve.engines import ENGINES
from hallmark.serve.server import free_port, served_together, until_stopped
from hallmark.service.commands.answering import release_name

log = logging.getLogger("join")


def together(folders: list[Path], weights: Path = QUANTIZED, ungated: bool = False) -> dict[str, Path]:
    """The releases by name, each checked, all over `weights`; a HallmarkError if they can't share a server.

    `ungated` also accepts releases that their gate did not pass.
    """
    releases: dict[str, Path] = {}
    for folder in folders:
        check_release(folder, ungated)
        name = release_name(folder)
        if name in releases:
            raise HallmarkError(
                f"{releases[name]} has the same name, '{name}'",
                file=folder / prov.PROVENANCE,
                field="certify.name",
                remedy="set a different certify.name in one of the projects, and run `dvc repro` there",
            )
        if releases:
            compare(next(iter(releases.values())), folder)
        releases[name] = folder
    for folder in folders:
        check_weights(
            folder, weights, remedy="run in the folder of a project that has them: `dvc repro quantize` there"
        )
    return releases


def compare(first: Path, other: Path) -> None:
    """Raise a HallmarkError unless both releases were trained over the same weights with the same rounding."""
    differing = prov.differences(read_provenance(first).base_files, read_provenance(other).base_files)
    if differing:
        raise HallmarkError(
            f"trained on a different base than {first} ({', '.join(differing)} differ by SHA-256)",
            file=other / prov.PROVENANCE,
            field="resolvedDependencies",
            remedy="give both projects the same `base:` block, and run `dvc repro` in the changed one; "
            "or serve them separately",
        )
    precisions = [base_precision(folder) for folder in (first, other)]
    if precisions[0] != precisions[1]:
        raise HallmarkError(
            f"trained over weights in {precisions[1]}, but {first} over weights in {precisions[0]}: "
            "neither was trained with the other's rounding",
            file=other / TRAINING,
            field="base_precision",
            remedy="give both projects the same sft.method and sft.dtype, and run `dvc repro` in the changed one; "
            "or serve them separately",
        )


def server_of(params: Params) -> StartedSettings:
    """The settings of the server that params name, if it can serve several adapters on one base."""
    settings = params.benchmark.server
    ENGINES[settings.kind].check_shares_base(settings)
    assert isinstance(settings, StartedSettings)
    return settings


def main(arguments: argparse.Namespace) -> None:
    params = load_params(arguments.params)
    settings = server_of(params)
    releases = together(arguments.releases, ungated=arguments.ungated)
    set_up(params.compute, params.seed)
    port = free_port(arguments.port, "--port")
    names = ", ".join(f"'{name}'" for name in ("base", *releases))
    start = partial(served_together, releases, port, settings, params.compute)
    with suppress(KeyboardInterrupt):
        until_stopped(start, f"http://{HOST}:{port}/v1 answers as the models {names}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m hallmark.service.commands.join", description=__doc__)
    parser.add_argument("releases", nargs="+", type=Path, metavar="DIR", help="release folders, such as models/release")
    parser.add_argument("--ungated", action="store_true", help="also accept releases that their gate did not pass")
    parser.add_argument("--port", type=int, default=8000, help="port the server listens on (default: %(default)s)")
    run_stage("join", __doc__, main, parser)
