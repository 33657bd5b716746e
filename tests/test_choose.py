"""Choosing a base: what is known of each before it runs, the limits, the experiments, and the table, report and page."""

from __future__ import annotations

import copy
import json
import re
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from ruamel.yaml import YAML

from stages.core.errors import HallmarkError
from stages.core.files import DEDUPED
from stages.core.records import schema, write_records
from stages.models.params import Candidate
from stages.params.loader import Params, load_params
from stages.release import provenance as prov
from stages.tools import candidates, experiments
from stages.tools import choice as shown
from stages.tools import choose as tool
from stages.tools.candidates import Exclusion, Facts, Memory
from stages.tools.choice import Choice, Limits, Row
from stages.tools.experiments import Measured, Run
from tests.rows import record, shipped
from tests.tiny import tiny_files
from tests.workspace import ROOT, change_params, git_commit, git_init, run, run_here

# One stage plays the pipeline: what it reports is what the reference reported, with the verdict that goes with the base.
MAKE = """
import json
from pathlib import Path
from ruamel.yaml import YAML

params = YAML(typ="safe", pure=True).load(Path("params.yaml").read_text())
name, rate = params["base"]["name"], params["sft"]["learning_rate"]
if rate > 1:
    raise SystemExit("sft: error: the loss is not a number\\n  remedy: lower sft.learning_rate")
Path("ran.txt").write_text(name)
for file in Path("made").rglob("*.json"):
    content = json.loads(file.read_text())
    if file.name == "gate.json":
        content["verdict"] = "pass" if name == "large" else "fail"
    target = Path("reports") / file.relative_to("made")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(content))
"""
REPORTS = ("gate.json", "comparison.json", "benchmark.json", *(f"measured/{name}.json" for name in experiments.TIMED))
PIPELINE = f"""
stages:
  gate: {{cmd: python make.py, params: [base, sft, data.path], deps: [make.py, made, "${{data.path}}"],
    outs: [{", ".join(f"reports/{name}: {{cache: false, persist: true}}" for name in REPORTS)}]}}
"""
SIZES = {"small": 2, "narrow": 3, "large": 4}  # layers


def base_of(name: str, **changes: Any) -> dict[str, Any]:
    block = {"source": "folder", "name": name, "licence": "mit", "path": f"bases/{name}", "chat_template_kwargs": {}}
    return {"base": block | changes.pop("base", {}), "set": changes}


def write_base(folder: Path, layers: int, **config: Any) -> None:
    """Config and tokenizer of the tiny model, with other layers; choosing reads no weights."""
    folder.mkdir(parents=True)
    for name, content in tiny_files(0).items():
        if name == "config.json":
            content = json.dumps(json.loads(content) | {"num_hidden_layers": layers} | config).encode()
        if not name.endswith(".safetensors"):
            (folder / name).write_bytes(content)


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with three bases; the data and the bases are not in git. `narrow` reads too few tokens."""
    root = tmp_path_factory.mktemp("repo")
    for name in REPORTS:
        (root / "made" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / "reports" / name, root / "made" / name)
    (root / "make.py").write_text(MAKE, encoding="utf-8")
    (root / "dvc.yaml").write_text(PIPELINE, encoding="utf-8")
    shutil.copyfile(ROOT / ".gitignore", root / ".gitignore")
    with (root / ".gitignore").open("a", encoding="utf-8") as file:
        file.write("/bases/\n/ran.txt\n")
    shutil.copyfile(ROOT / "params.yaml", root / "params.yaml")
    for name, layers in SIZES.items():
        write_base(root / "bases" / name, layers, **({"max_position_embeddings": 16} if name == "narrow" else {}))
    bases = [base_of(name) for name in SIZES]
    change_params(root, {"choose.bases": bases, "data.path": "data/raw/mine.jsonl", "task.schema": "made/gate.json"})
    git_init(root)
    (root / "data/raw").mkdir(parents=True)
    (root / "data/raw/mine.jsonl").write_text("{}\n", encoding="utf-8")
    rows = [record(str(number), "my kettle is broken " * (1 + number % 3)) for number in range(6)]
    write_records(root / DEDUPED, pl.DataFrame(rows, schema=schema()))
    return root


@pytest.fixture
def here(repo: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(repo)
    return repo


def test_bases_are_run_smallest_first_until_one_passes(here: Path) -> None:
    """With real `dvc exp run`: one base breaks a limit, one the gate, the third passes; again, nothing is run twice."""
    done = run_here(here, "stages.tools.choose", "--price-per-hour", "1")
    assert done.returncode == 0, done.stderr
    report = json.loads((here / "reports/choose.json").read_text(encoding="utf-8"))
    assert [(base["facts"]["name"], base["verdict"]) for base in report["bases"]] == [
        ("small", "Fail"),
        ("narrow", "Excluded: context"),
        ("large", "Pass"),
    ]
    assert report["chosen"] == "large"
    assert not (here / "ran.txt").exists(), "the working directory stays as it is"
    assert run(here, "git", "status", "--porcelain").stdout.split() == ["??", "reports/"]
    name = report["bases"][2]["run"]["experiment"]
    assert f"next: `dvc exp apply {name}`" in done.stdout
    params = prov.git("show", f"{report['bases'][2]['run']['commit']}:params.yaml")
    assert params is not None and b"name: large" in params

    again = run_here(here, "stages.tools.choose", "--price-per-hour", "1")
    assert f"large: experiment {name} has it already" in again.stderr
    assert "running as experiment" not in again.stderr
    (here / "data/raw/mine.jsonl").write_text('{"id": 1}\n', encoding="utf-8")
    assert tool_candidate(here, 2) is None, "other data: that experiment is another's"
    change_params(here, {"choose.bases": [base_of("small", **{"sft.learning_rate": 2.0})]})
    failed = run_here(here, "stages.tools.choose")
    assert failed.returncode == 1
    assert "Run failed\n      sft: error: the loss is not a number: lower sft.learning_rate" in failed.stdout
    assert "no base passes the gate within the limits" in failed.stderr


def tool_candidate(here: Path, number: int) -> tuple[str, str] | None:
    """The experiment there is of a base."""
    params = load_params(here / "params.yaml")
    candidate, _, wanted = tool.candidates(params, prov.parse_yaml((here / "params.yaml").read_bytes(), "params.yaml"))[
        number
    ]
    return experiments.find(experiments.name_of(candidate), wanted)
