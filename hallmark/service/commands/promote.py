"""Put a registered version into a stage: `python -m hallmark.service.commands.promote v1.2.0 canary|prod`, or `nox -s promote -- ...`.

Not a stage. The version is fetched and checked first, and each command adds a tag to git. If params.yaml has
`eval.comparators.prod`, a promotion to prod updates it to the new release; `--compare` sets it up.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hallmark.answer.comparators.adapter import digest_of_base
from hallmark.base.errors import HallmarkError, in_red, printable, run_stage
from hallmark.base.files import QUANTIZED, sha256_file
from hallmark.base.reading import read_text
from hallmark.commands.sweep import number
from hallmark.model.adapter import CONFIG, TENSORS, TRAINING
from hallmark.params.checked import replaced, write
from hallmark.params.edit import added, value_of
from hallmark.params.loader import load_params
from hallmark.service.monitoring.canary_plan import needed, words
from hallmark.service.registry.folders import materialize
from hallmark.service.registry.promotion import promote, stop
from hallmark.service.registry.registry import CANARY, PROD, STAGES, Registry, Version
from hallmark.service.registry.tags import one_at_a_time
from hallmark.service.traces.store import every_word, read_traces
from hallmark.service.traces.trace import TRACES

HERE = Path()
# Where params.yaml compares each new release with the one in prod.
BLOCK, RULES = "eval.comparators", "gate.non_inferiority"
MARGIN = 0.02
FIRST = f"{PROD}:  # the release in prod, which `nox -s promote` keeps up to date"


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


def follow_prod(params: Path, version: Version, margin: float | None) -> list[str]:
    """Make `eval.comparators.prod` the version that is in prod now; comments and all other lines stay.

    `margin`: also if there is none yet, with a rule of the gate that no release may be behind it by more than that; None:
    only if there is one. Returns what was written and what is left to do, in lines; none if nothing was.
    """
    text, known = read_text(params), load_params(params)
    settings = known.eval.comparators.get(PROD)
    if settings is None and margin is None:
        return []
    if settings is not None and settings.kind != "adapter":
        problem = f"is a comparator of kind {settings.kind}, not the adapter that is in prod"
        raise HallmarkError(problem, param=f"{BLOCK}.{PROD}", remedy="give it another name")
    values, lines, new = pinned(*materialize(version)), [], text
    if settings is None:
        new = added(new, BLOCK, [FIRST, "  kind: adapter", *(f"  {key}: {value}" for key, value in values.items())])
    else:
        new = replaced(new, {f"{BLOCK}.{PROD}.{key}": [f" {value}"] for key, value in values.items()})
    if new != text:
        lines.append(f"params.yaml: {BLOCK}.{PROD} is {values['folder']}")
    if margin is not None and PROD not in known.gate.non_inferiority:
        new = with_rule(new, f"{PROD}: {margin:g}")
        lines.append(f"params.yaml: {RULES} has {PROD}: {margin:g}, the most by which a release may be behind it")
    if not lines:
        return []
    write(params, new)
    return [*lines, "commit params.yaml and run `nox -s repro`: the next release is compared with it"]


def pinned(release: Path, weights: Path) -> dict[str, str]:
    """The settings of the comparator, as YAML."""
    other = weights != QUANTIZED
    return {
        "folder": release.as_posix(),
        "sha256": sha256_file(release / TENSORS),
        "config_sha256": sha256_file(release / CONFIG),
        "base": weights.as_posix() if other else "null",
        "base_sha256": digest_of_base(weights, release / TRAINING) if other else "null",
    }


def with_rule(text: str, rule: str) -> str:
    """The text with one more entry of `gate.non_inferiority`, which may stand on one line."""
    written = value_of(text, RULES)
    if written in ("", "{}"):
        return replaced(text, {RULES: [f" {{{rule}}}"]}) if written else added(text, RULES, [rule])
    return replaced(text, {RULES: [f" {written.removesuffix('}').rstrip()}, {rule}}}"]})


def tell_what_it_takes(file: Path) -> None:
    """Print how many customers and days the canary's margins take. It is canary already: what goes wrong here fails nothing."""
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
    parser.add_argument("version", nargs="?", metavar="vX.Y.Z", help="`nox -s releases` lists those registered")
    parser.add_argument("stage", nargs="?", choices=STAGES, help="where it goes")
    parser.add_argument("--stop", choices=[CANARY], metavar="canary", help="instead: take the canary out")
    parser.add_argument(
        "--compare", nargs="?", type=number(float, 0, 0.99), const=MARGIN, metavar="MARGIN", help="compare each new release with the one in "
        "prod: write it into params.yaml, with a rule of the gate that none may be behind it by more than this share of the "
        f"records (default: {MARGIN}); alone: for the version that is in prod"
    )  # fmt: skip
    parser.add_argument("--push", action="store_true", help="push the tags to origin")
    run_stage("promote", __doc__, main, parser)
