"""Change values in the text of params.yaml, line by line: every comment and every other line stays as it is.

It needs no packages: the template's hook uses it before any are installed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from hallmark.base.errors import HallmarkError

KEY = re.compile(r"( *)([\w-]+):( |$)")
COMMENT = re.compile(r"  #.*")
REFERENCE = re.compile(r"\$\{([\w.-]+)\}")
RESTORE = "restore the line (the template's params.yaml has it with its comment)"


def changed(params: str, changes: str) -> str:
    """The text of params.yaml with some keys changed, by dotted name. Indented lines after a key are its new block.

    `changes` has a line `name: value` for each key; `${name}` stands for the value that another key has. A line keeps its
    comment unless the new value brings its own. Raises HallmarkError if params.yaml lacks a key.
    """
    wanted: dict[str, list[str]] = {}
    for line in changes.splitlines():
        line = REFERENCE.sub(lambda reference: value_of(params, reference[1]), line)
        if line.startswith(" "):
            wanted[next(reversed(wanted))].append(line)
        elif line and not line.startswith("#"):
            name, value = line.split(":", 1)
            wanted[name] = [value]
    return replaced(params, wanted)


def replaced(params: str, values: Mapping[str, Sequence[str]]) -> str:
    """The text of params.yaml with these values, by dotted name: what follows the colon, then the lines of its block."""
    wanted = dict(values)
    lines: list[str] = []
    skipping: int | None = None
    for line, name, key in _named(params):
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
    if wanted:
        raise _missing(", ".join(wanted))
    return "\n".join(lines) + "\n"


def added(params: str, block: str, lines: Sequence[str]) -> str:
    """The text of params.yaml with lines at the end of a block, which may be `{}`; each is indented as its entries are.

    Raises HallmarkError if params.yaml lacks the block, or it stands on one line.
    """
    written = value_of(params, block)
    if written == "{}":
        return replaced(params, {block: ["", *(f"  {line}" for line in lines)]})
    if written:
        remedy = f"write its entries on lines of their own, below `{block.rpartition('.')[2]}:`"
        raise HallmarkError("stands on one line", param=block, remedy=remedy)
    own = params.splitlines()
    start = next(at for at, (_, name, key) in enumerate(_named(params)) if key is not None and name == block)
    indent = len(own[start]) - len(own[start].lstrip())
    end = start + 1
    for at in range(
        start + 1, len(own)
    ):  # comments after the last entry belong to what follows, unless they are deeper
        deeper = len(own[at]) - len(own[at].lstrip()) > indent
        if own[at].strip() and not deeper:
            break
        end = at + 1 if own[at].strip() else end
    return "\n".join([*own[:end], *(f"{' ' * (indent + 2)}{line}" for line in lines), *own[end:]]) + "\n"


def value_of(params: str, name: str) -> str:
    """The value on the line of a key, by dotted name, as it is written; "" for one that has a block."""
    for line, dotted, key in _named(params):
        if key is not None and dotted == name:
            return COMMENT.sub("", f" {line[key.end() :]}").strip()
    raise _missing(name)


def _named(params: str) -> Iterator[tuple[str, str, re.Match[str] | None]]:
    """Each line, the dotted name of the key that it belongs to, and how that key is written if it starts there."""
    path: list[str] = []
    for line in params.splitlines():
        key = KEY.match(line)
        if key:
            path = [*path[: len(key[1]) // 2], key[2]]
        yield line, ".".join(path), key


def _missing(names: str) -> HallmarkError:
    return HallmarkError(f"has no line for {names}", file="params.yaml", remedy=RESTORE)
