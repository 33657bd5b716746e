"""Evidence that a column is the target, the group, the input, the id or the tags: points, each with its reason.

The points are few and round: what counts is which of two columns has more, and that a person can follow why. No reason
quotes a value: values may be private.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hallmark.base.figures import percent
from hallmark.commands.answer_leaks import values_in
from hallmark.commands.columns import ENTITIES, MAX_LABELS, Column, entity, inside, mean_words, says
from hallmark.data.copied import opened, pairs, spellings
from hallmark.data.spans import OF_A_TOOL

# What it says if a column's own name has a word of a list in role_words.toml, and the points for it by role
# (`text_target`: a target that is running text); then the points if an object has it that the column lies in.
POINTS: dict[str, tuple[str, dict[str, float], dict[str, float]]] = {
    "organisation": ("names an organisation", {"group": 5, "target": -4, "input": -3}, {}),
    "person": ("names a person", {"group": 4.6, "target": -4, "input": -3}, {"target": -4}),
    "document": ("names a document or conversation", {"group": 4.3, "target": -4, "input": -3}, {}),
    "staff": ("who works on it", {"target": -6, "group": -6, "input": -6, "tags": -3},
              {"target": -4, "group": -5, "input": -4, "tags": -3}),
    "desk": ("where it goes", {"target": 2, "group": -6}, {}),
    "after": ("a state, or known only afterwards", {"target": -6, "group": -6, "input": -6, "tags": -3},
              {"input": -4, "tags": -3}),
    "score": ("a score that is given afterwards", {"target": -6, "group": -6, "input": -6, "tags": -3},
              {"target": -4, "input": -4, "tags": -3}),
    "guess": ("a model's guess", {"target": -6, "group": -6, "input": -6, "tags": -3},
              {"target": -6, "group": -5, "input": -4, "tags": -3}),
    "private": ("what to mask", {"target": -6, "input": -3}, {"target": -6}),
    "time": ("a time", {"target": -5, "group": -5, "input": -5}, {}),
    "answer": ("named like an answer", {"target": 5, "group": -4, "input": -3, "tags": -3},
               {"target": 2, "group": -5, "input": -4, "tags": -3}),
    "reply": ("named like a reply", {"text_target": 4, "long_input": -1.5}, {}),
    "kind_of": ("named like a kind of something", {"target": 2.5, "group": -1}, {}),
    "degree": ("a degree", {"target": 1}, {}),
    "body": ("named like a text", {"input": 3, "text_target": -3}, {}),
    "headline": ("named like a headline", {"input": 2.5, "text_target": -3}, {}),
    "context": ("named like context", {"input": -4}, {}),
    "channel": ("where it came from", {"tags": 2, "target": -2, "group": -3, "input": -2}, {}),
    "keywords": ("named like tags", {"tags": 3, "target": -3, "group": -4}, {}),
    "identifier": ("named like an id", {"target": -4}, {}),
    "workings": ("of the tool that wrote it", {"target": -3, "group": -2, "input": -3}, {}),
    "part": ("a part of a split", {"tags": 1, "target": -4}, {}),
}  # fmt: skip
SHORT = 40  # characters: a label, a headline; longer is running text
FEW_COPIED = 0.05
COPIED = 0.5  # share of an object's values that stand in the texts, from which on it is an answer read off them
MOST_WORDS_OF_A_NAME = 3
ENOUGH_GROUPS = 8  # values of a column by which a split can hold some out
READ = 400  # rows that are read to see whether the text tells a label
_HTML = re.compile(r"<(?:p|br|div|span|html|body|table|tr|td|ul|ol|li|b|i|a|h[1-6])[\s/>]", re.IGNORECASE)


@dataclass
class Evidence:
    score: float = 0.0
    reasons: list[str] = field(default_factory=list)

    def add(self, points: float, reason: str) -> None:
        self.score += points
        self.reasons.append(reason)

    def add_name(self, name: str, role: str) -> None:
        """Count what the words of a column's name say about a role."""
        for of, (reason, own, within) in POINTS.items():
            if role in own and (entity(name) == of if of in ENTITIES else says(name, of)):
                self.add(own[role], reason)
            if role in within and inside(name, of):
                self.add(within[role], f"inside: {reason}")

    def __str__(self) -> str:
        return f"{', '.join(self.reasons)} (score {self.score:.1f})"


def of_target(column: Column, private: bool) -> Evidence | None:
    """Evidence for the target: few values that repeat, objects, or a text that is an answer."""
    if column.form in ("", "time", "url", "mail", "code") or "turns." in column.name:
        return None
    given = Evidence()
    if column.form == "object" or _has_objects(column):
        given.add(5.5 if is_answer(column) else 2.5, "its values are objects")
    elif _is_set(column):
        given.add(1, f"lists of {_vocabulary(column)} values")
    elif column.form == "list":
        return None
    elif column.is_label(3):
        given.add(3 if column.repeated >= 5 else 2, column.shape)
    elif column.is_text and column.mean_chars > 3:
        given.add(0.5, "texts")
        given.add_name(column.name, "text_target")
    else:
        return None
    given.add_name(column.name, "target")
    if private:
        given.add(-4, "private")
    if column.distinct < 2 or column.mostly_empty:
        given.add(-4, "mostly empty, or always the same")
    return given


