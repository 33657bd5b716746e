"""Marked parts of a text as fields: spans with start, end and label, or a BIO tag for each token."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from hallmark.base.errors import HallmarkError

BOUNDS = (("start", "end"), ("start_offset", "end_offset"), ("startOffset", "endOffset"), ("begin", "end"))
LABEL = ("label", "labels", "type", "tag", "entity", "entity_group", "category")
_TAG = re.compile(r"O|([BIESLU])-(.+)", re.DOTALL)  # BIO, IOBES and BILOU
SPAN = "give (start, end, label) for each, or objects with these keys; both count characters of this very text"


def fields_of_spans(text: str, spans: Iterable[Any]) -> dict[str, list[str]]:
    """The marked texts by label, in the order of the text, each once: `[(0, 4, "city")]` gives `{"city": ["Rome"]}`."""
    if not isinstance(text, str):
        raise HallmarkError(f"expected a text with spans, not {type(text).__name__}", remedy=SPAN)
    found: list[tuple[int, int, str]] = []
    for number, span in enumerate(spans or (), 1):
        for start, end, label in _bounds(span, number):
            if type(start) is not int or type(end) is not int or not 0 <= start < end <= len(text):
                problem = f"span {number} is no part of the text, which has {len(text)} characters"
                raise HallmarkError(problem, remedy=SPAN)
            found.append((start, end, label))
    fields: dict[str, list[str]] = {}
    for start, end, label in sorted(found):
        _add(fields, label, text[start:end].strip())
    return fields


def fields_of_tags(tokens: Sequence[Any], tags: Sequence[Any]) -> dict[str, list[str]]:
    """The tagged tokens by label, joined by spaces: so must be the prompt, `" ".join(tokens)`. None is a token without a tag."""
    for name, values in (("tokens", tokens), ("tags", tags)):
        if isinstance(values, str) or not isinstance(values, Iterable):
            problem = f"expected a list of {name}, not {type(values).__name__}"
            raise HallmarkError(problem, remedy="give two lists of the same length; split a text with `.split()`")
    if len(tokens) != len(tags):
        raise HallmarkError(f"{len(tags)} tags for {len(tokens)} tokens", remedy="give each token one tag")
    fields: dict[str, list[str]] = {}
    first, label = 0, ""
    for at, tag in enumerate([*tags, None]):
        match = _TAG.fullmatch("O" if tag is None else str(tag))
        if match is None:
            remedy = "write O, or B-, I- and a label; numbers have their names in the data set's description"
            raise HallmarkError(f"tag {at + 1} is no BIO tag", remedy=remedy)
        head, name = match[1] or "", match[2] or ""
        if label and (name != label or head in "BSU"):
            _add(fields, label, " ".join(map(str, tokens[first:at])))
            label = ""
        if name and not label:
            first, label = at, name
    return fields


def _bounds(span: Any, number: int) -> Iterable[tuple[Any, Any, str]]:
    if isinstance(span, dict):
        start, end = next(((span[a], span[b]) for a, b in BOUNDS if a in span and b in span), (None, None))
        labels = next((span[key] for key in LABEL if key in span), None)
    elif isinstance(span, list | tuple) and len(span) == 3:
        start, end, labels = span
    else:
        raise HallmarkError(f"span {number} has no start, end and label", remedy=SPAN)
    labels = labels if isinstance(labels, list) else [labels]
    if not all(isinstance(label, str) and label.strip() for label in labels):
        raise HallmarkError(f"span {number} has no label that is a text", remedy=SPAN)
    return [(start, end, label.strip()) for label in labels]


def _add(fields: dict[str, list[str]], label: str, text: str) -> None:
    if text and text not in fields.setdefault(label, []):
        fields[label].append(text)
