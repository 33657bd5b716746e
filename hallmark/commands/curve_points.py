"""The points of a learning curve, for `python -m hallmark.commands.curve`: parts of the training data, each trained and evaluated.

Each point has a folder below .hallmark/curve, laid out like this repository, in which the stages `sft` and `eval` run; the
repository's own outputs stay as they are. What is evaluated there as the holdout are the validation records: no point of
the curve is chosen or judged by the holdout.
"""

from __future__ import annotations

import copy
import hashlib
import logging
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hallmark.base.dvc_lock import parse_yaml
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
    canonical_json,
    sha256_file,
    write_all,
    write_json,
)
from hallmark.base.loaded_code import FOLDER as CODE
from hallmark.base.reading import read_object
from hallmark.base.records import parquet, read_records
from hallmark.data.grouping import draw_hash
from hallmark.task.predictions import Prediction, predictions_of, read_predictions

if TYPE_CHECKING:
    from hallmark.params.loader import Params

log = logging.getLogger("curve")

FOLDER = Path(".hallmark/curve")  # neither git nor DVC look there
DONE = "done.json"  # the hash of all that a step's result came of, by step
CHECKPOINT_MINUTES = 3.0  # so that a point that was killed continues; changes nothing in what is learned
PIPELINE = Path("dvc.yaml")
PARAMS = Path("params.yaml")
LOCKED = Path("requirements.lock")
BASE_REPORT, QUANTIZE_REPORT, SFT_REPORT = (REPORTS / f"{name}.json" for name in ("base", "quantize", "sft"))
MEASURED = REPORTS / "measured/sft.json"
SHARED = (Path("stages"), Path("hallmark"), CODE, PIPELINE, LOCKED, BASE, QUANTIZED, BASE_REPORT, QUANTIZE_REPORT)
STEPS = ("sft", "eval")
# Of the evaluation, what costs time and isn't part of the curve, and what answers: the same for all points.
EVAL = {"engine": {"kind": "hf"}, "again": 0, "constrained": 0}


@dataclass(frozen=True)
class Part:
    """A share of the training groups, and the records of these groups. `whole`: all of them."""

    share: float
    groups: tuple[str, ...]
    records: int
    whole: bool

    @property
    def folder(self) -> Path:
        """Where its point is made."""
        return FOLDER / f"{len(self.groups)}-groups"


@dataclass(frozen=True)
class Point:
    """What a part brought: answers to the validation records. Steps and seconds are those of training."""

    part: Part
    steps: int
    seconds: float
    predictions: list[Prediction]
    reused: bool  # the adapter is that of `sft`, not trained again


def parts(groups: Sequence[str], shares: Sequence[float], seed: int) -> list[Part]:
    """Nested parts of the training data: `groups` has the group of each record, `shares` are of the groups, rising.

    Groups are taken in the order of a hash, so that each part holds all smaller ones, and the same groups with the same
    seed are always the same parts.
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
        found.append(Part(share, tuple(names[:count]), records, whole=count == len(names)))
    return found


def steps_share(part: Part, records: int, least: float) -> float:
    """The training steps of a part, as a share of those of all `records`: its share of the records, or `least` if more."""
    return max(part.records / records, least)


def settings(raw: Mapping[str, Any], part: Part, records: int, least: float) -> dict[str, Any]:
    """params.yaml for a part: more passes over few records, validations as often, and answers to evaluate, no more."""
    params: dict[str, Any] = copy.deepcopy(dict(raw))
    params["eval"] |= copy.deepcopy(EVAL)
    params["eval"]["general"] = params["eval"]["general"] | {"tasks": []}
    params["eval"]["agreement"] = params["eval"]["agreement"] | {"records": 0}
    sft, share = params["sft"], steps_share(part, records, least)
    if not part.whole:
        sft["epochs"] = sft["epochs"] * share * records / part.records
        if sft["max_steps"] is not None:
            sft["max_steps"] = max(1, math.ceil(sft["max_steps"] * share))
        sft["eval_steps"] = max(1, math.ceil(sft["eval_steps"] * share))
    if sft["checkpoint_minutes"] is None and sft["parallel"]["processes"] == 1:
        sft["checkpoint_minutes"] = CHECKPOINT_MINUTES
    return params


def made(part: Part, params: Params, raw: Mapping[str, Any], records: int) -> Point:
    """The point of a part: trained and evaluated, unless its folder has the same already."""
    wanted = settings(raw, part, records, params.curve.least_steps)
    prepare(part, wanted)
    keys, done = keys_of(part, wanted), finished(part)
    if done.get("sft") != keys["sft"]:
        done = {"sft": keys["sft"], "reused": part.whole and sft_is_current()}
        if done["reused"]:
            log.info("all groups: the adapter of `sft` is up to date, and isn't trained again")
            take_over(part)
        else:
            run(part, "stages.sft")
        write_json(part.folder / DONE, done)
    if done.get("eval") != keys["eval"]:
        run(part, "stages.eval", "--model", "tuned")
        done |= {"eval": keys["eval"]}
        write_json(part.folder / DONE, done)
    return point(part, reused=bool(done["reused"]))


def point(part: Part, *, reused: bool) -> Point:
    """What the reports in a part's folder say."""
    steps = read_object(part.folder / REPORTS / "sft.json").get("steps", 0)
    seconds = read_object(part.folder / MEASURED).get("train_seconds", 0.0)
    return Point(part, steps, seconds, read_predictions("tuned", part.folder / predictions_of("tuned")), reused)


