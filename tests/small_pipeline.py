"""A pipeline in the shape of the real one that runs in seconds, in a repository with real git and real DVC."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from hallmark.params.loader import resolved
from tests.workspace import checked, dvc_init, run_here

ROOT = Path(__file__).resolve().parent.parent

# One script plays the pipeline: `python make.py STAGE` writes what that stage of the real one would.
MAKE = """
import json, os, sys
from pathlib import Path
from ruamel.yaml import YAML
from hallmark.base.files import sha256_folder, write_json

params = YAML(typ="safe", pure=True).load(Path("params.yaml").read_text())
stage = sys.argv[1]
if stage in ("base", "sft"):
    import numpy
    from safetensors.numpy import save_file
if stage == "base":
    folder = Path("models/base")
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"weight": numpy.ones((4, 4), numpy.float32)}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"name": params["base"]["name"]}))
    report = {"source": "folder", "name": params["base"]["name"], "revision": "local", "licence": "apache-2.0"}
    write_json(Path("reports/base.json"), report | {"files": sha256_folder(folder)})
elif stage == "quantize":
    from safetensors.numpy import load_file, save_file
    folder = Path("models/quantized")
    folder.mkdir(parents=True, exist_ok=True)
    scale = 0.5 if params["sft"]["method"] == "qlora" else 1
    save_file({"weight": scale * load_file("models/base/model.safetensors")["weight"]}, folder / "model.safetensors")
    (folder / "config.json").write_bytes(Path("models/base/config.json").read_bytes())
elif stage == "split":
    import polars
    none = {"context": None, "tools": None}
    rows = [json.loads(line) | none for line in Path("data/raw/tickets.jsonl").read_text().splitlines()]
    Path("data/split").mkdir(parents=True, exist_ok=True)
    for name, part in (("train", rows[:5]), ("validation", rows[5:7]), ("calibration", rows[7:8]), ("holdout", rows[8:]), ("online", [])):
        polars.DataFrame(part).write_parquet(f"data/split/{name}.parquet")
elif stage == "sft":
    folder = Path("models/adapter")
    folder.mkdir(parents=True, exist_ok=True)
    noise = float(os.environ.get("NOISE", 0))  # what a test sets to make a rebuild differ
    weight = numpy.full((4, 2), params["sft"]["learning_rate"] + noise, numpy.float32)
    save_file({"lora_A": weight, "lora_B": weight.T.copy()}, folder / "adapter_model.safetensors")
    write_json(folder / "adapter_config.json", {"r": params["sft"]["lora"]["r"]})
    write_json(folder / "training.json", {"base_precision": "nf4" if params["sft"]["method"] == "qlora" else "bfloat16"})
    write_json(Path("reports/sft.json"), {"validation_loss": 0.5 + noise})
elif stage == "eval":
    for model, value in (("base", 0.05), ("tuned", 0.8 if params["sft"]["learning_rate"] < 1 else 0.1)):
        folder = Path("reports/eval", model)
        folder.mkdir(parents=True, exist_ok=True)
        metric = {"value": value, "low": round(value - 0.04, 6), "high": round(value + 0.04, 6)}
        metrics = {name: metric for name in ("parses", "schema_validity", "exact_match", "field_f1")}
        failures = {"wrong value": 3, "omission": 1} if model == "tuned" else {}
        metrics |= {"records": 2, "groups": 2, "failures": failures}
        write_json(folder / "metrics.json", metrics)
        answer = {"id": "8", "input": "my parcel", "context": None, "target": "{}", "prediction": "{}", "fields": []}
        answer |= {"group": "a", "tags": None, "length": 9, "finish": "stop", "parses": True, "schema_valid": True}
        right = value > 0.5
        answer |= {"exact_match": right, "outcome": "pass" if right else "wrong_value", "reason": None}
        (folder / "predictions.jsonl").write_text(json.dumps(answer) + chr(10))
