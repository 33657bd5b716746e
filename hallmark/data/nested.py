"""Values inside other values as columns: `user.login`, `labels.0.name`, and `labels.*.name` for a list of all of them.

`data:` and `mask.identity_columns` can name them; a column that has just that name goes first. What a row lacks on the way
is None, as an empty cell of a table is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

ALL = "*"


def is_path(column: str, row: dict[str, Any]) -> bool:
    """Whether a column names a value inside another column of the row."""
    return column not in row and any(first in row for first in _heads(column))


def value_at(value: Any, path: str) -> Any:
    """The value at a path of keys and numbers, joined with dots; None if there is none. A key may have dots itself."""
    if isinstance(value, dict):
        if path in value:
            return value[path]
        for head in _heads(path):
            if head in value:
                return value_at(value[head], path[len(head) + 1 :])
        return None
    if isinstance(value, list):
        head, _, rest = path.partition(".")
        if head == ALL:
            items = [value_at(item, rest) if rest else item for item in value]
            return [item for item in items if item is not None]
        if head.isascii() and head.isdigit() and int(head[:9]) < len(value):
            item = value[int(head[:9])]
            return value_at(item, rest) if rest else item
    return None


def keys_of(columns: Sequence[str]) -> dict[str, str]:
    """What columns are called in the object that they make: fields of one object as they are there, without its name."""
    above = {column.rpartition(".")[0] for column in columns}
    return {column: column.rpartition(".")[2] if len(above) == 1 else column for column in columns}


def _heads(path: str) -> list[str]:
    """What may be the first key of a path, the longest first."""
    parts = path.split(".")
    return [".".join(parts[:count]) for count in range(len(parts) - 1, 0, -1)]
