"""Write `stages/records.py` from the answers: a loop over the file's rows, what is left out and why, and a record of each."""

from __future__ import annotations

import keyword
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hallmark.base.errors import printable
from hallmark.draft.choices import COPIED, Join, copied, is_id, is_label, states
from hallmark.draft.reading import Column, File, as_text, quoted
from hallmark.records.record import ROLES

WIDTH, MOST_NAMES = 100, 60  # of a comment: characters, columns
CALLS = ("calls", "named_calls")
HELPERS = ("answers", "calls", "fields_of_spans", "fields_of_tags", "json_lines", "json_rows", "skip", "table")
_ROW = re.compile(r"\brow(?=[.\[])")


@dataclass
class Taken:
    """The answers to the questions; `file` has the columns of a second file, too."""

    file: File
    answer: list[str]
    read: list[str] = field(default_factory=list)
    group: str | None = None
    leave_out: list[tuple[str, str]] = field(default_factory=list)  # columns and values
    private: dict[str, str] = field(default_factory=dict)  # columns and kinds
    join: Join | None = None

    def columns(self, names: list[str]) -> list[Column]:
        """The columns of these names."""
        return [self.file.columns[name] for name in names]

    @property
    def first(self) -> Column:
        """The first column of the answer, which says what kind of script it takes."""
        return self.file.columns[self.answer[0]]

    @property
    def is_chat(self) -> bool:
        """Whether the answers are messages."""
        return self.first.shape in ("message", "messages")

    @property
    def block(self) -> dict[str, str]:
        """The block `records:` that the script takes: which answers of a chat are trained."""
        if not self.is_chat:
            return {}
        ends = [value[-1] if isinstance(value, list) else value for value in self.first.filled]
        words = sum(not _calls(one) for one in ends)
        return {
            "answers": "calls" if self.calls and self.first.shape == "messages" and 2 * words > len(ends) else "last"
        }

    @property
    def calls(self) -> bool:
        """Whether the answers call tools."""
        said = [one for value in self.first.filled for one in (value if isinstance(value, list) else [value])]
        return any(map(_calls, said)) if self.is_chat else self.first.shape in CALLS


def variable(join: Join) -> str:
    """The name of a second file's row in the script."""
    name = re.sub(r"\W", "_", Path(join.file.path).stem.lower()).lstrip("_0123456789") or "other"
    return (
        f"{name}_"
        if keyword.iskeyword(name) or name in ("row", "params", "records", "by_key", "others", *HELPERS)
        else name
    )


def joined(file: File, join: Join) -> File:
    """The file, with the columns of a second one."""
    name, places = variable(join), {as_text(key): at for at, key in enumerate(join.right.values)}
    found = [places.get(as_text(key)) for key in join.left.values]
    columns = dict(file.columns)
    for one in (one for one in join.file.columns.values() if one.name != join.right.name):
        values = [None if at is None else one.values[at] for at in found]
        new = replace(one, name=f"{name}.{one.name}", code=_ROW.sub(name, one.code), values=values)
        columns[new.name] = new
    return replace(file, columns=columns)


def script(taken: Taken) -> str:
    """The text of the script."""
    from jinja2 import Environment, PackageLoader

    answer, fields, join = taken.first.code, _fields(taken), None
    if taken.join:
        name, other = variable(taken.join), taken.join.file
        join = {"name": name, "file": Path(other.path).name, "loop": other.loop}
        join |= {"key": _ROW.sub(name, taken.join.right.code), "left": taken.join.left.code}
    if taken.first.shape == "message":  # the reply stands apart from what was asked
        earlier = [f"*{one.code}" for one in taken.columns(taken.read) if one.shape == "messages"]
        asked = earlier[0] if earlier else '{"role": "user", "content": ' + _prompt(taken) + "}"
        answer = f"[{asked}, {answer}]"
    about = f"{', '.join(taken.read) or 'what was said'} to {', '.join(taken.answer)}, from {taken.file.path}"
    environment = Environment(loader=PackageLoader("hallmark", "draft"), keep_trailing_newline=True)  # noqa: S701  # no HTML
    values = {
        "about": re.sub(r'["\\]', "'", printable(about[:1].upper() + about[1:])), "loop": taken.file.loop, "fields": fields, "join": join,
        "form": "chat" if taken.is_chat else taken.first.shape, "choices": _of_choices(taken.first), "answer": answer,
        "states": [*_states(taken)], "unused": [*_unused(taken)], "skips": [*_skips(taken)],
    }  # fmt: skip
    template = environment.get_template("records.py.jinja")
    body = template.render(values)
    used = [name for name in HELPERS if f"{name}(" in body]
    return template.render(values, helpers=", ".join(["Record", *used]), json="json.loads(" in body)