def is_made(part: Part, params: Params, raw: Mapping[str, Any], records: int) -> bool:
    """Whether a part's folder has its point, of the params, data and code of now."""
    wanted = settings(raw, part, records, params.curve.least_steps)
    done = finished(part)
    return bool(done) and keys_of(part, wanted).items() <= done.items()


def prepare(part: Part, wanted: dict[str, Any]) -> None:
    """Lay out a part's folder: its records, the validation records also as the holdout, the weights, and its params."""
    for file in (TRAIN, VALIDATION, HOLDOUT):
        target = part.folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        if file == TRAIN:
            write_all({target: records_of(part)})
        else:
            shutil.copyfile(VALIDATION, target)
    for source in SHARED:
        link = part.folder / source
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        if source.exists():
            link.symlink_to(source.absolute())
    adapter = part.folder / ADAPTER
    adapter.unlink(missing_ok=True)
    adapter.symlink_to(SFT_ADAPTER.name)
    schema = wanted["task"]["schema"]
    if isinstance(schema, str):
        wanted = wanted | {"task": wanted["task"] | {"schema": str(Path(schema).absolute())}}
    write_json(part.folder / PARAMS, wanted)  # JSON is YAML too


def records_of(part: Part) -> memoryview:
    """The training records of a part, in their order, as the bytes of a Parquet file."""
    import polars as pl

    return parquet(read_records(TRAIN).filter(pl.col("group").is_in(part.groups)))


def keys_of(part: Part, wanted: Mapping[str, Any]) -> dict[str, str]:
    """By step, a hash of all that its result comes of: params, records, weights, code."""
    schema = wanted["task"]["schema"]
    stages = parse_yaml(PIPELINE.read_bytes(), PIPELINE)["stages"]
    deps = {"sft": stages["sft"]["deps"], "eval": stages["eval"]["do"]["deps"]}
    shared = {
        "params": {name: wanted[name] for name in ("seed", "compute", "task", "base")},
        "schema": sha256_file(Path(schema)) if isinstance(schema, str) else None,
        "validation": sha256_file(VALIDATION),
        "weights": [read_object(file)["files"] for file in (BASE_REPORT, QUANTIZE_REPORT)],
    }
    keys: dict[str, str] = {}
    for step in STEPS:
        code = {name: sha256_file(Path(name)) for name in deps[step] if name.startswith(f"{CODE}/")}
        content = shared | {"code": code, "own": wanted[step], "locked": sha256_file(LOCKED)}
        content |= {"train": hashlib.sha256(records_of(part)).hexdigest()} if step == "sft" else {"sft": keys["sft"]}
        keys[step] = hashlib.sha256(canonical_json(content).encode()).hexdigest()
    return keys


def finished(part: Part) -> dict[str, Any]:
    """The steps that ended in a part's folder, each with the hash of what it came of."""
    file = part.folder / DONE
    if not file.exists():
        return {}
    try:
        return read_object(file)
    except HallmarkError:  # damaged: the point is made again
        return {}


def sft_is_current() -> bool:
    """Whether models/sft came of the data, params and code of now, as DVC sees it."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            return not repo.status(targets=["sft"])
    except DvcException:  # no repository, or no lock yet
        return False


def take_over(part: Part) -> None:
    """Copy the adapter of `sft`, and its reports, into a part's folder."""
    with atomic_folder(part.folder / SFT_ADAPTER) as folder:
        shutil.copytree(SFT_ADAPTER, folder, dirs_exist_ok=True)
    for file in (SFT_REPORT, MEASURED):
        (part.folder / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, part.folder / file)


def run(part: Part, module: str, *options: str) -> None:
    """Run a stage in a part's folder; its output goes where ours goes."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if subprocess.run([sys.executable, "-m", module, *options], cwd=part.folder, env=environment).returncode:
        raise HallmarkError(
            f"{module} failed with {len(part.groups)} of the training groups",
            file=part.folder,
            remedy="see its output above; once it is fixed, `nox -s curve` goes on with this point",
        )
