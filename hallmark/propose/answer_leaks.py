"""Whether a column that the model would read holds the answer, which nobody has yet when the model is asked."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from hallmark.data.copied import opened, pairs
from hallmark.data.missing import is_blank
from hallmark.propose.columns import Column, canonical_or_text

READ = 400  # rows that are read
HELD = 0.95  # share of them from which on a column holds the answer
LONG = 40  # characters of an answer that no text has by chance
_WORD = re.compile(r"\w+")
# No part can match the same character in two ways, or start inside a name: texts may be long.
_ELEMENT = re.compile(r"<([\w:.-]++)[^<>]*>([^<>]*)</")
_ATTRIBUTE = re.compile(r"""(?<![\w:.-])([\w:.-]++)\s*+=\s*["']([^"'<>]*)["']""")


@dataclass(frozen=True)
class Leak:
    """How a column holds the answer, quoting no value. `sure`: as a value; else as words, which may name a text's subject."""

    why: str
    sure: bool


def leak(column: Column, answers: Column) -> Leak | None:
    """How a column holds the answers of its rows, if it does."""
    rows = [pair for pair in zip(column.values, answers.values, strict=True) if not any(map(is_blank, pair))]
    rows = rows[:: max(1, len(rows) // READ)]
    least = max(1.0, HELD * len(rows))
    texts = [_written(value) for value, _ in rows]
    wanted = [_written(answer) for _, answer in rows]
    if answers.is_label(3):
        return _label(list(map(values_in, texts)), wanted, least) or _label_in_words(texts, wanted, least)
    if answers.form == "object":
        sides = zip(texts, wanted, strict=True)
        fields = [({of for _, of in items_in(text)}, {of for _, of in items_in(want)}) for text, want in sides]
        whole = sum(len(held) > 1 and set() < wanted_there <= held for held, wanted_there in fields) >= least
        return Leak("it has all values of the answer, as fields", sure=False) if whole else None
    quoted = answers.mean_chars > LONG and sum(map(str.__contains__, texts, wanted)) >= least
    return Leak("it quotes the answer", sure=False) if quoted else None


def _written(value: Any) -> str:
    return " ".join((value if isinstance(value, str) else canonical_or_text(value)).split()).casefold()


def values_in(text: str) -> dict[str, str]:
    """The values in JSON by path, or in XML by element or attribute, of several the last."""
    return dict(items_in(text))


def items_in(text: str) -> list[tuple[str, str]]:
    """The same, each with its path or name; a plain text is one value without a name."""
    if (document := opened(text)) is not text:
        return [(path, str(value)) for path, value, _ in pairs(document, None)]
    elements = _ELEMENT.findall(text)
    attributes = _ATTRIBUTE.findall(text) if text.lstrip().startswith("<") else []
    return [(name, value.strip()) for name, value in (*attributes, *elements)] or [("", text)]


def _label(held: list[dict[str, str]], wanted: list[str], least: float) -> Leak | None:
    """Whether some value in the column is the label, or there is one value for each label, such as its number."""
    labels = len(set(wanted))
    for path in dict.fromkeys(path for values in held for path in values):
        where = f"its '{path}'" if path else "it"
        values = [of.get(path, "") for of in held]
        if sum(map(str.__eq__, values, wanted)) >= least:
            return Leak(f"{where} is the answer", sure=True)
        usual = Counter(zip(values, wanted, strict=True)).most_common(labels)
        for_each = all(len({pair[side] for pair, _ in usual}) == labels for side in (0, 1))
        if labels > 1 and for_each and sum(count for _, count in usual) >= least:
            return Leak(f"{where} has one value for each answer", sure=True)
    return None


def _words(text: str) -> str:
    """The words of a text, with a space on each side of each."""
    return f" {' '.join(_WORD.findall(text))} "


def _label_in_words(texts: list[str], wanted: list[str], least: float) -> Leak | None:
    """Whether the texts name their own label and no other."""
    words = list(map(_words, texts))
    names = {label: _words(label) for label in set(wanted)}

    def only_own(text: str, own: str) -> bool:
        return own in text and not any(name in text for name in names.values() if name not in own)

    if sum(only_own(text, names[want]) for text, want in zip(words, wanted, strict=True)) >= least:
        return Leak("its text names the answer, and no other label", sure=False)
    return None
