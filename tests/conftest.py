"""Settings of all tests, and the one run of the whole pipeline that several of them look at."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import dvc as dvc  # now: its loggers keep the streams of the moment, and a test's are closed after it
import pytest
from filelock import FileLock
from hypothesis import is_hypothesis_test, settings

from hallmark.base.compute import THREAD_VARIABLES
from hallmark.base.errors import TRACEBACK_VARIABLE
from tests.workspace import add_to_recipe, git_commit, git_init, make_tiny_workspace, repro_here, stage

# Before anything imports torch or NumPy, as a stage does it for the tiny workspace's `compute.threads: 1`.
os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
os.environ[TRACEBACK_VARIABLE] = "1"  # what nobody foresaw is a bug here, to be seen in full

# HALLMARK_FUZZ=5000: that many examples of each property that sets no number itself, other ones each time.
FUZZ = os.environ.get("HALLMARK_FUZZ")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """How many examples a property is tried on: with `-m full`, 15 times as many. No deadline: a machine may be busy."""
    examples = int(FUZZ or (300 if config.option.markexpr == "full" else 20))
    settings.register_profile("hallmark", deadline=None, derandomize=not FUZZ, max_examples=examples)
    settings.load_profile("hallmark")


def add_worse_answers(raw: Path) -> None:
    """Give two rows of three a worse answer: that of the row before, or a text that says who the customer is."""
    rows = [json.loads(line) for line in raw.read_text(encoding="utf-8").splitlines()]
    for number, row in enumerate(rows):
        texts = [None, rows[number - 1]["target"], f"Dear {row['contact_name']}, mail us from {row['contact_email']}."]
        row["worse"] = texts[number % 3]
    raw.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


# The modules that take longest. pytest-xdist deals modules out in this order, so that none of them is left to the end.
SLOW = (
    "test_rebuild", "test_pipeline", "test_registry", "test_ray", "test_draft", "test_live_masking", "test_collect",
    "test_deployments", "test_mask", "test_checkpoint", "test_gate", "test_benchmark", "test_canary", "test_tune",
    "test_certify", "test_report", "test_otlp", "test_ask", "test_fetch", "test_places", "test_batch", "test_verify",
    "test_several", "test_split", "test_model_card", "test_update", "test_bad_input", "test_server",
    "test_template", "test_keep", "test_stale", "test_planted",
)  # fmt: skip


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Slow modules first; the order is otherwise as it was. Properties run with `-m full` too."""
    for item in items:
        if config.option.markexpr == "full" and is_hypothesis_test(getattr(item, "obj", None)):
            item.add_marker("full")
    items.sort(key=lambda item: SLOW.index(item.path.stem) if item.path.stem in SLOW else len(SLOW))


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A repository that the first test process to need it makes for all of them: not to be changed, but to be copied."""
    base = factory.getbasetemp()
    top = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with FileLock(top.with_suffix(".lock")):
        if not (top / "made").exists():
            make(top / "repo")
            (top / "made").touch()
    return top / "repo"


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    """A model server without a model, in a process of its own."""
    from tests.stub_model import stub  # a stamped repo has this file, and none of those that fixtures import

    with stub("v1") as running:
        yield running


@pytest.fixture(scope="session")
def tiny_start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the whole pipeline on the tiny model, of which nothing has run yet."""
    return made_once(tmp_path_factory, "start", make_tiny_start)


def make_tiny_start(folder: Path) -> None:
    overrides = {"sft.max_length": 8192, "sft.lora.dropout": 0.1, "sft.gradient_accumulation_steps": 2}
    overrides |= {"benchmark.models": ["tuned"], "benchmark.parity.artefacts": ["adapter", "server"]}
    make_tiny_workspace(folder, overrides | {"mask.workers": 1}, rows=200)
    add_to_recipe(folder, 'rejected=row.get("worse")')
    add_worse_answers(folder / "data/raw/tickets.jsonl")
    git_init(folder)


@pytest.fixture(scope="session")
def tiny_run(tiny_start: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of it in which the whole pipeline has run, in this process, and its results are committed."""

    from dvc.repo import Repo

    def make(folder: Path) -> None:
        shutil.copytree(tiny_start, folder, symlinks=True)
        repro_here(folder, "report")
        stage(folder, "certify")  # it reads dvc.lock
        with chdir(folder), Repo() as repo:
            repo.commit("certify", force=True)
        git_commit(folder, "results")

    return made_once(tmp_path_factory, "pipeline", make)


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the pipeline of `tests/small_pipeline.py`, which ran and whose results are committed."""
    from tests.small_pipeline import make

    return made_once(tmp_path_factory, "small", make)


@pytest.fixture(scope="session")
def registered_run(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with registered releases: see `tests/registered.py`."""
    from tests.registered import make_registered

    return made_once(tmp_path_factory, "registered", lambda folder: make_registered(small_run, folder))


@pytest.fixture
def registered_repo(registered_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, as the working directory."""
    from tests.small_pipeline import copied

    copy = copied(registered_run, tmp_path / "their repo")
    monkeypatch.chdir(copy)
    return copy


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of an S3 server with the empty bucket `store`."""
    import boto3
    from moto.server import ThreadedMotoServer

    for name, value in {"ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{server.get_host_and_port()[1]}")
    client.create_bucket(Bucket="store")
    yield client
    server.stop()
