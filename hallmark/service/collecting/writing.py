"""Adding rows to `data.path`: a file appears or changes as a whole, so that a killed run adds all its rows or none."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from hallmark.base.errors import HallmarkError
from hallmark.base.files import atomic
from hallmark.base.reading import NotJsonError, is_folder, strict_json

LINES = (".jsonl", ".ndjson")
ADDED = re.compile(r"collected-(\d{1,9})\.jsonl")


def destination(path: Path) -> Path:
    """The file that new rows go to: of JSON lines, or the next one in a folder; an error if `data.path` can't grow."""
    if is_folder(path):
        numbers = [int(match[1]) for file in sorted(path.iterdir()) if (match := ADDED.fullmatch(file.name))]
        return path / f"collected-{max(numbers, default=0) + 1}.jsonl"
    if path.suffix in LINES:
        return path
    raise HallmarkError(
        f"a file ending in '{path.suffix}' can't get new rows",
        file=path,
        field="data.path",
        remedy=f"move it into a folder of its own (`mkdir {path.parent}/all && mv {path} {path.parent}/all/`), and set "
        f"data.path to {path.parent}/all: new rows go into files next to it",
    )


def add(path: Path, rows: Sequence[Mapping[str, Any]], renamed: Mapping[str, str], names: tuple[str, str]) -> int:
    """Add rows to `data.path`, and give customers in collected rows the names they have now; returns how many rows got one.

    `names`: the columns of ids and groups.
    """
    target, count = destination(path), 0
    others = [file for file in sorted(path.iterdir()) if file.suffix in LINES] if is_folder(path) else []
    for file in [*others, target]:
        changes = dict(_renamed(file, renamed, names)) if renamed and file.exists() else {}
        new = rows if file == target else []
        if changes or new:
            _rewrite(file, new, changes)
        count += len(changes)
    return count


def _rewrite(file: Path, rows: Sequence[Mapping[str, Any]], changes: Mapping[int, bytes]) -> None:
    with atomic(file) as temporary, temporary.open("wb") as output:
        line = b"\n"
        if file.exists():
            with file.open("rb") as source:
                for number, old in enumerate(source, 1):
                    line = changes.get(number, old)
                    output.write(line)
        if not line.endswith(b"\n"):
            output.write(b"\n")
        output.writelines(map(_line, rows))


def _renamed(file: Path, renamed: Mapping[str, str], names: tuple[str, str]) -> Iterator[tuple[int, bytes]]:
    """(line number, new line) for each collected row whose customer has another name now."""
    name, group = names
    with file.open("rb") as source:
        for number, line in enumerate(source, 1):
            if b'"trace:' not in line:
                continue
            try:
                row = strict_json(line.decode())
            except (NotJsonError, UnicodeDecodeError):
                continue
            if isinstance(row, dict) and str(row.get(name)).startswith("trace:") and row.get(group) in renamed:
                yield number, _line(row | {group: renamed[row[group]]})


def _line(row: Mapping[str, Any]) -> bytes:
    return json.dumps(row, ensure_ascii=False).encode() + b"\n"
