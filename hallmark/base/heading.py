"""The line with which a stage that DVC runs starts: `stage 6 of 15: sft (took 3 min 10 s last time)`."""

from __future__ import annotations

import json
import os
from pathlib import Path

from hallmark.base.progress import duration


def heading() -> str | None:
    """The line for the stage that DVC says it runs, or None without one. Raises whatever is wrong with what it reads."""
    name = os.environ.get("DVC_STAGE")
    if not name or "RANK" in os.environ:  # RANK: one of several processes of a stage
        return None
    from ruamel.yaml import YAML

    blocks = YAML(typ="safe", pure=True).load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]
    names = [f"{key}@{item}" if item else key for key, block in blocks.items() for item in block.get("foreach", [""])]
    took = Path(f"reports/measured/{name.replace('@', '_')}.json")
    last = ""
    if took.exists():
        last = f" (took {duration(json.loads(took.read_text(encoding='utf-8'))['seconds'])} last time)"
    return f"stage {names.index(name) + 1} of {len(names)}: {name}{last}"
