"""The section `Measured on a GPU` of docs/training.md, and docs/gpu.json, from the results of the parts."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hallmark.base.machine import describe
from tests.bench.page import table
from tests.gpu.registry import Part

PAGE = Path("docs/training.md")
HEADING = "## Measured on a GPU"
SECTION = re.compile(rf"^{HEADING}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
LONGEST = 400  # characters of a cell


def write(out: Path, known: Mapping[str, Part], page: Path = PAGE) -> None:
    """Replace the section by what the results in `out` say, and write all of them next to the page as JSON.

    A part without a result in `out` keeps the one that is in that JSON. SystemExit if none in `out` is of a GPU: runs on a
    CPU, and tiny ones, say nothing.
    """
    results: dict[str, Any] = {}
    for name in known:
        file = out / f"{name}.json"
        result = json.loads(file.read_text(encoding="utf-8")) if file.exists() else None
        if result and result.get("device") == "cuda" and not result.get("tiny"):
            results[name] = result
    if not results:
        raise SystemExit(f"gpu: {out} has no result of a GPU, so {page} stays as it is")
    together = page.with_name("gpu.json")
    before = json.loads(together.read_text(encoding="utf-8")) if together.exists() else {}
    results = {name: (before | results)[name] for name in known if name in before | results}
    text = page.read_text(encoding="utf-8")
    section = f"{HEADING}\n\n{words(results, known)}\n\n"
    assert SECTION.search(text), f"{page} has no section {HEADING}"
    page.write_text(SECTION.sub(lambda _: section, text).rstrip() + "\n", encoding="utf-8")
    together.write_text(json.dumps(results, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"written: {page}, {together}. README.md and docs/results.md still say what they said before")


def words(results: Mapping[str, dict[str, Any]], known: Mapping[str, Part]) -> str:
    """The section: what it ran on, a count, and a row for each check."""
    rows, machines = [], {}
    for name, result in results.items():
        machine = result.get("machine") or {}
        machines.setdefault(on(machine), []).append(name)
        for line in result["lines"]:
            rows.append([name, cell(line["check"]), said(line)])
        if result["reason"] or not result["lines"]:
            rows.append([name, cell(known[name].does), cell(f"{result['state']}: {result['reason']}")])
    states = [line["state"] for result in results.values() for line in result["lines"]]
    counts = ", ".join(f"{states.count(state)} {state}" for state in ("passed", "failed", "skipped"))
    missing = [name for name in known if name not in results]
    where = [f"- {'all parts' if len(machines) == 1 else ', '.join(names)}: {each}" for each, names in machines.items()]
    not_run = f" Not run: {', '.join(missing)}." if missing else ""
    return "\n".join(
        [
            f"Written by `nox -s gpu`; all values are in [gpu.json](gpu.json). Checks: {counts}.{not_run}",
            "",
            *where,
            "",
            table(["part", "check", "result"], rows).rstrip(),
        ]
    )


def on(machine: Mapping[str, Any]) -> str:
    """The machine and the versions that a result is of."""
    found = machine.get("machine") or {}
    memory = f", {machine['memory_bytes'] / 2**30:.0f} GiB" if "memory_bytes" in machine else ""
    versions = [f"{name} {found[name]}" for name in ("torch", "cuda", "cudnn") if found.get(name)]
    return cell(f"{describe(found)}{memory}, {', '.join(versions)}, {machine.get('date', 'on an unknown day')}")


def said(line: Mapping[str, Any]) -> str:
    """The result of a check; what failed is in bold."""
    if line["state"] == "passed":
        return cell(line["words"] or "holds")
    error = cell((line["error"] or "no reason given").splitlines()[0])
    return f"**failed**: {error}" if line["state"] == "failed" else f"skipped: {error}"


def cell(text: str) -> str:
    """A text for a cell of a table: one line, not too long, and nothing that Markdown would take for its own."""
    line = " ".join(text.split())
    short = line if len(line) <= LONGEST else f"{line[:LONGEST]} ..."
    return re.sub(r"([\\`*_\[\]|])", r"\\\1", html.escape(short, quote=False))
