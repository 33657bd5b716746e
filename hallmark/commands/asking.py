"""Ask at a terminal, a question with numbered choices at a time; elsewhere, take what options say, or the first choices."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hallmark.base.errors import HallmarkError, printable
from hallmark.draft.choices import Choice, Join
from hallmark.draft.questions import Read

SHOWN, WIDE = 7, 34  # choices of a question; characters of a name
NONE = "none"


class Asker:
    """Asks at a terminal; without one, or with `yes`, says what it takes."""

    def __init__(self, given: Mapping[str, list[str]], yes: bool) -> None:
        self.given, self.yes, self.number = given, yes, 0
        self.asks = sys.stdin.isatty() and not yes

    def tell(self, lines: Iterable[str]) -> None:
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
        others = [
            one.name
            for one in choices
            if one.value is not None and not all(value in taken for value in _flat([one.value]))
        ]
        nexts = ", ".join(others[:3])
        shown = ", ".join(one if isinstance(one, str) else _shown(one) for one in taken) or NONE
        print(printable(f"{option[2:]}: {shown}{f' (next: {nexts})' * bool(nexts)}"))
        return taken

    def _asked(self, title: str, choices: Sequence[Choice], first: list[Any], read: Read, *, every: bool) -> list[Any]:
        print(f"\n{self.number}. {title}")
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