def fits(column: Column, kind: str) -> bool:
    if column.form in ("object", "list"):
        return kind in ("extraction", "tool_call")
    return column.is_text if kind == "text" else kind != "tool_call" and column.is_label(2)


def of_a_tool(column: Column, texts: Sequence[Column]) -> bool:
    """Whether a field of an answer is an id, a time stamp or who worked on it, and no text tells it."""
    name = column.name.rpartition(".")[2]
    named = (
        OF_A_TOOL.fullmatch(name) or named_like_id(name) or says(name, "staff") or re.search(r"_(?:at|by|on)$", name)
    )
    return bool(named) and copied(column, texts) < FEW_COPIED


def is_answer(column: Column) -> bool:
    """Whether objects are answers as a whole: several fields, none of which the tool wrote for itself."""
    if column.form != "object" or not (says(column.name, "answer") or says(column.name, "reply")):
        return False
    values = [opened(value) for value in column.given]
    keys = {key for value in values if isinstance(value, dict) for key in value}
    return len(keys) > 1 and not any(OF_A_TOOL.fullmatch(key) for key in keys)


def _has_objects(column: Column) -> bool:
    if column.form != "list":
        return False
    lists = [value for value in map(opened, column.given) if isinstance(value, list)]
    return sum(isinstance(item, dict) for value in lists for item in value[:1]) > 0.5 * len(column.given)


def _is_set(column: Column) -> bool:
    """Whether all values are lists of short texts that repeat."""
    return (
        column.all(list)
        and all(isinstance(item, str) and len(item) <= 60 for value in column.given for item in value)
        and 2 <= _vocabulary(column) <= min(MAX_LABELS, sum(map(len, column.given)) / 3)
    )


def _vocabulary(column: Column) -> int:
    return len({item for value in column.given for item in value})


