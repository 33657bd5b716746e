"""Put a registered version into a stage: `python -m hallmark.service.commands.promote v1.2.0 canary|prod`, or `nox -s promote -- ...`.

Not a stage. The version is fetched and checked first, and each command adds a tag to git. If params.yaml has
`eval.comparators.prod`, a promotion to prod makes that the new release; `--compare` sets it up.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hallmark.base.errors import HallmarkError, in_red, printable, run_stage
from hallmark.commands.sweep import number
from hallmark.params.loader import load_params
from hallmark.service.commands.against_prod import MARGIN, follow_prod
from hallmark.service.registry.promotion import promote, stop
from hallmark.service.registry.registry import CANARY, PROD, STAGES, Registry
from hallmark.service.registry.tags import one_at_a_time
from hallmark.service.traces.trace import TRACES

HERE = Path()


def main(arguments: argparse.Namespace) -> None:
    version, stage = arguments.version, arguments.stage
    if arguments.stop is not None:
        if version or arguments.compare is not None:
            raise HallmarkError("takes no version, and sets nothing up", file="--stop", remedy="run it alone")
        done = stop(HERE, push=arguments.push)
        print(f"{done.version.version} is out of {arguments.stop}")
        print_shared(done.tags, arguments.push)
        return
    if version is None or stage is None:
        if version is not None or arguments.compare is None:
            raise HallmarkError(
                "a version and a stage are needed", remedy="run `nox -s promote -- v1.2.0 canary`, or prod"
            )
        print("\n".join(followed(arguments.params, arguments.compare) or ["params.yaml compares with it already"]))
        return
    if arguments.compare is not None and stage != PROD:
        raise HallmarkError("is about prod", file="--compare", remedy="give it with prod, or leave it out")
    done = promote(HERE, version, stage, push=arguments.push)
    before = f", where {done.before.version} was" if done.before else ""
    print(f"{version} is in {stage}{before}")
    for rule, reason in done.version.waived.items():
        print(in_red(printable(f"waived: {rule}: {reason}"), sys.stdout))
    for note in done.notes:
        print(printable(f"note: {note}"))
    print_shared(done.tags, arguments.push)
    if stage == PROD:
        follow(arguments.params, arguments.compare)
    else:
        tell_what_it_takes(arguments.params)


def followed(params: Path, margin: float | None) -> list[str]:
    """Let params.yaml follow what is in prod by now, and only then let another command change that; see `follow_prod`."""
    with one_at_a_time(HERE):
        in_prod = Registry.read(HERE).in_stage(PROD)
        if in_prod is None:
            remedy = "promote a version: `nox -s promote -- VERSION prod --compare`"
            raise HallmarkError("nothing is in prod", file="--compare", remedy=remedy)
        return follow_prod(params, in_prod, margin)


def follow(params: Path, margin: float | None) -> None:
    """`followed` after a change of prod. The tag is made: what goes wrong here is told, and fails nothing."""
    try:
        print("".join(f"{line}\n" for line in followed(params, margin)), end="")
    except HallmarkError as error:
        print(f"note: params.yaml does not follow what is in prod: {error}", file=sys.stderr)


def tell_what_it_takes(file: Path) -> None:
    """Print how many customers and days the canary's margins take. It is canary already: what goes wrong here fails nothing."""
    from hallmark.service.monitoring.canary_plan import needed, words
    from hallmark.service.traces.feedback import every_word
    from hallmark.service.traces.store import read_traces

    now = datetime.now(UTC)
    try:
        params = load_params(file)
        settings, share, shadow = params.canary, params.serve.routing.canary, params.serve.routing.shadow
        traces = read_traces(TRACES, since=now - timedelta(days=settings.days), until=now)
        found = needed(traces, every_word(TRACES), now, settings, share, shadow=shadow)
        print("\n".join(words(found, settings.days, share, shadow=shadow)))
    except HallmarkError as error:
        print(f"note: what the margins take is not known: {error}", file=sys.stderr)


def shared(tags: list[str]) -> str:
    return f"share it: git push origin {' '.join(tags)}".replace("#", "\\#").replace("!", "\\!")


def print_shared(tags: list[str], pushed: bool) -> None:
    """Say how others get the tags, unless they were pushed."""
    if not pushed:
        print(shared(tags))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="nox -s promote --", description=__doc__)
    parser.add_argument(
        "version", nargs="?", metavar="vX.Y.Z", help="a registered version (`nox -s releases` lists them)"
    )
    parser.add_argument("stage", nargs="?", choices=STAGES, help="where it goes")
    parser.add_argument(
        "--stop", choices=[CANARY], metavar="canary", help="instead: take the canary out, so that prod answers all"
    )
    parser.add_argument(
        "--compare", nargs="?", type=number(float, 0, 0.99), const=MARGIN, metavar="MARGIN", help="compare each new release with the one in "
        "prod: write it into params.yaml, with a rule of the gate that none may be behind it by more than this share of the "
        f"records (default: {MARGIN}); alone: for the version that is in prod"
    )  # fmt: skip
    parser.add_argument("--push", action="store_true", help="push the tags to origin")
    run_stage("promote", __doc__, main, parser)
