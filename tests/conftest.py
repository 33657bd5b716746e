"""Settings of all tests, and the one run of the whole pipeline that several of them look at."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import settings

from stages.core.compute import THREAD_VARIABLES
from tests.workspace import git_commit, git_init, make_tiny_workspace, run

# Before anything imports torch or NumPy, as a stage does it for the tiny workspace's `compute.threads: 1`.
os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))

# The same examples each time; no deadline, since a test machine may be busy.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")


def add_worse_answers(raw: Path) -> None:
    """Give two rows of three a worse answer: that of the row before, or a text that says who the customer is."""
    rows = [json.loads(line) for line in raw.read_text(encoding="utf-8").splitlines()]
    for number, row in enumerate(rows):
        texts = [None, rows[number - 1]["target"], f"Dear {row['contact_name']}, mail us from {row['contact_email']}."]
        row["worse"] = texts[number % 3]
    raw.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


# Read by every Python below `dvc repro`: writes down which files of `stages/` a stage opens, its own processes included.
AUDIT = """
import os, sys

stage = next((word for word in sys.orig_argv if word.startswith("stages.")), os.environ.get("AUDIT_STAGE"))
if stage:
    os.environ["AUDIT_STAGE"] = stage
    seen, code = set(), os.path.join(os.environ["AUDIT_ROOT"], "stages", "")

    def note(event, arguments):
        if event == "open" and str(arguments[0]).startswith(code) and arguments[0] not in seen:
            seen.add(arguments[0])
            with open(os.path.join(os.environ["AUDIT_FOLDER"], stage), "a") as file:
                file.write(str(arguments[0])[len(code):] + chr(10))

    sys.addaudithook(note)
"""


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository in which `dvc repro` has run the whole pipeline on the tiny model, and its results are committed."""
    folder = tmp_path_factory.mktemp("pipeline") / "repo"
    overrides = {"sft.max_length": 8192, "sft.lora.dropout": 0.1, "sft.accumulation": 2, "data.rejected": "worse"}
    make_tiny_workspace(folder, overrides, rows=200)
    add_worse_answers(folder / "data/raw/tickets.jsonl")
    git_init(folder)
    opened = folder.parent / "opened"
    (opened / "python").mkdir(parents=True)
    (opened / "python/sitecustomize.py").write_text(AUDIT, encoding="utf-8")
    path = f"{folder}{os.pathsep}{opened / 'python'}"
    run(folder, "dvc", "repro", PYTHONPATH=path, AUDIT_ROOT=str(folder), AUDIT_FOLDER=str(opened))
    git_commit(folder, "results")
    return folder


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the pipeline of `tests/small_pipeline.py`, which ran and whose results are committed."""
    from tests.small_pipeline import make  # a stamped repo has this file, and not that one

    folder = tmp_path_factory.mktemp("small") / "repo"
    make(folder)
    return folder
