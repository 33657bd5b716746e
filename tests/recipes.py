"""Scripts and raw files for the tests of hallmark/records, in a folder of their own."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hallmark.records.recipe import Run, load

SECRET = "Xerxes-4711"  # stands in raw values, and in no message


def recipe_in(folder: Path, body: str, files: Mapping[str, str | bytes] = {}, *, whole: bool = False) -> Path:
    """Write the files of data/raw, and a script: `body` is what `records` does, or with `whole` all of the script."""
    raw = folder / "data/raw"
    raw.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        (raw / name).write_bytes(content.encode() if isinstance(content, str) else content)
    script = folder / "stages/records.py"
    script.parent.mkdir(exist_ok=True)
    body = textwrap.dedent(body).strip("\n")
    head = "import polars as pl\nfrom hallmark.records import *\n\n\ndef records(p):\n"
    script.write_text(body if whole else head + textwrap.indent(body, "    ") + "\n", encoding="utf-8")
    return script


def run_of(folder: Path, body: str, files: Mapping[str, str | bytes] = {}, *, whole: bool = False, **block: Any) -> Run:
    """A run of such a script, at its start."""
    return load(recipe_in(folder, body, files, whole=whole)).run(block, folder)


def ran(folder: Path, body: str, files: Mapping[str, str | bytes] = {}, **block: Any) -> Run:
    """A run of such a script, at its end."""
    run = run_of(folder, body, files, **block)
    for _ in run:
        pass
    return run
