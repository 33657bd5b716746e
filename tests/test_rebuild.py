"""The pipeline rebuilt: in a fresh clone, which may be killed on the way, and from a remote. On the tiny model."""

from __future__ import annotations

import contextlib
import datetime
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from hallmark.base import loaded_code
from hallmark.base import provenance as prov
from hallmark.task.predictions import predictions_of
from tests.test_pipeline import PIPELINE, module_of, stages
from tests.workspace import ROOT, add_remote, run

# Read by every Python below `dvc repro`: writes down which files of `stages/` and `hallmark/` a stage opens, its own processes included.
AUDIT = """
import os, sys

stage = next((word for word in sys.orig_argv if word.startswith("stages.")), os.environ.get("AUDIT_STAGE"))
if stage:
    os.environ["AUDIT_STAGE"] = stage
    root = os.path.join(os.environ["AUDIT_ROOT"], "")
    seen, code = set(), (root + "stages/", root + "hallmark/")

    def note(event, arguments):
        if event == "open" and str(arguments[0]).startswith(code) and arguments[0] not in seen:
            seen.add(arguments[0])
            with open(os.path.join(os.environ["AUDIT_FOLDER"], stage), "a") as file:
                file.write(str(arguments[0])[len(root):] + chr(10))

    sys.addaudithook(note)
"""

MEASURED = ("reports/measured/", "models/release/")
# What every run of the tests rebuilds, and the stages on the way there; with `-m full`, all is rebuilt.
TARGETS = ("eval@tuned",)
ON_THE_WAY = ("base", "mask", "dedupe", "split", "quantize", "sft", "dpo", "eval")


def exact_outputs(folder: Path) -> list[Path]:
    """The files that must be the same bytes in every run, relative to the repository."""
    found = [file for top in ("data", "models", "reports") for file in prov.files_in(folder / top)]
    names = [file.relative_to(folder).as_posix() for file in found]
    judged = {"reports/gate.json", "reports/headline.json", "reports/decision.json", "reports/comparison.html"}
    measured = {"reports/benchmark.json"} | judged
    return [
        Path(name)
        for name in names
        if name not in measured and not name.startswith((*MEASURED, "data/raw", "data/gold", "data/generate"))
    ]


