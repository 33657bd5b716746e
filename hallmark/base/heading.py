"""The line with which a stage of dvc.yaml starts: `stage 6 of 15: sft (took 3 min 10 s last time)`.

It is for people alone, so it reads dvc.yaml and the stage's last report and imports nothing that a stage depends on.
"""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any

from hallmark.base.progress import duration

PIPELINE = Path("dvc.yaml")
MEASURED = Path("reports/measured")


def heading(command: list[str]) -> str | None:
    """The line for a command (without its first word, the interpreter), or None if that is not one of dvc.yaml.

    Raises whatever is wrong with dvc.yaml or the report: the caller shows no line then.
    """
    text = PIPELINE.read_text(encoding="utf-8")
    if "RANK" in os.environ or " ".join(command[:2]) not in text:  # one of several processes of a stage; a tool
        return None
    stages = _stages(text)
    numbers = [number for number, (_, words) in enumerate(stages) if words[1:] == command]
    if len(numbers) != 1:
        return None
    name = stages[numbers[0]][0]
    return f"stage {numbers[0] + 1} of {len(stages)}: {name}{_last_time(name)}"


def _stages(text: str) -> list[tuple[str, list[str]]]:
    """The name, as DVC prints it, and the command of each stage, in the order of dvc.yaml, in which they run."""
    from ruamel.yaml import YAML

    found = []
    for name, block in YAML(typ="safe", pure=True).load(text)["stages"].items():
        items: list[Any] = list(block["foreach"]) if "foreach" in block else [None]
        for item in items:
            command = str(block.get("do", block)["cmd"])
            for variable in ("${key}", "${item}"):
                command = command.replace(variable, str(item))
            found.append((name if item is None else f"{name}@{item}", shlex.split(command)))
    return found


def _last_time(stage: str) -> str:
    """How long the stage last took, in brackets, with the machine if its report names it; nothing if it has no report."""
    file = MEASURED / f"{stage.replace('@', '_')}.json"
    if not file.exists():
        return ""
    report = json.loads(file.read_text(encoding="utf-8"))
    machine = report.get("fingerprint") or report.get("measured", {}).get("machine") or {}
    where = machine.get("gpu") or (machine.get("processor") or "").partition(" (")[0]
    return f" (took {duration(report['seconds'])} last time{f', on {where}' if where else ''})"
