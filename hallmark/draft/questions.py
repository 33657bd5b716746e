"""The questions about a file, at most five and one on a second file, each with its likely answers: Enter takes the first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from hallmark.base.errors import HallmarkError, printable
from hallmark.draft import choices as likely
from hallmark.draft.choices import Choice, Join
from hallmark.draft.reading import Column, File, open_file
from hallmark.draft.script import Taken, joined, variable

SHOWN = 7  # names in a line
Read = Callable[[str], list[Any]]  # what was typed, as values


class Asker(Protocol):
    """Whoever asks."""

    given: Mapping[str, list[str]]  # answers, by option, that need no question

    def ask(self, option: str, title: str, choices: Sequence[Choice], read: Read, *, every: bool = False) -> list[Any]:
        """The values that are taken: by default the first choice, or `every` one."""

    def tell(self, lines: Iterable[str]) -> None:
        """Lines above a question."""


def ask(file: File, asker: Asker) -> Taken:
    """What the answers say of the file."""
    given = asker.given

    def columns(option: str) -> Read:
        return lambda said: [taken.file.column(one.strip(), option).name for one in _parts(said, taken.file)]

    taken = Taken(file, [])
    if "--join" in given or (near := likely.join_choices(file)):
        found = near if "--join" not in given else []
        title = "Do the rows of a file next to it belong to these rows?"
        taken.join = next(
            iter(asker.ask("--join", title, [*found, Choice("none", None)], lambda said: [_join(file, said)])), None
        )
    if taken.join:
        taken.file = file = joined(file, taken.join)
        print(printable(f"  the columns of {taken.join.file.path} are named {variable(taken.join)}.NAME"))
    answers = likely.answer_choices(file)
    taken.answer = asker.ask(
        "--answer", "What is the answer? Several columns (1 3) become fields", answers, columns("--answer")
    )
    _needed(taken.answer, file, "--answer")
    left = [one.name for one in answers if one.score >= likely.LIKELY and not _related(one.name, taken.answer)]
    if left:
        print(printable(f"  not part of the answer, though it may be: {', '.join(left[:SHOWN])}"))
    if file.columns[taken.answer[0]].shape != "messages":
        texts = likely.read_choices(file, taken.answer)
        taken.read = asker.ask(
            "--read", "What does the model read? Several columns stand below each other", texts, columns("--read")
        )
        _needed(taken.read, file, "--read")
    own = [*taken.answer, *taken.read]
    title = "Whose rows stay together, in training or held out? A customer's, a document's, a conversation's"
    taken.group = next(iter(asker.ask("--group", title, likely.group_choices(file, own), columns("--group"))), None)
    found_states = likely.states(file, [*own, taken.group or ""])
    if found_states or "--leave-out" in given:
        asker.tell(f"{one.name}: {_counts(one)}" for one in found_states)
        title = "Which rows are not to be learned from? COLUMN=VALUE"
        taken.leave_out = asker.ask(
            "--leave-out", title, likely.unfit(found_states), lambda said: [_state(file, said)], every=True
        )
    private = likely.private_choices(file, own)
    if private or "--private" in given:
        kinds = dict(one.value for one in private)

        def identity(said: str) -> list[tuple[str, str]]:
            name, _, kind = (said, "", "") if said in file.columns else said.partition("=")
            return [(file.column(name, "--private").name, kind or kinds.get(name, "PERSON"))]

        title = "Which columns identify somebody? Their values are masked in all texts of the group. COLUMN=KIND"
        taken.private = dict(asker.ask("--private", title, private, identity, every=True))
    return taken


def _needed(names: list[str], file: File, option: str) -> None:
    if not names:
        shown = ", ".join([*file.columns][:SHOWN])
        raise HallmarkError(f"no column is taken for {option}", file=file.path, remedy=f"name one or more of {shown}")


def _counts(column: Column) -> str:
    return ", ".join(f"{value} {count:,}" for value, count in column.counts.most_common())


def _parts(said: str, file: File) -> list[str]:
    return [said] if said in file.columns else [part for part in said.split(",") if part.strip()]


def _join(file: File, said: str) -> Join:
    """The join that `FILE`, `FILE:COLUMN` or `FILE:COLUMN=COLUMN` names."""
    path, _, key = said.partition(":")
    other, (left, _, right) = open_file(Path(path)), key.partition("=")
    found = (
        Join(other, file.column(left, "--join"), other.column(right or left, "--join"))
        if key
        else likely.join_with(file, other)
    )
    if found is None:
        raise HallmarkError("no column names its rows", file=path, remedy="give both: --join FILE:COLUMN=COLUMN")
    return found


def _state(file: File, said: str) -> tuple[str, str]:
    name, _, value = said.partition("=")
    column = file.column(name.strip(), "--leave-out")
    if value not in column.counts:
        remedy = f"take one of {', '.join([*column.counts][:SHOWN])}"
        raise HallmarkError("no row has this value", file=file.path, field=column.name, remedy=remedy)
    return column.name, value


def _related(name: str, taken: Sequence[str]) -> bool:
    return any(name == one or name.startswith(f"{one}.") or one.startswith(f"{name}.") for one in taken)
