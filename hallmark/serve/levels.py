"""What the levels of a benchmark say together: the largest load that was borne, one model over another, and the first in short."""

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


def ratios(base: list[Level], tuned: list[Level]) -> list[Level]:
    """Tuned over base at each level: times above 1 are slower, rates above 1 are faster."""
    ratios_by_level = []
    for below, above in zip(base, tuned, strict=True):
        level: Level = {kind: above[kind] for kind in ("concurrency", "rate") if kind in above}
        for metric in ("ttft_s", "tpot_s", "latency_s"):
            level[metric] = {name: _ratio(above[metric][name], below[metric][name]) for name in above[metric]}
        for metric in ("output_tokens_per_second", "requests_per_second"):
            level[metric] = _ratio(above[metric], below[metric])
        ratios_by_level.append(level)
    return ratios_by_level


def _ratio(above: float | None, below: float | None) -> float | None:
    return round(above / below, 3) if above is not None and below else None


def headline(levels: list[Level]) -> Level:
    """The first level in short, for `dvc metrics` and `dvc exp show`; errors and timeouts are those of all levels."""
    first = levels[0]
    return {
        "latency_p50_s": first["latency_s"]["p50"],
        "latency_p95_s": first["latency_s"]["p95"],
        "ttft_p95_s": first["ttft_s"]["p95"],
        "tokens_per_second": first["output_tokens_per_second"],
        "errors": sum(level["errors"] + level["timeouts"] for level in levels),
    }
