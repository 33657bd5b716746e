"""Bad input on the real command lines: one clear error that names the place and the remedy, and earlier outputs whole."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hallmark.base import patterns
from hallmark.base.files import sha256_folder
from hallmark.records.recipe import RECIPE
from tests.bench.made import texts as made_texts
from tests.rows import record, write_lines, write_masked
from tests.workspace import ROOT, change_params, make_workspace, replace_in, run, stage, write_recipe

RAW = "data/raw/tickets.jsonl"
STAGES = ["mask", "sft", "eval"]  # all load their params in the same way
Break = Callable[[Path], object]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with three raw rows, and outputs of earlier runs of dedupe and split on others."""
    folder = make_workspace(
        tmp_path_factory.mktemp("bad") / "repo",
        {"mask.gold": None, "dedupe.gold": None, "mask.ner.engine": "none", "mask.ner.model": None, "mask.workers": 1},
        rows=3,
    )
    earlier = [record(f"r{i}", text, json.dumps(TARGET), f"c{i % 9}") for i, (text, _) in enumerate(made_texts(90))]
    write_masked(earlier, folder / "data/masked.parquet")
    for name in ("dedupe", "split"):
        stage(folder, name)
    return folder


TARGET = {"intent": "other", "urgency": "normal", "product": None, "amount": None, "date": None, "issues": []}


