"""What is in a data file: its columns, those inside objects too, with the values of its first rows and how a script reads them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from hallmark.base.errors import HallmarkError
from hallmark.base.reading import NotJsonError, strict_json
from hallmark.records import json_lines, json_rows, table
from hallmark.records.reading import SOURCE, Seen, listed, reading
from hallmark.records.tables import READERS

MOST_ROWS = 20_000  # looked at
MOST_LABELS = 60  # in lists of labels
MOST_KEYS, LEAST_FILLED = 30, 0.3  # of an object whose keys are columns; any other is a value by itself
HELPERS = {".jsonl": json_lines, ".ndjson": json_lines, ".json": json_rows}
ARGUMENTS = {"arguments", "args", "input", "parameters"}


@dataclass
class Column:
    """A column by its dotted name: a value for each row (None where there is none), and the expression that reads it."""

    name: str
    code: str
    values: list[Any] = field(repr=False)
    shape: str = "text"  # text, number, flag, object, list, and what `_shape_of` knows

    @property
    def leaf(self) -> str:
        """The last part of its name."""
        return next(part for part in reversed(self.name.split(".")) if not part.isdecimal())

    @cached_property
    def filled(self) -> list[Any]:
        """The values that there are."""
        return [value for value in self.values if value is not None and value not in ("", [], {})]

    @cached_property
    def counts(self) -> Counter[str]:
        """How often each value occurs, as text."""
        return Counter(map(as_text, self.filled))

    @cached_property
    def words(self) -> float:
        """Words in a value, on average."""
        return sum(len(text.split()) * count for text, count in self.counts.items()) / max(1, len(self.filled))

    @property
    def whole(self) -> bool:
        """Whether every row has a value."""
        return len(self.filled) == len(self.values)


@dataclass
class File:
    """A file below data/raw: how a script reads it, and what its first rows have."""

    path: str
    helper: str
    columns: dict[str, Column]
    rows: int

    @property
    def loop(self) -> str:
        """What a script loops over."""
        return f"{self.helper}({quoted(self.path)}){'.iter_rows(named=True)' * (self.helper == 'table')}"

    def column(self, name: str, option: str) -> Column:
        """A column by its name; a HallmarkError if there is none."""
        if name not in self.columns:
            remedy = f"name another with {option}: {listed(self.columns)}"
            raise HallmarkError("no such column", file=self.path, field=name, remedy=remedy)
        return self.columns[name]


def quoted(text: str) -> str:
    """A text as Python writes it, in double quotes."""
    return json.dumps(text, ensure_ascii=not text.isprintable())


def as_text(value: Any) -> str:
    """A value as a person sees it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def open_file(given: Path) -> File:
    """The columns of a file below data/raw, of a folder of files, or of the folder that the `datasets` library saves."""
    path = Path(*given.resolve().relative_to(Path.cwd()).parts) if given.resolve().is_relative_to(Path.cwd()) else given
    endings = {path.suffix.lower()}
    if path.is_dir():
        saved = sorted(one for one in path.glob("*/*") if one.suffix in READERS)
        path = path / "*" / f"*{saved[0].suffix}" if saved else path
        endings = {one.suffix for one in (saved or sorted(path.iterdir()))}
    helper = next((HELPERS[ending] for ending in HELPERS if ending in endings), table)
    with reading(Seen()):
        read: Any = helper(path.as_posix())
        rows = read.head(MOST_ROWS).to_dicts() if helper is table else [dict(row) for row in islice(read, MOST_ROWS)]
    if not rows:
        raise HallmarkError("has no rows", file=path, remedy="give a file with examples")
    columns = {one.name: one for one in _columns(rows, "", "row") if one.filled}
    return File(path.as_posix(), helper.__name__, columns, len(rows))


