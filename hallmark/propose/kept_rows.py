"""Which rows to learn from: those that a person marked as no good, and the `data.where` that leaves them out."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from hallmark.base.errors import HallmarkError
from hallmark.data.conversations import PARTS
from hallmark.data.missing import NOT, parts_of
from hallmark.mask.lexicon import first_names, is_common, last_names
from hallmark.propose.chats import FALSE, TRUE
from hallmark.propose.column_words import bare, inside, role_words, says, says_undone, words_of
from hallmark.propose.columns import Column
from hallmark.propose.label_signs import MOST_STATES, NO

ALL = "all"
MOST = 0.5  # share of the rows with an answer under which a mark may be on
FEW = 0.2  # the share up to which they are left out before a person is asked
NULL = "null"
CODED = ("crm", "erp", "cd", "code", "cod", "kod", "kode", "kz", "fl")  # before what a code is of
FEW_WORDS = 4  # of a state
_REFERENCE = re.compile(r"(?i)(?:^|[\W_])(?:of|id|ref|into|in|nr|no|von|zu|van|de|du|di|da|do)(?:[\W_]|$)")
_STATE = re.compile(r"(?i)(?<=[^\W\d_]{3})(status|state|zustand)$")  # in one word, as Prüfstatus


@dataclass(frozen=True)
class About:
    """What is known of a table that may have marks: which rows have an answer (others are left out anyway), names of codes, and words
    for what a row is, as its id has them; the groups, and the column of tags and whether spaces separate them.
    """

    answered: Sequence[bool]
    names: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    own: Collection[str] = ()
    group: Column | None = None
    tags: str | None = None
    spaced: bool = False


@dataclass
class Marks:
    """The `data.where` without the rows that are surely marked as unfit, why, and marks that may be of what the rows are about."""

    where: dict[str, list[Any]] = field(default_factory=dict)
    sure: list[str] = field(default_factory=list)
    perhaps: list[str] = field(default_factory=list)


def marked(columns: Iterable[Column], table: About) -> Marks:
    """The marks in columns that are not read, the answer or private, and the groups that are there to try things out."""
    found, signs = Marks(), [_Signs(column, table) for column in columns]
    if table.group:
        signs.insert(0, _Tests(table.group, table))
    checked = any(of.reviewed and len(of.low) <= MOST_STATES and of.are("fit") for of in signs)
    for of in signs:
        marks, certain = of.marks()
        rows = of.rows_with(marks)
        if not 0 < sum(rows) < MOST * sum(table.answered):
            continue
        every, name = marks == {*of.keys}, of.column.name
        shown = "a value" if every else ", ".join(sorted(of.keys[key] for key in marks)[:MOST_STATES])
        with_one = f" ({sum(rows)} of them with an answer)" * (not all(rows))
        certain = (
            certain and sum(rows) <= FEW * sum(table.answered) and not (checked and of.judging)
        )  # of an older answer
        (found.sure if certain else found.perhaps).append(f"{len(rows)} rows have {shown} in '{name}'{with_one}")
        if certain:
            found.where[name] = [None] if every and of.column.empty else [f"{NOT}{key}" for key in sorted(marks)]
    return found


@dataclass
class _Signs:
    """What the name and the values of a column say of its rows."""

    column: Column
    table: About

    def __post_init__(self) -> None:
        self.name = _STATE.sub(r"_\1", self.column.name)
        self.tags = self.column.name == self.table.tags
        self.about = _about(self.name, self.table.own)
        self.judging = says(self.about, "judged", whole=True)
        self.reviewed = not self.about and (says(self.name, "reviewed") or inside(self.name, "reviewed"))

    @cached_property
    def keys(self) -> dict[str, str]:
        """The values, or tags, and the names of those that are codes."""
        items = set().union(*self.cells) if self.tags else {*map(str.strip, self.column.keys)}
        names = self.table.names.get(self.column.name, {})
        return {key: names.get(key, key).strip().replace(".", " ") for key in sorted(items) if key}

    @cached_property
    def cells(self) -> list[set[str]]:
        """The values, or tags, of each row."""
        if self.tags:
            return [{*parts_of(of, words=self.table.spaced)} for of in self.column.values]
        return [{*map(str.strip, Column("", [of]).keys)} for of in self.column.values]

    def are(self, *lists: str, some: bool = False) -> set[str]:
        """The values of which all words are in a list, but for those that name what a row is; or `some` of a few, without a `not`."""
        return {key for key, value in self.keys.items() if any(self._is(value, of, some=some) for of in lists)}

    def _is(self, value: str, of: str, *, some: bool) -> bool:
        words = words_of(value)[0]
        own = {word for word in words if word in self.table.own or says(word, "record") or says(word, "body")}
        if (
            some
            and len(words) <= FEW_WORDS
            and says(value, of)
            and not (NO.search(value.casefold().replace("_", " ")) or _names_a_person(words))
        ):
            return not (of in ("faulty", "failure") and says(value, "corrected"))
        return says(value, of, whole=True) or says(" ".join(word for word in words if word not in own), of, whole=True)

    def undone(self) -> set[str]:
        """Values of a state that say that nobody has looked at an answer, or that there is nothing to answer: `no ticket`."""
        found = self.are("unchecked", some=True) | (self.are("unready") if self.reviewed else set())
        for key, value in self.keys.items():
            *_, no, what = ("", "", *words_of(value)[0])
            nothing = what in self.table.own and says(no, "undone")
            found |= {key} if unlooked_at(value) or nothing else set()
        return {key for key in found if len(self.rows_with({key})) <= FEW * len(self.cells)}

    def rows_with(self, marks: set[str]) -> list[bool]:
        """Whether each row with one of these values has an answer."""
        rows = zip(self.table.answered, self.cells, strict=True) if marks else ()
        return [one for one, cell in rows if not marks.isdisjoint(cell)]

    def lack(self, marks: set[str]) -> bool:
        """Whether most rows with these values have no answer, so that one of another is none to learn from."""
        return 2 * sum(found := self.rows_with(marks)) < len(found)

    def marks(self) -> tuple[set[str], bool]:
        """The values that mark a row as unfit, and whether name and values can mean nothing else."""
        name = self.name
        repeats = self.column.mostly_empty and says(name, "double") and bool(_REFERENCE.search(name))  # `duplicate_of`
        if repeats and self.column.form in ("code", "number", "text") and not self.low & (TRUE | FALSE):
            return {*self.keys}, True
        if says(name, "failure", whole=True):
            return {*self.keys} if self.lack({*self.keys}) else set(), True
        if self.tags:
            return self.are("void", "broken"), True
        if len(self.column.keys) > MOST_STATES or not self.low.isdisjoint(PARTS["train"]):
            return set(), True
        judged = self.judging or says(name, "judged", whole=True)  # `chat.feedback` may be on another thing
        if self.low <= TRUE | FALSE | {"-1"}:
            words = [word for word in words_of(name)[0] if word not in ("flag", "marked")]
            last = words[-1] if words else ""  # not `deleted_items`
            flag = any(says(last, of) for of in ("void", "broken", "double", "withdrawn"))
            bad = TRUE if flag else ({"-1"} & self.low or FALSE) if judged else set()
            marks = {key for key in self.keys if key.casefold() in bad and (flag or len(self.low) > 1)}
            sure = {word for of in ("void", "broken", "double") for word in role_words()[of]["words"]}
            return marks, self.judging or self.about in sure  # as they are there: `tests` are counted
        if not self.column.is_label(2):
            return set(), True
        if guesses := {key for key, of in self.keys.items() if unlooked_at(of) and says(of, "guess")}:
            return guesses, True
        if says(name, "outcome"):
            return self.are("broken", "double", "failure", some=True), not self.about
        states = self.reviewed or (says(name, "state") and not self.about)
        some = states and not says(name, "stage")
        marks = self.are("void", "broken", *["double"] * states, some=some)
        marks |= {key for key in self.are("unready", some=some) if self.lack({key})}
        marks |= self.undone() if states else set()
        if self.reviewed:
            marks |= self.are("faulty", "failure", some=True)
        elif judged or says(name, "score"):
            marks |= self.are("unfit") | (self.are("faulty") if inside(name, "reviewed") else set())
        states = states or self.judging or says(name, "state") or self.keys.keys() <= marks | self.are("fit", "unready")
        return marks or self.are("double", "withdrawn"), bool(marks) and states and (self.judging or not self.about)

    @property
    def low(self) -> set[str]:
        return {key.strip().casefold() for key in self.column.keys}


class _Tests(_Signs):
    """A column of groups, of which some are there to try things out: TEST-01."""

    def marks(self) -> tuple[set[str], bool]:
        words = {key: re.findall(r"[^\W\d_]+", key.casefold()) for key in self.keys}
        trials = {*role_words()["trial"]["words"]}
        return {key for key, of in words.items() if of and trials.issuperset(of)}, True


def _names_a_person(words: Iterable[str]) -> bool:
    """Whether a word is a given or family name: who did it, then."""
    spelled = (bare(word) for word in words if len(word) > 2 and not is_common(word))
    return any(word in first_names() or word in last_names() for word in spelled)


def unlooked_at(value: str) -> bool:
    """Whether a state says in several words that nobody has checked the answer: `not reviewed`, `a vérifier`."""
    several = len(words_of(value)[0]) > 1
    return several and (says_undone(value, "check") or says_undone(value, "check", whole=False))


def _about(name: str, own: Collection[str]) -> str:
    """What a name, and that of the object that it lies in, says but that it is of a row: `order` for `order.status` of a ticket."""
    parts = [part for part in name.split(".") if not part.isdigit()]
    words = (word for part in parts[-2:] for word in words_of(part)[0] if word not in {*own, *CODED})
    return " ".join(
        word for word in words if not any(says(word, of) for of in ("record", "state", "outcome", "reviewed"))
    )


def where_of(texts: Sequence[str]) -> dict[str, list[Any]]:
    """`data.where` as a user writes it: `status=submitted` or `status!=draft` for each value, or `all`."""
    found: dict[str, list[Any]] = {}
    for column, sign, value in (text.partition("=") for text in texts if texts != [ALL]):
        if not (sign and column.strip()):
            problem = "not COLUMN=VALUE or COLUMN!=VALUE"
            raise HallmarkError(problem, field=column, remedy=f"write a column and a value of rows to keep, or {ALL}")
        sign, column, value = column[-1] * column.endswith(NOT), column.removesuffix(NOT).strip(), value.strip()
        value = "" if value == NULL else value
        found.setdefault(column, []).append(f"{sign}{value}" or None)
    return found


def in_words(where: Mapping[str, Sequence[Any]]) -> str:
    """`data.where` in the form that `where_of` reads."""
    texts = ((column, NULL if one is None else str(one)) for column, kept in where.items() for one in kept)
    texts = ((column, f"{NOT}{NULL}" if text == NOT else text) for column, text in texts)
    return ", ".join(f"{column}{NOT if text[:1] == NOT else ''}={text.removeprefix(NOT)}" for column, text in texts)
