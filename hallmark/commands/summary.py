"""Not a stage: print the results of the last run as a short table: `python -m hallmark.commands.summary`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from hallmark.base.errors import in_red, printable, run_stage
from hallmark.base.figures import NONE, in_brackets, shown
from hallmark.base.files import REPORTS
from hallmark.base.outcomes import in_words
from hallmark.base.reports import Report, shape
from hallmark.base.stats import Interval
from hallmark.commands.elsewhere import fingerprint_here
from hallmark.commands.sweep import in_columns
from hallmark.judge.benchmarked import Level
from hallmark.judge.reported import COPIED
from hallmark.judge.results import Results, read_results
from hallmark.judge.tables import Table, callers
from hallmark.params.loader import load_params

WIDTH = 110  # columns of a terminal that a table may take
Line = tuple[str, ...]


def main(arguments: argparse.Namespace) -> None:
    results = read_results(fingerprint_here(load_params(arguments.params)))
    linear, verdict = results.comparison.against.classical, results.verdict
    print()
    if linear.wins:
        print(f"{printable(linear.words)}\n")
    print(f"{results.comparison.records} holdout records; intervals in brackets\n")
    show(fitting(lambda short: rows(results, short)))
    for column in results.models[1:-1]:
        print(f"  {printable(column.title.lower())}: {printable(column.opponent)}")
    print(printable(f"  latencies and tokens/s: {results.served_measured}"))
    for table in (
        fitting(lambda short: label_rows(results, short)),
        without(shipped) if (shipped := results.shipped) and shipped.rows else [],
    ):
        if table:
            print()
            show(table)
    if online := results.comparison.online:
        print(f"\nonline: {printable(online.words)}")
    if copied := Report("mask").as_(shape(target_values=COPIED)).target_values:
        print(f"\nmasking: {printable(copied_words(copied))}")
    print(f"\ngate: {printable(verdict.headline)}")
    for rule in verdict.waived:
        print(in_red(printable(f"  waived: {rule.words} Waived because: {rule.waiver}"), sys.stdout))
    if (parity := results.benchmark.parity) and parity.live:
        print(printable(callers(parity.live)))
    if results.decision and (options := results.options):
        print()
        show(without(options, 3, 4))
        print(printable(f"  {options.note}\nuse: {results.decision.words}", keep="\n"))
    print(f"report: {REPORTS / 'comparison.html'}")


def copied_words(fields: dict[str, Any]) -> str:
    """How many of the values that targets copy still stand in their input."""
    copied, found = (sum(getattr(of, name) for of in fields.values()) for name in ("copied", "found_after"))
    lost = ", ".join(f"{name} {of.lost:,}" for name, of in fields.items() if of.lost)
    said = f"{found:,} of {copied:,} values that targets copy from their input are still in it after masking"
    return f"{said}; lost: {lost}" if lost else said


def fitting(table: Callable[[bool], list[Line]]) -> list[Line]:
    """The table, its intervals in short (True) if it is too wide otherwise."""
    lines = table(False)
    wide = 2 + sum(2 + max(map(len, column)) for column in zip(*lines, strict=True))
    return table(True) if wide > WIDTH else lines


def interval(measure: Interval, short: bool) -> str:
    """`93.2 % [89.9, 95.8]` of a measure between 0 and 1; in short `93.2 [90-96]`."""
    if not short:
        return in_brackets(measure, " %")
    value, low, high = (100 * part for part in (measure.value, measure.low, measure.high))
    return f"{value:.1f} [{low:.0f}-{high:.0f}]"


def rows(results: Results, short: bool) -> list[Line]:
    columns = results.models
    table: list[Line] = [
        ("in %" if short else "", *(column.title.lower() for column in columns)),
        ("Records", *(str(column.records) for column in columns)),
    ]
    for row in results.measures:
        table.append((row.words, *(interval(column.measures[row.name], short) for column in columns)))
    table += [
        (f"Failures: {in_words(name).lower()}", *(failed(column.failed[name], column.records) for column in columns))
        for name in results.failures
    ]

    def line(words: str, cell: Callable[[Level], str]) -> Line:
        of = [results.benchmark.first(column.name) for column in columns]
        return (words, *(NONE if one is None else cell(one) for one in of))

    table.append(line("Latency p50", lambda row: shown(row.latency_s.p50, ".2f", " s")))
    table.append(line("Latency p95", lambda row: shown(row.latency_s.p95, ".2f", " s")))
    table.append(line("Output tokens/s", lambda row: f"{row.output_tokens_per_second:.0f}"))
    served = results.benchmark.models
    loads = (served[column.name].largest_load.words if column.name in served else NONE for column in columns)
    table.append(("Largest load", *loads))
    return table


def failed(count: int, records: int) -> str:
    return f"{count} ({100 * count / records:.1f} %)"


def label_rows(results: Results, short: bool) -> list[Line]:
    """The table of labels: what, floor, linear model, and a column for each other model; empty if the task has none."""
    linear = results.comparison.against.classical
    if linear.right is None:
        return []
    return [
        (
            "Labels right, %" if short else "Labels right",
            "most frequent",
            "linear model",
            *(column.title.lower() for column in results.models),
        ),
        *(
            (
                label.name or "all of a record",
                NONE if label.floor is None else f"{100 * label.floor:.1f}{'' if short else ' %'}",
                *(
                    interval(rate, short) if rate else NONE
                    for rate in (
                        label.classical,
                        *(label.others.get(column.name) for column in results.models[:-1]),
                        label.tuned,
                    )
                ),
            )
            for label in [*linear.labels, linear.right]
        ),
    ]


def without(table: Table, *columns: int) -> list[Line]:
    """The table, less what other tables have, or only the page and the card need."""
    return [tuple(cell for at, cell in enumerate(line) if at not in columns) for line in (table.head, *table.rows)]


def show(table: list[Line]) -> None:
    table = [tuple(map(printable, line)) for line in table]  # names of labels and tasks are anyone's
    print("".join(f"  {line}\n" for line in in_columns(table)), end="")


if __name__ == "__main__":
    run_stage("summary", __doc__, main)
