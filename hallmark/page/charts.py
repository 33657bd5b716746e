"""Charts of the page: points, ticks and shades."""

from __future__ import annotations

from typing import Any

from hallmark.base.outcomes import OUTCOMES
from hallmark.judge.benchmarked import Benchmark
from hallmark.judge.comparison import Transition


def line_chart(series: dict[str, list[tuple[float, float]]], *, zero: bool) -> dict[str, Any]:
    """Points and ticks of a line chart on a canvas of 100 x 100, y downwards. `zero`: the y axis starts at 0."""
    points = [point for line in series.values() for point in line]
    x_ticks = ticks(min(x for x, _ in points), max(x for x, _ in points))
    y_ticks = ticks(0.0 if zero else min(y for _, y in points), max(y for _, y in points))

    def scaled(number: float, axis: list[float]) -> float:
        return round(100 * (number - axis[0]) / (axis[-1] - axis[0]), 2)

    return {
        "x": [(scaled(tick, x_ticks), f"{tick:g}") for tick in x_ticks],
        "y": [(round(100 - scaled(tick, y_ticks), 2), f"{tick:g}") for tick in y_ticks],
        "legend": list(dict.fromkeys(name.split()[0] for name in series)),
        "lines": {
            name: [(scaled(x, x_ticks), round(100 - scaled(y, y_ticks), 2)) for x, y in sorted(line)]
            for name, line in series.items()
        },
    }


def ticks(low: float, high: float) -> list[float]:
    """Three to seven round numbers, the first at or below `low`, the last at or above `high`."""
    if high - low < 1e-9:
        high = low + 1
    rough = (high - low) / 4
    power = (
        10.0 ** (len(str(int(rough))) - 1) if rough >= 1 else 10.0 ** -next(n for n in range(30) if rough * 10**n >= 1)
    )
    step = next(nice * power for nice in (1, 2, 5, 10) if nice * power >= rough)
    first, last = int(low // step), -int(-high // step)
    return [round(step * n, 12) for n in range(first, last + 1)]


def latency_charts(benchmark: Benchmark) -> dict[str, Any]:
    """Latency over load, for each kind of load that has more than one level."""
    charts = {}
    for kind in ("concurrency", "rate"):
        lines = {
            f"{model} {quantile}": [
                (float(load), seconds)
                for level in served.levels
                if (load := getattr(level, kind)) is not None
                if (seconds := getattr(level.latency_s, quantile)) is not None
            ]
            for model, served in sorted(benchmark.models.items())
            for quantile in ("p50", "p95")
        }
        lines = {name: line for name, line in lines.items() if len(line) > 1}
        if lines:
            charts[kind] = line_chart(lines, zero=True)
    return charts


def matrix(transitions: list[Transition], records: int) -> dict[str, Any]:
    """The outcomes of the base (rows) by those of the tuned model (columns), passes first, with totals and shades."""
    counts = {(move.other, move.tuned): move.records for move in transitions}
    before, after = ([name for name in OUTCOMES[::-1] if name in side] for side in zip(*counts, strict=True))
    rows = []
    for was in before:
        cells: list[dict[str, Any]] = []
        for became in after:
            n = counts.get((was, became), 0)
            kind = "" if (was == "pass") == (became == "pass") else "lost" if was == "pass" else "won"
            cells.append({"name": became, "records": n, "heat": heat(n, records), "kind": kind})
        rows.append({"name": was, "cells": cells, "total": sum(cell["records"] for cell in cells)})
    totals = [sum(counts.get((was, became), 0) for was in before) for became in after]
    return {"columns": after, "rows": rows, "totals": totals}


def heat(part: int, whole: int) -> int:
    """The shade of a cell, 1 to 4, by its share of the records."""
    return 1 + sum(part > share * whole for share in (0.02, 0.1, 0.3))
