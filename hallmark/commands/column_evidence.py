"""Evidence that a column is the target, the group, the input, the id or the tags: points, each with its reason.

The points are few and round: what counts is which of two columns has more, and that a person can follow why.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from hallmark.commands.naming import entity, inside, says, words_of
from hallmark.commands.profile import MAX_LABELS, Column, is_label, parsed_target

ENOUGH_FOR_GROUP = 3.0
ENOUGH_GROUPS = 8  # values of a column by which a split can hold some out
ENOUGH_FOR_INPUT = 3.0
ENOUGH_FOR_TAGS = 1.0
SHORT = 40  # characters: a label, a headline; longer is running text
MOST_TOLD = 12  # columns for which it is tried whether the text tells their values
READ = 400  # rows that are read for that
# Keys of objects that a tool wraps around an answer.
_OF_A_TOOL = re.compile(
    r"id|_.*|uuid|(?:user|task|project|annotator)_?id|(?:created|updated|modified)_?(?:at|by|on)?|timestamp|completed_by"
    r"|lead_time|annotator|model_version|agent",
    re.IGNORECASE,
)
SAME = 0.95  # share of the rows in which a column that repeats another has its text


@dataclass
class Evidence:
    """Points for and against a role."""

    score: float = 0.0
    reasons: list[str] = field(default_factory=list)

    def add(self, points: float, reason: str) -> None:
        """Count points, and say why."""
        self.score += points
        self.reasons.append(reason)

    def __str__(self) -> str:
        return f"{', '.join(self.reasons)} (score {self.score:.1f})"


def _named(given: Evidence, column: Column, points: dict[str, tuple[float, str]]) -> None:
    """Count the lists of words that the column's own name is on."""
    for of, (value, reason) in points.items():
        if says(column.name, of):
            given.add(value, reason)


AGAINST = {
    "staff": (-6.0, "names who works on it"),
    "after": (-6.0, "a state, or known only afterwards"),
    "score": (-6.0, "a score that is given afterwards"),
    "guess": (-6.0, "a model's guess"),
    "time": (-5.0, "a time"),
}


def of_target(column: Column, private: bool) -> Evidence | None:
    """Evidence for the target: few values that repeat, objects, or a text that is an answer."""
    if column.form in ("", "time", "url", "mail", "code") or "turns." in column.name:
        return None
    given = Evidence()
    if column.distinct < 2:
        given.add(-4, "always the same")
    if column.form == "object" or _has_objects(column):
        given.add(2.5, "its values are objects")
        if not _answers(column):
            given.add(-2, "not named like an answer")
        elif is_answer(column):
            given.add(3, "with fields of their own")
    elif _is_set(column):
        given.add(1, f"lists of {_vocabulary(column)} values")
    elif column.form == "list":
        return None
    elif is_label(column, 3):
        given.add(3 if column.repeated >= 5 else 2, f"{column.distinct} values, {column.repeated:.1f} rows each")
        if column.form in ("number", "bool"):
            given.add(-0.5, "numbers" if column.form == "number" else "yes or no")
    elif column.is_text and column.mean_chars > 3:
        given.add(0.5, "texts")
        if not column.unique:
            given.add(0.25, "some repeat")
        if says(column.name, "reply"):
            given.add(4, "a text that answers")
        elif says(column.name, "body") or says(column.name, "headline"):
            given.add(-3, "named like an input")
    else:
        return None
    _named(given, column, AGAINST | {
        "answer": (5.0, "named like an answer"), "kind_of": (2.5, "named like a kind of something"),
        "degree": (1.0, "a degree"), "desk": (2.0, "where it goes"), "channel": (-2.0, "where it came from"), "workings": (-3.0, "of the tool that wrote it"),
        "part": (-4.0, "a part of a split"),
    })  # fmt: skip
    if says(column.name, "keywords") and not _answers(column):
        given.add(-3, "tags")
    if says(column.name, "identifier") and words_of(column.name)[0][-1] not in ("code", "no"):
        given.add(-4, "an id")
    if entity(column.name):
        given.add(-4, f"names {_ENTITY[entity(column.name) or '']}")
    if inside(column.name, "guess"):
        given.add(-6, "a model's guess")
    if inside(column.name, "answer"):
        given.add(2, "inside an answer")
    if inside(column.name, "person") or inside(column.name, "score") or inside(column.name, "staff"):
        given.add(-4, "inside something else")
    if private:
        given.add(-4, "private")
    if column.empty > 0.5 * len(column.values):
        given.add(-3, "mostly empty")
    return given


_ENTITY = {"organisation": "an organisation", "person": "a person", "document": "a document or conversation"}


def is_answer(column: Column) -> bool:
    """Whether objects are answers as a whole: several fields, none of which the tool wrote for itself."""
    if column.form != "object" or not _answers(column):
        return False
    values = [parsed_target(value) for value in column.given]
    keys = {key for value in values if isinstance(value, dict) for key in value}
    return len(keys) > 1 and not any(_OF_A_TOOL.fullmatch(key) for key in keys)


