"""The columns of a file, those inside other values too: facts about their values."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product, zip_longest
from pathlib import Path
from typing import Any

from hallmark.base.errors import HallmarkError
from hallmark.data.conversations import LAYOUTS
from hallmark.data.copied import opened
from hallmark.data.missing import is_blank
from hallmark.data.nested import ALL, keys_of, value_at
from hallmark.data.spans import (
    BY_CHOICE,
    BY_COMMA,
    BY_LABEL,
    JOINED,
    LABELS,
    MADE,
    PASSAGES,
    annotations_in,
    are_spans,
    are_tags,
    by_choice,
    by_label,
    in_one_spelling,
    is_open,
    joined,
    passages,
)
from hallmark.propose.column_words import ENTITIES, entity, role_words, says, split
from hallmark.task.answers import canonical
from hallmark.task.values import folded

Rows = list[dict[str, Any]]

MAX_LABELS = 200  # most different short texts that count as labels
MOST_WORDS = 5  # of a label, on average: longer texts that repeat are stock replies
ALONE = 0.8  # share of the labels between commas that must stand alone in some row
SEVERAL = 0.05  # share of the texts from which on it is no accident that they have several labels
MOST_COLUMNS = 400  # looked at, those inside others included
DEEPEST = 8  # levels of nesting that are looked at
MOST_SAID = 30  # most different values that may say what a column is
EPOCH = (946_684_800, 2_051_222_400)  # seconds since 1970
CITED = 0.2  # share of the rows in which a text cites its passages
READ, MOST_KEY = 400, 40  # rows that are read to see it; characters of what cites
MOSTLY = 0.9  # share of the values that give a column its form
SHAPES = tomllib.loads(Path(__file__).with_name("column_forms.toml").read_text(encoding="utf-8"))
FORMS = {form: re.compile(pattern, re.IGNORECASE) for form, pattern in SHAPES["forms"].items()}


@dataclass
class Column:
    name: str
    values: list[Any] = field(repr=False, default_factory=list)
    source: str | None = None  # the column that its spans are counted in
    has_names: bool = False  # its codes, in the data or in a file next to them

    def __post_init__(self) -> None:
        self.given = [value for value in self.values if value is not None and value != "" and value != []]
        self.texts = [value for value in self.given if isinstance(value, str)]
        self.keys = Counter(value if isinstance(value, str) else canonical_or_text(value) for value in self.given)
        self.distinct = len(self.keys)
        self.empty = len(self.values) - len(self.given)
        self.mean_chars = sum(map(len, self.texts)) / max(len(self.texts), 1)

    def all(self, kind: type | tuple[type, ...]) -> bool:
        return bool(self.given) and all(isinstance(value, kind) for value in self.given)

    @property
    def unique(self) -> bool:
        """Whether it identifies each row: no value is missing or repeated."""
        return self.all((str, int)) and not self.empty and self.distinct == len(self.values)

    @property
    def repeated(self) -> float:
        return len(self.given) / max(self.distinct, 1)

    @property
    def mostly_empty(self) -> bool:
        return self.empty > 0.5 * len(self.values)

    @property
    def shape(self) -> str:
        return f"{self.distinct} values, {self.repeated:.1f} rows each"

    @cached_property
    def form(self) -> str:
        """What its values are: object, list, bool, number, time, url, mail, code or text; "" without values."""
        if not self.given:
            return ""
        parsed = [opened(value) for value in self.given]
        for form, kind in (("object", dict), ("list", list), ("bool", bool), ("number", int | float)):
            if sum(isinstance(value, kind) for value in parsed) > MOSTLY * len(parsed):
                return "time" if form == "number" and self._is_time() else form
        if not self.texts:
            return "time" if all(hasattr(value, "isoformat") for value in self.given) else "text"
        for form, pattern in FORMS.items():
            if sum(bool(pattern.fullmatch(text.strip())) for text in self.texts) > MOSTLY * len(self.given):
                return form
        return "text"

    @cached_property
    def lists(self) -> frozenset[str]:
        """The lists of role_words.toml that have a word of its own name; for a name unlike any, those that have its values."""
        own = [of for of, entry in role_words().items() if "own" in entry]
        named = {of for of in own if (entity(self.name) == of if of in ENTITIES else says(self.name, of))}
        named -= {"workings", "thing"} if "headline" in named else set()  # a subject line is no line
        named -= {"time"} if self.form == "object" else set()  # `daten` are no dates
        new = not (named - {"identifier"}) and self.distinct <= MOST_SAID
        values = [key.strip().casefold() for key in self.keys] if new else []

        def has(listed: Collection[str], value: str) -> bool:
            words = [word for word in split(value) if len(word) > 2]
            return any(one in listed for one in (value, re.split("[-_]", value)[0], *words))

        said = {of: sum(has(entry.get("values", ()), value) for value in values) for of, entry in role_words().items()}
        return frozenset(named | {of for of, count in said.items() if len(values) > 1 and count > MOSTLY * len(values)})

    def _is_time(self) -> bool:
        """Whether its numbers are days, as 20250314, or seconds or milliseconds since 1970 that hardly repeat."""
        rare = self.distinct > MOSTLY * len(self.given)
        since = not says(self.name, "identifier") and (says(self.name, "time") or rare)
        numbers = [int(key) for key in self.keys if key.isdecimal()]
        epoch = since and any(all(EPOCH[0] <= number / unit < EPOCH[1] for number in numbers) for unit in (1, 1000))
        return len(numbers) == self.distinct and (epoch or all(map(FORMS["time"].fullmatch, self.keys)))

    @property
    def is_text(self) -> bool:
        """Whether it has running text or words, not numbers, codes or times."""
        return self.form == "text" and bool(self.texts)

    def is_label(self, rows_each: float) -> bool:
        """Whether every value is one of a few short texts or whole numbers, each in several rows."""
        few = self.distinct <= MAX_LABELS and self.repeated >= rows_each
        short = self.mean_chars <= 60 and mean_words(self.texts) <= MOST_WORDS
        return self.all((str, int)) and few and short

    def is_code(self) -> bool:
        """Whether it is a label whose values are numbers or short codes in capitals, as LB2."""
        codes = self.form == "number" or all(key.isalnum() and key == key.upper() and len(key) < 9 for key in self.keys)
        return codes and self.is_label(2)


def columns_in(rows: Rows) -> dict[str, Column]:
    """The columns of the rows by name, and the values inside lists and objects by their paths."""
    columns: dict[str, Column] = {}

    def add(name: str, values: list[Any], level: int) -> None:
        if len(columns) >= MOST_COLUMNS:
            return
        column = columns[name] = Column(name, values)
        if level >= DEEPEST or name in LAYOUTS or not column.given or any(map(tools_in, column.given[:20])):
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


def answers_of(columns: dict[str, Column], target: str | list[str]) -> Column:
    """The answers: the target's column, or one of objects that its columns make, without those that have no value."""
    if isinstance(target, str):
        return columns[target]
    rows = zip(*(columns[name].values for name in target), strict=True)
    keys = keys_of(target).values()
    answers = [None if all(map(is_blank, row)) else dict(zip(keys, row, strict=True)) for row in rows]
    return Column(", ".join(target), answers)