def rebuild(start: Path, top: Path, kills: int = 0, targets: tuple[str, ...] = ()) -> Path:
    """Another folder, hash seed, locale, time zone and umask, and an empty cache. `dvc repro` and all it started are
    killed, at any moment and again and again; it goes on from where it was cut.

    DVC 3.67 doesn't write dvc.lock in one move: killed in that moment, it leaves a part of it, which it then refuses to
    read. The way out is the one in docs/dvc.md: put the committed file back (here there is none, so it is removed).
    """
    folder, audit = top / "another place", top / "audit"
    run(top, "git", "clone", "--quiet", str(start), str(folder))
    for name in ("hallmark", "stages"):  # the same files, compiled
        shutil.copytree(ROOT / name, folder / name, dirs_exist_ok=True)
    shutil.copy2(start / "stages/records.py", folder / "stages/records.py")  # the pipeline's own
    for name in ("opened", "python"):
        (audit / name).mkdir(parents=True)
    (audit / "python/sitecustomize.py").write_text(AUDIT, encoding="utf-8")
    elsewhere = {"PYTHONHASHSEED": "11", "LC_ALL": "C", "TZ": "Asia/Tokyo"}
    elsewhere |= {"AUDIT_ROOT": str(folder), "AUDIT_FOLDER": str(audit / "opened")}
    elsewhere |= {"PYTHONPATH": f"{folder}{os.pathsep}{audit / 'python'}"}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    repro = ["bash", "-c", f"umask 077; exec dvc repro {' '.join(targets)}"]
    draw = random.Random(kills)
    for _ in range(kills):
        process = subprocess.Popen(
            repro, cwd=folder, env={**os.environ, **elsewhere, "PATH": path}, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(draw.uniform(2, 30))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        status = run(folder, "dvc", "status", check=False)
        if status.returncode:
            assert re.search(r"'\./dvc\.lock' (is invalid|validation failed)", status.stderr), status.stderr
            (folder / "dvc.lock").unlink()
    run(folder, *repro, **elsewhere)
    return folder


@pytest.fixture(scope="session")
def rebuilt(tiny_start: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """TARGETS as users make them: a process for each stage, below one `dvc repro`."""
    return rebuild(tiny_start, tmp_path_factory.mktemp("rebuilt"), targets=TARGETS)


@pytest.fixture(scope="module")
def checks() -> set[str]:
    """The files that the loader of params.yaml imports: its blocks check values with them, and can't change one."""
    names = "(m.__file__ for n, m in sys.modules.items() if n.startswith('hallmark.'))"
    code = f"import sys, hallmark.params.loader\nprint(*{names}, sep='\\n')"
    return {Path(file).relative_to(ROOT).as_posix() for file in run(ROOT, "python", "-c", code).stdout.splitlines()}


def undeclared(rebuilt: Path, checks: set[str], block: dict[str, Any]) -> set[str]:
    """Of the files of both buildings, those that a stage really opened and that are not in its list."""
    paths = (rebuilt.parent / "audit/opened" / module_of(block)).read_text(encoding="utf-8").splitlines()
    opened = {re.sub(r"__pycache__/(\w+)\.cpython-\d+\.pyc.*", r"\1.py", path) for path in paths}
    free = {path for path in opened if loaded_code.NO_OUTPUT.fullmatch(path)} | checks
    free |= {"stages/__init__.py", "hallmark/__init__.py"}
    free |= {path for path in opened if path.endswith("__init__.py") and loaded_code.only_a_docstring(ROOT / path)}
    assert f"{module_of(block).replace('.', '/')}.py" in opened
    lines = (rebuilt / "code" / module_of(block).split(".")[1]).read_text(encoding="utf-8").splitlines()
    return opened - free - {line.partition("  ")[2] for line in lines}


@pytest.mark.parametrize("name", ON_THE_WAY)
def test_what_a_stage_opens_is_declared(rebuilt: Path, checks: set[str], name: str) -> None:
    assert undeclared(rebuilt, checks, PIPELINE[name].get("do", PIPELINE[name])) == set()


# `tiny_run` comes last, so that it may be made by another test process meanwhile.
def test_a_fresh_clone_elsewhere_ends_in_the_same_bytes(rebuilt: Path, tiny_run: Path) -> None:
    made = exact_outputs(rebuilt)
    known = ("data/split/holdout.parquet", "models/adapter/adapter_model.safetensors", "reports/sft.json")
    assert {*map(Path, known), predictions_of("tuned")} <= {*made} <= {*exact_outputs(tiny_run)}
    assert [file for file in made if (rebuilt / file).read_bytes() != (tiny_run / file).read_bytes()] == []
    assert not list(rebuilt.rglob(".*-????????")), "remains of a killed writer"


@pytest.mark.full
@pytest.mark.timeout(7200)
def test_kills_at_any_moment_end_in_the_same_bytes(
    tiny_start: Path, tiny_run: Path, tmp_path: Path, checks: set[str]
) -> None:
    """All of the pipeline; `code` alone may open what it doesn't declare, since it opens all."""
    rebuilt = rebuild(tiny_start, tmp_path, 30)
    assert exact_outputs(rebuilt) == exact_outputs(tiny_run)
    test_a_fresh_clone_elsewhere_ends_in_the_same_bytes(rebuilt, tiny_run)
    assert {name: undeclared(rebuilt, checks, block) for name, block in stages() if name != "code"} == {
        name: set() for name, _ in stages() if name != "code"
    }


def test_no_exact_output_holds_a_path_of_this_machine_or_the_time(tiny_run: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    forbidden = [str(tiny_run), str(Path.home()), now.strftime("%Y-%m-%dT"), now.strftime("%Y%m%dT")]
    for file in exact_outputs(tiny_run):
        place = tiny_run / file
        text = str(pl.read_parquet(place).to_dicts()) if file.suffix == ".parquet" else ""
        content = place.read_bytes() + text.encode()
        assert [word for word in forbidden if word.encode() in content] == [], file


@pytest.mark.full
def test_a_pull_from_a_remote_reproduces_without_training(tiny_run: Path, tmp_path: Path, store: Any) -> None:
    clone = tmp_path / "clone"

    origin = Path(shutil.copytree(tiny_run, tmp_path / "origin", symlinks=True))
    add_remote(origin, "s3://store/dvc", store.meta.endpoint_url, "config.local")
    run(origin, "dvc", "push")
    pages = store.get_paginator("list_objects_v2").paginate(Bucket="store")
    pushed = {"".join(entry["Key"].split("/")[-2:]) for page in pages for entry in page["Contents"]}
    for folder in ("models/adapter", "models/base", "models/quantized", "data/raw", "data/gold"):
        there = folder in ("models/adapter", "models/quantized")
        hashes = {prov.dvc_md5(file) for file in prov.files_in(tiny_run / folder)}
        # The others have the base's tokenizer and configs, which hold no weights.
        others = [file for name in ("adapter", "quantized") for file in prov.files_in(tiny_run / "models" / name)]
        hashes -= {prov.dvc_md5(file) for file in others} if not there else set()
        assert hashes, folder
        assert (hashes <= pushed) if there else not (hashes & pushed), folder

    run(tmp_path, "git", "clone", "--quiet", str(tiny_run), str(clone))
    add_remote(clone, "s3://store/dvc", store.meta.endpoint_url, "config.local")
    run(clone, "dvc", "pull", "--allow-missing")
    output = run(clone, "dvc", "repro").stdout
    ran = [line for line in output.splitlines() if line.startswith("Running stage")]
    assert ran == ["Running stage 'base':"]
    for file in exact_outputs(tiny_run):
        assert (clone / file).read_bytes() == (tiny_run / file).read_bytes(), file