def _answers(column: Column) -> bool:
    return says(column.name, "answer") or says(column.name, "reply")


def _has_objects(column: Column) -> bool:
    """Whether most values are lists of objects."""
    if column.form != "list":
        return False
    values = [parsed_target(value) for value in column.given]
    return sum(isinstance(item, dict) for value in values for item in value[:1]) > 0.5 * len(values)


def _is_set(column: Column) -> bool:
    """Whether all values are lists of short texts that repeat."""
    return (
        column.all(list)
        and all(isinstance(item, str) and len(item) <= 60 for value in column.given for item in value)
        and 2 <= _vocabulary(column) <= min(MAX_LABELS, sum(map(len, column.given)) / 3)
    )


def _vocabulary(column: Column) -> int:
    return len({item for value in column.given for item in value})


def of_group(column: Column, private: bool) -> Evidence | None:
    """Evidence for the group: an entity with many values and several rows of each."""
    if not column.all((str, int)) or column.form in ("time", "bool", "url") or column.mean_chars > 100:
        return None
    if column.is_text and column.mean_chars > SHORT:
        return None
    if column.distinct < 2 or column.repeated < 1.2 or column.empty > 0.5 * len(column.values):
        return None
    given = Evidence()
    kind = entity(column.name)
    points = {"organisation": 5.0, "person": 4.6, "document": 4.3}
    if kind:
        given.add(points[kind], f"names {_ENTITY[kind]}")
    if column.distinct >= 20:
        given.add(2, f"{column.distinct} values, {column.repeated:.1f} rows each")
    else:
        few = column.distinct < 8
        given.add(
            -0.5 if few else 1, f"{'only ' if few else ''}{column.distinct} values, {column.repeated:.1f} rows each"
        )
    if max(column.keys.values()) > 0.4 * len(column.values):
        given.add(-0.4, "one has most of the rows")
    if column.empty:
        given.add(-0.5, f"missing in {column.empty} rows")
    if private:
        given.add(-0.4, "private")
    _named(given, column, AGAINST | {
        "desk": (-6.0, "who works on it"), "channel": (-3.0, "where it came from"), "workings": (-1.0, "of the tool that wrote it"), "kind_of": (-1.0, "a kind of something"),
    })  # fmt: skip
    if says(column.name, "answer") and not kind:
        given.add(-4, "named like an answer")
    if inside(column.name, "staff") or inside(column.name, "guess") or inside(column.name, "answer"):
        given.add(-5, "inside something else")
    return given if given.score > 0 else None


def add_coarser(found: Sequence[tuple[Column, Evidence]]) -> None:
    """Count for an entity that it holds others whole, as an organisation its people: then no other is cut either.

    Not for names of people, which two may share.
    """
    named = [(column, given) for column, given in found if entity(column.name) and column.distinct >= ENOUGH_GROUPS]
    for column, given in named:
        inner = [other for other, _ in named if other.distinct > column.distinct and _lies_in(other, column)]
        if inner:
            given.add(1.5, f"holds all rows of each {inner[0].name}")


def _lies_in(fine: Column, coarse: Column) -> bool:
    """Whether each value of a column goes with one value of the other."""
    pairs = {
        (str(a), str(b)) for a, b in zip(fine.values, coarse.values, strict=True) if a is not None and b is not None
    }
    return len(pairs) == len({a for a, _ in pairs})


def of_input(column: Column) -> Evidence | None:
    """Evidence for the input: texts that are long, different, and named like one."""
    if not column.is_text or "turns." in column.name or not column.all(str):
        return None
    given = Evidence()
    chars = column.mean_chars
    given.add(2 if chars > SHORT else 1 if chars > 15 else 0, f"{chars:.0f} characters on average")
    share = column.distinct / len(column.given)
    if share > 0.5:
        given.add(1.5, "most are different")
    elif is_label(column, 3):
        given.add(-4, f"only {column.distinct} values")
    _named(given, column, AGAINST | {
        "body": (3.0, "named like a text"), "headline": (2.5, "named like a headline"), "channel": (-2.0, "where it came from"),
        "workings": (-3.0, "of the tool that wrote it"), "context": (-4.0, "named like context"),
    })  # fmt: skip
    if says(column.name, "reply") and not says(column.name, "headline"):
        given.add(-3, "named like an answer")
    if says(column.name, "answer") and not says(column.name, "reply") and not says(column.name, "headline"):
        given.add(-3, "named like an answer")
    if entity(column.name) and not says(column.name, "body"):
        given.add(-3, f"names {_ENTITY[entity(column.name) or '']}")
    for of in ("guess", "score", "answer", "staff", "after"):
        if inside(column.name, of):
            given.add(-4, "inside something else")
    return given if given.score > 0 else None


