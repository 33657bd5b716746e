"""Which rows to learn from: those that a person marked as no good, and the `data.where` that leaves them out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hallmark.base.errors import HallmarkError
from hallmark.commands.chats import FALSE, TRUE
from hallmark.commands.columns import Column, inside, says, words_of
from hallmark.commands.label_signs import MOST_STATES
from hallmark.data.conversations import PARTS
from hallmark.data.missing import is_blank

ALL = "all"
MOST = 0.5  # share of the rows with an answer under which a mark may be on
NULL = "null"


def marked(columns: Iterable[Column], answered: Sequence[bool]) -> tuple[dict[str, list[Any]], list[str], list[str]]:
    """The `data.where` without the rows that are marked as unfit, why, and marks that may be of what the rows are about.

    `columns`: those that are neither read nor the answer. `answered`: which rows have an answer; others are left out anyway.
    """
    where: dict[str, list[Any]] = {}
    sure, perhaps = list[str](), list[str]()
    for column in columns:
        keys = {key: key.strip().casefold() for key in column.keys}
        marks, certain = _marks(column, keys, answered)
        count = sum(one and _key(value) in marks for one, value in zip(answered, column.values, strict=True))
        if not 0 < count < MOST * sum(answered):
            continue
        every, shown = sum(column.keys[mark] for mark in marks), ", ".join(sorted(marks)[:MOST_STATES])
        own = f" ({count} of them with an answer)" * (count < every)
        (sure if certain else perhaps).append(f"{every} rows have {shown} in '{column.name}'{own}")
        if certain:
            kept = [key for key in keys if key not in marks]
            where[column.name] = [*kept, *([None] if column.empty or not kept else [])]
    return where, sure, perhaps


def _marks(column: Column, keys: Mapping[str, str], answered: Sequence[bool]) -> tuple[set[str], bool]:
    """The values of a column that mark a row as unfit, and whether nothing else can be meant."""
    low, name = {*keys.values()}, column.name
    if says(name, "failure", whole=True):
        return {*keys} if _lacks(column, {*keys}, answered) else set(), True
    if len(keys) > MOST_STATES or not low.isdisjoint(PARTS["train"]):
        return set(), True
    judged = any(of(name, "judged") for of in (says, inside))
    if low <= TRUE | FALSE | {"-1"}:
        last = words_of(name)[0][-1:]  # `is_deleted`, but not `deleted_items`
        flag = any(says(word, of, whole=True) for word in last for of in ("void", "withdrawn"))
        bad = TRUE if flag else FALSE if judged else set()
        bad = {"-1"} if judged and "-1" in low else bad
        return {key for key, value in keys.items() if value in bad} if len(low) > 1 or bad is TRUE else set(), True
    if not column.is_label(2):
        return set(), True
    unfit = judged or any(of(name, "score") for of in (says, inside))
    marks = {key for key in keys if says(key, "void", whole=True) or (unfit and says(key, "unfit", whole=True))}
    marks |= {key for key in keys if says(key, "unready", whole=True) and _lacks(column, {key}, answered)}
    return (marks, True) if marks else ({key for key in keys if says(key, "withdrawn", whole=True)}, False)


def _lacks(column: Column, marks: set[str], answered: Sequence[bool]) -> bool:
    """Whether most rows with these values have no answer, so that one that has is none to learn from."""
    found = [one for one, value in zip(answered, column.values, strict=True) if _key(value) in marks]
    return 2 * sum(found) < len(found)


def _key(value: Any) -> str | None:
    return None if is_blank(value) else next(iter(Column("", [value]).keys), None)


def where_of(texts: Sequence[str]) -> dict[str, list[Any]]:
    """`data.where` as a user writes it: `status=submitted` for each value, or `all`."""
    found: dict[str, list[Any]] = {}
    for column, sign, value in (text.partition("=") for text in texts if texts != [ALL]):
        if not (sign and column.strip()):
            problem, remedy = "not COLUMN=VALUE", f"write a column and a value of the rows to keep, or {ALL}"
            raise HallmarkError(problem, field=column, remedy=remedy)
        found.setdefault(column.strip(), []).append(None if value.strip() in ("", NULL) else value.strip())
    return found


def in_words(where: Mapping[str, Sequence[Any]]) -> str:
    """`data.where` in the form that `where_of` reads."""
    return ", ".join(f"{column}={NULL if one is None else one}" for column, kept in where.items() for one in kept)
