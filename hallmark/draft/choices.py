"""For each question, the columns that may be its answer, the likeliest first: by names, and by simple statistics of their values."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hallmark.draft.reading import HELPERS, Column, File, as_text, open_file
from hallmark.records.columns import looks_private, state_word, words_of
from hallmark.records.tables import READERS

WORDS = """
answer: answer target label intent category class output completion response reply summary translation slot entity entities span
  annotation gold expected chosen tag sentiment topic queue reason resolution call truth field extraction extracted kategorie antwort etiqueta respuesta
read: text body description subject message question prompt input utterance content query request conversation transcript
  instruction note comment title passage sentence review token nachricht beschreibung betreff frage asunto texto
group: customer cust client user account company organization organisation patient household document doc conversation thread
  session dialog dialogue contract requester author subscriber member kunde cliente site
  store shop case supplier vendor merchant party firm employee
id: id uid uuid guid number nr no key
time: date time at created updated timestamp
about: lang language locale version source channel
"""
ANSWER, READ, GROUP, ID, TIME, ABOUT = (line.split()[1:] for line in re.sub(r"\n +", " ", WORDS).strip().split("\n"))
SHAPES = {"annotations": 6, "message": 8, "calls": 5, "named_calls": 5, "spans": 5, "tags": 5, "messages": 3, "object": 1.5,
          "labels": 2, "number": -2, "flag": -2, "tools": -9, "tokens": -3}  # fmt: skip
LISTED = 12  # values of a state, at most
SAMPLE = 1_000  # rows that are compared
LIKELY = 3.0  # score from which a column may be an answer
COPIED = 0.6  # share of the rows in which a value stands in the text
JOINED = 0.8  # share of the keys that a second file must have
PARTS = {
    "train",
    "training",
    "dev",
    "val",
    "valid",
    "validation",
    "test",
    "holdout",
    "eval",
}  # of a data set's own split
SCALARS = ("text", "number", "flag")
_WORD = re.compile(r"\w+")
_TIME = re.compile(r"\d{1,4}[-./]\d{1,2}[-./]\d{1,4}([ T].*)?|[\d.,:\s]+")


@dataclass
class Choice:
    """One possible answer to a question; `value` is what is taken, `shown` what stands next to it."""

    name: str
    value: Any
    shown: list[str] = field(default_factory=list)
    score: float = 0.0


@dataclass
class Join:
    """A second file, and the columns by which its rows belong to those of the first."""

    file: File
    left: Column
    right: Column

    @property
    def share(self) -> float:
        """The share of the first file's keys that the second has."""
        return len(self.left.counts.keys() & self.right.counts.keys()) / len(self.left.counts)


def is_label(column: Column) -> bool:
    """Whether its values recur as labels do."""
    counts = column.counts if column.shape in SCALARS else {}
    few = 2 <= len(counts) <= max(8, len(column.filled) / 5)
    return few and max(map(len, counts)) <= 80 and column.words <= 5


def is_id(column: Column) -> bool:
    """Whether it names each row."""
    each = column.shape in ("text", "number") and column.whole and len(column.counts) == len(column.values)
    return each and words_of(column.leaf)[-1:] != [] and words_of(column.leaf)[-1] in ID and column.words <= 2


def copied(column: Column, others: Sequence[Column]) -> float:
    """The share of its values that stand in their row's text in other columns."""
    places = [at for at, value in enumerate(column.values[: 5 * SAMPLE]) if value is not None and value != ""][:SAMPLE]
    texts = [_in_words(" ".join(as_text(other.values[at]) for other in others)) for at in places]
    stand = sum(_in_words(as_text(column.values[at])) in text for at, text in zip(places, texts, strict=True))
    return stand / max(1, len(places))


def answer_choices(file: File) -> list[Choice]:
    """What may be the answer: labels and marks before texts; what names, dates or groups rows last."""
    texts, found = [one for one in file.columns.values() if one.shape == "text" and one.words > 5], list[Choice]()
    for at, column in enumerate(file.columns.values()):
        score = _named(column, ANSWER, 2) + SHAPES.get(column.shape, 0) + 1.5 * is_label(column)
        if column.shape == "text" and column.words <= 8:
            score += 1.5 * (copied(column, [one for one in texts if one is not column]) > COPIED)
        score -= 5 * (is_id(column) or _is_time(column) or bool(private_kind(column)) or len(column.counts) < 2)
        score -= 3 * (column.shape in ("text", "tokens", "list", "object") and _named(column, READ, 1) > 0)
        score -= 2 * _has_unfit(column) + _named(column, {*GROUP, *ABOUT}, 2)
        found.append(_choice(column, score + 0.5 * at / len(file.columns) - column.name.count(".")))
    return _sorted(found)


def read_choices(file: File, answers: Sequence[str]) -> list[Choice]:
    """What may be read: texts without the answer, the long ones first; what is named a subject and a body together."""
    given, found = [file.columns[name] for name in answers], list[Choice]()
    for column in file.columns.values():
        inside = any(column.name == name or column.name.startswith(f"{name}.") for name in answers)
        if inside or column.shape not in ("text", "tokens", "messages", "list"):
            continue
        score = min(column.words, 60) / 15 + _named(column, READ, 2) - _named(column, ANSWER, 1)
        score += len(column.counts) / len(column.filled) + 4 * (column.shape == "messages")
        score += 4 * (column.shape == "tokens" and any(one.shape == "tags" for one in given))
        score -= 4 * (is_id(column) or is_label(column) or _is_time(column) or bool(private_kind(column)))
        score -= 6 * any(holds(column, one) for one in given)
        found.append(_choice(column, score))
    found = _sorted(found)
    texts = [one.name for one in found if one.score > 1 and file.columns[one.name].shape == "text"]
    together = [name for name in texts if _named(file.columns[name], READ, 1)][:3]
    if len(together) > 1 and found[0].name in together:
        both = [name for name in file.columns if name in together]
        shown = [sample for name in both for sample in _samples(file.columns[name], 1)]
        found.insert(0, Choice(" and ".join(both), both, shown))
    return found


