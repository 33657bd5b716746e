"""Bad input on the real command lines: one clear error that names the place and the remedy, and earlier outputs whole.

Elsewhere: every kind of bad parameter in test_params.py, bad rows of the three formats in test_records.py, a base model
without tokenizer, config, weights or chat template in test_base.py, a taken port in test_benchmark.py, a record too
long for the model in test_sft.py, and the same through `dvc repro` in test_pipeline.py.
"""

from __future__ import annotations

import datetime
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from hallmark.base import patterns
from hallmark.base.files import sha256_folder
from hallmark.data.missing import OR_DROP
from tests.bench.made import texts as made_texts
from tests.rows import record, write_masked
from tests.tiny import make_tiny_base
from tests.workspace import TINY_BASE, change_params, make_workspace, run, stage

RAW = "data/raw/tickets.jsonl"
STAGES = [
    "base",
    "mask",
    "dedupe",
    "split",
    "quantize",
    "sft",
    "dpo",
    "eval",
    "cascade",
    "compare",
    "benchmark",
    "gate",
    "decide",
    "report",
    "certify",
]
Break = Callable[[Path], None]


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


def expect(folder: Path, name: str, error: str, *options: str, **environment: str) -> None:
    """The stage ends with exactly this error, and earlier outputs are unchanged."""
    before = outputs(folder)
    done = stage(folder, name, *options, check=False, **environment)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"{name}: error: {error}\n")
    assert outputs(folder) == before
    assert not list(folder.rglob(".*-????????*")), "remains of a half-written file"


def content(value: bytes | str) -> Break:
    """The raw file has just this content."""
    return lambda folder: void((folder / RAW).write_bytes(value.encode() if isinstance(value, str) else value))


def second(**changes: Any) -> Break:
    """The second row has these columns changed, or left out (`...`)."""

    def change(folder: Path) -> None:
        rows = [json.loads(line) for line in (folder / RAW).read_text(encoding="utf-8").splitlines()]
        rows[1] = {key: value for key, value in (rows[1] | changes).items() if value is not ...}
        (folder / RAW).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    return change


def appended(line: bytes) -> Break:
    """A fourth row."""
    return lambda folder: void((folder / RAW).write_bytes((folder / RAW).read_bytes() + line))


def params(**changes: Any) -> Break:
    """Parameters changed: `a__b=1` is `a: {b: 1}`."""
    return lambda folder: change_params(folder, {key.replace("__", "."): value for key, value in changes.items()})


def void(_: object) -> None:
    """Nothing."""


def two_files(folder: Path) -> None:
    """A folder with two files that share a row."""
    (folder / "data/raw/more.jsonl").write_text((folder / RAW).read_text(encoding="utf-8").splitlines()[0] + "\n")
    change_params(folder, {"data.path": "data/raw"})


def dates(folder: Path) -> None:
    """A Parquet file whose targets are dates."""
    rows = [json.loads(line) for line in (folder / RAW).read_text(encoding="utf-8").splitlines()]
    frame = pl.DataFrame([{**row, "target": datetime.date(2026, 1, 1)} for row in rows])
    frame.write_parquet(folder / "data/raw/tickets.parquet")
    change_params(folder, {"data.path": "data/raw/tickets.parquet"})


def both(*breaks: Break) -> Break:
    """All of them, in order."""
    return lambda folder: void([change(folder) for change in breaks])


def fifo(name: str) -> Break:
    """A FIFO, which has no end, under that name."""

    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return change


def link(name: str, to: str) -> Break:
    """A symbolic link."""
    return lambda folder: (folder / name).symlink_to(to)


def tagged(folder: Path) -> None:
    """All rows have tags, from `tags`; those that have none so far get an empty list."""
    rows = [{"tags": []} | json.loads(line) for line in (folder / RAW).read_text(encoding="utf-8").splitlines()]
    (folder / RAW).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    change_params(folder, {"data.tags": "tags"})


def open_schema(folder: Path) -> None:
    """A schema for targets with any keys, whose values are objects of texts."""
    texts = {"type": "object", "properties": {"a": {"type": "string"}}}
    schema = {"anyOf": [{"required": ["intent"]}, {"minProperties": 1}], "additionalProperties": texts}
    properties = dict.fromkeys(TARGET, True)
    (folder / "data/schema.json").write_text(json.dumps(schema | {"properties": properties}), encoding="utf-8")


