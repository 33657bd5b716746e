"""Fetch a release by its version or stage: `python -m hallmark.service.commands.fetch REPO prod|v1.2.0 OUT`, or `nox -s fetch -- ...`.

Not a stage. REPO is a folder or an address that git clones; `.` without OUT puts the version where this repository expects
it, `models/versions/v1.2.0`. It is checked against the digest in its tag, and nothing is kept if anything does not fit.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from hallmark.base.errors import HallmarkError, run_stage
from hallmark.service.registry.folders import fetch, materialize, wanted
from hallmark.service.registry.registry import Registry

HERE = Path()


def main(arguments: argparse.Namespace) -> None:
    if arguments.out is None:
        if Path(arguments.repo).resolve() != HERE.resolve() or arguments.weights is not None:
            remedy = "run `nox -s fetch -- REPO prod OUT`"
            raise HallmarkError("a folder to write to is needed", file="OUT", remedy=remedy)
        version = wanted(Registry.read(HERE), arguments.version)
        release, weights = materialize(version, HERE)
        print(f"{version.version}: {release}, over {weights}; both are what its tag says")
        return
    version = fetch(arguments.repo, arguments.version, arguments.out, arguments.weights)
    over = f", over {arguments.weights}" if arguments.weights is not None else ""
    print(f"{version.version}: {arguments.out}{over}; it is what its tag says (provenance {version.digest[:16]})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="nox -s fetch --", description=__doc__)
    parser.add_argument("repo", metavar="REPO", help="the repository that the release is registered in")
    parser.add_argument("version", metavar="prod|canary|vX.Y.Z", help="a stage or a version")
    parser.add_argument("out", nargs="?", type=Path, metavar="OUT", help="a new folder for the release")
    parser.add_argument("--weights", type=Path, metavar="DIR", help="a new folder for what it was trained over")
    run_stage("fetch", __doc__, main, parser)
