"""List the registered versions, and what is in which stage: `python -m hallmark.service.commands.releases`, or `nox -s releases`.

Not a stage. It reads git's tags and commits only.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from hallmark.base import provenance as prov
from hallmark.base.errors import in_red, printable, run_stage
from hallmark.base.reading import NotJsonError, strict_json
from hallmark.commands.sweep import in_columns
from hallmark.judge.verdict import VERDICTS
from hallmark.service.registry.promotion import HEADLINE
from hallmark.service.registry.registry import STAGES, Registry, Version

HERE = Path()
MEASURES = 3  # of the headline, those that matter first
OTHER = ("verdict", "over_base", "over_linear", "validation_loss", "latency_p95_s", "requests_per_s")
EVENTS = 20
HEADLINE_BYTES = 64 * 2**10


def main(arguments: argparse.Namespace) -> None:
    registry = Registry.read(HERE)
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
    for tag, reason in registry.problems.items():
        print(in_red(printable(f"{tag}: {reason}"), sys.stdout))
    if arguments.events and registry.events:
        print()
        for event in registry.events[: -EVENTS - 1 : -1]:
            print(printable(f"{event.date:%Y-%m-%d %H:%M:%S}  {event.stage}: {event.action} {event.version}"))


def table(registry: Registry) -> list[str]:
    """A line for each version, the newest first, below a line of titles."""
    headlines = {version.version: headline(version) for version in registry.versions}
    measures = [name for name in headlines[registry.versions[-1].version] if name not in OTHER][:MEASURES]
    rows = [["version", "date", "stage", "verdict", *(name.replace("_", " ") for name in measures), "waived"]]
    for version in registry.versions[::-1]:
        name, date, verdict = version.version, f"{version.date:%Y-%m-%d}", VERDICTS[version.verdict].lower()
        there = ", ".join(s for s in STAGES if (event := registry.event_of(s)) and event.version == name) or "-"
        values = [number(headlines[name].get(measure)) for measure in measures]
        rows.append([name, date, there, verdict, *values, str(len(version.waived) or "-")])
    return in_columns(rows, left=range(len(rows[0])))


def headline(version: Version) -> dict[str, Any]:
    """The main measures in the file at its commit; {} if there is none, or it is no JSON object."""
    try:
        found = strict_json((prov.git_file(HEADLINE.as_posix(), version.commit, HERE, HEADLINE_BYTES) or b"").decode())
    except (NotJsonError, UnicodeDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def number(value: Any) -> str:
    is_share = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
    return f"{100 * value:.1f} %" if is_share else "-"


def where(registry: Registry, stage: str) -> str:
    event = registry.event_of(stage)
    if stage in registry.unsound:
        return f"not known: {registry.problems[registry.unsound[stage]]}"
    if event is None:
        return "nothing"
    back = ", by a rollback" if event.action == "roll back" else ""
    return f"{event.version} since {event.date:%Y-%m-%d %H:%M} UTC{back}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="nox -s releases --", description=__doc__)
    parser.add_argument("--events", action="store_true", help=f"also list the last {EVENTS} promotions and rollbacks")
    run_stage("releases", __doc__, main, parser)
