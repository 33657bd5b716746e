"""Letters that show: names that look the same must be the same, and must not steer a terminal that shows them."""

from __future__ import annotations

import re

MOST_NAME = 200  # characters of an id or a group
# Letters and marks that show nothing, which Python counts as printable: fillers, joiners, variation selectors.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U0001d159\U000e0100-\U000e01ef]"
)


def shows(letter: str) -> bool:
    """Whether a letter leaves a mark on a page: no space, no control character, none that shows nothing."""
    return letter.isprintable() and not letter.isspace() and not _INVISIBLE.match(letter)


def hidden_at(text: str) -> int | None:
    """The place, counted from 1, of the first letter that neither shows nor is a plain space; None if there is none."""
    if text.isascii() and text.isprintable():
        return None
    return next((place for place, letter in enumerate(text, 1) if letter != " " and not shows(letter)), None)
