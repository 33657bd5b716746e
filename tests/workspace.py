"""A copy of this repository in which tests run the real stages on a tiny model and few records."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import logging
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

from ruamel.yaml import YAML

from hallmark.params.loader import resolved
from hallmark.params.presets import prepared

ROOT = Path(__file__).resolve().parent.parent
SHARED = (
    "stages", "hallmark" if (ROOT / "hallmark").exists() else "library", "data", "dvc.yaml", "params.yaml",
    "reports/collect.json", "requirements.lock", ".gitignore", ".dvcignore",
)  # fmt: skip

# The whole pipeline on a model that knows nothing, in a minute: few steps, short answers, few requests.
TINY = {
    "compute.threads": 1,
    "sft.max_steps": 4,
    "sft.eval_steps": 2,
    "sft.max_length": 4096,
    "sft.lora.r": 4,
    "sft.lora.layers": 1,
    "eval.max_new_tokens": 16,
    "split.too_long": "count",
    "split.calibration": 0.05,
    "benchmark.requests": 4,
    "benchmark.warmup": 1,
    "benchmark.concurrency": [2],
    "benchmark.max_tokens": 8,
    "benchmark.parity.records": 3,
    "compare.bootstrap_samples": 500,
}

# Compared with the base and the linear model only, on all records.
NO_COMPARATORS: dict[str, Any] = {
    "eval.comparators": {},
    "eval.sample": {},
    "gate.superiority": {"base": 0.1, "classical": 0.0},
    "gate.margins_against": "base",
}

KEY = "3b" * 32  # of the tests: under it, the samples of all kinds have holdouts that are large enough

# What params.yaml says of the model that `tests/tiny.py` makes in the folder `tiny` of a workspace.
TINY_BASE = {
    "source": "folder",
    "name": "tests/tiny",
    "licence": "apache-2.0",
    "path": "tiny",
    "chat_template_kwargs": {},
}


# What runs have left in data/.
LEFT_OUT = ("*.parquet", "split", "holdout.lock.json", "pseudonyms.key", "traces", "review")


def make_workspace(
    folder: Path,
    overrides: dict[str, Any] | None = None,
    rows: int | None = None,
    *,
    records: Iterable[Mapping[str, Any]] | None = None,
    recipe: str | None = None,
) -> Path:
    """Copy the repository's parts into `folder`, with dotted parameters changed and only the first `rows` of JSON lines.

    `records` and `recipe` stand in the place of its own: see `give_records` and `write_recipe`.
    """
    for name in SHARED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(
                source,
                folder / name,
                ignore=shutil.ignore_patterns("__pycache__", *(LEFT_OUT if name == "data" else ())),
            )
        else:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, folder / name)
    file = folder / "params.yaml"  # of a repo that was stamped for a GPU, say: the tests run without one
    file.write_text(prepared(file.read_text(encoding="utf-8"), "cpu", 0.0), encoding="utf-8")
    for raw in (folder / "data/raw").glob("*.jsonl") if rows is not None else ():
        raw.write_text("".join(raw.read_text(encoding="utf-8").splitlines(keepends=True)[:rows]), encoding="utf-8")
    if records is not None:
        give_records(folder, records)
    if recipe is not None:
        write_recipe(folder, recipe)
    change_params(folder, overrides or {})
    if resolved(file)["data"]["pseudonyms"] == "keyed":  # as in a stamped repo, whose own key is not in git
        give_key(folder)
    return folder


def give_key(folder: Path) -> None:
    """Give the workspace the key of the tests."""
    file = folder / "data/pseudonyms.key"
    file.write_text(f"{KEY}\n", encoding="utf-8")
    file.chmod(0o600)
    change_params(folder, {"data.key": hashlib.sha256(KEY.encode()).hexdigest()})


def write_recipe(folder: Path, body: str) -> None:
    """Let `stages/records.py` be a function `records(params)` with this body; all helpers are imported."""
    text = f"from hallmark.records import *\n\n\ndef records(params):\n{indent(dedent(body).strip(), ' ' * 4)}\n"
    (folder / "stages/records.py").write_text(text, encoding="utf-8")


def give_records(folder: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Let the records be made of these rows of `data/raw/rows.jsonl`, which have the fields of a Record but `source`."""
    shutil.rmtree(folder / "data/raw")
    written(folder, {"data/raw/rows.jsonl": "".join(json.dumps(row) + "\n" for row in rows)})
    write_recipe(folder, 'for row in json_lines("data/raw/rows.jsonl"):\n    yield Record(**row)')


