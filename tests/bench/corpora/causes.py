"""Why the fields of an extraction are wrong, by how target, answer and input differ: a first sorting, for whoever reads them."""

from __future__ import annotations

import re
from collections import Counter
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from hallmark.base.reading import read_json_lines
from hallmark.task.evidence import Source, words_of

SLIP = 0.85  # share of characters that a copy with slips has in common with the right value
CURRENCY = re.compile(r"^(?:RM|\$|EUR|€|£)\s*|\s*(?:EUR|€|£)$")

LEFT_OUT = "left out"
FORM = "not valid: no fields"
SPELLING = "only case, spaces or punctuation differ"
AMOUNT = "the right amount, with or without its currency"
NOT_THERE = "the expected value is not in the input"
SHORT = "a part of the right value"
LONG = "more than the right value"
ANOTHER = "another value of the input"
SLIPS = "the right value with slips"
MADE_UP = "made up, or put together from several places"


def causes(predictions: Path) -> dict[str, dict[str, int]]:
    """How many wrong fields of the file there are, by cause and field."""
    counts: dict[str, Counter[str]] = {}
    for row in read_json_lines(predictions):
        source = Source("\n".join(filter(None, (row["context"], row["input"]))))
        for field in row["fields"]:
            if field["result"] != "match":
                why = cause(field["target"], field["prediction"], source) if row["schema_valid"] else FORM
                counts.setdefault(why, Counter())[field["path"]] += 1
    return {why: dict(of) for why, of in counts.items()}


def cause(target: Any, prediction: Any, source: Source) -> str:
    """Why one value is wrong; None stands for no value."""
    if prediction is None:
        return LEFT_OUT
    right, answer = str(target or ""), str(prediction)
    wanted, written = words_of(right), words_of(answer)
    if "".join(wanted) == "".join(written):
        return SPELLING
    if CURRENCY.sub("", right) == CURRENCY.sub("", answer):
        return AMOUNT
    if target is not None and not source.has(target):
        return NOT_THERE
    if source.has(prediction):
        whole, part = f" {' '.join(wanted)} ", f" {' '.join(written)} "
        return SHORT if part in whole else LONG if whole in part else ANOTHER
    return SLIPS if SequenceMatcher(None, right, answer, autojunk=False).ratio() >= SLIP else MADE_UP


def table(found: dict[str, dict[str, int]]) -> str:
    """The causes as a table, the most frequent first, with the fields that they struck."""
    ordered = sorted(found.items(), key=lambda item: (-sum(item[1].values()), item[0]))
    rows = [
        f"| {why} | {sum(of.values())} | {', '.join(f'{name} {count}' for name, count in sorted(of.items()))} |"
        for why, of in ordered
    ]
    return "\n".join(["| why a field was wrong | fields | which |", "| --- | --- | --- |", *rows])