def _fields(taken: Taken) -> dict[str, str]:
    """The fields of the record, and their code."""
    ids = [one for one in taken.file.columns.values() if is_id(one) and one.code.startswith("row")]
    name = _text(ids[0]) if ids else 'row["source"]'
    fields = {"id": name, "group": name, "prompt": "prompt", "target": "target"}
    if taken.group:
        column = taken.file.columns[taken.group]
        fields["group"] = _text(column) if column.whole else f"{_text(column)} or {name}"
    if taken.is_chat:
        fields["id"] = f'f"{{{_inside(name)}}}-{{at}}"'
        fields["target"] = "target if isinstance(target, list) else []" if taken.calls else "target"
    else:
        fields |= {"prompt": _prompt(taken), "target": _target(taken)}
    if taken.calls and (tools := [one.code for one in taken.file.columns.values() if one.shape == "tools"]):
        fields["tools"] = tools[0]
    kinds: dict[str, list[str]] = {}
    for column_name, kind in taken.private.items():
        kinds.setdefault(kind, []).append(_or_none(taken.file.columns[column_name]))
    private = ", ".join(f"{quoted(kind)}: [{', '.join(codes)}]" for kind, codes in kinds.items())
    return fields | ({"private": f"{{{private}}}"} if kinds else {}) | {"source": 'row["source"]'}


def _prompt(taken: Taken) -> str:
    columns = taken.columns(taken.read)
    if len(columns) == 1:
        return _read(columns[0])
    if all(one.whole and one.shape in ("text", "number") and _inside(one.code) for one in columns):
        return 'f"' + r"\n".join(f"{{{_inside(one.code)}}}" for one in columns) + '"'
    parts = [_or_none(one) if one.shape in ("text", "number") else _read(one) for one in columns]
    return rf'"\n".join(filter(None, [{", ".join(parts)}]))'


def _read(column: Column) -> str:
    if column.shape == "tokens":
        return f'" ".join({column.code})'
    if column.shape == "list":
        turns = isinstance(column.filled[0][0], list)  # each with its messages
        return f"[one for turn in {column.code} for one in turn]" if turns else rf'"\n".join(map(str, {column.code}))'
    if column.shape != "messages":
        return column.code if column.shape == "text" else f"str({column.code})"
    said = [one for value in column.filled for one in value]
    if all(one.get("role") in ROLES and one.keys() == {"role", "content"} for one in said):
        return column.code
    who, what = ("from", "value") if "from" in said[0] else ("role", "content")
    return rf""""\n".join(f"{{one['{who}']}}: {{one['{what}']}}" for one in {column.code})"""


def _target(taken: Taken) -> str:
    columns, first = taken.columns(taken.answer), taken.first
    if len(columns) > 1:
        return "{" + ", ".join(f"{quoted(one.leaf)}: {_value(taken, one)}" for one in columns) + "}"
    value = _value(taken, first)
    texts = [one for one in taken.columns(taken.read) if one.shape == "text"]
    if first.shape == "text" and not is_label(first) and first.words <= 8 and texts and copied(first, texts) > COPIED:
        return f"{{{quoted(first.leaf)}: {value}}}"  # read out of the text: a field
    return f"str({value})" if first.shape in ("number", "flag") else value


