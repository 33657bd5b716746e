"""Change values in the text of params.yaml as `edit` does, and make sure that they are all that has changed.

`edit` knows only lines; YAML can be written in ways that they don't tell. A text that comes out of here is valid YAML, has the
values that were asked for, and all others as before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from pprint import pformat
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from hallmark.base.document import value_at
from hallmark.base.errors import HallmarkError
from hallmark.base.files import atomic
from hallmark.params import edit
from hallmark.params.loader import load_params, merged


def changed(params: str, changes: str) -> str:
    """As `edit.changed`. `${name}` must be on a line of its own too."""
    values, before = edit.asked(params, changes), loaded(params)
    for name in edit.REFERENCE.findall(changes):
        if not _same(_yaml(value := edit.value_of(params, name)), value_at(before, name)):
            problem = f"can't be read from its line, which has {value!r}"
            raise HallmarkError(problem, param=name, remedy="write its value on a line of its own")
    return replaced(params, values)


def replaced(params: str, values: Mapping[str, Sequence[str]]) -> str:
    """As `edit.replaced`, but a HallmarkError unless the new text has exactly these values, and all others as before."""
    known = loaded(params)
    for name in sorted(values, key=lambda name: name.count(".")):  # blocks first
        lines = values[name]
        params = edit.replaced(params, {name: lines})
        try:
            known = _with(known, name, _yaml("\n".join(["value:" + lines[0], *lines[1:]]))["value"])
            right = _same(loaded(params), known)
        except (YAMLError, AttributeError):
            right = False
        if not right:
            problem = "could not be set in the text, which is written in a way that only a person can change; nothing was written"
            written = "\n".join([f"{name.rpartition('.')[2]}:{lines[0]}", *lines[1:]])
            raise HallmarkError(problem, param=name, remedy=f"write it by hand: `{written}`")
    return params


def write(file: Path, text: str) -> None:
    """Write a text of params.yaml, if it is valid: else the file stays as it is, and a HallmarkError says why."""
    with atomic(file) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        try:
            load_params(temporary)
        except HallmarkError as error:
            problem = f"would not be valid, and stays as it is: {error.problem}"
            raise HallmarkError(problem, file=file, field=error.field, remedy=error.remedy) from None


def loaded(params: str) -> dict[str, Any]:
    return merged(_yaml(params) or {})


def _yaml(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


def _with(params: dict[str, Any], name: str, value: Any) -> dict[str, Any]:
    def inside(block: Any, path: list[str]) -> Any:
        if not path:
            return value
        block = block if isinstance(block, dict) else {}
        return block | {path[0]: inside(block.get(path[0]), path[1:])}

    return merged(inside(params, name.split(".")))


def _same(one: Any, other: Any) -> bool:
    """Whether two values are the same, in any order, and of the same types: 1 is neither true nor 1.0."""
    return pformat(one) == pformat(other)
