"""Print lines for a person, or for a program that may stop reading them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping


def counted(counts: Mapping[str, int]) -> str:
    """Counts without the zeros: `exact 41, near 63`."""
    return ", ".join(f"{name} {count:,}" for name, count in counts.items() if count)


def show(lines: Iterable[str]) -> None:
    """Print lines as they come, until the reader has enough."""
    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
    try:
        for line in lines:
            sys.stdout.write(line)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader (`| head`, say) has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
