"""Change values in the text of params.yaml, line by line: every comment and every other line stays as it is.

A param without a line there has the value of `defaults.yaml`; if it gets another, its line is added, with the comment that it
has in that file. It needs no packages: the template's hook uses it before any are installed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from hallmark.base.errors import HallmarkError

DEFAULTS = Path(__file__).with_name("defaults.yaml")
KEY = re.compile(r"( *)([\w-]+):( |$)")
KEY_OR_REQUIRED = re.compile(r"( *)#?([\w-]+):( |$)")  # in defaults.yaml, `#key:` has a comment and no default
COMMENT = re.compile(r"  #.*")
REFERENCE = re.compile(r"\$\{([\w.-]+)\}")
RESTORE = "restore the line (the template's params.yaml has it with its comment)"


class Default(NamedTuple):
    """How defaults.yaml has a param: the comments above it, its line, the lines of its block. `required`: it has no default."""

    above: list[str]
    line: str
    block: list[str]
    required: bool

    @property
    def values(self) -> list[str]:
        """What follows the colon, then the lines of the block, without comments."""
        return _bare([self.line.split(":", 1)[1], *self.block])

    @property
    def comment(self) -> str:
        """The comment on its line, with the two spaces before it; "" if there is none."""
        return comment[0] if (comment := COMMENT.search(self.line)) else ""


@cache
def defaults() -> dict[str, Default]:
    """The params of defaults.yaml, by dotted name."""
    found: dict[str, Default] = {}
    above: list[str] = []
    for line, name, key in _named(DEFAULTS.read_text(encoding="utf-8").splitlines(), KEY_OR_REQUIRED):
        for outer in (other for other in found if f"{name}.".startswith(f"{other}.")):
            found[outer].block.append(line)
        if key is not None:
            required = line.lstrip().startswith("#")
            found[name] = Default(above, line.replace("#", "", required), [], required)
        above = [*above, line] if line.lstrip().startswith("# ") else []
    return found


def changed(params: str, changes: str) -> str:
    """The text of params.yaml with some keys changed, by dotted name. Indented lines after a key are its new block.

    `changes` has a line `name: value` for each key; `${name}` stands for the value that another key has. A line keeps its
    comment unless the new value brings its own. Raises HallmarkError if there is no such param.
    """
    wanted: dict[str, list[str]] = {}
    for line in changes.splitlines():
        line = REFERENCE.sub(lambda reference: value_of(params, reference[1]), line)
        if line.startswith(" "):
            wanted[next(reversed(wanted))].append(line)
        elif line and not line.startswith("#"):
            name, value = line.split(":", 1)
            wanted[name] = [value]
    inner = {name: wanted.pop(name) for name in [*wanted] if any(name.startswith(f"{other}.") for other in wanted)}
    return replaced(replaced(params, wanted), inner)


def replaced(params: str, values: Mapping[str, Sequence[str]]) -> str:
    """The text of params.yaml with these values, by dotted name: what follows the colon, then the lines of its block."""
    wanted = dict(values)
    lines: list[str] = []
    skipping: int | None = None
    for line, name, key in _named(params.splitlines()):
        indent = len(line) - len(line.lstrip())
        if skipping is not None and line.strip() and (indent > skipping or line.startswith(" " * skipping + "- ")):
            continue
        skipping = None if line.strip() else skipping
        if key is None or name not in wanted:
            lines.append(line)
            continue
        value, *block = wanted.pop(name)
        comment = COMMENT.search(line)
        note = comment[0] if comment and "  #" not in value else ""
        lines += [f"{key[1]}{key[2]}:{value}{note}", *(key[1] + extra for extra in block)]
        skipping = indent
    if unknown := [name for name in wanted if name not in defaults()]:
        raise _missing(", ".join(unknown))
    for name, value_and_block in wanted.items():
        if _bare(value_and_block) != defaults()[name].values:
            lines = _inserted(lines, name, value_and_block)
    return "\n".join(lines) + "\n"


def added(params: str, block: str, lines: Sequence[str]) -> str:
    """The text of params.yaml with lines at the end of a block, which may be `{}`; each is indented as its entries are.

    Raises HallmarkError if there is no such block, or it stands on one line.
    """
    written = value_of(params, block)
    if written == "{}":
        return replaced(params, {block: ["", *(f"  {line}" for line in lines)]})
    if written:
        raise _on_one_line(block)
    own = params.splitlines()
    start = next(at for at, (_, name, key) in enumerate(_named(own)) if key is not None and name == block)
    indent, end = len(own[start]) - len(own[start].lstrip()), _end(own, start)
    return "\n".join([*own[:end], *(f"{' ' * (indent + 2)}{line}" for line in lines), *own[end:]]) + "\n"


def value_of(params: str, name: str) -> str:
    """The value on the line of a key, by dotted name, as it is written, or its default; "" for one that has a block."""
    written = {dotted: line[key.end() :] for line, dotted, key in _named(params.splitlines()) if key is not None}
    if name in written:
        return COMMENT.sub("", f" {written[name]}").strip()
    default = defaults().get(name)
    if default is None or default.required:
        raise _missing(name)
    return default.values[0]


def _inserted(lines: list[str], name: str, values: Sequence[str]) -> list[str]:
    """The lines with a param that they lack: after those that are before it in defaults.yaml, with its comment from there."""
    parent, _, key = name.rpartition(".")
    if parent and parent not in _places(lines):
        lines = _inserted(lines, parent, [""])
    places, default, indent = _places(lines), defaults()[name], "  " * name.count(".")
    if parent and value_of("\n".join(lines), parent):
        raise _on_one_line(parent)
    earlier = [*defaults()][: [*defaults()].index(name)]
    before = [places[other] for other in earlier if other in places and other.rpartition(".")[0] == parent]
    at = _end(lines, before[-1]) if before else places[parent] + 1 if parent else len(lines)
    value, *block = values
    note = default.comment if "  #" not in value else ""
    own = [
        *([] if parent else [""]),
        *default.above,
        f"{indent}{key}:{value}{note}",
        *(indent + extra for extra in block),
    ]
    return [*lines[:at], *own, *lines[at:]]


def _places(lines: Sequence[str]) -> dict[str, int]:
    return {name: at for at, (_, name, key) in enumerate(_named(lines)) if key is not None}


def _end(lines: Sequence[str], start: int) -> int:
    """The number of the line after a key and its block. Comments after it belong to what follows, unless they are deeper."""
    indent = len(lines[start]) - len(lines[start].lstrip())
    end = start + 1
    for at in range(start + 1, len(lines)):
        deeper = len(lines[at]) - len(lines[at].lstrip()) > indent or lines[at].startswith(" " * indent + "- ")
        if lines[at].strip() and not deeper:
            break
        end = at + 1 if lines[at].strip() else end
    return end


def _bare(lines: Sequence[str]) -> list[str]:
    """A value and the lines of its block, without comments, empty lines, and white space around them."""
    value, *block = (COMMENT.sub("", f" {line}").strip() for line in lines)
    return [value, *(line for line in block if line and not line.startswith("#"))]


def _named(lines: Iterable[str], a_key: re.Pattern[str] = KEY) -> Iterator[tuple[str, str, re.Match[str] | None]]:
    """Each line, the dotted name of the key that it belongs to, and how that key is written if it starts there."""
    path: list[str] = []
    for line in lines:
        key = a_key.match(line)
        if key:
            path = [*path[: len(key[1]) // 2], key[2]]
        yield line, ".".join(path), key


def _missing(names: str) -> HallmarkError:
    return HallmarkError(f"has no line for {names}", file="params.yaml", remedy=RESTORE)


def _on_one_line(block: str) -> HallmarkError:
    remedy = f"write its entries on lines of their own, below `{block.rpartition('.')[2]}:`"
    return HallmarkError("stands on one line", param=block, remedy=remedy)
