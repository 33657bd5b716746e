"""F1 of spans: values that were copied from the input, by where they stand in it, with credit for overlap.

The four ways of counting are those of SemEval 2013 and of the package nervaluate: `strict` (right bounds and field),
`exact` (right bounds, in whatever field), `partial` (right bounds, or half a point for an overlap, in whatever field)
and `type` (an overlap, in the right field). Bounds are words. A value stands where the input has its words in a row, the
first place not yet taken; `{"start": ..., "end": ..., "label": ...}` says itself where, in any unit. What the input
nowhere has overlaps nothing. Each span is matched once, equal ones first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stages.evaluation.evidence import words_of

WAYS = ("strict", "exact", "partial", "type")
Span = tuple[str, int, int]  # field, start, end


def span_columns(rows: Sequence[dict[str, Any]], fields: Sequence[str]) -> dict[str, list[list[float]]]:
    """For each way, one row a record: twice the points, and due and given spans; their ratio over all records is F1."""
    columns: dict[str, list[list[float]]] = {way: [] for way in WAYS}
    for row in rows:
        words = words_of(row["input"])
        sides: list[list[Span]] = []
        for side, results in (
            ("target", ("match", "wrong", "missing")),
            ("prediction", ("match", "wrong", "spurious")),
        ):
            values = [(f["path"], f[side]) for f in row["fields"] if f["path"] in fields and f["result"] in results]
            sides.append(located(values, words))
        points = count(*sides)
        for way in WAYS:
            columns[way].append([2 * points[way], len(sides[0]) + len(sides[1])])
    return columns


def located(values: Sequence[tuple[str, Any]], words: Sequence[str]) -> list[Span]:
    """Each value as (field, start, end); what is nowhere gets bounds of its own, before the text."""
    taken: set[Span] = set()
    for number, (field, value) in enumerate(values):
        taken.add(_place(field, value, words, taken) or (field, -2 - 2 * number, -1 - 2 * number))
    return sorted(taken)


def _place(field: str, value: Any, words: Sequence[str], taken: set[Span]) -> Span | None:
    if isinstance(value, dict):
        start, end = value.get("start"), value.get("end")
        if type(start) is int and type(end) is int and 0 <= start < end:
            return f"{field} {value.get('label', value.get('type', ''))}", start, end
        value = value.get("text")
    run = words_of(value) if isinstance(value, str) else []
    if not run:
        return None
    places = (place for place in range(len(words) - len(run) + 1) if words[place] == run[0])
    return next(
        (
            (field, place, place + len(run))
            for place in places
            if words[place : place + len(run)] == run and (field, place, place + len(run)) not in taken
        ),
        None,
    )


def count(due: Sequence[Span], said: Sequence[Span]) -> dict[str, float]:
    """The points of each way of counting."""
    points = dict.fromkeys(WAYS, 0.0)
    left, open_ = list(due), list(said)
    for same_field in (True, False):  # equal spans first, then equal bounds, then overlaps
        for overlap in (False, True):
            for span in list(open_):
                other = next((one for one in left if _meet(one, span, same_field, overlap)), None)
                if other is None:
                    continue
                left.remove(other)
                open_.remove(span)
                points["strict"] += same_field and not overlap
                points["exact"] += not overlap
                points["partial"] += 0.5 if overlap else 1.0
                points["type"] += same_field
    return points


def _meet(one: Span, two: Span, same_field: bool, overlap: bool) -> bool:
    if (one[0] == two[0]) != same_field or min(one[1], two[1]) < 0:
        return False
    return one[1] < two[2] and two[1] < one[2] if overlap else one[1:] == two[1:]
