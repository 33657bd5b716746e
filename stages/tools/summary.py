"""Not a stage: print what the last run found, base, tuned and linear model, as a short table: `python -m stages.tools.summary`."""

from __future__ import annotations

import argparse
from typing import Any

from stages.core.errors import HallmarkError, run_stage
from stages.core.files import REPORTS, read_json
from stages.core.machine import Fingerprint, when_and_where
from stages.params.loader import load_params
from stages.tools.elsewhere import fingerprint_here

MEASURES = {
    "exact match": "exact_match",
    "schema validity": "schema_validity",
    "field F1": "field_f1",
    "label accuracy": "label_accuracy",
    "macro F1": "macro_f1",
}
Line = tuple[str, ...]


def interval(measure: dict[str, float] | None) -> str:
    """`93.2 % [89.9, 95.8]` of a measure between 0 and 1, or `-` where the task has none."""
    if measure is None:
        return "-"
    return f"{100 * measure['value']:.1f} % [{100 * measure['low']:.1f}, {100 * measure['high']:.1f}]"


def rows() -> list[Line]:
    """The table: what, base, tuned."""
    base, tuned = (read_json(REPORTS / "eval" / model / "metrics.json") for model in ("base", "tuned"))
    table: list[Line] = [
        (words, interval(base.get(key)), interval(tuned.get(key)))
        for words, key in MEASURES.items()
        if base.get(key) or tuned.get(key)
    ]
    for failure in base["failures"]:
        if base["failures"][failure] or tuned["failures"][failure]:
            words = f"failures: {failure.replace('_', ' ')}"
            table.append((words, str(base["failures"][failure]), str(tuned["failures"][failure])))
    base_level, tuned_level = level_of("base"), level_of("tuned")
    for words, quantile in (("latency p50", "p50"), ("latency p95", "p95")):
        table.append((words, latency(base_level, quantile), latency(tuned_level, quantile)))
    table.append(("output tokens/s", throughput(base_level), throughput(tuned_level)))
    table.append(("largest load kept", largest_load("base"), largest_load("tuned")))
    return table


def label_rows(linear: dict[str, Any]) -> list[Line]:
    """The table of labels: what, floor, linear model, base, tuned; empty where the task has none."""
    if not linear["applies"]:
        return []
    return [
        ("labels right", "most frequent", "linear model", "base", "tuned"),
        *(
            (
                row.get("name", "all of a record"),
                f"{100 * row['floor']:.1f} %" if "floor" in row else "-",
                *(interval(row[model]) for model in ("classical", "base", "tuned")),
            )
            for row in [*linear["labels"], linear["right"]]
        ),
    ]


def constrained_rows(found: list[dict[str, Any]]) -> list[Line]:
    """The table of decoding held to the schema, each cell free and held; empty where `eval` was not asked for it."""
    if not found:
        return []
    times = {row["name"]: read_json(REPORTS / "measured" / f"eval_{row['name']}.json")["constrained"] for row in found}
    return [
        ("held to the schema", "records", "valid", "exact match", "fixed", "hidden", "lost", "seconds"),
        *(
            (
                row["name"],
                str(row["records"]),
                *(f"{row['free'][key]} -> {row['constrained'][key]}" for key in ("schema_validity", "exact_match")),
                *(str(row[key]) for key in ("fixed", "hidden", "lost")),
                f"{times[row['name']]['free_seconds']:.1f} -> {times[row['name']]['seconds']:.1f}",
            )
            for row in found
        ),
    ]


def seconds_taken(found: list[dict[str, Any]], here: Fingerprint | None) -> str:
    """When and on what the seconds of the table of `constrained_rows` were measured."""
    reports = [read_json(REPORTS / "measured" / f"eval_{row['name']}.json") for row in found]
    return f"seconds: {'; '.join(dict.fromkeys(when_and_where(report, here) for report in reports))}"


def show(table: list[Line]) -> None:
    """Print the lines with their columns aligned, the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for words, *cells in table:
        line = "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths[1:], strict=True))
        print(f"  {words:<{widths[0]}}  {line}")


def level_of(model: str) -> dict[str, Any] | None:
    """What the benchmark measured of a model at its first level of load; None where it was not asked to."""
    models = read_json(REPORTS / "benchmark.json")["models"]
    return models[model]["levels"][0] if model in models else None


def largest_load(model: str) -> str:
    """The largest load at which the model kept the objective, of those that were measured."""
    models = read_json(REPORTS / "benchmark.json")["models"]
    return models[model]["largest_load"]["words"] if model in models else "-"


def latency(level: dict[str, Any] | None, quantile: str) -> str:
    """Seconds to the whole answer."""
    return f"{level['latency_s'][quantile]:.2f} s" if level else "-"


def throughput(level: dict[str, Any] | None) -> str:
    """Output tokens a second, of all requests under way."""
    return f"{level['output_tokens_per_second']:.0f}" if level else "-"


def main(arguments: argparse.Namespace) -> None:
    """Command line: no options of its own."""
    try:
        comparison = read_json(REPORTS / "comparison.json")
        table: list[Line] = [("", "base", "tuned"), *rows()]
        table += [(row["name"], f"{row['base']:.3f}", f"{row['tuned']:.3f}") for row in comparison["general"]]
        linear, held = comparison["against"]["classical"], constrained_rows(comparison["constrained"])
        here = fingerprint_here(load_params(arguments.params))
        taken = when_and_where(read_json(REPORTS / "benchmark.json"), here)
        seconds = seconds_taken(comparison["constrained"], here)
        gate = read_json(REPORTS / "gate.json")
        records = read_json(REPORTS / "eval/tuned/metrics.json")["records"]
    except FileNotFoundError as error:
        raise HallmarkError("no such report", file=error.filename, remedy="run `dvc repro` first") from None
    print()
    if linear["wins"]:
        print(f"{linear['words']}\n")
    print(f"{records} holdout records; intervals in brackets\n")
    show(table)
    print(f"  latencies and tokens/s: {taken}")
    for more in (label_rows(linear), held):
        if more:
            print()
            show(more)
    if held:
        print(f"  {seconds}")
    print(f"\ngate: {gate['verdict'].replace('_', ' ')}. {gate['words']}")
    print(f"report: {REPORTS / 'comparison.html'}")


if __name__ == "__main__":
    run_stage("summary", __doc__, main)
