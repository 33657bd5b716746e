"""How many of the targets' values stand in their inputs, and so can be copied, for `python -m hallmark.commands.propose`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

from hallmark.data.raw import Raw
from hallmark.task.evidence import Source
from hallmark.task.task import Task
from hallmark.task.values import closed_paths

COPIED = 0.5  # share of a field's values that stand in the input, from which on the field is one that is copied
ABSENT = 0.02  # share of a copied field's values that don't, above which there is a warning
FEW = 20  # rows from which nothing is concluded yet
SHOWN = 5  # fields named


def warnings(rows: Sequence[Raw], task: Task) -> list[str]:
    """What copying can't give: values of copied fields that neither input nor context has, and how far their spellings differ."""
    if not task.is_json or len(rows) < FEW:
        return []
    closed = closed_paths(task.schema) if task.schema else set()
    of, absent = Counter[str](), Counter[str]()  # values by field
    found: list[tuple[set[str], set[str]]] = []  # by row: the fields with a value that is absent, or spelled otherwise
    for raw in rows:
        text = "\n".join(filter(None, (raw.context, raw.input)))
        source, plain = Source(text), " ".join(text.split())
        missing, other = set(), set()
        fields = task.kind.fields(raw.target, {}).items()
        for path, value in chain.from_iterable(_single(value, name) for name, values in fields for value in values):
            if path in closed or task.kind.is_listed(path):
                continue
            of[path] += 1
            if not source.has(value):
                absent[path] += 1
                missing.add(path)
            elif isinstance(value, str) and " ".join(value.split()) not in plain:
                other.add(path)
        found.append((missing, other))
    copied = {path for path in of if of[path] - absent[path] >= COPIED * of[path]}
    if not copied:
        return []
    whole = sum(not missing & copied for missing, _ in found)
    exact = sum(not (missing | other) & copied for missing, other in found)
    named = [path for path in sorted(copied, key=lambda path: -absent[path]) if absent[path] > ABSENT * of[path]]
    if not named:
        return []
    lacking = " and ".join(f"{absent[path]} of {of[path]} values of '{path}'" for path in named[:SHOWN])
    return [
        f"copying can't give every answer: {lacking} are not in the input, whatever their case and punctuation. Read some: "
        f"labels may correct errors of the input, or be wrong. {_share(whole, rows)} of the rows have all copied values in "
        f"the input, {_share(exact, rows)} in the target's own spelling, which exact match asks for"
    ]


def _single(value: Any, path: str) -> Iterator[tuple[str, str | float]]:
    """The texts and numbers in a value, which may be an object of a list, or a list in it, by path."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _single(item, f"{path}.{name}")
    elif isinstance(value, list):
        for item in value:
            yield from _single(item, f"{path}[]")
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        yield path, value


def _share(count: int, rows: Sequence[Raw]) -> str:
    return f"{100 * count / len(rows):.0f} %"