VISIBLE = "remove it: no line breaks, zero-width or direction characters, and no white space but a plain space"
MASK: dict[str, tuple[Break, str]] = {
    "an empty file": (
        content(""),
        f"{RAW}: has no rows\n  remedy: put the raw records there, or fix data.path",
    ),
    "no file": (
        lambda folder: (folder / RAW).unlink(),
        f"{RAW}: no such file\n  remedy: put the raw records there, or fix data.path",
    ),
    "another format": (
        params(data__path="params.yaml"),
        "params.yaml: files ending in '.yaml' can't be read\n  remedy: give JSON lines, JSON, CSV, TSV, Parquet or Arrow "
        "(data.path); in Excel, save as CSV UTF-8",
    ),
    "a missing column": (
        second(body=...),
        f"{RAW}, row 2, field 'body': no such column\n  remedy: add the column, or fix data.input",
    ),
    "a missing identity column": (
        second(contact_email=...),
        f"{RAW}, row 2, field 'contact_email': no such column\n  remedy: add the column, or fix mask.identity_columns",
    ),
    "a row that isn't JSON": (
        appended(b"T-1;a;b\n"),
        f"{RAW}, row 4: the row is not JSON (Expecting value)\n  remedy: write one JSON object per line",
    ),
    "a row that was cut off": (
        appended(b'{"id": "T-1", "body": "hel'),
        f"{RAW}, row 4: the row is not JSON (Unterminated string starting at)\n  remedy: write one JSON object per line",
    ),
    "a row nested without end": (
        appended(b'{"id": ' + b"[" * 100_000 + b"\n"),
        f"{RAW}, row 4: the row is not JSON (nested too deep)\n  remedy: write one JSON object per line",
    ),
    "a value nested too deep": (
        second(contact_name=json.loads("[" * 600 + "]" * 600)),
        f"{RAW}, row 2: the row is not JSON (nested deeper than 100 levels)\n  remedy: write one JSON object per line",
    ),
    "bytes that are not UTF-8": (
        appended('{"id": "T-1", "body": "Grüße"}\n'.encode("latin-1")),
        f"{RAW}, row 4: byte 26 of the row is not UTF-8\n  remedy: save the file as UTF-8 (`iconv -f latin1 -t utf-8`)",
    ),
    "a duplicate id": (
        second(id="T-00001"),
        f"{RAW}, row 2, field 'id': row 1 has the same id\n  remedy: give every row its own id",
    ),
    "a duplicate id in another file": (
        two_files,
        f"{RAW}, row 1, field 'id': row 1 of data/raw/more.jsonl has the same id\n  remedy: give every row its own id",
    ),
    "a null id": (
        second(id=None),
        f"{RAW}, row 2, field 'id': is null or empty\n  remedy: give it a value",
    ),
    "a null group": (
        second(customer=None),
        f"{RAW}, row 2, field 'customer': is null or empty\n  remedy: give every row a value: the split needs it; {OR_DROP}",
    ),
    "a blank group": (
        second(customer=" "),
        f"{RAW}, row 2, field 'customer': is null or empty\n  remedy: give every row a value: the split needs it; {OR_DROP}",
    ),
    "a null target": (
        second(target=None),
        f"{RAW}, row 2, field 'target': is null or empty\n  remedy: give every row a target, or drop the row; {OR_DROP}",
    ),
    "a target outside an enum of the schema": (
        second(target=TARGET | {"intent": "praise"}),
        f"{RAW}, row 2, field 'target': the target breaks data/schema.json: not valid under the schema at intent: enum\n"
        "  remedy: fix the target or the schema",
    ),
    "a target that is not JSON": (
        second(target="a refund"),
        f"{RAW}, row 2, field 'target': not valid JSON\n"
        "  remedy: for task.kind extraction, give an object or its JSON text",
    ),
    "a target that no JSON can hold": (
        dates,
        "data/raw/tickets.parquet, row 1, field 'target': not a JSON value (TypeError)\n"
        "  remedy: use null, finite numbers, texts, lists and objects",
    ),
    "nothing but white space": (
        second(subject=" ", body="\n\t\u200b "),
        f"{RAW}, row 2, field 'subject, body': nothing but white space or characters that don't show\n"
        f"  remedy: drop the row, or fix its text; {OR_DROP}",
    ),
    "a NUL character": (
        second(body="a\0b"),
        f"{RAW}, row 2, field 'body': a NUL character at character 2\n"
        "  remedy: remove it; text must be valid Unicode without NUL",
    ),
    "half a surrogate pair": (
        second(body="ab\ud800"),
        f"{RAW}, row 2, field 'body': half a surrogate pair at character 3\n"
        "  remedy: remove it; text must be valid Unicode without NUL",
    ),
    "a text over the limit": (
        second(subject="", body="word " * 500_000),
        f"{RAW}, row 2, field 'subject, body': 2499999 characters, more than mask.max_chars (2000000)\n"
        "  remedy: raise mask.max_chars, or shorten the text",
    ),
    "a FIFO": (
        fifo(RAW),
        f"{RAW}: not a regular file\n  remedy: put the raw records there, or fix data.path",
    ),
    "a FIFO in a folder": (
        both(fifo("data/raw/more.jsonl"), params(data__path="data/raw")),
        "data/raw/more.jsonl: not a regular file\n  remedy: remove it, or put a file with rows there",
    ),
    "a link in a folder to the folder": (
        both(link("data/raw/more.jsonl", "."), params(data__path="data/raw")),
        "data/raw/more.jsonl: not a regular file\n  remedy: remove it, or put a file with rows there",
    ),
    "a FIFO of gold": (
        both(fifo("data/gold.jsonl"), params(mask__gold="data/gold.jsonl")),
        "data/gold.jsonl: not a regular file\n  remedy: put the raw records there, or fix data.path",
    ),
    "equal keys in a row": (
        appended(b'{"id": "T-1", "id": "T-2"}\n'),
        f"{RAW}, row 4: the row is not JSON (an object has the same key twice)\n  remedy: write one JSON object per line",
    ),
    "equal keys in a target": (
        second(target='{"intent": "other", "intent": "refund"}'),
        f"{RAW}, row 2, field 'target': not valid JSON: an object has the same key twice\n  remedy: keep one of the two",
    ),
    "an id of zero-width characters": (
        second(id="\u200b\u2060"),
        f"{RAW}, row 2, field 'id': is null or empty\n  remedy: give it a value",
    ),
    "an id with a zero-width character": (
        second(id="T-00001\u200b"),
        f"{RAW}, row 2, field 'id': an invisible or control character at character 8\n  remedy: {VISIBLE}",
    ),
    "a group with a direction code": (
        second(customer="A\u202ecme"),
        f"{RAW}, row 2, field 'customer': an invisible or control character at character 2\n  remedy: {VISIBLE}",
    ),
    "a group of a filler that counts as a letter": (
        second(customer="\u3164"),
        f"{RAW}, row 2, field 'customer': is null or empty\n  remedy: give every row a value: the split needs it; {OR_DROP}",
    ),
    "a group with a space at its end": (
        second(customer="Acme "),
        f"{RAW}, row 2, field 'customer': starts or ends with a space\n"
        "  remedy: remove it: it would be another name than without",
    ),
    "an id of decomposed letters": (
        second(id="Zu\u0308rich"),
        f"{RAW}, row 2, field 'id': not in Unicode's form NFC\n"
        "  remedy: write it with composed letters (`uconv -x any-nfc`)",
    ),
    "an endless id": (
        second(id="9" * 201),
        f"{RAW}, row 2, field 'id': longer than 200 characters\n  remedy: give a short name, or name another column",
    ),
    "a tag that is true": (
        both(second(tags=["a", True]), tagged),
        f"{RAW}, row 2, field 'tags': not a list of texts\n"
        "  remedy: write tags as a list of texts, or as one text (data.tag_separator)",
    ),
    "a tag with an escape code": (
        both(second(tags="a,b\x1b[2J"), tagged),
        f"{RAW}, row 2, field 'tags': an invisible or control character at character 2\n  remedy: {VISIBLE}",
    ),
    "an endless tag": (
        both(second(tags=["a" * 101]), tagged),
        f"{RAW}, row 2, field 'tags': a tag longer than 100 characters\n"
        "  remedy: give short tags, or name another column",
    ),
    "too many tags": (
        both(second(tags=list(range(101))), tagged),
        f"{RAW}, row 2, field 'tags': more than 100 tags\n  remedy: keep those by which you want to compare results",
    ),
    "a key that the schema doesn't know": (
        both(second(target={"Rosa Miller": {"a": 1}}), open_schema),
        f"{RAW}, row 2, field 'target': the target breaks data/schema.json: not valid under the schema at ?/a: type\n"
        "  remedy: fix the target or the schema",
    ),
    "a pattern that backtracks": (
        params(mask__patterns=[{"kind": "BADGE", "regex": "B-1"}, {"kind": "PASS", "regex": "([^#]|[^#])*#"}]),
        "params.yaml, field 'mask.patterns.1.regex': the regular expression takes more than 1 seconds for one text\n"
        "  remedy: write it without a repetition inside a repetition, such as (a+)+ or (a|a)*",
    ),
    "a schema nested too deep": (
        lambda folder: void((folder / "data/schema.json").write_text('{"items":' * 1000 + "{}" + "}" * 1000)),
        "data/schema.json: not JSON: nested too deep\n  remedy: fix the schema",
    ),
    "no schema": (
        lambda folder: (folder / "data/schema.json").unlink(),
        "data/schema.json: no such schema\n  remedy: write the file, or fix task.schema",
    ),
}