def holds(column: Column, answer: Column) -> bool:
    """Whether a column holds the answer, its label or its whole text, in most rows."""
    return (is_label(answer) or answer.words > 8) and answer.shape in SCALARS and copied(answer, [column]) > 0.5


def group_choices(file: File, taken: Collection[str]) -> list[Choice]:
    """What keeps rows together: a value of several rows, named like a customer, document or conversation; or nothing."""
    found = [Choice("none", None, ["each row by itself"], 0.9)]
    for column in file.columns.values():
        counts = column.counts if column.shape in ("text", "number") and column.name not in taken else {}
        if not 1 < len(counts) < file.rows or max(map(len, counts)) > 120 or _is_time(column):
            continue
        size = len(column.filled) / len(counts)
        score = _named(column, GROUP, 3) + _named(column, ID, 0.5) + 0.5 * (1.2 <= size <= 0.1 * file.rows + 1)
        score -= 3 * (_has_unfit(column) or (_named(column, READ, 1) > 0 and not _named(column, GROUP, 1)))
        score -= 2 * (len(counts) < 6) + 0.7 * bool(private_kind(column))  # an id says the same, and needs no masking
        found.append(_choice(column, score))
    return _sorted(found)


def states(file: File, taken: Collection[str]) -> list[Column]:
    """The columns that look like states: a few short values each."""
    columns = [one for one in file.columns.values() if one.name not in taken and one.shape in SCALARS]
    few = [
        one for one in columns if 1 < len(one.counts) <= min(LISTED, max(2, len(one.filled) / 2)) and not _is_time(one)
    ]
    short = [one for one in few if max(map(len, one.counts)) <= 30 and _named(one, {*GROUP, *ID}, 1) < 1]
    return [one for one in short if not {value.casefold() for value in one.counts} <= PARTS]


def unfit(columns: Iterable[Column]) -> list[Choice]:
    """The states that sound unfit to learn from, with their counts."""
    every = [(column.name, *pair) for column in columns for pair in column.counts.most_common()]
    bad = [(name, value, count) for name, value, count in every if state_word(value, name)]
    return [Choice(f"{name}={value}", (name, value), [f"{count:,} rows"]) for name, value, count in bad]


def private_choices(file: File, taken: Collection[str]) -> list[Choice]:
    """The columns that look private, each with its kind."""
    columns = [(one, private_kind(one)) for one in file.columns.values() if one.name not in taken]
    return [Choice(f"{one.name}={kind}", (one.name, kind), _samples(one)) for one, kind in columns if kind]


def private_kind(column: Column) -> str | None:
    """The kind of private data that it seems to hold."""
    return looks_private(column.name, [*column.counts][:200]) if column.shape in ("text", "number") else None


def join_choices(file: File) -> list[Choice]:
    """The files next to it whose rows belong to its rows, by a key that names each of theirs."""
    here, found = Path(file.path), list[Choice]()
    near = sorted(here.parent.iterdir()) if here.is_file() else []
    for path in (one for one in near if one != here and one.suffix.lower() in (*READERS, *HELPERS)):
        if join := join_with(file, open_file(path)):
            name = f"{path.name} by {join.left.name} = {join.right.name}"
            found.append(Choice(name, join, [", ".join([*join.file.columns][:6])]))
    return found


def join_with(file: File, other: File) -> Join | None:
    """The columns by which another file's rows belong to a file's; those of the same name if there are several."""
    keys = [one for one in other.columns.values() if one.whole and len(one.counts) == other.rows and one.words <= 3]
    own = [one for one in file.columns.values() if one.shape in ("text", "number") and len(one.counts) > 1]
    pairs = [Join(other, one, key) for one in own for key in keys]
    best = max(pairs, default=None, key=lambda pair: (pair.share, pair.left.name == pair.right.name))
    return best if best and best.share >= JOINED and len(other.columns) > 1 else None


def _choice(column: Column, score: float) -> Choice:
    return Choice(column.name, column.name, _samples(column), score)


def _samples(column: Column, count: int = 3) -> list[str]:
    return list(dict.fromkeys(" ".join(as_text(value).split())[:40] for value in column.filled[:SAMPLE]))[:count]


def _sorted(choices: Iterable[Choice]) -> list[Choice]:
    return sorted(choices, key=lambda one: -one.score)


def _named(column: Column, words: Collection[str], weight: float) -> float:
    """The weight if the last word of its name is one of these, less for another word."""
    hits = [word in words or word.removesuffix("s") in words for word in words_of(column.leaf)]
    return weight * (1.0 if hits[-1:] == [True] else 0.6 if any(hits) else 0.0)


def _in_words(text: str) -> str:
    """A text as words with one space around each, to look for words in."""
    return f" {' '.join(_WORD.findall(text.casefold()))} "


def _has_unfit(column: Column) -> bool:
    return any(state_word(value, column.name) for value in [*column.counts][:LISTED])


def _is_time(column: Column) -> bool:
    sample = [*column.counts][:100] if _named(column, TIME, 1) else []
    return bool(sample) and sum(bool(_TIME.fullmatch(text)) for text in sample) > 0.8 * len(sample)
