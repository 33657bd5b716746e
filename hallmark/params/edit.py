"""Change values in the text of params.yaml, line by line: every comment and every other line stays as it is.

A param without a line there has the value of `defaults.yaml`; if it gets another, its line is added, with the comment that it
has in that file. It reads no YAML, only lines `key: value`, with any indent; `checked` has the same with a check of what came
of it. It needs no packages: the template's hook uses it before any are installed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

from hallmark.base.errors import HallmarkError

DEFAULTS = Path(__file__).with_name("defaults.yaml")
KEY = re.compile(r"""( *)["']?([\w-]+)["']? *:(\s|$)""")
KEY_OR_REQUIRED = re.compile(r"( *)#?([\w-]+):( |$)")  # in defaults.yaml, `#key:` has a comment and no default
NOTE = re.compile(r"\s+#.*")
QUOTED = r"""(?:"(?:\\.|[^"\\])*"|'(?:''|[^'])*')"""
# A value before which no comment starts: a text in quotes, or a list or mapping on one line. Others have no ` #` in them.
CLOSED = re.compile(rf"""\s*(?:- +)*(?:[\[{{](?:[^"'#]|(?<![\s\[{{,:])["']|(?<!\s)\#|{QUOTED})*|{QUOTED})""")
REFERENCE = re.compile(r"\$\{([\w.-]+)\}")


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
        return comment_on(self.line)

    @property
    def effect(self) -> str:
        """What it does: the comments right above it, then the one on its line."""
        return " ".join(line.strip().removeprefix("# ") for line in (*self.above, self.comment) if line)


@cache
def defaults() -> dict[str, Default]:
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
    """The text of params.yaml with some keys changed, as `asked` reads them from `changes`.

    A line keeps its comment unless the new value brings its own. Raises HallmarkError if there is no such param.
    """
    return replaced(params, asked(params, changes))


def asked(params: str, changes: str) -> dict[str, list[str]]:
    """What `changes` asks for, as `replaced` takes it.

    It has a line `name: value` for each key, by dotted name; indented lines after it are its new block. `${name}` stands for
    the value that another key has.
    """
    wanted: dict[str, list[str]] = {}
    for line in changes.splitlines():
        line = REFERENCE.sub(lambda reference: value_of(params, reference[1]), line)
        if line.startswith(" "):
            wanted[next(reversed(wanted))].append(line)
        elif line and not line.startswith("#"):
            name, value = line.split(":", 1)
            wanted[name] = [value]
    return wanted


def replaced(params: str, values: Mapping[str, Sequence[str]]) -> str:
    """The text of params.yaml with these values, by dotted name: what follows the colon, then the lines of its block.

    Blocks come first: a value may be of a block that is replaced too.
    """
    inner = {name: values[name] for name in values if any(name.startswith(f"{other}.") for other in values)}
    wanted = {name: values[name] for name in values if name not in inner}
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
        note = "" if comment_on(value) else comment_on(line)
        lines += [f"{line[: key.start(3)]}{value}{note}", *(key[1] + extra for extra in block)]
        skipping = indent
    if unknown := [name for name in wanted if name not in defaults()]:
        raise _missing(*unknown)
    for name, value_and_block in wanted.items():
        if _bare(value_and_block) != defaults()[name].values:
            lines = _inserted(lines, name, value_and_block)
    text = "\n".join(lines) + "\n"
    return replaced(text, inner) if inner else text


def added(params: str, block: str, lines: Sequence[str]) -> str:
    """The text of params.yaml with lines at the end of a block, which may be `{}`; each is indented as its entries are.

    Raises HallmarkError if there is no such block, or it stands on one line.
    """
    written = value_of(params, block)
    if written == "{}":
        return replaced(params, {block: ["", *(f"  {line}" for line in lines)]})
    own = params.splitlines()
    start = places(own).get(block)
    if written or start is None:
        remedy = f"write its entries on lines of their own, below `{block.rpartition('.')[2]}:`"
        raise HallmarkError("stands on one line", param=block, remedy=remedy)
    indent, end = _indent_in(own, start), end_of(own, start)
    return "\n".join([*own[:end], *(f"{indent}{line}" for line in lines), *own[end:]]) + "\n"


def value_of(params: str, name: str) -> str:
    """The value on the line of a key, by dotted name, without quotes, or its default; "" for one that has a block."""
    lines = params.splitlines()
    if (at := places(lines).get(name)) is not None:
        return _unquoted(_value(lines[at]))
    default = defaults().get(name)
    if default is None or default.required:
        raise _missing(name)
    return default.values[0]


def places(lines: Sequence[str]) -> dict[str, int]:
    return {name: at for at, (_, name, key) in enumerate(_named(lines)) if key is not None}


def end_of(lines: Sequence[str], start: int) -> int:
    """The number of the line after a key and its block. Comments after it belong to what follows, unless they are deeper."""
    indent = len(lines[start]) - len(lines[start].lstrip())
    end = start + 1
    for at in range(start + 1, len(lines)):
        deeper = len(lines[at]) - len(lines[at].lstrip()) > indent or lines[at].startswith(" " * indent + "- ")
        if lines[at].strip() and not deeper:
            break
        end = at + 1 if lines[at].strip() else end
    return end


def comment_on(line: str) -> str:
    """The comment on a line, with the spaces before it; "" if there is none. The line may be only what follows the colon."""
    key = KEY.match(line)
    start = key.start(3) if key else 0
    if closed := CLOSED.match(line, start):
        start = len(closed[0].rstrip()) + start
    if line[start:].lstrip()[:1] in ("'", '"'):  # a text that goes on in the next line
        return ""
    return comment[0] if (comment := NOTE.search(line, start)) else ""


def _value(line: str) -> str:
    key = KEY.match(line)
    assert key is not None
    return line[key.start(3) :].removesuffix(comment_on(line)).strip()


def _unquoted(value: str) -> str:
    if not re.fullmatch(QUOTED, value):
        return value
    if value[0] == "'":
        return value[1:-1].replace("''", "'")
    try:
        return str(json.loads(value))
    except ValueError:  # an escape that only YAML has
        return value[1:-1]


def _inserted(lines: list[str], name: str, values: Sequence[str]) -> list[str]:
    """The lines with a param that they lack: after those that are before it in defaults.yaml, with its comment from there."""
    parent, _, key = name.rpartition(".")
    if parent and parent not in places(lines):
        lines = _inserted(lines, parent, [""])
    there, default = places(lines), defaults()[name]
    indent = _indent_in(lines, there[parent] if parent else -1)
    earlier = [*defaults()][: [*defaults()].index(name)]
    before = [there[other] for other in earlier if other in there and other.rpartition(".")[0] == parent]
    at = end_of(lines, before[-1]) if before else there[parent] + 1 if parent else len(lines)
    value, *block = values
    note = "" if comment_on(value) else default.comment
    own = [
        *([] if parent else [""]),
        *(f"{indent}{line.lstrip()}" for line in default.above),
        f"{indent}{key}:{value}{note}",
        *(indent + extra for extra in block),
    ]
    return [*lines[:at], *own, *lines[at:]]


def _indent_in(lines: Sequence[str], start: int) -> str:
    """The indent of the entries in the block of a key; two spaces more than its own if it has none. -1: of the whole file."""
    outer = len(lines[start]) - len(lines[start].lstrip()) if start >= 0 else -1
    entries = (line for line in lines[start + 1 :] if line.strip() and not line.lstrip().startswith(("#", "---", "%")))
    first = next(entries, "")
    indent = len(first) - len(first.lstrip())
    return " " * (indent if indent > outer else outer + 2)


def _bare(lines: Sequence[str]) -> list[str]:
    """A value and the lines of its block, without comments, empty lines, and white space around them."""
    value, *block = (f" {line}".removesuffix(comment_on(f" {line}")).strip() for line in lines)
    return [value, *(line for line in block if line and not line.startswith("#"))]


def _named(lines: Iterable[str], a_key: re.Pattern[str] = KEY) -> Iterator[tuple[str, str, re.Match[str] | None]]:
    """Each line, the dotted name of the key that it belongs to, and how that key is written if it starts there."""
    path: list[tuple[int, str]] = []
    for line in lines:
        key = a_key.match(line)
        if key:
            path = [*(outer for outer in path if outer[0] < len(key[1])), (len(key[1]), key[2])]
        yield line, ".".join(name for _, name in path), key


def _missing(*names: str) -> HallmarkError:
    remedy = f"write it on a line of its own; `nox -s params -- {names[0]}` shows value, default and effect"
    return HallmarkError(f"has no line for {', '.join(names)}", file="params.yaml", remedy=remedy)