def with_fields_of_spans(columns: dict[str, Column], named: Collection[str]) -> dict[str, Column]:
    """The columns, with fields in place of labelled spans and choices, unless a named one lies there; a HallmarkError if a named one can't be."""
    lists = {name: [opened(value) for value in of.values] for name, of in columns.items() if of.form == "list"}
    texts = sorted((column for column in columns.values() if column.is_text), key=lambda column: -column.mean_chars)
    made: dict[str, Column] = {}
    gone = {name for name in named if not name.endswith(BY_LABEL) and BY_CHOICE not in name}
    for name, values in lists.items():
        if any(related(name, other) for other in gone):
            continue
        said, given = f"{name}{BY_LABEL}" in named, [value for value in values if value]
        like_tags = sum(map(are_tags, given))
        tags = like_tags > (0 if said else MOSTLY * len(given))
        if tags:
            sources = [f"{other}{JOINED}" for other in _by_vocabulary(lists) if other != name]
        elif are_spans(values):
            sources = [column.name for column in texts]
        else:
            continue

        def sides_of(source: str | None, *, tags: bool = tags) -> list[Any]:
            return lists[source.removesuffix(JOINED)] if tags and source else columns[source].values if source else []

        for source, whole in [*product(sources, (True,)), *product([*sources, None], (False,))]:
            sides = sides_of(source)
            if fields := _fields(values, sides, name, whole=whole):
                rows = zip(*(of.values for of in columns.values()), strict=True)
                tasks = (dict(zip(columns, row, strict=True)) for row in rows)
                fields = [None if is_open(task, name) else of for of, task in zip(fields, tasks, strict=True)]
                labels = merged(Counter(label for of in fields for label in of or ()))
                fields = [in_one_spelling(of, labels) for of in fields]
                made[f"{name}{BY_LABEL}"] = Column(f"{name}{BY_LABEL}", fields, source)
                gone.add(name)
                if tags and source:
                    made[source] = Column(source, [joined(tokens) for tokens in sides])
                    gone.add(source.removesuffix(JOINED))
                break
        else:
            for row, (value, side) in enumerate(
                zip_longest(values, sides_of(next(iter(sources), None))) if said else ()
            ):
                by_label(value, side, Path(), row, f"{name}{BY_LABEL}")
    for name, values in lists.items():
        answers, own = [by_choice(value) for value in values], f"{name}{BY_CHOICE}"
        if not any(answers) or any(related(name, other) for other in gone):
            continue
        single = {key if isinstance(chosen, list) and len(chosen) == 1 else None for of in answers for key, chosen in (of or {}).items()}  # fmt: skip
        label = f"{own}.{single.pop()}.0" if len(single) == 1 and None not in single else own
        for path in [one for one in named if _lies_in(one, own)] or [label]:
            made[path] = Column(path, [value_at(of, rest) if (rest := path[len(own) + 1 :]) else of for of in answers])
        gone.add(name)
    gone -= {*named}
    return {name: column for name, column in columns.items() if not any(_lies_in(name, one) for one in gone)} | made


