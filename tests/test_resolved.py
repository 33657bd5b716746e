"""The resolved params: where DVC tracks them, what a changed default runs again, what a commit's are, how they are shown."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from hallmark.base import provenance as prov
from hallmark.commands import params as tool
from hallmark.params.loader import resolved
from tests.workspace import ROOT, git_init, run

PIPELINE = """
stages:
  code: {cmd: python -m stages.code, deps: [hallmark], params: [{params.yaml: }],
    outs: [code: {cache: false, persist: true}]}
  sft: {cmd: echo sft > sft.txt, deps: ["${data.path}"], params: [{code/params.yaml: [seed, sft]}], outs: [sft.txt]}
  gate: {cmd: echo gate > gate.txt, params: [{code/params.yaml: [gate]}], outs: [gate.txt]}
  certify: {cmd: cp code/params.yaml all.txt, deps: [code, gate.txt], params: [{code/params.yaml: }], outs: [all.txt]}
"""


def ran(folder: Path, *options: str) -> list[str]:
    """The stages that a command of DVC ran."""
    said = run(folder, "dvc", *options).stdout
    return [line.split("'")[1] for line in said.splitlines() if line.startswith("Running stage '")]


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the library, the stage `code`, and three stages that name their params in its output."""
    root = tmp_path_factory.mktemp("repo")
    for name in ("hallmark", "stages"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("params.yaml", "requirements.lock"):
        shutil.copyfile(ROOT / name, root / name)
    (root / ".gitignore").write_text("__pycache__/\n", encoding="utf-8")
    (root / "data/raw").mkdir(parents=True)
    (root / "data/raw/tickets.jsonl").write_text("{}\n", encoding="utf-8")
    (root / "dvc.yaml").write_text(PIPELINE, encoding="utf-8")
    git_init(root)
    assert ran(root, "repro") == ["code", "sft", "gate", "certify"]
    run(root, "git", "add", "--all")
    run(root, "git", "-c", "user.name=T", "-c", "user.email=t@example.com", "commit", "--quiet", "-m", "ran")
    return root


@pytest.mark.full
def test_a_changed_default_runs_the_stages_again_that_read_it(repo: Path) -> None:
    file = repo / "hallmark/params/defaults.yaml"
    before = file.read_text(encoding="utf-8")
    file.write_text(before.replace("weight_decay: 0.0 ", "weight_decay: 0.1 "), encoding="utf-8")
    assert ran(repo, "repro") == ["code", "sft", "certify"]
    differ = json.loads(run(repo, "dvc", "params", "diff", "--json").stdout)
    assert differ == {"code/params.yaml": {"sft.weight_decay": {"old": 0.0, "new": 0.1, "diff": 0.1}}}
    file.write_text(before, encoding="utf-8")
    ran(repo, "repro")
    params = repo / "params.yaml"
    params.write_text(params.read_text(encoding="utf-8").replace("# rank: ", "# the rank: "), encoding="utf-8")
    assert json.loads(run(repo, "dvc", "status", "--json").stdout) == {}, "a comment is no param"
    run(repo, "git", "checkout", "--quiet", ".")
    run(repo, "dvc", "checkout", "--quiet")


def test_the_params_of_a_commit_are_those_that_code_resolved() -> None:
    files: dict[str, bytes] = {"params.yaml": b"sft: {epochs: 2}\nseed: 7\n"}
    before: tuple[dict[str, Any], list[str]] = ({"sft": {"epochs": 2}, "seed": 7}, [])
    assert prov.params_at(files.get, "", {}) == before, "of before there were defaults"
    lock: Any = {"code": {"params": before[0]}}
    files["code/params.yaml"] = b"sft: {epochs: 2, keep: best}\nseed: 7\n"
    whole = {"sft": {"epochs": 2, "keep": "best"}, "seed": 7}
    assert prov.params_at(files.get, "", lock) == (whole, [])
    files["params.yaml"] = b"sft: {epochs: 3}\n"
    assert prov.params_at(files.get, "", lock) == (whole, ["seed", "sft.epochs"]), (
        "changed or removed, and not run since"
    )


def shown(capsys: pytest.CaptureFixture[str], *options: Any) -> str:
    tool.run(ROOT / "params.yaml", *options)
    return capsys.readouterr().out


def test_all_params_are_shown_with_value_default_and_effect(capsys: pytest.CaptureFixture[str]) -> None:
    said = shown(capsys, None, False, False)
    assert "\n* sft.lora.layers = 20  (default null)\n      number of layers, counted from the last" in said
    assert "\n  sft.weight_decay = 0.0\n      how strongly adapter weights" in said
    assert '\n* data.path = "data/raw/tickets.jsonl"  (no default)\n' in said
    assert [line[:-1] for line in said.splitlines() if line.endswith(":") and line[0] != " "] == [
        name for name, value in resolved(ROOT / "params.yaml").items() if isinstance(value, dict)
    ]
    table = json.loads(shown(capsys, None, False, True))
    assert all(row["effect"] for name, row in table.items() if not name.startswith("gate.margins."))
    assert table["sft.max_grad_norm"]["value"] == table["sft.max_grad_norm"]["default"] == 1.0
