"""Register the release as a version in git, and say what changed since the one before: `python -m hallmark.service.commands.release`.

Not a stage: `nox -s release` runs it once the gate has passed and the release fits its clone. The tag `model@v1.2.0` holds
the release's digest, its verdict and its waivers. With OUT, the release is also copied there (`--sign`: and signed).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hallmark.base.errors import HallmarkError, in_red, printable, run_stage
from hallmark.base.files import RELEASE
from hallmark.judge.verdict import VERDICTS
from hallmark.params.loader import load_params
from hallmark.release.shipping import check_target, release
from hallmark.release.signing import check_private_key, import_signing
from hallmark.service.registry.changes import since
from hallmark.service.registry.folders import remote_of
from hallmark.service.registry.promotion import Done, register
from hallmark.service.registry.registry import CANARY, PROD, Registry

HERE = Path()


def main(arguments: argparse.Namespace) -> None:
    if arguments.sign is not None and arguments.out is None:
        remedy = "name a new folder: `nox -s release -- OUT --sign KEY`"
        raise HallmarkError("there is nothing to sign", file="--sign", remedy=remedy)
    if arguments.sign is not None:  # what can't be copied out is told before anything is registered
        import_signing()
        check_private_key(arguments.sign)
    if arguments.out is not None:
        check_target(RELEASE, arguments.out)
    done = register(HERE, arguments.version, push=arguments.push, dry=arguments.dry)
    name = done.version.version
    say(heading(done, arguments.dry))
    for rule, reason in done.version.waived.items():
        print(in_red(printable(f"waived: {rule}: {reason}"), sys.stdout))
    if done.before is None:
        say("there is no version before it")
    else:
        say(f"changed since {done.before.version}:")
        say(*(f"  {line}" for line in since(done.before, load_params(arguments.params))))
    if arguments.out is not None and not arguments.dry:
        release(RELEASE, arguments.out, arguments.sign)
    if done.tags and not arguments.push:
        if not remote_of(HERE):
            say("first, once: dvc remote add --default NAME URL, and commit and push .dvc/config")
        say("share it: nox -s release -- --push")
    if done.tags or (arguments.push and not arguments.dry):
        stage = CANARY if Registry.read(HERE).event_of(PROD) else PROD
        say(f"use it, elsewhere after `git fetch --tags`: nox -s promote -- {name} {stage}")


def heading(done: Done, dry: bool) -> str:
    version = done.version
    state = f"{VERDICTS[version.verdict].lower()}, provenance {version.digest[:16]}, commit {version.commit[:12]}"
    if done.tags:
        return f"registered: {done.tags[0]} ({state})"
    return (
        f"would be registered: {version.version} ({state})" if dry else f"this is {version.version} already ({state})"
    )


def say(*lines: str) -> None:
    for line in lines:
        print(printable(line))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="nox -s release --", description=__doc__)
    parser.add_argument("out", nargs="?", type=Path, metavar="OUT", help="also copy the release to this new folder")
    parser.add_argument("--sign", type=Path, metavar="PEM", help="with OUT: sign it with this key (elliptic curve)")
    parser.add_argument("--version", metavar="vX.Y.Z", help="the version (default: the next minor one)")
    parser.add_argument("--push", action="store_true", help="push all versions: files to DVC's remote, tags to origin")
    parser.add_argument("--dry", action="store_true", help="make all checks, and register and copy nothing")
    run_stage("release", __doc__, main, parser)