@pytest.mark.parametrize("name", MASK)
def test_bad_rows(repo: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "SECONDS", 1.0)
    breaks, error = MASK[name]
    breaks(repo)
    expect(repo, "mask", error)


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_too_few_customers(repo: Path, groups: int) -> None:
    rows = [record(f"r{i}", text, "{}", f"c{i % groups}") for i, (text, _) in enumerate(made_texts(20))]
    write_masked(rows, repo / "data/masked.parquet")
    stage(repo, "dedupe")
    (repo / "data/holdout.lock.json").unlink()
    expect(
        repo,
        "split",
        f"params.yaml, field 'data.group': the records belong to {groups} group(s), too few for train, validation, "
        "calibration and holdout\n  remedy: map data.group to a finer column (customer, document, conversation; at "
        "worst the record's id), or add records of more groups; or set split.calibration to 0",
    )


@pytest.mark.parametrize(("name", "file"), [("dedupe", "data/masked.parquet"), ("split", "data/deduped.parquet")])
def test_what_an_earlier_stage_has_not_made(repo: Path, name: str, file: str) -> None:
    (repo / file).unlink()
    expect(repo, name, f"{file}: no such file\n  remedy: run `dvc repro`, which makes it")


@pytest.mark.parametrize("name", STAGES)
def test_bad_parameters_end_every_stage(good: Path, tmp_path: Path, name: str) -> None:
    shutil.copyfile(good / "params.yaml", tmp_path / "params.yaml")
    change_params(tmp_path, {"split.hold_out": 0.2, "seed": "seven"})
    options = ["--model", "base"] if name == "eval" else []
    expect(
        good,
        name,
        f"{tmp_path}/params.yaml, field 'seed, split.hold_out': 'seed': Input should be a valid integer (got str); "
        "'split.hold_out' is not a known parameter\n  remedy: give 'seed' another value (seed of every random draw: "
        "adapter weights, batch order, dropout, bootstrap); "
        "remove or rename 'split.hold_out' (did you mean 'holdout'?)",
        "--params",
        str(tmp_path / "params.yaml"),
        *options,
        PYTHONWARNINGS="default",  # in a process of its own, where a warning would be printed
    )


