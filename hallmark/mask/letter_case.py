"""Which lines of a text are in capitals or in lower case throughout, so that a capital letter tells nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator


def lines(text: str) -> Iterator[tuple[int, int, str]]:
    """The lines, each marked as all capitals ("upper"), all lower case ("lower") or normal ("mixed")."""
    if text.islower():
        yield from ((line.start(), line.end(), "lower") for line in re.finditer(r"[^\n]*[^\W\d_][^\n]*", text))
        return
    printed = is_printed(text)
    for line in re.finditer(r"[^\n]+", text):
        capitals = sum(map(str.isupper, line[0]))
        small = sum(map(str.islower, line[0]))
        upper = capitals > 4 * small and (printed or capitals > 7)
        if capitals + small:
            yield line.start(), line.end(), "lower" if not capitals and small else "upper" if upper else "mixed"


def is_printed(text: str) -> bool:
    """Whether a text of several lines is in capitals throughout, as what a till prints is."""
    head = text[:4000]
    capitals = sum(map(str.isupper, head))
    return capitals > 30 and "\n" in text and capitals > 4 * sum(map(str.islower, head))
