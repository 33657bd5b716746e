"""The columns of a text that a template made of them: the inverse of `hallmark.base.records.fill`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hallmark.base.params import Data
from hallmark.base.records import FIELD, columns_of, fill
from hallmark.service.collecting.logged import LeftOutError

BLANK = re.compile(r"(?<=\S)\n\n(?=\S)")  # what stands between context and input in a prompt


@dataclass
class Habits:
    """How context and input look in the rows that there are."""

    always: bool = True  # each row has a context
    in_context: bool = False  # contexts have blank lines
    in_input: bool = False  # inputs have some

    def note(self, context: str | None, text: str) -> None:
        self.always = self.always and bool(context)
        self.in_context = self.in_context or bool(BLANK.search(context or ""))
        self.in_input = self.in_input or bool(BLANK.search(text))


def split_prompt(prompt: str, data: Data, habits: Habits) -> dict[str, str | None]:
    """The columns of `data.context` and `data.input` that make this user message; LeftOutError if they can't be told.

    Filling the templates with them gives exactly the message again, but for white space at its ends.
    """
    prompt = prompt.strip()
    found: list[dict[str, str | None]] = []
    for context, text in _parts(prompt, data, habits):
        row = columns(data.input, text)
        if data.context is not None and row is not None:
            other = dict.fromkeys(columns_of(data.context)) if context is None else columns(data.context, context)
            agree = other is not None and all(row.get(name, value) == value for name, value in other.items())
            row = {**row, **(other or {})} if agree else None
            if row is not None and (fill(data.context, row), fill(data.input, row)) != (context or "", text):
                row = None
        if row is not None:
            found.append(row)
    if len(found) != 1:
        raise LeftOutError("ambiguous" if found else "template")
    return found[0]


def _parts(prompt: str, data: Data, habits: Habits) -> list[tuple[str | None, str]]:
    """Context and input as they may be parted at a blank line, going by what other rows have."""
    cuts = [match.start() for match in BLANK.finditer(prompt)] if data.context is not None else []
    parts: list[tuple[str | None, str]] = []
    if data.context is None or (not habits.always and (not cuts or habits.in_input)):
        parts.append((None, prompt))
    if len(cuts) > 1 and habits.in_context and habits.in_input:
        raise LeftOutError("ambiguous")
    for number, cut in enumerate(cuts):
        if (number == 0 or habits.in_context) and (number == len(cuts) - 1 or habits.in_input):
            parts.append((prompt[:cut], prompt[cut + 2 :]))
    return parts


def columns(template: str, text: str) -> dict[str, str | None] | None:
    """The columns whose values, filled into the template, give exactly this text; None if there are none.

    Of several ways to split it, each value ends at the first place where what follows it in the template stands: the
    filled text is the same in any. `fill` strips the text, so columns at its ends may have been empty.
    """
    if not FIELD.search(template):
        template = f"{{{template}}}"
    names = FIELD.findall(template)
    literals = FIELD.split(template)[::2]
    # All columns, or only some at the start or only some at the end: what stands around the others was white space.
    for count in range(len(names), 0, -1):
        for first in (0, len(names) - count) if count < len(names) else (0,):
            inner = [literals[first].lstrip(), *literals[first + 1 : first + count], literals[first + count].rstrip()]
            row = _split(names[first : first + count], inner, text)
            if row is not None:
                row = dict.fromkeys(names) | row
                if fill(template, row) == text:
                    return row
    return None


def _split(names: list[str], literals: list[str], text: str) -> dict[str, str | None] | None:
    """The values between the literals, each up to the first place of the next one."""
    numbers: dict[str, int] = {}
    pattern = re.escape(literals[0])
    for place, (name, literal) in enumerate(zip(names, literals[1:], strict=True), 1):
        again = name in numbers
        number = numbers.setdefault(name, len(numbers) + 1)
        value = rf"(?:\{number})" if again else "(.*?)"
        # atomic groups never look for a second place, so that no text takes long
        pattern += f"(?>{value}{re.escape(literal)})" if place < len(names) else f"{value}{re.escape(literal)}"
    match = re.fullmatch(pattern, text, re.DOTALL)
    return {name: match[number] for name, number in numbers.items()} if match else None
