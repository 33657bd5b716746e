"""The domain's raw rows, checked one by one: each kind of bad row is one error that says where it is and how to fix it."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

from hallmark.base.document import changed, objects, strings
from hallmark.base.errors import HallmarkError
from hallmark.base.markup import Markup, plain_text
from hallmark.base.params import Data
from hallmark.base.reading import NotJsonError, RepeatedKeyError, strict_json
from hallmark.base.records import FIELD, columns_of, fill
from hallmark.base.rows import files_of, only_texts, read_rows
from hallmark.base.tools import function_of, normal_tools
from hallmark.base.visible import MOST_NAME, hidden_at, shows
from hallmark.data.conversations import PARTS, Extra, earlier_answers
from hallmark.data.copied import opened
from hallmark.data.missing import (
    OR_DROP,
    Missing,
    MissingValueError,
    Part,
    is_blank,
    is_kept,
    spaced_tags,
    stands_for_none,
)
from hallmark.data.nested import is_path, keys_of
from hallmark.data.spans import BY_LABEL, in_one_spelling
from hallmark.mask.params import Mask
from hallmark.task.answers import compact_json
from hallmark.task.task import Task
from hallmark.task.values import properties_of

_UNWRITABLE = re.compile("[\x00\ud800-\udfff]")
MOST_TAG = 100  # characters of a tag
MOST_TAGS = 100  # of a row
NEWEST = 100_000  # ids
DASHES = str.maketrans("", "", "-–—_.…*/|")  # which people type where they must type something
ESSENTIAL: dict[str, Part] = {"data.group": "group", "data.input": "input", "data.target": "target"}
Values = tuple[tuple[str, str], ...]  # (kind, value) of identity columns


@dataclass(frozen=True)
class Raw:
    """One checked row, its columns mapped to the parts of a record."""

    file: str
    number: int
    id: str
    group: str
    input: str
    target: Any
    context: str | None
    tools: Any
    rejected: Any
    tags: list[str] | None
    identity: Values
    part: str | None = None  # of an official split
    offsets: dict[str, tuple[int, int]] = field(default_factory=dict)  # column: its start and end in `input`
    python_types: Counter[str] = field(default_factory=Counter)  # of the tools, read as JSON Schema's


class Seen:
    """Hashes of ids. All but the newest are sorted, and take 8 bytes each; in a set, it would be 90."""

    def __init__(self) -> None:
        self.new: set[int] = set()
        self.known: Sequence[int] = ()

    def __contains__(self, digest: int) -> bool:
        at = bisect_left(self.known, digest)
        return digest in self.new or (at < len(self.known) and self.known[at] == digest)

    def add(self, digest: int) -> None:
        """Note one."""
        import numpy as np

        self.new.add(digest)
        if len(self.new) > max(NEWEST, len(self.known) // 4):
            known = np.concatenate((np.asarray(self.known, np.int64), np.fromiter(self.new, np.int64)))
            known.sort()
            self.known, self.new = known.data, set()


def raw_rows(
    data: Data,
    mask: Mask,
    task: Task,
    missing: Missing | None = None,
    only: AbstractSet[int] | None = None,
    *,
    again: bool = False,
) -> Iterator[Raw]:
    """The rows of `data.path`, checked. The first bad row raises a `HallmarkError`.

    With `data.missing` set to drop, rows that lack a group, an input or a target are left out, and counted in `missing`; with
    own_group, a row that lacks only its group is a group by itself. So are those that `data.where` doesn't keep.
    `only`: which of the others to look at, counted from 0 over all files; None: all. `again`: they were read before, so that no
    two have the same id.
    """
    path = Path(data.path)
    missing = Missing() if missing is None else missing
    extra = Extra(data, mask.identity_columns, task.system_prompt)
    seen = Seen()
    there = grouped = False
    position = count()
    absent = {*data.where, *([data.rejected] if data.rejected and only is None else [])}
    for file in files_of(path):
        for number, row in read_rows(file):
            absent -= {column for column in absent if column in row or is_path(column, row)}
            if not is_kept(row, data.where, spaced_tags(data)):
                missing.unwanted += 1
                continue
            at = next(position)
            if only is not None and at not in only:
                continue
            try:
                found = checked_rows(row, extra, file, number, data, mask, task)
            except MissingValueError as error:
                if data.missing == "error":
                    raise
                missing.leave_out(error)
                continue
            for raw in found:
                if (digest := hash(raw.id)) in seen:
                    rows = raw_rows(data, mask, task, Missing(), only, again=True)
                    other = next(row for row in rows if row.id == raw.id)
                    if (other.file, other.number) != (raw.file, number):
                        of = "" if other.file == raw.file else f" of {other.file}"
                        problem, remedy = f"row {other.number}{of} has the same id", "give every row its own id"
                        raise HallmarkError(problem, file=file, row=number, field=data.id, remedy=remedy)
                alone = data.missing == "own_group" and raw.group == found[-1].id
                missing.alone += alone and raw is found[-1]
                there, grouped = True, grouped or not alone
                if not again:
                    seen.add(digest)
                yield raw
    if missing.first and not there:  # of every row: the column is named wrongly, or was never filled in
        raise missing.first
    if not there:
        if missing.unwanted:
            problem, remedy = f"data.where leaves out all {missing.unwanted} rows", "name other columns or values there"
            raise HallmarkError(problem, file=path, field=", ".join(sorted(absent or data.where)), remedy=remedy)
        raise HallmarkError("has no rows", file=path, remedy="put the raw records there, or fix data.path")
    if not grouped and data.group != data.id and only is None:
        remedy = "name another column in data.group; with row.id, each row is by itself"
        raise HallmarkError("no row has a group", file=path, field=data.group, remedy=remedy)
    for column in sorted(absent):
        remedy = "name another column in data.where"
        if column == data.rejected:
            remedy = "name the column with rejected answers in data.rejected, or set it to null"
        raise HallmarkError("no row has this column", file=path, field=column, remedy=remedy)


def checked_rows(
    row: dict[str, Any], extra: Extra, file: Path, number: int, data: Data, mask: Mask, task: Task
) -> list[Raw]:
    """A row, with the extra columns that `data:` names, checked.

    With `data.answers` all or calls, before it one for each earlier such answer of its conversation: its id ends with their place.
    """
    try:
        whole = extra(row, file, number)
        calls = data.answers == "calls"
        prompt = task.system_prompt
        earlier = earlier_answers(whole, file, number, prompt, calls=calls) if data.answers != "last" else ()
        found = [(end, _Row(file, number, whole | turns).checked(data, mask, task)) for end, turns in earlier]
        return [
            *(replace(raw, id=f"{raw.id}-{end}") for end, raw in found),
            _Row(file, number, whole).checked(data, mask, task),
        ]
    except RecursionError:
        raise HallmarkError("a value is nested too deep", file=file, row=number, remedy="flatten it") from None


@dataclass
class _Row:
    file: Path
    number: int
    row: dict[str, Any]

    def fail(self, problem: str, field: str, remedy: str) -> NoReturn:
        raise HallmarkError(problem, file=self.file, row=self.number, field=field, remedy=remedy)

    def lack(self, part: Part, problem: str, field: str, remedy: str) -> NoReturn:
        raise MissingValueError(problem, part=part, file=self.file, row=self.number, field=field, remedy=remedy)

    def checked(self, data: Data, mask: Mask, task: Task) -> Raw:
        for column in mask.identity_columns:
            self.column(column, "mask.identity_columns")
        tools, python_types = self.tools(data.tools) if data.tools else (None, Counter())
        if data.context and data.markup != "none":
            self.markup_ends(data.context, data)
        return Raw(
            file=str(self.file),
            number=self.number,
            id=self.name(data.id, "data.id"),
            group=self.group(data),
            input=self.text(data.input, "data.input", mask.max_chars, data.markup),
            target=self.target(data, task),
            context=self.text(data.context, "data.context", mask.max_chars, data.markup, empty=True)
            if data.context
            else None,
            tools=tools,
            rejected=self.rejected(data.rejected, data, task) if data.rejected else None,
            tags=self.tags(data.tags, data.tag_separator) if data.tags else None,
            identity=tuple(
                (kind, plain_text(value, data.markup))  # as the texts have it
                for column, kind in mask.identity_columns.items()
                for value in self.strings(self.row[column], column)
            ),
            part=self.part(data.split) if data.split else None,
            offsets=_offsets(data.input, self.row) if mask.gold else {},
            python_types=python_types,
        )

    def column(self, column: str, param: str) -> Any:
        if column not in self.row:
            problem, remedy = "no such column", f"add the column, or fix {param}"
            if param in ESSENTIAL:
                self.lack(ESSENTIAL[param], problem, column, remedy)
            self.fail(problem, column, remedy)
        value = self.row[column]
        self.writable(value, column)
        return value

    def writable(self, value: Any, column: str) -> None:
        for text in (value,) if isinstance(value, str) else strings(value, keys=True):
            if bad := _UNWRITABLE.search(text):
                what = "a NUL character" if bad[0] == "\0" else "half a surrogate pair"
                self.fail(
                    f"{what} at character {bad.start() + 1}",
                    column,
                    "remove it; text must be valid Unicode without NUL",
                )

    def name(self, column: str, param: str) -> str:
        value = self.column(column, param)
        if value is None or (isinstance(value, str) and not any(map(shows, value))):
            if param in ESSENTIAL:
                remedy = f"give every row a value: the split needs it; {OR_DROP}"
                self.lack(ESSENTIAL[param], "is null or empty", column, remedy)
            self.fail("is null or empty", column, "give it a value")
        if isinstance(value, bool) or not isinstance(value, str | int):
            self.fail(f"not a text or whole number but {type(value).__name__}", column, "write it as a text")
        name = str(value)
        self.visible(name, column)
        if name != name.strip():
            self.fail("starts or ends with a space", column, "remove it: it would be another name than without")
        if not unicodedata.is_normalized("NFC", name):
            self.fail("not in Unicode's form NFC", column, "write it with composed letters (`uconv -x any-nfc`)")
        if len(name) > MOST_NAME:
            self.fail(f"longer than {MOST_NAME} characters", column, "give a short name, or name another column")
        return name

    def group(self, data: Data) -> str:
        """Its group; with `data.missing: own_group`, its id if it has none."""
        try:
            return self.name(data.group, "data.group")
        except MissingValueError:
            if data.missing != "own_group":
                raise
            return self.name(data.id, "data.id")

    def visible(self, text: str, column: str) -> None:
        """Names that look the same must be the same, and must not steer a terminal that shows them."""
        place = hidden_at(text)
        if place is None:
            return
        self.fail(
            f"an invisible or control character at character {place}",
            column,
            "remove it: no line breaks, zero-width or direction characters, and no white space but a plain space",
        )

    def text(self, template: str, param: str, most: int, markup: Markup, *, empty: bool = False) -> str:
        columns = columns_of(template)
        for column in columns:
            value = self.column(column, param)
            if isinstance(value, list | dict | bytes):
                self.fail(
                    f"not a text but {type(value).__name__}",
                    column,
                    "write it as a text, or leave it out of the template",
                )
        filled, where = fill(template, self.row), ", ".join(columns)
        text = plain_text(filled, markup)
        # Without the template's own words.
        values = filled if columns == [template] else "".join(fill(column, self.row) for column in columns)
        if not empty and not any(map(shows, plain_text(values, markup).translate(DASHES))):
            problem = "nothing but white space, dashes, dots or characters that don't show"
            self.lack("input", problem, where, f"drop the row, or fix its text; {OR_DROP}")
        if len(text) > most:
            self.fail(
                f"{len(text)} characters, more than mask.max_chars ({most})",
                where,
                "raise mask.max_chars, or shorten the text",
            )
        return text

    def markup_ends(self, context: str, data: Data) -> None:
        """Markup of the context must end there: callers send context and input as one text, of which it would take more."""
        parts = [fill(template, self.row) for template in (context, data.input)]
        plain = [text for part in parts if (text := plain_text(part, data.markup))]
        if all(parts) and plain_text("\n\n".join(parts), data.markup) != "\n\n".join(plain):
            remedy = f"end it in the context, or drop the row; {OR_DROP}"
            self.lack(
                "input", "a comment, script or tag runs on into the input", ", ".join(columns_of(context)), remedy
            )

    def target(self, data: Data, task: Task) -> Any:
        columns = data.target if isinstance(data.target, list) else [data.target]
        where = ", ".join(columns)
        values = {column: self.column(column, "data.target") for column in columns}
        if isinstance(data.target, list):
            keys = keys_of(columns)
            value: Any = {
                keys[column]: self.typed(value, column, keys[column], task) for column, value in values.items()
            }
        else:
            value = values[data.target]
            value = in_one_spelling(value, properties_of(task.schema)) if data.target.endswith(BY_LABEL) else value
            value = self.free(value, data, task)
        none = {fill(text, self.row) if FIELD.fullmatch(text) else text for text in data.no_answer}
        if is_blank(value) or all(is_blank(one) or (none and stands_for_none(one, none)) for one in values.values()):
            self.lack("target", "is null or empty", where, f"give every row a target, or drop the row; {OR_DROP}")
        if isinstance(value, str) and task.is_json:
            try:
                value = self.json(value, where)
            except NotJsonError:
                if task.parse(value).kind == "refusal":
                    return value.strip()  # in plain words, among answers that are JSON
                if task.kind.calls_tools and "{" not in value:
                    if data.no_call == "missing":
                        keep = "set data.no_call to empty, which makes it the answer [], no call"
                        self.lack("target", "words and no tool call", where, f"{keep}; {OR_DROP}")
                    return self.valid([], where, task)
                self.fail("not valid JSON", where, f"for task.kind {task.kind}, give an object or its JSON text")
        if task.kind.listed:
            value = label_text(value, data.labels)
        if not task.is_json and not isinstance(value, str | dict if task.schema else str):
            self.fail(f"not a text but {type(value).__name__}", where, f"for task.kind {task.kind}, give a text")
        return self.valid(self.as_read(value, where, data, task), where, task)

    def free(self, value: Any, data: Data, task: Task) -> Any:
        """An answer that is running text, without its markup."""
        return plain_text(value, data.markup) if task.kind.free_text and isinstance(value, str) else value

    def as_read(self, value: Any, where: str, data: Data, task: Task) -> Any:
        """A JSON answer whose texts, where they are copied from the input's markup, are read as the input is.

        Else a model would have to write `&amp;` where it reads `&`. What the schema lists stays as the schema has it.
        """
        if data.markup == "none" or not task.is_json:
            return value
        source = "\n".join(fill(template, self.row) for template in (data.context, data.input) if template)
        plain, listed = plain_text(source, data.markup), set[str]()

        def plain_copy(item: Any) -> Any:
            copied = isinstance(item, str) and item in source and item not in plain and item not in listed
            return (plain_text(item, data.markup) or item) if copied else item

        def breaks(answer: Any) -> bool:
            return task.parse(self.renders(answer, where, task.render)).kind == "invalid"

        read = changed(value, plain_copy)
        if read != value and breaks(read):
            listed |= {*strings([[part.get("enum"), part.get("const")] for part in objects(task.schema)])}
            read = changed(value, plain_copy)
        return value if read != value and breaks(read) and not breaks(value) else read

    def valid(self, value: Any, where: str, task: Task) -> Any:
        """The target, if it is an answer of the task."""
        parsed = task.parse(self.renders(value, where, task.render))
        if parsed.kind == "invalid":
            self.fail(f"the target breaks {task.schema_file}: {parsed.problem}", where, "fix the target or the schema")
        return value

    def tools(self, column: str) -> tuple[Any, Counter[str]]:
        """The tools in the form that all of them have, and the Python types in them."""
        value = self.column(column, "data.tools")
        if isinstance(value, str):
            try:
                value = self.json(value, column)
            except NotJsonError:
                self.fail("not valid JSON", column, "give tools as a list of JSON Schemas")
        if value is not None and not isinstance(value, list):
            self.fail(f"not a list but {type(value).__name__}", column, "give tools as a list of JSON Schemas")
        for number, tool in enumerate(value or [], 1):
            inner = function_of(tool)
            if not isinstance(inner, dict) or not isinstance(inner.get("name"), str) or not inner["name"].strip():
                self.fail(
                    f"tool {number} has no name",
                    column,
                    'give each tool as {"name": ..., "parameters": ...}, or as such an object under "function"',
                )
        self.renders(value, column, compact_json)
        return (value, Counter()) if value is None else normal_tools(value)

    def json(self, text: str, column: str) -> Any:
        """The value of a JSON text; NotJsonError if it is none. The same key twice is never meant."""
        try:
            value = strict_json(text)
        except RepeatedKeyError as error:
            self.fail(f"not valid JSON: {error}", column, "keep one of the two")
        self.writable(value, column)  # an escape in the text can hold what the text itself can't
        return value

    def renders(self, value: Any, column: str, render: Callable[[Any], str]) -> str:
        try:
            return render(value)
        except (ValueError, TypeError, RecursionError) as error:  # NaN, a Parquet date, or endless nesting
            self.fail(
                f"not a JSON value ({type(error).__name__})",
                column,
                "use null, finite numbers, texts, lists and objects",
            )

    def rejected(self, column: str, data: Data, task: Task) -> Any:
        if column not in self.row:  # rows from before answers were judged
            return None
        value = self.column(column, "data.rejected")
        if is_blank(value):
            return None
        if task.kind.listed:
            value = label_text(value, data.labels)
        if not task.is_json and not isinstance(value, str | dict if task.schema else str):
            self.fail(f"not a text but {type(value).__name__}", column, f"for task.kind {task.kind}, give a text")
        if not task.is_json or not isinstance(value, str):
            self.renders(value, column, task.render)
            return self.as_read(self.free(value, data, task), column, data, task)
        try:
            parsed = self.json(value, column)
        except NotJsonError:
            return value.strip()  # a rejected answer need not be JSON
        return value.strip() if isinstance(parsed, str) else self.as_read(parsed, column, data, task)

    def tags(self, column: str, separator: str = ",") -> list[str] | None:
        value = self.column(column, "data.tags")
        if isinstance(value, str) and isinstance(parsed := opened(value), list):
            value = parsed
        if isinstance(value, str):
            value = [part.strip() for part in value.split(None if separator == " " else separator)]
        if value is None:
            return None
        value = [value] if isinstance(value, int) else value
        if not isinstance(value, list) or not all(
            isinstance(tag, str | int) and not isinstance(tag, bool) for tag in value
        ):
            self.fail(
                "not a list of texts", column, "write tags as a list of texts, or as one text (data.tag_separator)"
            )
        tags = [str(tag) for tag in value if str(tag)]
        for tag in tags:
            self.visible(tag, column)
            if tag != tag.strip() or not unicodedata.is_normalized("NFC", tag):
                self.fail(
                    "a tag with a space at its start or end, or not in Unicode's form NFC",
                    column,
                    "write it as the other rows do: it would be another tag",
                )
            if len(tag) > MOST_TAG:
                self.fail(f"a tag longer than {MOST_TAG} characters", column, "give short tags, or name another column")
        if len(tags) > MOST_TAGS:
            self.fail(f"more than {MOST_TAGS} tags", column, "keep those by which you want to compare results")
        return tags

    def part(self, column: str) -> str:
        """The side of the split that the row names."""
        value = self.column(column, "data.split")
        word = value.strip().casefold() if isinstance(value, str) else None
        part = next((part for part, words in PARTS.items() if word in words), None)
        if part is None:
            known = ", ".join(word for words in PARTS.values() for word in words)
            self.fail("names no part of a split", column, f"write one of {known}; or set data.split to null")
        return part

    def typed(self, value: Any, column: str, key: str, task: Task) -> Any:
        """A table has only text: a column whose schema type is not string is read as JSON."""
        schema = properties_of(task.schema).get(key)
        types = schema.get("type", "string") if isinstance(schema, dict) else "string"
        if isinstance(value, str) and "string" not in types and only_texts(self.file):
            try:
                return self.json(value, column)
            except NotJsonError:
                return value
        return value

    def strings(self, value: Any, column: str) -> list[str]:
        if value is None:
            return []
        if isinstance(value, list):
            return [text for item in value for text in self.strings(item, column)]
        if isinstance(value, bool) or not isinstance(value, str | int):
            self.fail(
                f"not a text but {type(value).__name__}", column, "write identity columns as texts or lists of texts"
            )
        return [str(value)]


def label_text(value: Any, names: Mapping[str, str]) -> Any:
    """A label by the name that `data.labels` has for it; a whole number, true or false as the text that JSON has for it."""
    text = compact_json(value) if isinstance(value, int) else value
    return names.get(text.strip(), text) if isinstance(text, str) else text


def _offsets(template: str, row: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """Start and end of each column in the template as `fill` fills it, in characters."""
    if not FIELD.search(template):
        template = f"{{{template}}}"
    ranges: dict[str, tuple[int, int]] = {}
    text, position = "", 0
    for match in FIELD.finditer(template):
        text += template[position : match.start()]
        value = "" if row.get(match[1]) is None else str(row[match[1]])
        ranges.setdefault(match[1], (len(text), len(text) + len(value)))
        text, position = text + value, match.end()
    cut = len(text) - len(text.lstrip()) if text.strip() else 0
    return {column: (start - cut, end - cut) for column, (start, end) in ranges.items()}


def identities(rows: Iterable[Raw], mask: Mask) -> tuple[dict[str, Values], int]:
    """The identity values of all rows of each group, and the number of rows."""
    values_of: dict[str, set[tuple[str, str]]] = defaultdict(set)
    total = 0
    for row in rows:
        total += 1
        if row.identity:
            values_of[row.group].update(row.identity)
    return {group: tuple(sorted(values)) for group, values in values_of.items()}, total
