"""Say whether the canary may go to prod or must be rolled back: `python -m hallmark.service.commands.canary`, or `nox -s canary`.

Not a stage. It reads the registry, and the traces and feedback from the time that both releases have answered. Exit code:
0 promote, 1 roll back, 3 too little data; 2 if anything went wrong. `--act` also acts on the verdict.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import NoReturn

from hallmark.base.errors import HallmarkError, in_red, printable, run_stage
from hallmark.base.files import REPORTS, write_json
from hallmark.commands.sweep import in_columns
from hallmark.params.loader import load_params
from hallmark.service.commands.promote import follow, shared
from hallmark.service.monitoring import canary_words as say
from hallmark.service.monitoring.canary import PROMOTE, ROLL_BACK, TOO_LITTLE, Report, judge
from hallmark.service.registry.promotion import promote, stop
from hallmark.service.registry.registry import CANARY, PROD, Event, Registry
from hallmark.service.registry.tags import Tag
from hallmark.service.traces.store import every_word, read_traces
from hallmark.task.task import Task
from hallmark.task.values import same_answer

HERE = Path()
REPORT = REPORTS / "live/canary.json"
CODES = {PROMOTE: 0, ROLL_BACK: 1, TOO_LITTLE: 3}
TROUBLE = 2  # as argparse, grep and diff have it


class Ended(SystemExit):
    """The end of a run that came to a verdict."""


@dataclass(frozen=True)
class Pair:
    """What is in prod and what is the canary: the events that put them there. `seen`: all that was decided by then."""

    prod: Event
    canary: Event
    seen: list[Tag]

    @property
    def since(self) -> datetime:
        """From when on both answer."""
        return max(self.prod.date, self.canary.date)


def pair_of(repo: Path) -> Pair:
    """What the registry says now; a HallmarkError if there is nothing to compare."""
    registry = Registry.read(repo)
    events = []
    for stage in (PROD, CANARY):
        event = registry.event_of(stage) if registry.in_stage(stage) else None
        if event is None:
            remedy = f"promote a version: `nox -s promote -- VERSION {stage}`; `nox -s releases` lists them"
            raise HallmarkError(f"nothing is in {stage}, so there is nothing to compare", file=repo, remedy=remedy)
        events.append(event)
    return Pair(events[0], events[1], registry.decided)


def start(pair: Pair, asked: datetime | None, now: datetime) -> datetime:
    """From when on traces count: since both answer, or from a later time that is asked for."""
    if asked is None:
        return pair.since
    if not pair.since <= asked <= now:
        raise HallmarkError(
            f"not between {say.clock(pair.since)}, since when both releases answer, and now",
            file="--since",
            remedy="give a time between these, such as 2030-01-31T12:00, in UTC",
        )
    return asked


def same_by(task: Task) -> Callable[[str, str], bool] | None:
    """Whether two answers say the same; None if two texts in other words may."""
    if task.kind.free_text:
        return None
    read = cache(task.parse)
    return lambda one, other: one == other or same_answer(read(one), read(other))


def act(repo: Path, pair: Pair, verdict: str, params: Path) -> list[str]:
    """Do what the verdict says; returns what was done. A HallmarkError if the registry is not what was judged any more."""
    if verdict == TOO_LITTLE:
        return ["nothing was done: there is too little data"]
    if verdict == ROLL_BACK:
        done = stop(repo, seen=pair.seen)
        return [f"done: {done.version.version} is out of {CANARY}; {pair.prod.version} answers all", shared(done.tags)]
    done = promote(repo, pair.canary.version, PROD, seen=pair.seen)
    follow(params, None)
    return [f"done: {done.version.version} is in {PROD}, where {pair.prod.version} was", *done.notes, shared(done.tags)]


def show(report: Report, slow: float) -> None:
    print(f"prod {report.prod}, canary {report.canary}, both since {say.clock(report.since)}")
    if report.looked_at:
        following = f"the next at {say.clock(report.next_look)}" if report.next_look else "the last"
        print(f"look {report.look} at {say.clock(report.looked_at)}, {following}")
        print("\n".join(say.counted(report)), end="\n\n")
        table = say.table(report, slow)
        print("".join(f"  {line}\n" for line in in_columns(table, left=(0, len(table[0]) - 1))))
    for note in say.notes(report):
        print(f"  {note}")
    print(f"canary: {say.headline(report)}")
    if over := say.over(report):
        print(in_red(over, sys.stdout))


def main(arguments: argparse.Namespace) -> NoReturn:
    params = load_params(arguments.params)
    pair, now = pair_of(HERE), datetime.now(UTC)
    since = start(pair, arguments.since, now)
    report = judge(
        read_traces(since=since - timedelta(days=params.canary.days), until=now + timedelta(seconds=1)),
        every_word(),
        (pair.prod.version, pair.canary.version),
        since,
        now,
        params.canary,
        params.cascade.max_risk if params.serve.cascade else None,
        same_by(Task(params.task)),
    )
    write_json(REPORT, report.as_json())
    show(report, params.canary.slow_seconds)
    if arguments.act:
        for line in act(HERE, pair, report.verdict, arguments.params):
            print(printable(line))
    raise Ended(CODES[report.verdict])


def time_of(text: str) -> datetime:
    """A time or a day in ISO 8601; UTC, unless it says otherwise."""
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m hallmark.service.commands.canary", description=__doc__)
    parser.add_argument("--act", action="store_true", help="promote the canary or take it out, as the verdict says")
    parser.add_argument(
        "--since", type=time_of, metavar="TIME", help="leave out what came before 2030-01-31T12:00, say"
    )
    try:
        run_stage("canary", __doc__, main, parser)
    except Ended:
        raise
    except SystemExit as ended:
        sys.exit(TROUBLE if ended.code == 1 else ended.code)
