"""What the levels of a benchmark say together: the largest load that was borne."""

from __future__ import annotations

from typing import Any

Level = dict[str, Any]  # one load and what was measured at it


def largest_load(levels: list[Level], share: float) -> dict[str, Any]:
    """The largest concurrency and rate measured at which, and at all below, `share` of requests kept the objective.

    `words` says so; "or more" if no level missed the objective.
    """
    largest: dict[str, Any] = {}
    words = []
    for kind, unit in (("concurrency", "at once"), ("rate", "a second")):
        largest[kind] = None
        ordered = sorted((level for level in levels if kind in level), key=lambda level: level[kind])
        broken = next((level[kind] for level in ordered if level["objective_kept"] < share), None)
        kept = [level[kind] for level in ordered if broken is None or level[kind] < broken]
        if kept:
            largest[kind] = kept[-1]
            words.append(f"{kept[-1]:g} {'or more ' if broken is None else ''}{unit}")
        elif ordered:
            words.append(f"below {broken:g} {unit}")
    return largest | {"words": ", ".join(words)}
