"""Change values in the text of params.yaml as `edit` does, and make sure that they are all that has changed.

`edit` knows only lines; YAML can be written in ways that they don't tell. A text that comes out of here is valid YAML, has the
values that were asked for, and all others as before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from hallmark.base.errors import HallmarkError
from hallmark.params import edit
from hallmark.params.loader import merged


def changed(params: str, changes: str) -> str:
    """As `edit.changed`. `${name}` must be on a line of its own too."""
    values, before = edit.asked(params, changes), loaded(params)
    for name in edit.REFERENCE.findall(changes):
        if not _same(_yaml(value := edit.value_of(params, name)), _at(before, name)):
            problem = f"can't be read from its line, which has {value!r}"
            raise HallmarkError(problem, param=name, remedy="write its value on a line of its own")
    return replaced(params, values)


def replaced(params: str, values: Mapping[str, Sequence[str]]) -> str:
    """As `edit.replaced`, but a HallmarkError unless the new text has exactly these values, and all others as before."""
    before = loaded(params)
    new = edit.replaced(params, values)
    if not _has(new, before, values):
        wrong = next((name for name in values if not _alone(params, before, {name: values[name]})), None)
        name = wrong or ", ".join(values)
        raise _by_hand(name, "".join(f"{line}\n" for line in values[wrong]).strip() if wrong else "")
    return new


def _alone(params: str, before: dict[str, Any], one: Mapping[str, Sequence[str]]) -> bool:
    try:
        return _has(edit.replaced(params, one), before, one)
    except HallmarkError:  # there is none without a block that comes with it
        return True


def loaded(params: str) -> dict[str, Any]:
    """The values of all params in a text of params.yaml, over the defaults."""
    return merged(_yaml(params) or {})


def _has(new: str, before: dict[str, Any], values: Mapping[str, Sequence[str]]) -> bool:
    """Whether the new text is YAML, and its params are those of before with these values."""
    try:
        for name in sorted(values, key=lambda name: name.count(".")):  # blocks first
            value = _yaml("\n".join(["value:" + values[name][0], *values[name][1:]]))["value"]
            before = merged(_with(before, name.split("."), value))
        return _same(loaded(new), before)
    except (YAMLError, AttributeError):
        return False


def _yaml(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


def _at(values: dict[str, Any], name: str) -> Any:
    found: Any = values
    for key in name.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _with(block: Any, path: list[str], value: Any) -> Any:
    """A block with another value at a path in it."""
    if not path:
        return value
    block = block if isinstance(block, dict) else {}
    return block | {path[0]: _with(block.get(path[0]), path[1:], value)}


def _same(one: Any, other: Any) -> bool:
    """Whether two values are the same, and of the same types: 1 is neither true nor 1.0."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return repr(one) == repr(other)


def _by_hand(name: str, value: str) -> HallmarkError:
    return HallmarkError(
        "could not be set in the text, which is written in a way that only a person can change; nothing was written",
        param=name,
        remedy=f"write it by hand: `{name.rpartition('.')[2]}: {value}`" if value else "write these lines by hand",
    )
