"""The columns of a file, those inside other values too, with facts about their values, for `python -m hallmark.commands.propose`."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from hallmark.base.reading import NotJsonError, strict_json
from hallmark.data.conversations import LAYOUTS
from hallmark.data.nested import ALL, value_at
from hallmark.task.answers import canonical

Rows = list[dict[str, Any]]

MAX_LABELS = 200  # most different short texts that count as labels
MOST_COLUMNS = 400  # looked at, those inside others included
DEEPEST = 8  # levels of nesting that are looked at
MOSTLY = 0.9  # share of the values that give a column its form
FORMS = (  # of texts, in this order
    ("number", re.compile(r"[+-]?(?:\d+(?:[.,]\d+)*|\d*[.,]\d+)(?:[eE][+-]?\d+)?\s?[%€$£]?")),
    ("bool", re.compile(r"true|false|yes|no|ja|nein|oui|non|sí|y|n", re.IGNORECASE)),
    ("time", re.compile(r"\d{4}-\d\d?-\d\d?(?:[T ].*)?|\d{1,2}[./]\d{1,2}[./]\d{2,4}(?:[ ,].*)?|\d{1,2}/\w{3}/\d{2,4}.*|\d{1,2}:\d\d.*")),
    ("url", re.compile(r"(?:https?|ftp|s3|file)://\S+|www\.\S+")),
    ("mail", re.compile(r"[^\s@]+@[^\s@]+\.[a-z]{2,}", re.IGNORECASE)),
    ("code", re.compile(r"(?=\S*\d)[\w.:#/=+-]{4,}")),
)  # fmt: skip


@dataclass
class Column:
    """One column, with counts of its values."""

    name: str
    values: list[Any] = field(repr=False, default_factory=list)

    def __post_init__(self) -> None:
        self.given = [value for value in self.values if value is not None and value != "" and value != []]
        self.texts = [value for value in self.given if isinstance(value, str)]
        self.keys = Counter(value if isinstance(value, str) else canonical_or_text(value) for value in self.given)
        self.distinct = len(self.keys)
        self.empty = len(self.values) - len(self.given)
        self.mean_chars = sum(map(len, self.texts)) / max(len(self.texts), 1)

    def all(self, kind: type | tuple[type, ...]) -> bool:
        """Whether it has values, all of that type."""
        return bool(self.given) and all(isinstance(value, kind) for value in self.given)

    @property
    def unique(self) -> bool:
        """Whether it identifies each row: no value is missing or repeated."""
        return self.all((str, int)) and not self.empty and self.distinct == len(self.values)

    @property
    def repeated(self) -> float:
        """Mean number of rows per value."""
        return len(self.given) / max(self.distinct, 1)

    @cached_property
    def form(self) -> str:
        """What its values are: object, list, bool, number, time, url, mail, code or text; "" without values."""
        if not self.given:
            return ""
        parsed = [parsed_target(value) for value in self.given]
        for form, kind in (("object", dict), ("list", list), ("bool", bool), ("number", int | float)):
            if sum(isinstance(value, kind) for value in parsed) > MOSTLY * len(parsed):
                return form
        if not self.texts:
            return "time" if all(hasattr(value, "isoformat") for value in self.given) else "text"
        for form, pattern in FORMS:
            if sum(bool(pattern.fullmatch(text.strip())) for text in self.texts) > MOSTLY * len(self.given):
                return form
        return "text"

    @property
    def is_text(self) -> bool:
        """Whether it has running text or words, not numbers, codes or times."""
        return self.form == "text" and bool(self.texts)


def columns_in(rows: Rows) -> dict[str, Column]:
    """The columns of the rows by name, and the values inside lists and objects by their paths."""
    columns: dict[str, Column] = {}

    def add(name: str, values: list[Any], level: int) -> None:
        if len(columns) >= MOST_COLUMNS:
            return
        column = columns[name] = Column(name, values)
        if level >= DEEPEST or name in LAYOUTS or not column.given or _are_tools(column.given):
            return
        if column.all(dict):
            for key in dict.fromkeys(key for value in column.given for key in value):
                add(f"{name}.{key}", [value_at(value, key) for value in values], level + 1)
        elif column.all(list):
            if max(map(len, column.given)) == 1:
                add(f"{name}.0", [value_at(value, "0") for value in values], level + 1)
            elif all(isinstance(item, dict) for value in column.given for item in value):
                keys = dict.fromkeys(key for value in column.given for item in value for key in item)
                for key in keys:
                    items = [value_at(value, f"{ALL}.{key}") for value in values]
                    if any(items) and not any(isinstance(part, dict | list) for item in items for part in item or ()):
                        columns[f"{name}.{ALL}.{key}"] = Column(f"{name}.{ALL}.{key}", items)

    for name in dict.fromkeys(name for row in rows for name in row):
        add(name, [row.get(name) for row in rows], 0)
    return columns


def _are_tools(values: list[Any]) -> bool:
    return any(tools_in(value) for value in values[:20])


def tools_in(value: Any) -> list[dict[str, Any]]:
    """The tools in a value, as OpenAI's API has them, in JSON or as a list: objects with a name and parameters."""
    tools = parsed_target(value)
    if not isinstance(tools, list):
        return []
    inner = [tool.get("function", tool) for tool in tools if isinstance(tool, dict)]
    named = [tool for tool in inner if isinstance(tool, dict) and isinstance(tool.get("name"), str)]
    return [tool for tool in named if isinstance(parameters_of(tool), dict)]


def parameters_of(tool: dict[str, Any]) -> Any:
    """The JSON Schema of a tool's arguments, by the key that OpenAI or Anthropic gives it."""
    return tool.get("parameters", tool.get("input_schema"))


def canonical_or_text(value: Any) -> str:
    """A text for a value of any type (a Parquet date is not JSON)."""
    try:
        return canonical(value)
    except (TypeError, ValueError, RecursionError):
        return str(value)


def parsed_target(value: Any) -> Any:
    """The value, parsed if it is a text that holds a JSON object or list."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return strict_json(value)
        except NotJsonError:
            return value
    return value


def is_label(column: Column, rows_each: float = 4) -> bool:
    """Whether every value of a column is one of a few short texts or whole numbers, each in several rows."""
    return (
        column.all((str, int))
        and column.distinct <= MAX_LABELS
        and column.repeated >= rows_each
        and column.mean_chars <= 60
    )
