"""Made-up sentences before and after masking with the params at hand: reports show these, and never a text of the data."""

from __future__ import annotations

import re
from copy import copy
from pathlib import Path
from typing import Any

from hallmark.base.reading import read_object
from hallmark.mask.masking import Drafts, Masked, Masker

# By language. Their values are reserved for documentation: the last check for private data is of reports too.
SENTENCES = Path(__file__).parent / "examples.json"
PUBLIC_KEY = b"made-up sentences"
Piece = list[str | None]


def masked_examples(masker: Masker) -> list[dict[str, Any]]:
    """Each sentence as `{dropped, pieces}`: whether such a record is dropped, and the text in pieces.

    A piece is `[before, after, kind]`; the kind is None where nothing is masked. The sentences are in `mask.language`,
    if there are any in it, else in English.
    """
    shown = copy(masker)  # what it has loaded is shared
    # With the repo's key, the sentences would tell which stand-in belongs to a name in them that is also in the data.
    shown.key = None if masker.key is None else PUBLIC_KEY
    sentences = read_object(SENTENCES, "restore it with `git checkout`")
    texts = sentences.get(masker.params.language, sentences["en"])
    records = [Drafts([text]) for text in texts]
    masked = shown.records(records)
    return [
        {"dropped": shown.dropped(record), "pieces": pieces(text, result)}
        for text, record, (result,) in zip(texts, records, masked, strict=True)
    ]


def pieces(text: str, masked: Masked) -> list[Piece]:
    """A text and what it was masked to, side by side; spans that touch are one piece."""
    joined: list[tuple[int, int, str]] = []
    for span in sorted(masked.spans, key=lambda span: span.start):
        if joined and span.start <= joined[-1][1]:
            start, _, kind = joined.pop()
            joined.append((start, span.end, f"{kind}, {span.kind}"))
        else:
            joined.append((span.start, span.end, span.kind))
    starts = [0, *(end for _, end, _ in joined)]
    ends = [*(start for start, _, _ in joined), len(text)]
    same = [text[start:end] for start, end in zip(starts, ends, strict=True)]
    match = re.fullmatch("(.*?)".join(map(re.escape, same)), masked.text, re.DOTALL)
    stand_ins = match.groups() if match else ()
    found: list[Piece] = [[same[0], same[0], None]]
    for (start, end, kind), stand_in, after in zip(joined, stand_ins, same[1:], strict=True):
        found += [[text[start:end], stand_in, kind], [after, after, None]]
    return [piece for piece in found if piece[0]]