def of_id(column: Column) -> Evidence | None:
    """Evidence for the id: each row has its own, and it is named like one."""
    if (
        not column.unique
        or column.mean_chars > 100
        or column.form in ("time", "mail", "url")
        or "turns." in column.name
    ):
        return None
    given = Evidence(1.0)
    own = words_of(column.name)[0]
    if says(column.name, "identifier") or column.name.lower().endswith("id"):
        given.add(3, "named like an id")
    elif column.form == "text":
        return None
    if own[-1:] in (("id",), ("key",), ("uuid",)):
        given.add(0.5, "an id")
    if "." in column.name:
        given.add(-0.7 * column.name.count("."), "inside something else")
    if "hash" in own or "number" in own:
        given.add(-0.5, "a number")
    return given if given.score > 0 else None


def of_tags(column: Column) -> Evidence | None:
    """Evidence for the tags: short labels by which results can be sliced."""
    if column.distinct < 2 or "turns." in column.name:
        return None
    given = Evidence()
    if column.all(list):
        items = [item for value in column.given for item in value]
        if not all(isinstance(item, str) and len(item) < 60 for item in items) or len(set(items)) > MAX_LABELS:
            return None
        given.add(1, "lists of short texts")
    elif column.all(str) and column.form == "text" and column.distinct <= MAX_LABELS and column.mean_chars <= 60:
        if column.repeated < 2 and not says(column.name, "keywords"):
            return None
    else:
        return None
    if column.empty > 0.5 * len(column.values):
        given.add(-1, "mostly empty")
    if says(column.name, "keywords"):
        given.add(3, "named like tags")
    elif says(column.name, "channel"):
        given.add(2, "where it came from; slices of the evaluation")
    if says(column.name, "part"):
        given.add(1, "a part of a split; slices of the evaluation")
    for of in ("staff", "after", "guess", "score", "answer"):
        if (says(column.name, of) and not says(column.name, "keywords")) or inside(column.name, of):
            given.add(-3, "not where it came from")
    return given


def separator(column: Column) -> str:
    """What separates the tags in one text: a comma, else a semicolon or bar, else spaces if the column is named for tags."""
    for sign in (",", ";", "|"):
        if any(sign in text for text in column.texts):
            return sign
    words = {word for text in column.texts for word in text.split()}
    several = any(" " in text.strip() for text in column.texts) and len(words) <= column.distinct + 2
    tags = says(column.name, "keywords") and all(word == word.lower() for word in words)  # `New York` is one
    return " " if several and tags else ","


def repeats(columns: dict[str, Column], name: str, chosen: Sequence[str]) -> bool:
    """Whether a column has the text of one that is chosen, or a part of it, in nearly all rows."""
    values = [str(value or "").strip() for value in columns[name].values]
    for other in chosen:
        texts = [str(value or "") for value in columns[other].values]
        if sum(value in text for value, text in zip(values, texts, strict=True)) > SAME * len(values):
            return True
    return False


def reading(columns: dict[str, Column], texts: list[tuple[str, Evidence]]) -> list[frozenset[str]]:
    """The words of the rows in the columns that are most like an input."""
    names = [name for name, given in texts[:3] if given.score >= ENOUGH_FOR_INPUT] or [name for name, _ in texts[:1]]
    rows = zip(*(columns[name].values for name in names), strict=True)
    found = (" ".join(value for value in row if isinstance(value, str)).lower() for row in rows)
    return [frozenset(re.findall(r"[^\W\d_]{2,}", text[:2000])) for text in found]


def add_told(given: Evidence, column: Column, read: list[frozenset[str]]) -> None:
    """Count whether the words of a row tell the label, as naive Bayes learns it from the other half of the rows."""
    if not read or not is_label(column, 3):
        return
    labels = [None if value is None or value == "" else str(value) for value in column.values]
    pairs = [(words, label) for words, label in zip(read, labels, strict=True) if label is not None]
    pairs = pairs[:: max(1, len(pairs) // READ)]
    usual = max(Counter(label for _, label in pairs).values()) / len(pairs)
    right = sum(_right(pairs[first::2], pairs[1 - first :: 2]) for first in (0, 1)) / len(pairs)
    gain = (right - usual) / max(1 - usual, 0.01)
    if gain > 0.2:
        given.add(min(2.0, 2.5 * gain), f"the text tells it in {right:.0%} of the rows, guessing in {usual:.0%}")


def _right(learned: list[tuple[frozenset[str], str]], asked: list[tuple[frozenset[str], str]]) -> int:
    totals = Counter(label for _, label in learned)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for words, label in learned:
        counts[label].update(words)
    known = {word for label in counts for word in counts[label]}

    def best(words: frozenset[str]) -> str:
        seen = sorted(words & known)
        return max(
            sorted(totals),
            key=lambda label: (
                math.log(totals[label])
                + sum(math.log((counts[label][word] + 0.5) / (totals[label] + 1)) for word in seen)
            ),
        )

    return sum(best(words) == label for words, label in asked) if totals else 0