def add_told(given: Evidence, texts: Sequence[Column], column: Column) -> None:
    """Count whether the words of the texts tell the label, as naive Bayes learns it from the other half of the rows."""
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.model_selection import KFold, cross_val_predict
    from sklearn.naive_bayes import MultinomialNB

    rows = zip(column.values, *(text.values for text in texts), strict=True)
    pairs = [
        (str(label), " ".join(str(text or "") for text in words)[:2000])
        for label, *words in rows
        if label not in (None, "")
    ]
    labels, read = zip(*pairs[:: -(-len(pairs) // READ)], strict=True)
    words = HashingVectorizer(n_features=2**12, alternate_sign=False, binary=True, norm=None).transform(read)
    halves = KFold(2, shuffle=True, random_state=0)
    found = cross_val_predict(MultinomialNB(alpha=0.01), words, labels, cv=halves)
    right = sum(found == labels) / len(labels)
    usual = max(Counter(labels).values()) / len(labels)
    gain = (right - usual) / max(1 - usual, 0.01)
    if gain > 0.2:
        given.add(
            min(2.0, 2.5 * gain),
            f"predicted from the text in {percent(round(right, 2))} of the rows, by guessing in {percent(round(usual, 2))}",
        )


def is_xml_answer(column: Column, texts: Sequence[Column]) -> bool:
    """Whether its texts are XML, but neither HTML nor records that hold the text itself."""
    rows = zip(column.values, *(text.values for text in texts), strict=True)
    given = [(xml.lstrip(), read) for xml, *read in rows if isinstance(xml, str) and xml][:READ]
    xml = [text.startswith("<") and not _HTML.search(text) for text, _ in given]
    records = [any(word and str(word).strip() in text for word in read) for text, read in given]
    return 2 * sum(xml) > len(given) > 2 * sum(records)


def copied(column: Column, texts: Sequence[Column]) -> float:
    """The share of a column's values, those inside others and inside XML too, that stand in the texts of their rows."""
    rows = list(zip(column.values, *(text.values for text in texts), strict=True))[
        :: max(1, len(column.values) // READ)
    ]
    xml = [isinstance(value, str) and value.lstrip().startswith("<") for value, *_ in rows]
    found = [
        any(word in " ".join(map(str, read)) for word in spelled)
        for is_xml, (value, *read) in zip(xml, rows, strict=True)
        for one in (values_in(value).values() if is_xml else [one for _, one, _ in pairs(value, None)])
        if one == one and (spelled := [word for word in spellings(one) if word])  # NaN, which Parquet may have, is not
    ]
    return sum(found) / max(len(found), 1)


def repeats_like_a_customer(column: Column) -> bool:
    """Whether it has many short values with a few rows each: more values than rows of each.

    Not a headline; nor a number, unless it is named like an id: amounts repeat too.
    """
    few_each = column.distinct >= ENOUGH_GROUPS and column.distinct >= column.repeated
    form = column.form in ("code", "text", "mail") or (column.form == "number" and named_like_id(column.name))
    prose = (
        says(column.name, "headline") or says(column.name, "body") or mean_words(column.texts) > MOST_WORDS_OF_A_NAME
    )
    return few_each and form and not prose


def of_group(column: Column, private: bool) -> Evidence | None:
    """Evidence for the group: an entity with many values and several rows of each."""
    if not column.all((str, int)) or column.form in ("time", "bool", "url"):
        return None
    if column.mean_chars > (SHORT if column.is_text else 100):
        return None
    if column.distinct < 2 or column.repeated < 1.2 or column.mostly_empty:
        return None
    given = Evidence()
    given.add(2 if column.distinct >= ENOUGH_GROUPS else -3, column.shape)  # a split needs several for each side
    given.add_name(column.name, "group")
    if entity(column.name) is None and named_like_id(column.name) and repeats_like_a_customer(column):
        given.add(1.5, "an id that repeats")
    if column.empty:
        given.add(-0.5, f"missing in {column.empty} rows")
    if private:
        given.add(-0.4, "private")
    return given if given.score > 0 else None


def add_coarser(found: Sequence[tuple[Column, Evidence]]) -> None:
    """Count for an entity that it holds another whole, as a conversation its sessions: then the other is not cut either."""
    named = [(column, given) for column, given in found if entity(column.name) and column.distinct >= ENOUGH_GROUPS]
    for column, given in named:
        inner = [other.name for other, _ in named if other.distinct > column.distinct and _lies_in(other, column)]
        if inner:
            given.add(1.5, f"holds all rows of each {inner[0]}")


def _lies_in(fine: Column, coarse: Column) -> bool:
    rows = zip(fine.values, coarse.values, strict=True)
    pairs = {(str(inner), str(outer)) for inner, outer in rows if inner is not None and outer is not None}
    return len(pairs) == len({inner for inner, _ in pairs})


def of_input(column: Column) -> Evidence | None:
    """Evidence for the input: texts that are long, different, and named like one."""
    if not column.is_text or "turns." in column.name or not column.all(str):
        return None
    given = Evidence()
    chars = column.mean_chars
    given.add(2 if chars > SHORT else 1 if chars > 15 else 0, f"{chars:.0f} characters on average")
    if column.distinct > 0.5 * len(column.given):
        given.add(1.5, "most are different")
    elif column.is_label(3):
        given.add(-4, f"only {column.distinct} values")
    given.add_name(column.name, "input")
    if chars > SHORT:
        given.add_name(column.name, "long_input")
    return given if given.score > 0 else None


def is_id(column: Column) -> bool:
    """Whether each row has its own value, and it is named like an id or is no text."""
    if not column.unique or column.mean_chars > 100 or column.form in ("time", "mail", "url"):
        return False
    return "turns." not in column.name and (named_like_id(column.name) or column.form != "text")


def named_like_id(name: str) -> bool:
    return says(name, "identifier") or name.lower().endswith("id")


def of_tags(column: Column) -> Evidence | None:
    """Evidence for the tags: short labels by which results can be sliced."""
    if column.distinct < 2 or "turns." in column.name:
        return None
    given = Evidence()
    named = says(column.name, "keywords")
    if column.form == "list" or named:
        lists = [listed(value, separator(column)) for value in column.given]
        if not all(isinstance(item, str) and len(item) < 60 for value in lists for item in value):
            return None
        if len({item for value in lists for item in value}) > MAX_LABELS:
            return None
        given.add(1, "lists of short texts")
    elif column.form != "text" or not column.is_label(2):
        return None
    if column.mostly_empty:
        given.add(-1, "mostly empty")
    given.add_name(column.name, "tags")
    return given


def listed(value: Any, sign: str) -> list[Any]:
    """The tags in a list, in JSON, or in a text with a sign between them."""
    tags = opened(value)
    if isinstance(tags, str):
        tags = [part.strip() for part in tags.split(None if sign == " " else sign)]
    return tags if isinstance(tags, list) else [tags]


def separator(column: Column) -> str:
    """What separates the tags in one text: a comma, else a semicolon or bar, else spaces if the column is named for tags."""
    for sign in (",", ";", "|"):
        if any(sign in text for text in column.texts):
            return sign
    words = {word for text in column.texts for word in text.split()}
    several = any(" " in text.strip() for text in column.texts) and len(words) <= column.distinct + 2
    tags = says(column.name, "keywords") and all(word == word.lower() for word in words)  # `New York` is one
    return " " if several and tags else ","
