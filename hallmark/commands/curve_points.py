"""The points of a learning curve, for `python -m hallmark.commands.curve`: parts of the training data, each trained and evaluated.

Each point has a folder below .hallmark/curve, laid out like this repository and named by a hash of all that is read there, in
which the stages `sft` and `eval` run; the repository's own outputs stay as they are. What is evaluated there as the holdout are
the validation records: no point of the curve is chosen or judged by the holdout.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hallmark.base import provenance as prov
from hallmark.base.errors import HallmarkError
from hallmark.base.files import (
    ADAPTER,
    BASE,
    HOLDOUT,
    QUANTIZED,
    REPORTS,
    SFT_ADAPTER,
    TRAIN,
    VALIDATION,
    atomic_folder,
    json_bytes,
    write_all,
)
from hallmark.base.reading import read_object
from hallmark.base.records import parquet, read_records
from hallmark.commands.experiments import PARAMS, key_of, run, stages_to, with_values
from hallmark.commands.stale import LOCK, stale_stages
from hallmark.corpus.draw import draw_hash
from hallmark.task.predictions import Prediction, metrics_of, predictions_of, read_predictions

FOLDER = Path(".hallmark/curve")  # neither git nor DVC look there
CHECKPOINT_MINUTES = 3.0  # so that a point that was killed continues; changes nothing in what is learned
TRAINED, MEASURED = REPORTS / "sft.json", REPORTS / "measured/sft.json"
OF_SFT = (MEASURED, REPORTS / "sft_curve.csv", TRAINED)
STAGES = {"sft": TRAINED, "eval@tuned": metrics_of("tuned")}  # each with what it writes last
REPORTED = (REPORTS / "base.json", REPORTS / "quantize.json")
# What each point has of the repository's own.
SHARED = (*map(Path, ("stages", "hallmark", "requirements.lock", "dvc.yaml")), BASE, QUANTIZED, *REPORTED)
# Of the evaluation, what costs time and isn't part of the curve, and what answers: the same for all points.
EVAL = {"eval.engine": {"kind": "hf"}, "eval.constrained": 0}


@dataclass(frozen=True)
class Part:
    """A share of the training groups, and the records of these groups. `whole`: all of them; `key`: of what is read."""

    share: float
    groups: tuple[str, ...]
    records: int
    whole: bool
    key: str = ""

    @property
    def folder(self) -> Path:
        return FOLDER / f"{len(self.groups)}-groups-{self.key[:16]}"

    @property
    def is_made(self) -> bool:
        return all((self.folder / file).exists() for file in STAGES.values())


@dataclass(frozen=True)
class Point:
    """What a part brought: answers to the validation records. Steps and seconds are those of training."""

    part: Part
    steps: int
    seconds: float
    predictions: list[Prediction]


def parts(groups: Sequence[str], shares: Sequence[float], seed: int, read: str = "") -> list[Part]:
    """Nested parts of the training data, by `shares` of its groups, rising: always the same for one seed, in a hash's order.

    `read`: a hash of what else all points read.
    """
    names = sorted(set(groups), key=lambda name: draw_hash(str(seed), "curve", name))
    counts = [max(1, math.floor(share * len(names) + 0.5)) for share in shares]
    if len(set(counts)) < len(counts):
        raise HallmarkError(
            f"two of its shares are the same number of the {len(names)} training groups",
            param="curve.shares",
            remedy="leave one out, or set them further apart",
        )
    found = []
    for share, count in zip(shares, counts, strict=True):
        taken = set(names[:count])
        records = sum(group in taken for group in groups)
        key = prov.sha256(json.dumps([read, names[:count]]))
        found.append(Part(share, tuple(names[:count]), records, count == len(names), key))
    return found


def steps_share(part: Part, records: int, least: float) -> float:
    """The training steps of a part, as a share of those of all `records`: its share of the records, or `least` if more."""
    return max(part.records / records, least)


def settings(raw: Mapping[str, Any], part: Part, records: int, least: float) -> dict[str, Any]:
    """params.yaml for a part: more passes over few records, validations as often, and answers to evaluate, no more."""
    params = with_values(raw, EVAL)
    sft, share = params["sft"], steps_share(part, records, least)
    if not part.whole:
        sft["epochs"] = sft["epochs"] * share * records / part.records
        if sft["max_steps"] is not None:
            sft["max_steps"] = max(1, math.ceil(sft["max_steps"] * share))
        sft["eval_steps"] = max(1, math.ceil(sft["eval_steps"] * share))
    if sft["checkpoint_minutes"] is None:
        sft["checkpoint_minutes"] = CHECKPOINT_MINUTES
    if isinstance(schema := params["task"]["schema"], str):
        params["task"]["schema"] = str(Path(schema).absolute())
    return params


def read_by_all(raw: Mapping[str, Any], least: float) -> str:
    """A hash of all that every point reads: code, weights, data and params, but for the adapter, which is its own."""
    stages = stages_to([*STAGES][-1])
    own = {name: stages[name] | {"deps": [*({*stages[name]["deps"]} - {ADAPTER.as_posix()})]} for name in STAGES}
    return prov.sha256(f"{key_of(own, raw)} {least}")


def prepare(part: Part, wanted: dict[str, Any]) -> None:
    """Lay out a part's folder: its records, the validation records also as the holdout, its params, the weights and the code."""
    import polars as pl

    own, validation = read_records(TRAIN).filter(pl.col("group").is_in(part.groups)), VALIDATION.read_bytes()
    files: dict[Path, bytes | memoryview] = {TRAIN: parquet(own), VALIDATION: validation, HOLDOUT: validation}
    files[PARAMS] = json_bytes(wanted)  # JSON is YAML too
    write_all({part.folder / file: content for file, content in files.items()})
    for source in SHARED:
        if source.exists():
            link(part.folder / source, source.absolute())
    link(part.folder / ADAPTER, Path(SFT_ADAPTER.name))


def link(place: Path, target: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    place.symlink_to(target)


def is_trained() -> bool:
    """Whether the repository has the adapter of the data, params and code of now."""
    return LOCK.exists() and SFT_ADAPTER.is_dir() and "sft" not in stale_stages()


def made(part: Part, wanted: dict[str, Any]) -> Point:
    """The point of a part: trained and evaluated, as far as that is not done."""
    if not part.is_made:
        prepare(part, wanted)
        if not (part.folder / TRAINED).exists() and part.whole and is_trained():
            take_over(part)
        elif not (part.folder / TRAINED).exists():
            run([sys.executable, "-m", "stages.sft"], at=part.folder)
        run([sys.executable, "-m", "stages.eval", "--model", "tuned"], at=part.folder)
    steps = read_object(part.folder / TRAINED).get("steps", 0)
    seconds = read_object(part.folder / MEASURED).get("train_seconds", 0.0)
    return Point(part, steps, seconds, read_predictions("tuned", part.folder / predictions_of("tuned")))


def take_over(part: Part) -> None:
    """Copy the adapter of the repository's `sft`, and its reports, into the folder of all groups."""
    with atomic_folder(part.folder / SFT_ADAPTER) as folder:
        shutil.copytree(SFT_ADAPTER, folder, dirs_exist_ok=True)
    write_all({part.folder / file: file.read_bytes() for file in OF_SFT})