def test_a_record_of_a_megabyte_simply_works(repo: Path) -> None:
    """It is valid: it is masked to the end, and treated like any other record up to `sft.max_length`."""
    body = "the kettle is fine and red. " * 38_000 + "write to nobody.here@acme-tools.io please"
    second(body=body)(repo)
    change_params(repo, {"data.group": "id", "split.calibration": 0.0})  # three rows, whoever they are of: one a part
    (repo / "data/holdout.lock.json").unlink()
    for name in ("mask", "dedupe", "split"):
        stage(repo, name)
    records = pl.concat([pl.read_parquet(file) for file in sorted((repo / "data/split").iterdir())])
    texts = records["prompt"].list.last().struct.field("content")
    assert texts.str.len_chars().max() > 1_000_000
    assert not texts.str.contains("nobody.here").any()


# --- a full disk, and a run that is killed

FULL = """
mount -t tmpfs -o size=1m tmpfs {part} && cp -a {part}.saved/. {part}/ || exit 77
dd if=/dev/zero of={part}/filler bs=1k status=none 2>/dev/null
python -m stages.{name}
code=$?
rm {part}/filler
cp -a {part}/. {part}.after/
exit $code
"""
SMALL = "trap '' XFSZ; ulimit -f 1; python -m stages.{name}"  # no file may be over 1 KiB


