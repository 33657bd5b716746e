"""The record of a sweep: its table in the terminal, the same as Markdown, and its report; for `choose`, `tune` and `curve`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from hallmark.base.errors import printable
from hallmark.base.files import REPORTS, write_json, write_text

UNKNOWN = "-"  # in a cell
FORM = ("schema_validity", "parses")  # measures that say nothing of what is right
Number = TypeVar("Number", int, float)


def on_a_line(text: str) -> str:
    """Text on one line that steers no terminal."""
    return printable(" ".join(text.split()))


def in_markdown(text: str) -> str:
    """The same where it is no HTML and ends no cell."""
    return on_a_line(text).replace("<", "&lt;").replace("|", "\\|")


def in_columns(rows: Sequence[Sequence[str]], left: Container[int] = (0,)) -> list[str]:
    """Cells below each other, two spaces apart: to the right, but for the columns in `left`."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    forms = [f"{'<' if at in left else '>'}{width}" for at, width in enumerate(widths)]
    return ["  ".join(map(format, row, forms)).rstrip() for row in rows]


@dataclass(frozen=True)
class Table:
    """A table that can be read as it is and as Markdown, the outcome in a sentence, and what there is to add."""

    headline: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str]

    def lines(self, shown: Callable[[str], str] = on_a_line) -> list[str]:
        cells = [[shown(cell) for cell in row] for row in (self.head, *self.rows)]
        widths = [max(3, *(len(row[column]) for row in cells)) for column in range(len(self.head))]
        first, *others = (
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
            for row in cells
        )
        rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
        table = [f"| {' | '.join(row)} |" for row in (first, rule, *others)]
        notes = [f"- {shown(note)}" for note in self.notes]
        return [*table, "", shown(self.headline), *([""] if notes else []), *notes]


def write(name: str, report: dict[str, Any], table: Table) -> list[str]:
    """Write reports/NAME.json and reports/NAME.md, which belong in git; returns what the terminal shows."""
    write_json(REPORTS / f"{name}.json", report)
    write_text(REPORTS / f"{name}.md", "\n".join([f"# `nox -s {name}`", "", *table.lines(in_markdown), ""]))
    return table.lines()


def deciding(floors: Iterable[str], known: Container[str]) -> str:
    """Exact match, or where the gate has no floor for it, the first measure that it has one for and that is not of form."""
    asked = [name for name in floors if name not in FORM and name in known]
    return asked[0] if asked and "exact_match" not in asked else "exact_match"


def number(kind: Callable[[str], Number], least: float, most: float) -> Callable[[str], Number]:
    """The type of a command line's option that is a number from `least` to `most`."""

    def number(text: str) -> Number:
        if not least <= (value := kind(text)) <= most:
            raise argparse.ArgumentTypeError(f"not a number from {least:g} to {most:g}")
        return value

    return number
