"""What the benches print: a heading, tables, and the machine."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence

from hallmark.base.compute import fingerprint
from hallmark.base.machine import describe
from hallmark.params.loader import load_params


def show(title: str, text: str) -> None:
    """Print what a bench found, under a heading, and on which machine; docs/results.md has what a decision rests on."""
    print(f"## {title}\n\n{text.strip()}\n\n{machine()}\n")


def machine() -> str:
    """A line that says what this machine is."""
    here = describe(fingerprint(load_params().compute))
    return f"Measured on {here}, {os.cpu_count()} cores ({platform.machine()}), Python {platform.python_version()}."


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; numbers are to the right."""
    right = [all(isinstance(row[column], (int, float)) for row in rows) for column in range(len(head))]
    lines = [head, ["---:" if side else "---" for side in right], *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines) + "\n"


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}" if value < 10 else f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
