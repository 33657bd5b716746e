"""List the registered versions, and what is in which stage: `python -m hallmark.service.commands.releases`, or `nox -s releases`.

Not a stage. It reads git's tags and commits only.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from hallmark.base.errors import HallmarkError, in_red, printable, run_stage
from hallmark.judge.verdict import VERDICTS
from hallmark.service.registry.registry import STAGES, Registry, Version

HERE = Path()
MEASURES = 3  # of the headline, those that matter first
OTHER = ("verdict", "over_base", "over_linear", "validation_loss", "latency_p95_s", "requests_per_s")
EVENTS = 20


def main(arguments: argparse.Namespace) -> None:
    """Print the table, and below it stages, waivers and the tags that can't be trusted."""
    registry = Registry.read(HERE)
    if arguments.json:
        print(json.dumps(content(registry), indent=2, ensure_ascii=False, default=str))
        return
    if not registry.versions:
        print("no version is registered: `nox -s release` registers the first")
    else:
        for line in table(registry):
            print(printable(line))
        print()
    for stage in STAGES:
        print(printable(f"{stage}: {where(registry, stage)}"))
    for version in registry.versions[::-1]:
        for rule, reason in version.waived.items():
            print(in_red(printable(f"{version.version} waived {rule}: {reason}"), sys.stdout))
    for problem in registry.problems:
        print(in_red(printable(f"{problem.tag}: {problem.reason}"), sys.stdout))
    if arguments.events and registry.events:
        print()
        for event in registry.events[: -EVENTS - 1 : -1]:
            print(printable(f"{event.date:%Y-%m-%d %H:%M:%S}  {event.stage}: {event.action} {event.version}"))


def table(registry: Registry) -> list[str]:
    """A line for each version, the newest first, below a line of titles."""
    measures = [name for name in registry.versions[-1].headline if name not in OTHER][:MEASURES]
    rows = [["version", "date", "stage", "verdict", *(name.replace("_", " ") for name in measures), "waived"]]
    stages = {stage: current(registry, stage) for stage in STAGES}
    for version in registry.versions[::-1]:
        there = ", ".join(stage for stage, name in stages.items() if name == version.version)
        values = [number(version.headline.get(name)) for name in measures]
        verdict = VERDICTS[version.verdict].lower()
        rows.append(
            [
                version.version,
                f"{version.date:%Y-%m-%d}",
                there or "-",
                verdict,
                *values,
                str(len(version.waived) or "-"),
            ]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def number(value: Any) -> str:
    """A share as a percentage."""
    is_share = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
    return f"{100 * value:.1f} %" if is_share else "-"


def current(registry: Registry, stage: str) -> str | None:
    """The name of what is in a stage; None if that can't be told."""
    event = None if stage in registry.unsound else registry.event_of(stage)
    return event.version if event else None


def where(registry: Registry, stage: str) -> str:
    """What is in a stage, and since when."""
    try:
        version, event = registry.in_stage(stage), registry.event_of(stage)
    except HallmarkError as error:
        return f"not known: {error.problem}"
    if version is None or event is None:
        return "nothing"
    back = ", by a rollback" if event.action == "roll back" else ""
    return f"{version.version} since {event.date:%Y-%m-%d %H:%M} UTC{back}"


def content(registry: Registry) -> dict[str, Any]:
    """All of it, for programs."""
    return {
        "name": registry.name,
        "stages": {stage: current(registry, stage) for stage in STAGES},
        "versions": [described(version) for version in registry.versions],
        "events": [vars(event) for event in registry.events],
        "problems": [vars(problem) for problem in registry.problems],
    }


def described(version: Version) -> dict[str, Any]:
    """A version, for programs."""
    return vars(version)


def parser() -> argparse.ArgumentParser:
    """The options."""
    parser = argparse.ArgumentParser(prog="nox -s releases --", description=__doc__)
    parser.add_argument("--events", action="store_true", help=f"also list the last {EVENTS} promotions and rollbacks")
    parser.add_argument("--json", action="store_true", help="all of it as JSON")
    return parser


if __name__ == "__main__":
    run_stage("releases", __doc__, main, parser())
