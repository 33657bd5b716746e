"""F1 of spans: values copied from the input, by their position in it, with credit for overlap.

The four ways of counting are those of SemEval 2013 and of the package nervaluate: `strict` (right bounds and field),
`exact` (right bounds, in whatever field), `partial` (right bounds, or half a point for an overlap, in whatever field)
and `type` (an overlap, in the right field). Bounds are counted in words. A value's position is the first run of its words
in the input that no other value has; `{"start": ..., "end": ..., "label": ...}` states its own, in any unit. What the
input does not contain overlaps nothing. Each span is matched once, equal ones first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hallmark.task.evidence import words_of

if TYPE_CHECKING:
    from hallmark.task.predictions import Prediction

WAYS = ("strict", "exact", "partial", "type")
Span = tuple[str, int, int]  # field, start, end


def span_columns(rows: Sequence[Prediction], fields: Sequence[str]) -> dict[str, list[list[float]]]:
    """For each way, a row for each record: twice the points, and expected plus predicted spans. Summed, their ratio is F1."""
    columns: dict[str, list[list[float]]] = {way: [] for way in WAYS}
    for row in rows:
        words = words_of(row.input)
        chosen = [value for value in row.fields if value.path in fields]
        expected = located([(value.path, value.target) for value in chosen if value.result != "spurious"], words)
        predicted = located([(value.path, value.prediction) for value in chosen if value.result != "missing"], words)
        points = count(expected, predicted)
        for way in WAYS:
            columns[way].append([2 * points[way], len(expected) + len(predicted)])
    return columns


def located(values: Sequence[tuple[str, Any]], words: Sequence[str]) -> list[Span]:
    """Each value as (field, start, end); a value that the words do not contain gets bounds of its own, before the text."""
    taken: set[Span] = set()
    for number, (field, value) in enumerate(values):
        taken.add(_position(field, value, words, taken) or (field, -2 - 2 * number, -1 - 2 * number))
    return sorted(taken)


def _position(field: str, value: Any, words: Sequence[str], taken: set[Span]) -> Span | None:
    if isinstance(value, dict):
        start, end = value.get("start"), value.get("end")
        if type(start) is int and type(end) is int and 0 <= start < end:
            return f"{field} {value.get('label', value.get('type', ''))}", start, end
        value = value.get("text")
    run = words_of(value) if isinstance(value, str) else []
    if not run:
        return None
    starts = (start for start in range(len(words) - len(run) + 1) if words[start] == run[0])
    return next(
        (
            (field, start, start + len(run))
            for start in starts
            if words[start : start + len(run)] == run and (field, start, start + len(run)) not in taken
        ),
        None,
    )


def count(expected: Sequence[Span], predicted: Sequence[Span]) -> dict[str, float]:
    """The points of each way of counting."""
    points = dict.fromkeys(WAYS, 0.0)
    unmatched, remaining = list(expected), list(predicted)
    for same_field in (True, False):  # equal spans first, then equal bounds, then overlaps
        for overlap in (False, True):
            for span in list(remaining):
                match = next((target for target in unmatched if _match(target, span, same_field, overlap)), None)
                if match is None:
                    continue
                unmatched.remove(match)
                remaining.remove(span)
                points["strict"] += same_field and not overlap
                points["exact"] += not overlap
                points["partial"] += 0.5 if overlap else 1.0
                points["type"] += same_field
    return points


def _match(target: Span, span: Span, same_field: bool, overlap: bool) -> bool:
    if (target[0] == span[0]) != same_field or min(target[1], span[1]) < 0:
        return False
    return target[1] < span[2] and span[1] < target[2] if overlap else target[1:] == span[1:]