def add_to_recipe(folder: Path, field: str) -> None:
    """Give the records of the sample's recipe one more field, as `rejected=row["worse"]`."""
    replace_in(folder / "stages/records.py", "source=row[", f"{field},\n            source=row[")


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
            block = block.setdefault(name, {})
        block[last] = value
    with file.open("w", encoding="utf-8") as stream:
        yaml.dump(params, stream)


def spell_out(folder: Path) -> None:
    """Give `params.yaml` a line for every param: for a pipeline without the stage `code`, which reads it alone."""

    def fill(block: Any, values: dict[str, Any]) -> None:
        for key, value in values.items():
            if isinstance(value, dict) and isinstance(block.get(key), dict):
                fill(block[key], value)
            else:
                block.setdefault(key, value)

    yaml, file = YAML(), folder / "params.yaml"
    params = yaml.load(file.read_text(encoding="utf-8"))
    fill(params, resolved(file))
    with file.open("w", encoding="utf-8") as stream:
        yaml.dump(params, stream)


def run(folder: Path, *command: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the workspace with the tests' Python first on the path; its output is captured.

    In a folder without the library's sources, as in a stamped repo, it is taken from here, where nothing installed it, or
    from where these tests have it: those of a stamped repo run here too.
    """
    here = [] if (folder / "hallmark").exists() else [str(ROOT), os.environ.get("PYTHONPATH", str(ROOT))]
    places = [str(folder), *here]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    # Tests that it runs measure no coverage: SlipCover would look for the sources that it was given for this repo.
    inherited = {name: value for name, value in os.environ.items() if name != "SLIPCOVER_ENABLED"}
    result = subprocess.run(
        command,
        cwd=folder,
        env={**inherited, "PATH": path, "PYTHONPATH": os.pathsep.join(places), "NO_COLOR": "1", **environment},
        text=True,
        capture_output=True,
    )
    return checked(result) if check else result


def checked(result: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    """The result, if the command ended well."""
    if result.returncode != 0:
        raise AssertionError(f"{result.args} ended with {result.returncode}:\n{result.stdout}\n{result.stderr}")
    return result


def stage(
    folder: Path, name: str, *options: str, check: bool = True, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a stage, or a command by its whole name, by its command line in this process, which imports torch and spaCy once.

    With environment variables it runs in a process of its own. `run(folder, "python", "-m", "stages.sft")` does so too,
    for tests of what only a new process shows.
    """
    module = name if name.startswith("hallmark.") else f"stages.{name}"
    if environment:
        return run(folder, "python", "-m", module, *options, check=check, **environment)
    result = run_here(folder, module, *options)
    return checked(result) if check else result


def run_here(folder: Path, module: str, *options: str) -> subprocess.CompletedProcess[str]:
    """`python -m module options` in the folder, without a new process: what it prints is captured, its children's too."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        with like_a_process(folder), redirected(1, out), redirected(2, errors):
            sys.argv = [module, *options]
            try:
                as_main(module)
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else int(end.code is not None)
            except Exception:  # as the interpreter does
                traceback.print_exc()
                code = 1
        texts = []
        for file in (out, errors):
            file.seek(0)
            texts.append(file.read().decode())
    return subprocess.CompletedProcess([module, *options], code, *texts)


def repro_here(folder: Path, target: str) -> None:
    """What `dvc repro` would run for the target, in its order and in this process; DVC then takes the outputs in."""
    import networkx
    from dvc.repo import Repo

    with contextlib.chdir(folder), Repo() as repo:
        (wanted,) = repo.stage.collect(target)
        commands = [stage.cmd for stage in networkx.dfs_postorder_nodes(repo.index.graph, wanted)]
    for command in commands:
        python, option, module, *options = shlex.split(command)
        assert (python, option) == ("python", "-m")
        checked(run_here(folder, module, *options))
    with contextlib.chdir(folder), Repo() as repo:
        repo.commit(target, with_deps=True, force=True)


def as_main(name: str) -> None:
    """Run a module as `__main__`, as runpy does; where SlipCover measures, which leaves `__main__` out, it is measured too."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    code = spec.loader.get_code(name)  # type: ignore[union-attr]
    module.__name__ = "__main__"
    before, sys.modules["__main__"] = sys.modules["__main__"], module
    try:
        exec(code if (cover := getattr(spec.loader, "sci", None)) is None else cover.instrument(code), vars(module))  # noqa: S102
    finally:
        sys.modules["__main__"] = before


@contextlib.contextmanager
def redirected(number: int, file: Any) -> Iterator[None]:
    """Let stdout (1) or stderr (2) of this process and of its children go to the file."""
    name = {1: "stdout", 2: "stderr"}[number]
    stream, copy = getattr(sys, name), os.dup(number)
    stream.flush()
    os.dup2(file.fileno(), number)
    own = open(number, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
    setattr(sys, name, own)
    try:
        yield
    finally:
        own.flush()
        setattr(sys, name, stream)
        os.dup2(copy, number)
        os.close(copy)


@contextlib.contextmanager
def like_a_process(folder: Path) -> Iterator[None]:
    """Work in the folder without handlers of the log; put back what a stage sets in its process."""
    root, variables, argv = logging.getLogger(), dict(os.environ), sys.argv
    handlers, level, on_stop = root.handlers[:], root.level, signal.getsignal(signal.SIGTERM)
    root.handlers.clear()
    if "accelerate" in sys.modules:
        from accelerate.state import AcceleratorState

        AcceleratorState._reset_state(reset_partial_state=True)
    torch = sys.modules.get("torch")
    deterministic = torch is not None and torch.are_deterministic_algorithms_enabled()
    try:
        with contextlib.chdir(folder), warnings.catch_warnings():
            yield
    finally:
        root.handlers[:], sys.argv = handlers, argv
        root.setLevel(level)
        signal.signal(signal.SIGTERM, on_stop)
        os.environ.clear()
        os.environ.update(variables)
        if torch := sys.modules.get("torch"):
            torch.use_deterministic_algorithms(deterministic)


def report(folder: Path, name: str) -> Any:
    """A JSON report of the workspace."""
    return json.loads((folder / "reports" / f"{name}.json").read_text(encoding="utf-8"))


def git_init(folder: Path) -> None:
    """Make the workspace a git and DVC repository with one commit."""
    run(folder, "git", "init", "--quiet", "--initial-branch", "main")
    dvc_init(folder)
    git_commit(folder, "start")


def dvc_init(folder: Path, *, subdir: bool = False) -> None:
    """`dvc init`, in this process, which has loaded DVC."""
    from dvc.repo import Repo

    Repo.init(str(folder), subdir=subdir).close()


def add_remote(folder: Path, url: str, endpoint: str | None = None, file: str = "config") -> None:
    """What `dvc remote add --default store` and `dvc remote modify` write into a file of `.dvc/` that names no remote."""
    lines = ["[core]", "    remote = store", "['remote \"store\"']", f'    url = "{url}"']
    lines += [f"    endpointurl = {endpoint}"] if endpoint else []
    append(folder / ".dvc" / file, "\n".join(lines) + "\n")


def git(folder: Path, *command: str) -> str:
    """Run git as someone in the folder; returns what it prints, warnings too."""
    done = run(folder, "git", "-c", "user.name=Test", "-c", "user.email=test@example.com", *command)
    return done.stdout + done.stderr


def git_commit(folder: Path, message: str) -> None:
    """Commit all that lies in the workspace."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", message)


def written(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    """The folder, with these files."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def append(file: Path, text: str) -> None:
    """Write the text at the end of the file."""
    with file.open("a", encoding="utf-8") as stream:
        stream.write(text)


def replace_in(file: Path, old: str, new: str) -> None:
    """Replace the first place of a text in the file, which has it."""
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def program(file: Path, script: str) -> Path:
    """The file, with a program of the shell."""
    written(file.parent, {file.name: f"#!/bin/sh\n{script}\n"})
    file.chmod(0o755)
    return file
