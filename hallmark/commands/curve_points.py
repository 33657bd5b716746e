"""The points of a learning curve, for `python -m hallmark.commands.curve`: parts of the training data, each trained and evaluated.

Each point has a folder below .hallmark/curve, laid out like this repository, in which DVC runs the stages `sft` and `eval`,
and knows what is up to date; the repository's own outputs stay as they are. What is evaluated there as the holdout are the
validation records: no point of the curve is chosen or judged by the holdout.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    write_text,
)
from hallmark.base.loaded_code import FOLDER as CODE
from hallmark.base.loaded_code import PARAMS as COMPARED
from hallmark.base.loaded_code import tracked
from hallmark.base.reading import read_object
from hallmark.base.records import parquet, read_records
from hallmark.commands.experiments import PARAMS, dvc, with_values
from hallmark.data.grouping import draw_hash
from hallmark.params.loader import resolved
from hallmark.task.predictions import Prediction, predictions_of, read_predictions

FOLDER = Path(".hallmark/curve")  # neither git nor DVC look there
CHECKPOINT_MINUTES = 3.0  # so that a point that was killed continues; changes nothing in what is learned
PIPELINE, DVC_CONFIG = Path("dvc.yaml"), Path(".dvc/config")
MEASURED = REPORTS / "measured/sft.json"
OF_SFT = (REPORTS / "sft.json", REPORTS / "sft_curve.csv", MEASURED)
STAGES = ("sft", "eval@tuned")
REPORTED = (REPORTS / "base.json", REPORTS / "quantize.json")
# What each point has of the repository's own.
SHARED = (Path("stages"), Path("hallmark"), Path("requirements.lock"), BASE, QUANTIZED, *REPORTED)
# Of the evaluation, what costs time and isn't part of the curve, and what answers: the same for all points.
EVAL = {"eval.engine": {"kind": "hf"}, "eval.constrained": 0}


@dataclass(frozen=True)
class Part:
    """A share of the training groups, and the records of these groups. `whole`: all of them."""

    share: float
    groups: tuple[str, ...]
    records: int
    whole: bool

    @property
    def folder(self) -> Path:
        return FOLDER / f"{len(self.groups)}-groups"


@dataclass(frozen=True)
class Point:
    """What a part brought: answers to the validation records. Steps and seconds are those of training."""

    part: Part
    steps: int
    seconds: float
    predictions: list[Prediction]


def parts(groups: Sequence[str], shares: Sequence[float], seed: int) -> list[Part]:
    """Nested parts of the training data, by `shares` of its groups, rising: always the same for one seed, in a hash's order."""
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
        found.append(Part(share, tuple(names[:count]), records, whole=count == len(names)))
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


def files_of(part: Part, wanted: dict[str, Any]) -> dict[Path, bytes | memoryview]:
    """The files that a part's folder has of its own: its records, the validation records also as the holdout, and its params."""
    import polars as pl

    own = read_records(TRAIN).filter(pl.col("group").is_in(part.groups))
    validation, pipeline = VALIDATION.read_bytes(), PIPELINE.read_bytes()
    params = json_bytes(wanted)  # JSON is YAML too
    return {TRAIN: parquet(own), VALIDATION: validation, HOLDOUT: validation, PIPELINE: pipeline, PARAMS: params}


def prepare(part: Part, wanted: dict[str, Any]) -> None:
    """Lay out a part's folder: its files, the weights and the code, and DVC."""
    if not (part.folder / DVC_CONFIG).exists():  # new, or as an earlier version laid it out
        shutil.rmtree(part.folder, ignore_errors=True)
        write_text(part.folder / DVC_CONFIG, "[core]\n    no_scm = True\n")
    write_all({part.folder / file: content for file, content in files_of(part, wanted).items()})
    for source in SHARED:
        if source.exists():
            link(part.folder / source, source.absolute())
    link(part.folder / ADAPTER, Path(SFT_ADAPTER.name))
    shutil.copytree(CODE, part.folder / CODE, dirs_exist_ok=True)
    # In its order: a stage that DVC runs makes sure that both files are the same.
    write_text(part.folder / COMPARED, json.dumps(tracked(resolved(part.folder / PARAMS)), ensure_ascii=False))


def is_made(part: Part, wanted: dict[str, Any]) -> bool:
    """Whether a part's folder has its point, of the data, params and code of now; writes nothing."""
    files = files_of(part, wanted) | {file: file.read_bytes() for file in sorted(CODE.iterdir()) if file != COMPARED}
    there = {file: part.folder / file for file in files}
    same = all(there[file].is_file() and there[file].read_bytes() == content for file, content in files.items())
    return same and is_current(part.folder, *STAGES)


def link(place: Path, target: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    place.symlink_to(target)


def is_current(folder: Path, *stages: str) -> bool:
    """Whether the outputs of the stages came of the data, params and code of now, as DVC sees it in the folder."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    place = folder.absolute()
    try:
        with Repo(str(place)) as repo:
            return not repo.status(targets=[f"{place / PIPELINE}:{stage}" for stage in stages])
    except DvcException:  # no repository, or no lock yet
        return False


def made(part: Part) -> Point:
    """The point of a part whose folder is laid out: trained and evaluated, unless it is up to date."""
    if part.whole and not is_current(part.folder, "sft") and is_current(Path(), "sft"):
        take_over(part)
    dvc("repro", "--single-item", *STAGES, at=part.folder)
    steps = read_object(part.folder / REPORTS / "sft.json").get("steps", 0)
    seconds = read_object(part.folder / MEASURED).get("train_seconds", 0.0)
    return Point(part, steps, seconds, read_predictions("tuned", part.folder / predictions_of("tuned")))


def take_over(part: Part) -> None:
    """Copy the adapter of the repository's `sft`, and its reports, into the folder of all groups."""
    with atomic_folder(part.folder / SFT_ADAPTER) as folder:
        shutil.copytree(SFT_ADAPTER, folder, dirs_exist_ok=True)
    write_all({part.folder / file: file.read_bytes() for file in OF_SFT})
    dvc("commit", "--force", "sft", at=part.folder)