@pytest.fixture
def repo(good: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may break."""
    return Path(shutil.copytree(good, tmp_path / "repo", ignore=shutil.ignore_patterns("__pycache__")))


def outputs(folder: Path) -> dict[str, str]:
    """Hashes of everything the stages have written."""
    kept = {"masked.parquet", "deduped.parquet", "holdout.lock.json", "split"}
    data = {name: digest for name, digest in sha256_folder(folder / "data").items() if name.split("/")[0] in kept}
    return data | sha256_folder(folder / "reports")


def expect(folder: Path, name: str, place: str, word: str, *options: str, **environment: str) -> None:
    """The stage ends with one error of this place, whose remedy has this word; and earlier outputs are unchanged."""
    before = outputs(folder)
    done = stage(folder, name, *options, check=False, **environment)
    assert (done.returncode, done.stdout) == (1, "")
    problem, remedy = done.stderr.split("\n  remedy: ")
    assert problem.startswith(f"{name}: error: {place}: ")
    assert word in remedy and remedy.count("\n") == 1, "the remedy is the last line"
    assert not re.search("Traceback|Rosa", done.stderr), "nothing of the data is told"
    assert outputs(folder) == before
    assert not list(folder.rglob(".*-????????*")), "remains of a half-written file"


def change_second(folder: Path, **changes: Any) -> None:
    """Change columns of the second row, or leave them out (`...`)."""
    rows = [json.loads(line) for line in (folder / RAW).read_text(encoding="utf-8").splitlines()]
    rows[1] = {key: value for key, value in (rows[1] | changes).items() if value is not ...}
    write_lines(folder / RAW, rows)


def appended(line: bytes) -> Break:
    """A fourth row."""
    return lambda folder: (folder / RAW).write_bytes((folder / RAW).read_bytes() + line)


def twice(folder: Path) -> None:
    """A second file with a row of the first."""
    (folder / "data/raw/more.jsonl").write_text((folder / RAW).read_text(encoding="utf-8").splitlines()[0] + "\n")
    replace_in(folder / RECIPE, RAW, "data/raw/*.jsonl")


def fifo(folder: Path) -> None:
    """Raw data in a FIFO, which has no end."""
    (folder / RAW).unlink()
    os.mkfifo(folder / RAW)


def linked(folder: Path) -> None:
    """Raw data that is a link to a file elsewhere."""
    (folder / RAW).rename(folder / "elsewhere.jsonl")
    (folder / RAW).symlink_to(folder / "elsewhere.jsonl")


def backtracking(folder: Path) -> None:
    """A second pattern that takes for ever."""
    patterns = [{"kind": "BADGE", "regex": "B-1"}, {"kind": "PASS", "regex": "([^#]|[^#])*#"}]
    change_params(folder, {"mask.patterns": patterns})


def open_schema(folder: Path) -> None:
    """A schema for targets with any keys, whose values are objects of texts; and a row that breaks it under a private key."""
    texts = {"type": "object", "properties": {"a": {"type": "string"}}}
    schema = {"anyOf": [{"required": ["intent"]}, {"minProperties": 1}], "additionalProperties": texts}
    properties = dict.fromkeys(TARGET, True)
    (folder / "data/schema.json").write_text(json.dumps(schema | {"properties": properties}), encoding="utf-8")
    change_second(folder, target={"Rosa Miller": {"a": 1}})


# What the second row has, the place of the error after the row, a word of its remedy.
ROWS: dict[str, tuple[dict[str, Any], str, str]] = {
    "a missing column": ({"body": ...}, "", "it has id, customer"),
    "a duplicate id": ({"id": "T-00001"}, ", field 'id'", "ids unique"),
    "nothing but white space": ({"subject": " ", "body": "\n\t\u200b "}, ", field 'prompt'", "skip"),
    "a known value that is an object": ({"contact_name": {"first": "Rosa"}}, ", field 'private'", "a text"),
    "a text over the limit": ({"subject": "", "body": "word " * 500_000}, ", field 'prompt'", "cut it"),
    "an id with a zero-width character": ({"id": "T-00001\u200b"}, ", field 'id'", "remove it"),
    "a tag with an escape code": ({"tags": ["b\x1b[2J"]}, ", field 'tags'", "tag"),
}
FILES: dict[str, tuple[Break, str, str]] = {  # what is broken, the place in the error, a word of its remedy
    "no file": (lambda folder: (folder / RAW).unlink(), RAW, "put the file there"),
    "a FIFO": (fifo, RAW, "put the file there"),
    "a link to a file elsewhere": (linked, RAW, "a copy, not a link"),
    "a row that isn't JSON": (appended(b"T-1;a;b\n"), f"{RAW}, row 4", "JSON"),
    "a duplicate id in another file": (twice, f"{RAW}, row 1, field 'id'", "ids unique"),
    "a key that the schema doesn't know": (open_schema, f"{RAW}, row 2, field 'target'", "schema"),
    "a pattern that backtracks": (backtracking, "params.yaml, field 'mask.patterns.1.regex'", "repetition"),
    "no schema": (lambda folder: (folder / "data/schema.json").unlink(), "data/schema.json", "task.schema"),
    "no script": (lambda folder: (folder / RECIPE).unlink(), str(RECIPE), "propose"),
    "a script that raises": (
        lambda folder: write_recipe(folder, "raise ValueError('Rosa')"),
        f"{RECIPE}, row 5",
        "by itself",
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_bad_rows(repo: Path, name: str) -> None:
    changes, place, word = ROWS[name]
    change_second(repo, **changes)
    expect(repo, "mask", f"{RAW}, row 2{place}", word)


@pytest.mark.parametrize("name", FILES)
def test_bad_files(repo: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "SECONDS", 1.0)
    breaks, place, word = FILES[name]
    breaks(repo)
    expect(repo, "mask", place, word)


@pytest.mark.parametrize(("name", "file"), [("dedupe", "data/masked.parquet"), ("split", "data/deduped.parquet")])
def test_what_an_earlier_stage_has_not_made(repo: Path, name: str, file: str) -> None:
    (repo / file).unlink()
    expect(repo, name, file, "dvc repro")


@pytest.mark.parametrize("name", STAGES)
def test_bad_parameters_end_a_stage(good: Path, tmp_path: Path, name: str) -> None:
    shutil.copyfile(good / "params.yaml", tmp_path / "params.yaml")
    change_params(tmp_path, {"split.hold_out": 0.2, "seed": "seven"})
    options = ["--model", "base"] if name == "eval" else []
    options += ["--params", str(tmp_path / "params.yaml")]
    warned = {"PYTHONWARNINGS": "default"} if name == "sft" else {}  # in a process of its own, which prints them
    expect(good, name, f"{tmp_path}/params.yaml, field 'seed, split.hold_out'", "'holdout'", *options, **warned)


# --- a full disk, and a run that is killed

TEMPORARY = re.escape(tempfile.gettempdir())
SMALL = "trap '' XFSZ; ulimit -f 1; python -P -m stages.{name}"  # no file may be over 1 KiB


@pytest.mark.parametrize(
    ("name", "part", "file"),
    [
        ("mask", "data", "data/masked.parquet"),
        ("dedupe", "data", "data/deduped.parquet"),
        ("split", "data", rf"(data/(holdout\.lock\.json|split/\w+\.parquet)|{TEMPORARY})"),
    ],
)
def test_a_full_disk(repo: Path, name: str, part: str, file: str) -> None:
    if name == "split":
        (repo / "data/holdout.lock.json").unlink()
    before = outputs(repo), sha256_folder(repo / part)
    done = run(repo, "bash", "-c", SMALL.format(name=name), check=False, PYTHONPATH=str(ROOT))
    assert done.returncode == 1, done.stderr
    assert re.search(rf"^{name}: error: {file}: File too large\n  remedy: ", done.stderr, re.M)
    assert (outputs(repo), sha256_folder(repo / part)) == before


@pytest.mark.parametrize("to", ["/dev/zero", "pipe"])
def test_a_raw_file_without_an_end_is_refused_before_dvc_reads_it(repo: Path, to: str) -> None:
    os.mkfifo(repo / "data/pipe")
    (repo / RAW).unlink()
    (repo / RAW).symlink_to(to if to == "/dev/zero" else repo / "data/pipe")
    done = run(repo, "python", "-m", "hallmark.commands.repro", "mask", check=False)
    assert f"{RAW}: not a regular file" in done.stderr and done.returncode == 1
