"""Settings of all tests, and the one run of the whole pipeline that several of them look at."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from tests.workspace import git_commit, git_init, make_tiny_workspace, run

# The same examples each time; no deadline, since a test machine may be busy.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository in which `dvc repro` has run the whole pipeline on the tiny model, and its results are committed."""
    folder = tmp_path_factory.mktemp("pipeline") / "repo"
    make_tiny_workspace(folder, {"sft.max_length": 8192, "sft.lora.dropout": 0.1, "sft.accumulation": 2}, rows=200)
    git_init(folder)
    run(folder, "dvc", "repro")
    git_commit(folder, "results")
    return folder
