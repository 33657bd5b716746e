"""One collection: what becomes of each request in a log, and the counts for the report.

A new row that repeats a record, or another new row, is left out: the same text with the same answer. A correction is new,
however well the text is known. What is nearly the same is for `dedupe`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from hallmark.base.progress import Progress
from hallmark.corpus.texts import normalise
from hallmark.params.loader import Params
from hallmark.service.collecting.existing_records import Known
from hallmark.service.collecting.live import Maker, New
from hallmark.service.collecting.logged import REASONS, LeftOutError, Logged, Said
from hallmark.service.collecting.queue import Reviewed, Word
from hallmark.service.traces.trace import Outcome, Reason
from hallmark.task.answers import canonical
from hallmark.task.task import Task

ROUTES = ("prod", "canary", "shadow", "batch", "none")
VERDICTS = ("accepted", "corrected", "rejected", "contradicted")


@dataclass
class Collection:
    """The records to add, what waits for a person (with the text that was asked), and the counts."""

    records: list[New] = field(default_factory=list)
    waiting: list[tuple[Logged, str]] = field(default_factory=list)
    read: list[Logged] = field(default_factory=list)
    before: int = 0  # collected already
    left: Counter[str] = field(default_factory=Counter)
    reviewed: Counter[str] = field(default_factory=Counter)

    def report(self) -> dict[str, Any]:
        days = sorted(logged.time for logged in self.read if logged.time)
        return {
            "days": {"first": days[0], "last": days[-1]} if days else None,
            "traces": len(self.read),
            "route": _counts(ROUTES, (logged.route for logged in self.read)),
            "outcome": _counts(get_args(Outcome), (logged.outcome for logged in self.read)),
            "reason": _counts(get_args(Reason), (logged.reason for logged in self.read)),
            "verdict": _counts((*VERDICTS, "none"), (logged.verdict or "none" for logged in self.read)),
            "reviewed": {word: self.reviewed[word] for word in (*get_args(Word), "unknown")},
            "left_out": {reason: self.left[reason] for reason in REASONS},
            "collected_before": self.before,
            "added": len(self.records),
            "online": sum(row.online for row in self.records),
            "pairs": sum(row.pair for row in self.records),
            "waiting": len(self.waiting),
        }


def _counts(names: Iterable[str], found: Iterable[str]) -> dict[str, int]:
    counts = Counter(found)
    return {name: counts[name] for name in names}


def collect(
    logs: list[Logged],
    left: Counter[str],
    said: dict[str, Reviewed],
    new: AbstractSet[str],
    maker: Maker,
    known: Known,
    params: Params,
) -> Collection:
    """Sort all requests in a log: into records, into what waits, or left out with a reason.

    `said` is what people said on the page, in which answers are masked here; `new`, of which requests they said it just now.
    """
    done = Collection(read=logs, left=left)
    done.reviewed["unknown"] = len(new - {logged.id for logged in logs} - known.ids)
    known_texts = set(_plain(known.texts))
    found: list[New] = []
    with Progress("collect", len(logs), "traces") as progress:
        for logged in logs:
            progress.add()
            if logged.id in known.ids:
                done.before += 1
                continue
            try:
                row = _sorted(logged, said, maker, known_texts, params, done)
            except LeftOutError as error:
                done.left[error.reason] += 1
            else:
                found += [row] if row else []
    done.records, done.left["exact"] = without_copies(found, known)
    return done


def _sorted(
    logged: Logged, said: dict[str, Reviewed], maker: Maker, known_texts: set[str], params: Params, done: Collection
) -> New | None:
    """The row of a request; None if it waits for a person, or was dropped by one."""
    word = said.get(logged.id)
    if logged.route == "none":
        raise LeftOutError("no_answer")
    if logged.route not in params.collect.routes:
        raise LeftOutError("route")
    if word:
        done.reviewed[word.verdict] += 1
        if word.verdict == "dropped":
            return None
        verdict: Said = word.verdict
        logged = replace(logged, verdict=None, target=None)
    elif logged.outcome == "failed" and logged.verdict in (None, "rejected"):
        raise LeftOutError("no_answer")
    logged = maker.masked(logged)
    if word:
        logged = replace(logged, verdict=verdict, target=word.target)
        if word.target is not None:  # the person may have written something private
            logged = maker.masked(logged)
            said[logged.id] = word.model_copy(update={"target": logged.target})
    answer = learned(logged, maker.task)
    if answer:
        return maker.new(logged, *answer)
    text = maker.asked(logged)
    if _plain([text])[0] in known_texts:
        raise LeftOutError("asked_before")
    done.waiting.append((logged, text))
    return None


def learned(logged: Logged, task: Task) -> tuple[str, str | None] | None:
    """The right answer, and the model's own if it is known to be wrong; None if a person must look first.

    An accepted answer is the one that the caller got, so the fallback's where that answered. Where the fallback's answer
    was corrected, the model's own is wrong if it is another, but of two texts in words both may be right.
    """
    if logged.verdict == "accepted":
        if logged.shown is None:
            raise LeftOutError("no_answer")
        return logged.shown, None
    if logged.verdict == "corrected" and logged.target is not None:
        wrong = logged.answer
        if wrong is None or not wrong.strip() or canonical(wrong) == canonical(logged.target):
            return logged.target, None
        if logged.fallback is not None and task.kind.free_text:
            return logged.target, None
        return logged.target, wrong
    return None


def _plain(texts: Iterable[str]) -> list[str]:
    """The texts as `dedupe` compares them."""
    import polars as pl

    return normalise(pl.Series([*texts], dtype=pl.String)).to_list()


def without_copies(rows: Sequence[New], known: Known) -> tuple[list[New], int]:
    """The rows that are no copies, in their order, and how many were.

    Rows of held-out customers go first, so that no copy of theirs under another customer's name gets into training instead.
    """
    there = set(zip(_plain(known.texts), known.targets, strict=True))
    order = sorted(range(len(rows)), key=lambda number: (not rows[number].online, number))
    stay = []
    for number, text in zip(order, _plain(rows[number].text for number in order), strict=True):
        if (text, rows[number].target) not in there:
            there.add((text, rows[number].target))
            stay.append(number)
    return [rows[number] for number in sorted(stay)], len(rows) - len(stay)
