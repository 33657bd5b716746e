"""A record: what the model reads and what it should answer, checked field by field when it is made."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator
from typing import Annotated, Any, Literal, NoReturn

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic_core import PydanticCustomError

from hallmark.base.errors import HallmarkError
from hallmark.base.reading import DEPTH, depth_of
from hallmark.base.tools import function_of, normal_tools
from hallmark.base.visible import MOST_NAME, hidden_at, shows

Part = Literal["train", "validation", "calibration", "holdout"]
ROLES = ("system", "user", "assistant", "tool")
MESSAGE_KEYS = frozenset(("role", "content", "tool_calls", "tool_call_id", "name"))
MOST_CHARACTERS = 2**20  # of all texts of a field: far more than any base reads
_UNWRITABLE = re.compile("[\x00\ud800-\udfff]")
_SOURCE = re.compile(r"[^\n]+:\d+")
_KIND = re.compile(r"[A-Z][A-Z0-9_]*")


def _fail(expected: str, fix: str) -> NoReturn:
    raise PydanticCustomError("field", "{expected}", {"expected": expected, "fix": fix})


def name_of(value: Any) -> str:
    """A name that can be told from every other by looking at it: printable, composed letters, no space around it."""
    if not isinstance(value, str):
        _fail(f"a text, not {_type(value)}", "write `str(...)`, or leave the row out with `skip(row, reason)`")
    if not any(map(shows, value)):
        _fail("a text that is not empty", "take another column, or leave the row out with `skip(row, reason)`")
    if (place := hidden_at(value)) is not None:
        _fail(f"printable characters only; character {place} is not", "remove it, or take another column")
    if value != value.strip():
        _fail("no space at its start or end", "add `.strip()`")
    if not unicodedata.is_normalized("NFC", value):
        _fail("Unicode in the form NFC", 'write `unicodedata.normalize("NFC", ...)`')
    if len(value) > MOST_NAME:
        _fail(f"at most {MOST_NAME} characters, not {len(value)}", "take another column, or a hash of this one")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        _fail(f"a text, not {_type(value)}", "write a text, or leave the row out with `skip(row, reason)`")
    _writable(value)
    return value


def _filled(value: str) -> str:
    if not any(map(shows, value)):
        _fail("a text that is not empty", "leave the row out with `skip(row, reason)`")
    return value


def _writable(value: Any) -> None:
    """Raise unless a document is JSON that every tool writes alike, and not beyond all measure."""
    if depth_of(value, DEPTH + 1) > DEPTH:
        _fail(f"at most {DEPTH} levels of lists and objects", "keep the part that is needed")
    length = 0
    for part in _parts(value):
        if isinstance(part, str):
            length += len(part)
            if bad := _UNWRITABLE.search(part):
                what = "a NUL character" if bad[0] == "\0" else "half a surrogate pair"
                _fail(f"valid Unicode, without {what}", "remove it from the text")
        elif isinstance(part, float) and not math.isfinite(part):
            _fail("finite numbers, no NaN or infinity", "write None, or leave the row out with `skip(row, reason)`")
        elif part is not None and not isinstance(part, bool | int | float):
            _fail(f"JSON values, not {_type(part)}", "write texts, finite numbers, true, false, None, lists and dicts")
    if length > MOST_CHARACTERS:
        _fail(f"at most {MOST_CHARACTERS:,} characters, not {length:,}", "cut it, or leave the row out")


def _parts(value: Any) -> Iterator[Any]:
    """Every scalar and every key of a document."""
    if isinstance(value, dict):
        for name, item in value.items():
            if not isinstance(name, str):
                _fail(f"keys that are texts, not {_type(name)}", "write `str(...)` for the key")
            yield name
            yield from _parts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _parts(item)
    else:
        yield value


def _prompt(value: Any) -> Any:
    if isinstance(value, str):
        return _filled(_text(value))
    if not isinstance(value, list) or not value:
        _fail(f"a text or a list of messages, not {_empty(value)}", "write the text, or leave the row out with `skip`")
    for number, message in enumerate(value, 1):
        _message(message, f"message {number}")
    _writable(value)
    if not any(isinstance(one.get("content"), str) and any(map(shows, one["content"])) for one in value):
        _fail("a message that is not empty", "leave the row out with `skip(row, reason)`")
    return [{key: item for key, item in one.items() if item is not None or key == "content"} for one in value]


def _message(message: Any, name: str) -> None:
    if not isinstance(message, dict) or message.get("role") not in ROLES:
        _fail(f"{name} with a role of {', '.join(ROLES)}", "make the prompt with `answers(...)`, or write the roles")
    if not message.keys() <= MESSAGE_KEYS:
        _fail(f"{name} with no keys but {', '.join(sorted(MESSAGE_KEYS))}", "make the prompt with `answers(...)`")
    calls = message.get("tool_calls")
    if not isinstance(message.get("content"), str) and not (message.get("content") is None and calls):
        _fail(f"{name} with a text in 'content'", "write the text; only a message with 'tool_calls' may have None")
    if calls is None:
        return
    called = isinstance(calls, list) and all(isinstance(one, dict) and {*one} == {"name", "arguments"} for one in calls)
    if not called or message["role"] != "assistant":
        _fail(f"{name} with calls as `calls(...)` gives them, by the assistant", "make the prompt with `answers(...)`")


def _target(value: Any) -> Any:
    if not isinstance(value, str | dict | list):
        _fail(f"a text, a dict or a list, not {_type(value)}", "write one, or leave the row out with `skip`")
    _writable(value)
    return _filled(value) if isinstance(value, str) else value


def _tools(value: Any) -> Any:
    if value is None:
        return None
    functions = [function_of(tool) for tool in value] if isinstance(value, list) else [None]
    for function in functions:
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(name, str) or not name.strip():
            _fail("a list of tools, each with a name", 'write each as {"name": ..., "parameters": ...}')
    _writable(value)
    return normal_tools(value)[0]


def _source(value: Any) -> Any:
    if not isinstance(value, str) or not _SOURCE.fullmatch(value) or hidden_at(value) is not None:
        _fail('"file:row", as rows have it', 'write `source=row["source"]`')
    return value


def _tags(value: Any) -> Any:
    if not isinstance(value, list):
        _fail(f"a list of texts, not {_type(value)}", 'write `tags=[row["..."]]`')
    return [name_of(tag) for tag in value if not _blank(tag)]


def _private(value: Any) -> Any:
    if not isinstance(value, dict) or not all(isinstance(kind, str) and _KIND.fullmatch(kind) for kind in value):
        _fail("a dict from a kind such as PERSON to a list of values", 'write `private={"PERSON": [row["..."]]}`')
    for kind, values in value.items():
        if not isinstance(values, list):
            _fail(f"a list of values for {kind}, not {_type(values)}", f'write `private={{"{kind}": [row["..."]]}}`')
    found = {kind: [_text(one) for one in values if not _blank(one)] for kind, values in value.items()}
    return {kind: values for kind, values in found.items() if values}


def _blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _type(value: Any) -> str:
    return "None" if value is None else type(value).__name__


def _empty(value: Any) -> str:
    return "an empty one" if value == [] else _type(value)


Name = Annotated[str, BeforeValidator(name_of)]
_Optional = BeforeValidator(lambda value: None if value is None else _text(value))


class Record(BaseModel):
    """One example. Whatever is wrong with it is one HallmarkError, which names its source and field, and quotes no value.

    `tools` are brought into the form of OpenAI's API; None and empty texts in `tags` and `private` are left out.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    id: Name
    group: Name
    prompt: Annotated[str | list[dict[str, Any]], BeforeValidator(_prompt)]
    target: Annotated[str | dict[str, Any] | list[Any], BeforeValidator(_target)]
    context: Annotated[str | None, _Optional] = None
    tools: Annotated[list[dict[str, Any]] | None, BeforeValidator(_tools)] = None
    rejected: Annotated[Any, BeforeValidator(lambda value: None if value is None else _target(value))] = None
    tags: Annotated[list[str], BeforeValidator(_tags)] = []
    part: Part | None = None
    private: Annotated[dict[str, list[str]], BeforeValidator(_private)] = {}
    source: Annotated[str, BeforeValidator(_source)]

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise _told(error, fields) from None


def _told(error: ValidationError, fields: dict[str, Any]) -> HallmarkError:
    """The first fault of a record."""
    first = error.errors(include_input=False, include_url=False)[0]
    field, context = str(first["loc"][0]) if first["loc"] else None, first.get("ctx", {})
    problem, fix = f"expected {context.get('expected')}", context.get("fix", "")
    if first["type"] == "missing":
        problem, fix = "is missing", f"write `{field}=...` in the Record"
    elif first["type"] == "extra_forbidden":
        problem, fix = "is no field of a Record", f"use {', '.join(Record.model_fields)}"
    elif first["type"] == "literal_error":
        problem, fix = f"expected {context.get('expected')}, or None", "translate the file's own name of the part"
    return error_at(fields.get("source"), problem, field, fix)


def error_at(source: Any, problem: str, field: str | None, fix: str) -> HallmarkError:
    """An error of a record, by its source "file:row"; one without a source names none."""
    file, _, row = source.rpartition(":") if isinstance(source, str) and _SOURCE.fullmatch(source) else ("", "", "")
    return HallmarkError(problem, file=file or None, row=int(row) if row else None, field=field, remedy=fix)