elif stage == "gate":
    tuned = json.loads(Path("reports/eval/tuned/metrics.json").read_text())
    outcome = "pass" if tuned["exact_match"]["value"] > 0.5 else "fail"
    rule = {"name": "exact_match_gain", "about": "Exact match", "value": 0.75, "low": 0.7, "high": 0.8, "waiver": None}
    rule |= {"needed": "60 points ahead", "measured": "75 ahead", "note": ""}
    rules = [rule | {"threshold": 0.6, "unit": "points", "outcome": outcome}]
    rules += [rules[0] | {"name": f"non_inferiority.{name}"} for name in params["gate"]["non_inferiority"]]
    waived = params["gate"]["waive"]
    rules += [rules[0] | {"name": name, "outcome": "fail", "waiver": reason} for name, reason in waived.items()]
    verdict = "pass_with_waivers" if waived and outcome == "pass" else outcome
    write_json(Path("reports/gate.json"), {"verdict": verdict, "words": "One rule decides.", "rules": rules})
    base = json.loads(Path("reports/eval/base/metrics.json").read_text())
    names = ("parses", "schema_validity", "exact_match")
    words = {name: name.replace("_", " ").capitalize() for name in names}
    rate = {"value": 0.0, "low": 0.0, "high": 0.1}
    counted = {"other": rate, "tuned": rate, "difference": rate, "possible": 2, "growth": rate, "judged": 2}
    gained = {"value": 0.75, "low": 0.5, "high": 0.9}
    change = {"other": 0.05, "tuned": 0.8, "difference": gained, "worst": rate, "lost": 0, "won": 15, "p": 6.1e-5}
    power = {"difference_asked_for": 0.05, "power": 0.8, "records_needed": None, "smallest_difference": None}
    against = {"verdict": "better", "words": "The tuned model beats the base.", "exact_match": change, "power": power}
    against |= {"name": "base", "opponent": "the base", "records": 20, "groups": 2}
    against["measures"] = [
        {"name": name, "words": words[name], "difference": rate, "other": base[name], "tuned": tuned[name]}
        for name in names
    ]
    against["failures"] = [{"name": name, "worst_growth": rate} | counted for name in ("wrong_value", "omission")]
    moves = (("pass", "pass", 1), ("omission", "pass", 15), ("omission", "wrong_value", 3), ("omission", "omission", 1))
    against["transitions"] = [{"other": before, "tuned": after, "records": n} for before, after, n in moves]
    linear = {"applies": False, "verdict": "not_applicable", "wins": False, "words": "", "trained": "", "labels": []}
    comparison = {"records": 20, "groups": 2, "confidence": 0.95, "constrained": []}
    comparison["against"] = {"base": against | {"slices": []}, "classical": linear, "comparators": []}
    alone = [{"name": name, "words": words[name], "given": False, "tuned": tuned[name]} for name in names]
    failed = [{"name": "wrong_value", "records": 3}, {"name": "omission", "records": 1}]
    failed = [
        one | {"tuned": {"value": one["records"] / 20, "low": 0.0, "high": 0.3}, "possible": 20, "worst": rate} for one in failed
    ]
    comparison |= {"tuned": {"measures": alone, "failures": failed}}
    write_json(Path("reports/comparison.json"), comparison)
    write_json(Path("reports/benchmark.json"), {"server": "transformers", "models": {}})
"""

PIPELINE = """
artifacts: {model: {path: models/release, type: model}}
stages:
  base: {cmd: python make.py base, params: [base], deps: [make.py], outs: [models/base: {persist: true, push: false}],
    metrics: [reports/base.json: {cache: false, persist: true}]}
  split: {cmd: python make.py split, params: [data], deps: [make.py, data/raw],
    outs: [data/split: {persist: true}]}
  quantize: {cmd: python make.py quantize, params: [sft.method], deps: [make.py, models/base],
    outs: [models/quantized: {persist: true}]}
  sft: {cmd: python make.py sft, params: [seed, sft], deps: [make.py, models/quantized, data/split, requirements.lock],
    outs: [models/adapter: {persist: true}], metrics: [reports/sft.json: {cache: false, persist: true}]}
  eval: {cmd: python make.py eval, deps: [make.py, models/base, models/adapter, data/split],
    outs: [reports/eval: {cache: false, persist: true}]}
  gate: {cmd: python make.py gate, params: [gate], deps: [make.py, reports/eval],
    metrics: [reports/gate.json: {cache: false, persist: true, meta: {measured: true}},
    reports/comparison.json: {cache: false, persist: true},
    reports/benchmark.json: {cache: false, persist: true, meta: {measured: true}}]}
  certify: {cmd: python -m stages.certify, params: [params.yaml: ], deps: [models/adapter, reports/gate.json],
    meta: {measured: true}, outs: [models/release: {persist: true},
    reports/measured/environment.json: {cache: false, persist: true}]}
