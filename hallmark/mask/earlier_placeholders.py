"""Placeholders that were in a text before it was masked: told from ours, so that neither is taken for the other.

Text in that form may come from another masking tool, or hold a name (`<ROSA_MILLER_1>`). If its name is a kind's, it
stays, and gets a number of its own; otherwise it is masked as a whole, as kind `PLACEHOLDER`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from hallmark.mask.kinds import KINDS, PLACEHOLDER, short
from hallmark.mask.params import Mask
from hallmark.mask.plain_view import view

UNKNOWN = "PLACEHOLDER"
_MAY_HOLD_ONE = re.compile(r"<[A-Z]|[^\x00-\x7f]|&[#A-Za-z]")


class Given(NamedTuple):
    """A placeholder that came with a text: where it is, its kind (None: no kind has that name), and how it reads."""

    start: int
    end: int
    kind: str | None
    reads: str


class Readers:
    """Finds placeholders in a text that is not masked yet. `public` are texts that anyone may see: they stay as they are."""

    def __init__(self, params: Mask, public: Iterable[str]) -> None:
        self.kinds = {short(name): name for name in KINDS} | {name: name for name in KINDS}
        self.kinds |= {rule.kind: rule.kind for rule in params.patterns}
        self.public = frozenset(text for text in public if PLACEHOLDER.fullmatch(text))

    def find(self, text: str) -> Iterator[Given]:
        """The placeholders in a text, as they look on a screen: `&lt;EMAIL_1&gt;` is one too."""
        if not _MAY_HOLD_ONE.search(text):
            return
        seen = view(text)
        for match in PLACEHOLDER.finditer(seen.text):
            name = match[0][1:-1].rpartition("_")[0]
            yield Given(*seen.source(*match.span()), self.kinds.get(name), match[0])
