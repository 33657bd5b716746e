"""`docs/benchmarks.md`, one section a bench: each rewrites only its own."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path

from hallmark.base.compute import fingerprint
from hallmark.base.machine import describe
from hallmark.params.loader import load_params

PAGE = Path("docs/benchmarks.md")
HEAD = """# Benchmarks

How the stages compare with the usual tools, measured by `nox -s bench`. Each section says what it ran on.
"""


def write_section(title: str, text: str) -> None:
    """Put `text` under the heading `title`, replacing the old section; print it too."""
    page = PAGE.read_text(encoding="utf-8") if PAGE.exists() else HEAD
    section = f"## {title}\n\n{text.strip()}\n\n{machine()}\n"
    old = re.compile(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    if old.search(page):
        page = old.sub(lambda _: section + "\n", page)
    else:
        page += "\n" + section
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page.rstrip() + "\n", encoding="utf-8")
    print(section)


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
