"""Which rows to learn from: those that a person marked as no good, and the `data.where` that leaves them out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hallmark.base.errors import HallmarkError
from hallmark.data.conversations import PARTS
from hallmark.data.missing import is_blank
from hallmark.propose.chats import FALSE, TRUE
from hallmark.propose.column_words import role_words, says, words_of
from hallmark.propose.columns import Column
from hallmark.propose.label_signs import MOST_STATES

ALL = "all"
MOST = 0.5  # share of the rows with an answer under which a mark may be on
FEW = 0.2  # the share up to which they are left out before a person is asked
NULL = "null"


@dataclass
class Marks:
    """The `data.where` without the rows that are surely marked as unfit, why, and marks that may be of what the rows are about."""

    where: dict[str, list[Any]] = field(default_factory=dict)
    sure: list[str] = field(default_factory=list)
    perhaps: list[str] = field(default_factory=list)


def marked(columns: Iterable[Column], answered: Sequence[bool]) -> Marks:
    """The marks in columns that are not read, the answer or private. `answered`: which rows have an answer; others are left out anyway."""
    found = Marks()
    for column in columns:
        marks, certain = _marks(column, answered)
        rows = _with(marks, column, answered)
        if not 0 < sum(rows) < MOST * sum(answered):
            continue
        shown = "a value" if says(column.name, "failure", whole=True) else ", ".join(sorted(marks)[:MOST_STATES])
        own = f" ({sum(rows)} of them with an answer)" * (not all(rows))
        certain = certain and sum(rows) <= FEW * sum(answered)
        (found.sure if certain else found.perhaps).append(f"{len(rows)} rows have {shown} in '{column.name}'{own}")
        if certain:
            kept = [key for key in column.keys if key not in marks]
            found.where[column.name] = [*kept, *([None] if column.empty or not kept else [])]
    return found


def _marks(column: Column, answered: Sequence[bool]) -> tuple[set[str], bool]:
    """The values of a column that mark a row as unfit, and whether its name and other values can mean nothing else."""
    keys = {key: key.strip().casefold().replace(".", " ") for key in column.keys}
    low, name, about = {*keys.values()}, column.name, _about(column.name)

    def are(of: str) -> set[str]:
        return {key for key, value in keys.items() if says(value, of, whole=True)}

    def lack(marks: set[str]) -> bool:  # most answers, so that one that has these values is none to learn from
        return 2 * sum(found := _with(marks, column, answered)) < len(found)

    if says(name, "failure", whole=True):
        return {*keys} if lack({*keys}) else set(), True
    if len(keys) > MOST_STATES or not low.isdisjoint(PARTS["train"]):
        return set(), True
    judging = says(about, "judged", whole=True)
    judged = judging or says(name, "judged", whole=True)  # `chat.feedback` may be on another thing
    if low <= TRUE | FALSE | {"-1"}:
        last = " ".join(words_of(name)[0][-1:])  # `is_deleted`, but not `deleted_items`
        flag = says(last, "void") or says(last, "withdrawn")
        bad = TRUE if flag else ({"-1"} & low or FALSE) if judged else set()
        marks = {key for key, value in keys.items() if value in bad and (flag or len(low) > 1)}
        return marks, judging or about in role_words()["void"]["words"]  # as they are there: `tests` are counted
    if not column.is_label(2):
        return set(), True
    marks = are("void") | {key for key in are("unready") if lack({key})}
    reviewed = not about and says(name, "reviewed")
    marks |= are("unfit") if judged or says(name, "score") else are("faulty") if reviewed else set()
    states = reviewed or says(name, "state") or keys.keys() <= marks | are("fit") | are("unready")
    return marks or are("withdrawn"), bool(marks) and states and (judging or not about)


def _about(name: str) -> str:
    """What a name, and that of the object that it lies in, says but that it is of a row: `claim` for `claim.status`."""
    parts = [part for part in name.split(".") if not part.isdigit()]
    words = (word for part in parts[-2:] for word in words_of(part)[0])
    return " ".join(word for word in words if not any(says(word, of) for of in ("record", "state", "reviewed")))


def _with(marks: set[str], column: Column, answered: Sequence[bool]) -> list[bool]:
    """Whether each row with one of these values has an answer."""
    rows = zip(answered, column.values, strict=True)
    return [one for one, of in rows if not (is_blank(of) or marks.isdisjoint(Column("", [of]).keys))]


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
