"""The same records answered by two models: who is ahead, in one line; which outcomes became which; exact match by slice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from hallmark.base.figures import percent, rate, signed
from hallmark.base.files import atomic
from hallmark.base.stats import Interval, McNemar, newcombe_paired
from hallmark.judge.comparison import Slice, Transition
from hallmark.judge.metrics import writable
from hallmark.task.predictions import BANDS, Prediction

Predictions = Sequence[Prediction]


def words(
    verdict: str,
    opponent: str,
    before: Sequence[bool],
    after: Sequence[bool],
    difference: Interval,
    test: McNemar,
    confidence: float,
) -> str:
    """The comparison in one line; `before` and `after`: whether each record is an exact match of either model."""
    start = {
        "better": f"The tuned model beats {opponent}",
        "worse": f"The tuned model is worse than {opponent}",
        "not_shown": f"No difference between the tuned model and {opponent} is shown",
    }[verdict]
    shown, n = evidence(verdict, difference, test, confidence), len(after)
    return f"{start}: exact match {rate(sum(after) / n)} against {rate(sum(before) / n)} of {n} records, {shown}"


def evidence(verdict: str, difference: Interval, test: McNemar, confidence: float) -> str:
    """What a verdict of `stats.judge` rests on, in words. If interval and test disagree, it says which of them is in doubt."""
    p = "p < 0.0001" if test.p < 1e-4 else f"p = {test.p:.4f}"
    value, low, high = signed(difference)
    text = f"{value} points ({percent(confidence)} interval {low} to {high}); {test.won} records won, {test.lost} lost"
    if verdict == "not_shown" and test.p < 1 - confidence:
        return f"{text}. These alone would show it ({p}), but records of one group resemble each other: the interval includes zero."
    if verdict == "not_shown" and not difference.low <= 0 <= difference.high:
        return f"{text}. The interval excludes zero, but too few records changed to rule out chance ({p})."
    return f"{text}, {p}."


def transitions(other: Predictions, tuned: Predictions) -> list[Transition]:
    """How many records went from each outcome to each outcome."""
    counts = Counter((before.outcome, after.outcome) for before, after in zip(other, tuned, strict=True))
    return [Transition(before, after, n) for (before, after), n in sorted(counts.items())]


def write_transitions(path: Path, other: Predictions, tuned: Predictions) -> None:
    """One line per record, `base,tuned`, for DVC's confusion plot."""
    pairs = (f"{before.outcome},{after.outcome}" for before, after in zip(other, tuned, strict=True))
    with atomic(path) as temporary:
        temporary.write_text("\n".join(["base,tuned", *pairs]) + "\n", encoding="utf-8", newline="\n")


def slices(other: Predictions, tuned: Predictions, confidence: float) -> list[Slice]:
    """Exact match by customer, tag and input length, with Newcombe's paired interval of the difference.

    Inside a slice records count as independent, and there are many slices: they show where to look, not proof.
    """
    members: dict[tuple[str, str], list[tuple[bool, bool]]] = {}
    for before, after in zip(other, tuned, strict=True):
        tags = [("tag", tag) for tag in after.tags or ()]
        for slice_ in [("group", after.group), ("length", after.length_band), *tags]:
            members.setdefault(slice_, []).append((before.exact_match, after.exact_match))
    results = []
    for (by, name), pairs in members.items():
        both, lost, won = (pairs.count(case) for case in ((True, True), (True, False), (False, True)))
        results.append(
            Slice(
                by=by,
                name=writable(name),
                records=len(pairs),
                other=round((both + lost) / len(pairs), 6),
                tuned=round((both + won) / len(pairs), 6),
                lost=lost,
                won=won,
                difference=newcombe_paired(both, lost, won, len(pairs), confidence).rounded(),
            )
        )
    return sorted(
        results,
        key=lambda row: (row.by, BANDS.index(row.name) if row.by == "length" else -row.records, row.name),
    )
