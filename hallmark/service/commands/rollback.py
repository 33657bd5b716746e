"""Put the previous version back into prod: `python -m hallmark.service.commands.rollback`, or `nox -s rollback`.

Not a stage. Run twice, it goes back two versions.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from hallmark.base.errors import run_stage
from hallmark.service.commands.promote import follow, print_shared
from hallmark.service.registry.promotion import roll_back

HERE = Path()


def main(arguments: argparse.Namespace) -> None:
    done = roll_back(HERE, push=arguments.push)
    after = f" again, instead of {done.before.version}" if done.before else " again"
    print(f"{done.version.version} is in prod{after}", flush=True)
    print_shared(done.tags, arguments.push)
    follow(arguments.params, None)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="nox -s rollback --", description=__doc__)
    parser.add_argument("--push", action="store_true", help="push the tag to origin")
    run_stage("rollback", __doc__, main, parser)