def _columns(rows: Sequence[Any], above: str, code: str) -> Iterator[Column]:
    """The columns of objects, those inside them too."""
    objects = [row if isinstance(row, dict) else {} for row in rows]
    always = code if all(isinstance(row, dict) for row in rows) else f"({code} or {{}})"
    for key in dict.fromkeys(key for row in objects for key in row if above or key != SOURCE):
        read = f"[{quoted(key)}]" if all(key in row for row in objects) else f".get({quoted(key)})"
        yield from _column(above + key, [row.get(key) for row in objects], always + read)


def _column(name: str, values: list[Any], code: str) -> Iterator[Column]:
    filled = [value for value in values if value is not None and value != ""]
    if filled and all(isinstance(value, str) and value.lstrip()[:1] in ("{", "[") for value in filled):
        parsed = [_parsed(value) for value in values]
        if all(isinstance(one, dict | list) for one, value in zip(parsed, values, strict=True) if value):
            code = f"json.loads({code})" if len(filled) == len(values) else f'json.loads({code} or "null")'
            values = parsed
    shapes = Counter(_shape_of(value) for value in values if value is not None and value not in ("", [], {}))
    column = Column(name, code, values, shapes.most_common(1)[0][0] if shapes else "text")
    if column.shape == "tokens":
        items = Counter(item for value in column.filled for item in value)
        column.shape = "labels" if 5 * len(items) <= items.total() and len(items) <= MOST_LABELS else "tokens"
    yield column
    keys = Counter(key for value in column.filled if isinstance(value, dict) for key in value)
    some = keys.total() >= LEAST_FILLED * len(keys) * len(column.filled)
    if column.shape == "object" and len(keys) <= MOST_KEYS and some and all(isinstance(key, str) for key in keys):
        yield from _columns(values, f"{name}.", code)
    if column.shape == "list" and all(_has(value, "message") for value in column.filled):  # OpenAI's choices
        messages = [value[0]["message"] if value else None for value in values]
        yield from _column(f"{name}.0.message", messages, f'{code}[0]["message"]')


def _parsed(text: Any) -> Any:
    try:
        return strict_json(text) if isinstance(text, str) and text else None
    except NotJsonError:
        return text


def _shape_of(value: Any) -> str:
    if not isinstance(value, list):
        if isinstance(value, dict):
            return "message" if _has(value, "role", "from") else "calls" if _is_call(value) else "object"
        calls = isinstance(value, str) and "<tool_call>" in value
        numbers = "flag" if isinstance(value, bool) else "number" if isinstance(value, int | float) else "text"
        return "calls" if calls else numbers
    objects = all(isinstance(one, dict) for one in value)
    functions = [one.get("function", one) for one in value] if objects else []
    if _has(value, "result") and _has(value, "id"):
        return "annotations"  # Label Studio's
    if _has(value, "role", "from"):
        return "messages"
    if objects and all(map(_is_call, functions)):
        return "calls"
    if objects and all(_has(one, "parameters", "description", "input_schema") for one in functions):
        return "tools"
    if objects and all(
        len(one) == 1 and isinstance(next(iter(one.values())), dict) and "message" not in one for one in value
    ):
        return "named_calls"  # {name: arguments}
    if _has(value, "start", "start_offset") or [type(one) for one in value[0]] == [int, int, str]:
        return "spans"
    if not all(isinstance(one, str) and len(one.split()) < 4 for one in value):
        return "list"
    return "tags" if any(one == "O" or one.startswith(("B-", "I-")) for one in value) else "tokens"


def _has(value: Any, *keys: str) -> bool:
    """Whether a value, or the first item of a list, is an object with one of the keys."""
    one = value[0] if isinstance(value, list) else value
    return isinstance(one, dict) and any(key in one for key in keys)


def _is_call(value: Any) -> bool:
    named = isinstance(value, dict) and isinstance(value.get("name"), str) and "description" not in value
    return bool(named and ARGUMENTS & {*value} and "properties" not in (value.get("parameters") or ()))
