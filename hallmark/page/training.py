"""The training on the page: its loss by step, and which adapter was kept."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from hallmark.base.reading import read_text


def kept(trained: dict[str, Any]) -> str:
    """Which adapter of the training is kept, as a phrase, from reports/sft.json."""
    early = "stopped early; " if trained["stopped_early"] else ""
    if trained["undertrained"]:
        early = "undertrained: the validation loss still fell when the training had to end; "
    return (
        f"{early}the adapter of step {trained['kept_step']:,} is kept: validation loss {trained['validation_loss']:.3f}"
    )


def read_curve(path: Path) -> dict[str, list[tuple[float, float]]]:
    """The training curve, `step,split,loss`, as {split: [(step, loss)]}."""
    curve: dict[str, list[tuple[float, float]]] = {}
    for row in csv.DictReader(read_text(path, "run `dvc repro sft`, which makes it").splitlines()):
        curve.setdefault(row["split"], []).append((float(row["step"]), float(row["loss"])))
    return curve