def with_passages(columns: dict[str, Column]) -> dict[str, Column]:
    """The columns, with a text in place of a list of passages that is named like context, or that answers cite."""
    made: dict[str, Column] = {}
    for name, of in columns.items():
        values = [*map(opened, of.values)] if of.form == "list" else []
        cited = next((f"{name}.{key}" for key in keys_in(values) if is_cited(key, values, columns.values())), name)
        if values and (says(name, "context") or cited != name):
            text = Column(f"{cited}{PASSAGES}", [passages(value, cited[len(name) + 1 :]) for value in values])
            if text.all(str) and mean_words(text.texts) > MOST_WORDS:
                made[name] = text
    kept = {name: of for name, of in columns.items() if not any(_lies_in(name, one) for one in made)}
    return kept | {of.name: of for of in made.values()}


def keys_in(lists: Sequence[Any]) -> list[str]:
    """The keys of the objects in lists of nothing else."""
    given = [*filter(None, lists)]
    if not all(isinstance(value, list) and all(isinstance(item, dict) for item in value) for value in given):
        return []
    return [*dict.fromkeys(key for value in given for item in value for key in item)]


def is_cited(key: str, lists: Sequence[Any], columns: Iterable[Column]) -> bool:
    """Whether some text has a value of this key in brackets in many rows, as answers cite their sources."""
    named = [[of for item in value or () if not is_blank(of := item.get(key))] for value in lists[:READ]]
    names = [{one for of in values if len(one := str(of)) <= MOST_KEY} for values in named]

    def cites(text: Any, of: Iterable[str]) -> bool:
        written = (one for one in of if one in text) if isinstance(text, str) and "[" in text else ()
        return any(re.search(rf"\[(?:[^\[\]]*\W)?{re.escape(one)}\W", text) for one in written)

    found = (sum(map(cites, of.values, names)) for of in columns if of.is_text)
    return any(count > CITED * len(names) for count in found)


