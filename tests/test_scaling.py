"""The sweeps of docs/training.md: a queue of DVC's on this machine, and SkyPilot's task, which its own parser reads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.workspace import ROOT, git_init, make_tiny_workspace, report, run

TASK = ROOT / "docs/sky.yaml"


def repository(folder: Path) -> Path:
    """A tiny workspace under git, with its data ready: only what comes after `split` is left to do."""
    make_tiny_workspace(folder, rows=150)
    git_init(folder)
    for key, value in (("user.name", "Test"), ("user.email", "test@example.com")):
        run(folder, "git", "config", key, value)
    run(folder, "dvc", "repro", "--quiet", "split", "base")
    run(folder, "git", "add", "--all")
    run(folder, "git", "commit", "--quiet", "-m", "data")
    return folder


@pytest.mark.full
def test_the_task_runs_with_its_value_and_brings_its_outputs_back(tmp_path: Path, store: Any) -> None:
    """In a fresh clone with nothing but what git and the S3 remote have, as on a rented machine."""
    home = repository(tmp_path / "home")
    run(home, "dvc", "remote", "add", "--default", "store", "s3://store/tickets")
    run(home, "dvc", "remote", "modify", "store", "endpointurl", store.meta.endpoint_url)
    run(home, "git", "commit", "--quiet", "--all", "-m", "remote")
    run(home, "dvc", "push")
    folder = tmp_path / "sky_workdir"
    run(home, "git", "clone", "--quiet", ".", str(folder))
    task = YAML(typ="safe").load(TASK.read_text(encoding="utf-8"))
    (folder / "data/raw/tickets.jsonl").unlink()  # the sample; own data, which git does not have, stays at home
    (folder / ".venv/bin").mkdir(parents=True)
    (folder / ".venv/bin/activate").touch()  # the tests' own environment is on the PATH already
    (folder / ".venv/bin/dvc").symlink_to(str(shutil.which("dvc")))
    installs, pulls = task["setup"].split("python3.11 -m nox -s repro -- base")
    assert "pip install nox" in installs
    values = {**task["envs"], "LORA_R": "8", "DEVICE": "cpu", "ATTENTION": "eager", "SKYPILOT_NUM_GPUS_PER_NODE": "2"}
    run(folder, "bash", "-c", f"set -e; dvc repro base {pulls}", **values)
    run(folder, "bash", "-c", task["run"], **values)
    assert report(folder, "measured/sft")["fingerprint"]["processes"] == 2
    assert "rank-8" in run(folder, "dvc", "exp", "list", "--name-only").stdout

    for name in ("dvc.lock", "params.yaml"):  # which, with reports/, rsync brings
        shutil.copyfile(folder / name, home / name)
    run(home, "dvc", "pull", "--force", "models/adapter")
    adapter = json.loads((home / "models/adapter/adapter_config.json").read_text(encoding="utf-8"))
    assert adapter["r"] == 8
