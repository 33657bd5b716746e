"""A copy of this repository in which tests run the real stages on a tiny model and few records."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parent.parent
SHARED = ("stages", "data", "dvc.yaml", "params.yaml", "requirements.lock", ".gitignore", ".dvcignore")

# The whole pipeline on a model that knows nothing, in a minute: few steps, short answers, few requests.
TINY = {
    "compute.threads": 1,
    "sft.max_steps": 4,
    "sft.eval_steps": 2,
    "sft.max_length": 4096,
    "sft.lora.r": 4,
    "sft.lora.layers": 1,
    "eval.max_new_tokens": 16,
    "benchmark.requests": 4,
    "benchmark.warmup": 1,
    "benchmark.concurrency": [2],
    "benchmark.max_tokens": 8,
    "compare.draws": 500,
}

# What params.yaml says of the model that `tests/tiny.py` makes in the folder `tiny` of a workspace.
TINY_BASE = {
    "source": "folder",
    "name": "tests/tiny",
    "licence": "apache-2.0",
    "path": "tiny",
    "chat_template_kwargs": {},
}


def make_workspace(folder: Path, overrides: dict[str, Any] | None = None, rows: int | None = None) -> Path:
    """Copy the repository's parts into `folder`, with dotted parameters changed and only the first `rows` raw rows.

    Rows are counted where the raw data is one JSONL file inside the repository, as the sample data is.
    """
    for name in SHARED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(
                source,
                folder / name,
                ignore=shutil.ignore_patterns("__pycache__", "*.parquet", "split", "holdout.lock.json"),
            )
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / name)
    raw = folder / YAML(typ="safe").load((folder / "params.yaml").read_text(encoding="utf-8"))["data"]["path"]
    if rows is not None and raw.suffix == ".jsonl" and raw.is_relative_to(folder / "data"):
        raw.write_text("".join(raw.read_text(encoding="utf-8").splitlines(keepends=True)[:rows]), encoding="utf-8")
    change_params(folder, overrides or {})
    return folder


def make_tiny_workspace(folder: Path, overrides: dict[str, Any] | None = None, rows: int | None = None) -> Path:
    """A workspace whose base is the tiny model of `tests/tiny.py`, in a folder inside the workspace."""
    from tests.tiny import make_tiny_base

    json_calls = {"task.tool_format": "json"}  # its chat template knows no tools
    make_workspace(folder, TINY | {"base": TINY_BASE} | json_calls | (overrides or {}), rows)
    make_tiny_base(folder / "tiny")
    return folder


def change_params(folder: Path, overrides: dict[str, Any]) -> None:
    """Set dotted parameters in the workspace's `params.yaml`."""
    yaml = YAML()
    file = folder / "params.yaml"
    params = yaml.load(file.read_text(encoding="utf-8"))
    for key, value in overrides.items():
        *blocks, last = key.split(".")
        block = params
        for name in blocks:
            block = block[name]
        block[last] = value
    with file.open("w", encoding="utf-8") as stream:
        yaml.dump(params, stream)


def run(folder: Path, *command: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the workspace with the tests' Python first on the path; its output is captured."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    result = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(folder), "NO_COLOR": "1", **environment},
        text=True,
        capture_output=True,
    )
    if check and result.returncode != 0:
        raise AssertionError(f"{command} ended with {result.returncode}:\n{result.stdout}\n{result.stderr}")
    return result


def stage(
    folder: Path, name: str, *options: str, check: bool = True, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run one stage in the workspace."""
    return run(folder, "python", "-m", f"stages.{name}", *options, check=check, **environment)


def report(folder: Path, name: str) -> Any:
    """A JSON report of the workspace."""
    return json.loads((folder / "reports" / f"{name}.json").read_text(encoding="utf-8"))


def git_init(folder: Path) -> None:
    """Make the workspace a git and DVC repository with one commit."""
    run(folder, "git", "init", "--quiet", "--initial-branch", "main")
    run(folder, "dvc", "init", "--quiet")
    git_commit(folder, "start")


def git_commit(folder: Path, message: str) -> None:
    """Commit all that lies in the workspace."""
    run(folder, "git", "add", "--all")
    run(folder, "git", "-c", "user.name=Test", "-c", "user.email=test@example.com", "commit", "--quiet", "-m", message)