def labels_in(column: Column) -> Column | None:
    """Lists for texts with several labels in some, `late; lost`: few labels, most of which stand next to others elsewhere.

    Commas part labels only if nearly all of these stand alone in some row: others are of a label, or a name.
    """
    if not column.all((str, dict)) or column.form not in ("text", "code", "list", "object"):
        return None
    for suffix in (BY_COMMA, LABELS) if any("," in text for text in column.texts) else (LABELS,):
        lists = [MADE[suffix](opened(value)) for value in column.values]
        found = [of for of in lists if of]
        counts = Counter(label for of in found for label in of)
        sets = Counter(label for of in {*map(tuple, found)} for label in of)
        short = 1 < len(counts) <= MAX_LABELS and max(map(len, counts)) <= 60 and mean_words(counts) <= MOST_WORDS
        several = sum(len(of) > 1 for of in found) > SEVERAL * len(found)
        free = 2 * sum(count > 1 for count in sets.values()) > len(sets) and counts.total() > 3 * len(counts)
        alone = {of[0] for of in found if len(of) == 1}
        if short and several and free and (suffix == LABELS or len(alone) > ALONE * len(counts)):
            return Column(f"{column.name}{suffix}", lists)
    return None


def _lies_in(name: str, other: str) -> bool:
    return f"{name}.".startswith(f"{other}.")


def related(name: str, other: str) -> bool:
    """Whether a column is another, or lies in it, or has it inside."""
    return _lies_in(name, other) or _lies_in(other, name)


def _by_vocabulary(lists: dict[str, list[Any]]) -> list[str]:
    """Columns of lists, the one with the most different items first: tokens, not tags."""
    items = {name: {str(item) for value in lists[name] if isinstance(value, list) for item in value} for name in lists}
    return sorted(lists, key=lambda name: -len(items[name]))


def _fields(values: list[Any], sides: list[Any], name: str, *, whole: bool) -> list[Any] | None:
    """The fields of spans in each row; None unless nearly all can be made of texts, `whole`: as whole words there."""
    start, end = (r"(?<!\w)", r"(?!\w)") if whole else ("", "")
    made: list[Any] = []
    failed = 0
    for value, side in zip_longest(values, sides):
        fields = None
        with suppress(HallmarkError):
            fields = by_label(value, side, Path(), 0, name)
        texts = [text for texts in (fields or {}).values() for text in texts] if isinstance(side, str) else []
        strange = any(not re.search(f"{start}{re.escape(text)}{end}", side) for text in texts)
        failed += strange or (fields is None and not is_blank(value) and not annotations_in(value))
        made.append(fields)
    return made if failed <= (1 - MOSTLY) * len(values) else None


def tools_in(value: Any) -> list[dict[str, Any]]:
    """The tools in a value, as OpenAI's API has them, in JSON or as a list: objects with a name and parameters."""
    tools = opened(value)
    if not isinstance(tools, list):
        return []
    inner = [tool.get("function", tool) for tool in tools if isinstance(tool, dict)]
    named = [tool for tool in inner if isinstance(tool, dict) and isinstance(tool.get("name"), str)]
    return [tool for tool in named if isinstance(parameters_of(tool), dict)]


def parameters_of(tool: dict[str, Any]) -> Any:
    """The JSON Schema of a tool's arguments, by the key that OpenAI or Anthropic gives it."""
    return tool.get("parameters", tool.get("input_schema"))


def mean_words(texts: Collection[str]) -> float:
    return sum(len(text.split()) for text in texts) / max(len(texts), 1)


def canonical_or_text(value: Any) -> str:
    """A text for a value of any type (a Parquet date is not JSON)."""
    try:
        return canonical(value)
    except (TypeError, ValueError, RecursionError):
        return str(value)


def merged(counts: Mapping[str, int]) -> Counter[str]:
    """Labels that differ only in case, or in spaces and signs between words, as one, in the most frequent spelling."""
    spelling: dict[str, str] = {}
    found: Counter[str] = Counter()
    for label, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if label.strip():
            found[spelling.setdefault(folded(label), " ".join(label.split()))] += count
    return found
