"""The questions about a file, at most five and one on a second file, each with its likely answers: Enter takes the first."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hallmark.base.errors import HallmarkError, printable
from hallmark.draft import choices as likely
from hallmark.draft.choices import Choice, Join
from hallmark.draft.reading import Column, File, open_file
from hallmark.draft.script import Taken, joined, variable

SHOWN, WIDE = 7, 34  # choices of a question; characters of a name
NONE = "none"
Read = Callable[[str], list[Any]]  # what was typed, as values


def ask(file: File, given: Mapping[str, list[str]], *, yes: bool) -> Taken:
    """What the questions say of the file. `given`: answers from the command line, by option; `yes`: take the first choices."""
    asker = Asker(given, yes)

    def columns(option: str) -> Read:
        return lambda said: [taken.file.column(one.strip(), option).name for one in _parts(said, taken.file)]

    taken = Taken(file, [])
    if "--join" in given or (near := likely.join_choices(file)):
        found = near if "--join" not in given else []
        title = "Do the rows of a file next to it belong to these rows?"
        taken.join = asker.first("--join", title, [*found, Choice(NONE, None)], lambda said: [_join(file, said)])
    if taken.join:
        taken.file = file = joined(file, taken.join)
        print(printable(f"  the columns of {taken.join.file.path} are named {variable(taken.join)}.NAME"))
    answers = likely.answer_choices(file)
    taken.answer = asker.ask(
        "--answer", "What is the answer? Several columns (1 3) become fields", answers, columns("--answer")
    )
    left = [one.name for one in answers if one.score >= likely.LIKELY and not _related(one.name, taken.answer)]
    if left:
        print(printable(f"  not part of the answer, though it may be: {', '.join(left[:SHOWN])}"))
    if file.columns[taken.answer[0]].shape != "messages":
        texts = likely.read_choices(file, taken.answer)
        taken.read = asker.ask(
            "--read", "What does the model read? Several columns stand below each other", texts, columns("--read")
        )
    own = [*taken.answer, *taken.read]
    title = "Whose rows stay together, in training or held out? A customer's, a document's, a conversation's"
    taken.group = asker.first("--group", title, likely.group_choices(file, own), columns("--group"))
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


class Asker:
    """Asks at a terminal; without one, or with `yes`, says what it takes."""

    def __init__(self, given: Mapping[str, list[str]], yes: bool) -> None:
        self.given, self.yes, self.number = given, yes, 0
        self.asks = sys.stdin.isatty() and not yes

    def first(self, option: str, title: str, choices: Sequence[Choice], read: Read) -> Any:
        """The only value that is taken, or None."""
        return next(iter(self.ask(option, title, choices, read)), None)

    def tell(self, lines: Any) -> None:
        """Lines above a question."""
        print(printable("\n" + "\n".join(f"  {line}" for line in lines), keep="\n") if self.asks else "", end="")

    def ask(self, option: str, title: str, choices: Sequence[Choice], read: Read, *, every: bool = False) -> list[Any]:
        """The values that are taken. `every`: Enter takes all choices, not the first."""
        self.number += 1
        first = _flat(one.value for one in (choices if every else choices[:1]))
        if option in self.given:
            taken = [value for said in self.given[option] if said != NONE for value in read(said)]
        elif self.asks:
            return self._asked(title, choices, first, read, every=every)
        elif self.yes or not choices:
            taken = first
        else:
            remedy = "add it, or --yes to take the first choices, or run it at a terminal"
            raise HallmarkError(f"there is no terminal to ask at: {title}", field=option, remedy=remedy)
        others = [one.name for one in choices if one.value is not None and not {*_flat([one.value])} <= {*taken}]
        nexts = ", ".join(others[:3])
        shown = ", ".join(one if isinstance(one, str) else _shown(one) for one in taken) or NONE
        print(printable(f"{option[2:]}: {shown}{f' (next: {nexts})' * bool(nexts)}"))
        return taken

    def _asked(self, title: str, choices: Sequence[Choice], first: list[Any], read: Read, *, every: bool) -> list[Any]:
        print(printable(f"\n{self.number}. {title}"))
        for place, one in enumerate(choices[:SHOWN], 1):
            print(printable(f"  {place}  {one.name[:WIDE]:{WIDE}}  {' | '.join(one.shown)}"))
        enter = "1" if not every else "all of them" if choices else NONE
        while True:
            try:
                said = input(f"  Enter: {enter}; or numbers, a name, {NONE} > ").strip()
            except EOFError:  # Ctrl-D
                raise KeyboardInterrupt from None
            numbers = said.replace(",", " ").split()
            if not said or said == NONE:
                return [] if said else first
            if all(one.isdecimal() and 1 <= int(one) <= len(choices) for one in numbers):
                return _flat(choices[int(one) - 1].value for one in numbers)
            try:
                return read(said)
            except HallmarkError as error:
                print(printable(f"  {error.problem}: {error.remedy}"))


def _flat(values: Any) -> list[Any]:
    """The values, lists as their items, without None."""
    each = [value if isinstance(value, list) else [value] for value in values]
    return [one for of in each for one in of if one is not None]


def _shown(value: Any) -> str:
    return f"{value.file.path}:{value.left.name}={value.right.name}" if isinstance(value, Join) else "=".join(value)


def _counts(column: Column) -> str:
    return ", ".join(f"{value} {count:,}" for value, count in column.counts.most_common())


def _parts(said: str, file: File) -> list[str]:
    return [said] if said in file.columns else said.split(",")


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