def _value(taken: Taken, column: Column) -> str:
    if column.shape == "annotations":
        return "chosen[0]" if _of_choices(column) else f"fields_of_spans({_prompt(taken)}, spans)"
    if column.shape == "spans":
        return f"fields_of_spans({_prompt(taken)}, {column.code})"
    if column.shape == "tags" and taken.read and taken.columns(taken.read)[0].shape == "tokens":
        return f"fields_of_tags({taken.columns(taken.read)[0].code}, {column.code})"
    if column.shape == "named_calls":
        return f'[{{"name": name, "arguments": given}} for call in {column.code} for name, given in call.items()]'
    return f"calls({column.code})" if column.shape == "calls" else column.code


def _of_choices(column: Column) -> bool:
    """Whether Label Studio's results are choices, not spans."""
    done = [one for of in column.filled for one in of] if column.shape == "annotations" else []
    return any("choices" in part.get("value", {}) for one in done for part in one.get("result") or ())


def _skips(taken: Taken) -> Iterator[tuple[str, str]]:
    """The conditions of rows that are left out, and the reasons."""
    for name, said in taken.leave_out:
        column = taken.file.columns[name]
        value = next(value for value in column.filled if as_text(value) == said)
        literal = quoted(value) if isinstance(value, str) else repr(value)
        yield f"{column.code} {'is' if isinstance(value, bool) else '=='} {literal}", quoted(f"{name}: {said}")
    for names, reason in ((taken.answer, "no answer"), (taken.read, "nothing to read")):
        columns = taken.columns(names)
        values = zip(*(one.values for one in columns), strict=True)
        if any(all(value is None or value == "" or str(value).isspace() for value in of) for of in values):
            codes = [_stripped(one) if one.shape == "text" else one.code for one in columns]
            lacks = f"not ({' or '.join(codes)})" if codes[1:] else f"not {codes[0]}"
            yield f"{codes[0]} is None" if columns[0].shape in ("number", "flag") else lacks, quoted(reason)


def _states(taken: Taken) -> Iterator[str]:
    for column in states(taken.file, [*taken.answer, *taken.read, *taken.private]):
        counts = ", ".join(f"{value} {count:,}" for value, count in column.counts.most_common())
        empty = taken.file.rows - len(column.filled)
        yield from _wrapped(f"{column.name}: {counts}{f', empty {empty:,}' * bool(empty)}")


def _unused(taken: Taken) -> Iterator[str]:
    text = " ".join([*_fields(taken).values(), *(one for one, _ in _skips(taken)), taken.first.code])
    columns = [*taken.file.columns.values()]
    unused = [one.name for one in columns if one.shape != "object" and one.code not in text]
    own = (*taken.answer, *taken.read)  # which stand in other quotes where a text is put together
    unused = [name for name in unused if not any(f"{name}.".startswith(f"{other}.") for other in own)]
    more = f" and {len(unused) - MOST_NAMES} more" * (len(unused) > MOST_NAMES)
    yield from _wrapped(f"Not used: {', '.join(unused[:MOST_NAMES])}{more}") if unused else ()


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(printable(text), WIDTH, subsequent_indent="  ")


def _text(column: Column) -> str:
    """A value as the name of a row or group: a text, without space around it."""
    if any(not isinstance(value, str) for value in column.filled):
        return f"str({column.code})" if column.whole else f"({_or_none(column)})"
    return _stripped(column)


def _stripped(column: Column) -> str:
    padded = any(value != value.strip() for value in column.filled if isinstance(value, str))
    return f'({column.code} or "").strip()' if padded else column.code


def _or_none(column: Column) -> str:
    """A value as text, or nothing where there is none."""
    texts = all(isinstance(value, str) for value in column.filled)
    return column.code if texts else f"{column.code} and str({column.code})"


def _inside(code: str) -> str:
    """Code as it stands inside a text in double quotes; nothing if it can't."""
    return "" if "'" in code or "\\" in code else code.replace('"', "'")


def _calls(message: Any) -> bool:
    """Whether a message calls tools."""
    said = message if isinstance(message, dict) else {}
    marked = "<tool_call>" in str(said.get("content", said.get("value")))
    return marked or bool(said.get("tool_calls") or said.get("function_call")) or said.get("from") == "function_call"
