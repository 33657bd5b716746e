"""What a script's text says of the data: the columns that it names, and the values that it compares them with."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator
from typing import Any, NamedTuple

from hallmark.records.columns import Column
from hallmark.task.values import folded

METHODS = ("is_in", "eq", "ne", "eq_missing", "ne_missing", "replace", "replace_strict")
CHANGES = (
    "lower",
    "casefold",
    "upper",
    "title",
    "strip",
    "to_lowercase",
    "to_uppercase",
    "strip_chars",
    "int",
    "float",
    "cast",
)


class Doubt(NamedTuple):
    """A comparison that can't be what was meant."""

    line: int
    column: str
    value: Any
    near: str | None  # the value that is perhaps meant; None: the column is text, and the value a number


def named_in(tree: ast.AST) -> set[str]:
    """The texts and attributes in a script: one of them may be the name of a column."""
    texts = {one.value for one in ast.walk(tree) if isinstance(one, ast.Constant) and isinstance(one.value, str)}
    return texts | {one.attr for one in ast.walk(tree) if isinstance(one, ast.Attribute)}


def doubts(tree: ast.AST, columns: dict[str, Column]) -> Iterator[Doubt]:
    """The comparisons of a column with a value that none of its rows has, but for one that is spelled alike, or with a number."""
    held = {
        one.targets[0].id: one.value
        for one in ast.walk(tree)
        if isinstance(one, ast.Assign) and len(one.targets) == 1 and isinstance(one.targets[0], ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
            sides = [node.func.value, *node.args]
        else:
            continue
        sides = [held.get(side.id, side) if isinstance(side, ast.Name) else side for side in sides]
        parts = [part for side in sides for part in ast.walk(side)]
        calls = [part.func for part in parts if isinstance(part, ast.Call)]
        changed = any(getattr(one, "attr", getattr(one, "id", "")) in CHANGES for one in calls)
        about = [name for part in parts if isinstance(part, ast.Constant) and (name := part.value) in columns]
        if changed or not about:
            continue
        column = columns[about[0]]
        for value in [one for side in sides for one in _constants(side)]:
            if isinstance(value, bool | int | float) and column.filled and column.all_text:
                yield Doubt(node.lineno, about[0], value, None)
            elif isinstance(value, str) and value != about[0] and column.values and value not in column.values:
                alike = [one for one in column.values if folded(one) == folded(value)]
                alike += difflib.get_close_matches(value, column.values, n=1, cutoff=0.8)
                if alike:
                    yield Doubt(node.lineno, about[0], value, alike[0])


def _constants(side: ast.AST) -> Iterator[Any]:
    if isinstance(side, ast.Constant):
        yield side.value
    elif isinstance(side, ast.Tuple | ast.List | ast.Set):
        for item in side.elts:
            yield from _constants(item)
    elif isinstance(side, ast.Dict):
        for key in side.keys:
            yield from _constants(key) if key else ()