@pytest.mark.parametrize(
    ("name", "part", "file"),
    [
        ("mask", "data", "data/masked.parquet"),
        ("dedupe", "data", "data/deduped.parquet"),
        ("split", "data", r"data/(holdout\.lock\.json|split/holdout\.parquet)"),
        ("base", "models", "models/base"),
    ],
)
def test_a_full_disk(repo: Path, name: str, part: str, file: str) -> None:
    if name == "base":
        make_tiny_base(repo / "tiny")
        change_params(repo, {"base": TINY_BASE})
        stage(repo, "base")
    if name == "split":
        (repo / "data/holdout.lock.json").unlink()
    before = outputs(repo), sha256_folder(repo / part)
    saved, after = repo / f"{part}.saved", repo / f"{part}.after"
    shutil.copytree(repo / part, saved)
    after.mkdir()
    script = FULL.format(name=name, part=part)
    if shutil.which("unshare"):
        done = run(repo, "unshare", "--map-root-user", "--mount", "bash", "-c", script, check=False)
    if not any(after.iterdir()):  # mounts are not permitted here: limit the file size instead
        after.rmdir()
        (repo / part).rename(after)
        shutil.copytree(saved, repo / part)
        done = run(repo, "bash", "-c", SMALL.format(name=name), check=False)
    assert done.returncode == 1, done.stderr
    assert re.search(
        rf"(?m)^{name}: error: {file}: (No space left on device|File too large)\n"
        "  remedy: free space on that file system, or get permission to read and write there, and run `dvc repro` "
        r"again; earlier outputs are untouched\n\Z",
        done.stderr,
    ), done.stderr
    assert sha256_folder(after) == before[1]
    assert outputs(repo) == before[0]


def test_a_killed_run_leaves_whole_files_and_a_rerun_makes_the_same(repo: Path) -> None:
    """Killed at many moments: each file is the earlier or the new one, the holdout is frozen last or not at all."""
    rows = [record(f"r{i}", text, json.dumps(TARGET), f"c{i % 99}") for i, (text, _) in enumerate(made_texts(4000))]
    write_masked(rows, repo / "data/masked.parquet")
    stage(repo, "dedupe")
    lock = repo / "data/holdout.lock.json"
    lock.unlink()
    old = outputs(repo)
    clean = Path(shutil.copytree(repo, repo.parent / "clean"))
    start = time.monotonic()
    run(clean, "python", "-m", "stages.split")
    took = time.monotonic() - start
    new = outputs(clean)
    changing = {"measured/split.json"}
    remains = re.compile(r"(split/|measured/)?\.\S+-\w{8}\.(parquet|json)")  # which the next run clears away
    for moment in range(1, 13):
        process = subprocess.Popen(
            [sys.executable, "-m", "stages.split"], cwd=repo, env={"PYTHONPATH": str(repo)}, stderr=subprocess.DEVNULL
        )
        time.sleep(took * (0.3 + 0.06 * moment))
        process.send_signal(signal.SIGKILL)
        process.wait()
        found = {file: digest for file, digest in outputs(repo).items() if not remains.fullmatch(file)}
        for file, digest in found.items():
            assert digest in (old.get(file), new.get(file)) or file in changing, file
        if lock.exists():
            assert {**found, "measured/split.json": ""} == {**new, "measured/split.json": ""}
            lock.unlink()
    stage(repo, "split")
    assert {**outputs(repo), "measured/split.json": ""} == {**new, "measured/split.json": ""}