"""


def shell(command: str, at: Path) -> str:
    """Run a command line in a folder with this Python; fail with its output where it fails."""
    environment = os.environ | {
        "DVC_NO_ANALYTICS": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        **{
            f"GIT_{who}_{what}": "hallmark@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        },
    }
    done = subprocess.run(["bash", "-c", command], cwd=at, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@contextmanager
def dvc() -> Iterator[Any]:
    """DVC in the working directory and in this process, silent, as are its stages."""
    from dvc.repo import Repo
    from dvc.stage import run

    logger = logging.getLogger("dvc")  # its handlers may hold a stream that another test has closed
    before, run_in_a_process = logger.level, run._run
    logger.setLevel(logging.ERROR)
    run._run = run_stage
    try:
        with Repo() as repo:
            yield repo
    finally:
        run._run = run_in_a_process
        logger.setLevel(before)


def run_stage(executable: str, command: str, *, cwd: str, **_: Any) -> None:
    """A stage's command; one of Python runs in this process, which has imported what it needs."""
    python, first, *words = command.split()
    if python != "python":
        shell(command, Path(cwd))
        return
    if first == "-m":
        checked(run_here(Path(cwd), *words))
        return
    argv = sys.argv
    with chdir(cwd):
        sys.argv = [first, *words]
        try:
            exec(compile(Path(first).read_text(), first, "exec"), {"__name__": "__main__"})  # noqa: S102
        finally:
            sys.argv = argv


def relock() -> None:
    """Make the working directory's `dvc.lock` describe the current files, as after a run: `dvc commit --force`."""
    with dvc() as repo:
        repo.commit(force=True)


def reproduce(folder: Path) -> None:
    """`dvc repro` in a folder."""
    with chdir(folder), dvc() as repo:
        repo.reproduce()


def make(repo: Path) -> None:
    """Write the repository, run its pipeline from a clean commit, and commit what it made."""
    write(repo)
    shell("git init -q -b main", repo)
    dvc_init(repo)
    shell("git add -A && git commit -qm start", repo)
    reproduce(repo)
    shell("git add -A && git commit -qm results && git repack -adq", repo)


def copied(repo: Path, target: Path) -> Path:
    """A copy of such a repository; what nobody edits is linked: the code, and git's objects."""
    linked = {"hallmark", "stages", ".git/objects"}
    for name in sorted(linked):
        for place, _, files in os.walk(repo / name):
            there = target / Path(place).relative_to(repo)
            there.mkdir(parents=True)
            for file in files:
                os.link(f"{place}/{file}", f"{there}/{file}")
    inside = lambda place, name: Path(place, name).relative_to(repo).as_posix()  # noqa: E731
    left_out = lambda place, names: [name for name in names if inside(place, name) in linked]  # noqa: E731
    return shutil.copytree(repo, target, ignore=left_out, dirs_exist_ok=True)


def write(repo: Path) -> None:
    """Write the files of the pipeline."""
    (repo / "data" / "raw").mkdir(parents=True)
    rows = [{"id": str(number), "text": f"ticket {number}"} for number in range(10)]
    (repo / "data/raw/tickets.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name in ("stages", "hallmark"):
        shutil.copytree(ROOT / name, repo / name, ignore=shutil.ignore_patterns("__pycache__"))
    (repo / ".gitignore").write_text("__pycache__/\n/models/versions/\n")
    (repo / "make.py").write_text(MAKE)
    (repo / "dvc.yaml").write_text(PIPELINE)
    (repo / "requirements.lock").write_text("pytest==1.0\nnot-there-at-all==1.0\n")
    yaml = YAML()
    params = resolved(ROOT / "params.yaml")
    params["certify"] |= {"name": "tickets", "private_data": "error"}
    yaml.dump(params, repo / "params.yaml")
