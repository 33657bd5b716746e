"""What a stage reads of earlier ones may be damaged: each fault is one error that names file, row and field."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from hallmark.base import reading
from hallmark.base.errors import HallmarkError
from hallmark.base.files import DEDUPED, MASKED, REPORTS
from hallmark.base.records import read_records, scan_records, schema
from hallmark.judge.recount import read_part
from hallmark.model.base_report import base_report
from hallmark.params.loader import load_params
from hallmark.release.private_data import private_data
from hallmark.task.predictions import predictions_of, read_predictions
from stages import dedupe, split
from tests.workspace import ROOT

Change = Callable[[pl.DataFrame], pl.DataFrame]
TEXTS = [{"role": "user", "content": "Hello"}]
ROWS = pl.DataFrame(
    [
        {
            "id": name,
            "group": "g",
            "prompt": TEXTS,
            "completion": TEXTS,
            "context": None,
            "tools": None,
            "rejected": None,
        }
        | {"tags": ["a"]}
        for name in ("1", "2")
    ],
    schema=schema(),
)


def second(name: str, value: Any) -> Change:
    """The second row with this value in a column."""
    kind = schema()[name]
    return lambda rows: rows.with_columns(pl.Series(name, [rows[name][0], value], dtype=kind))


FRAMES: dict[str, tuple[Change, str]] = {
    **{f"no {name}": (lambda rows, name=name: rows.drop(name), f"field '{name}': no such column") for name in schema()},
    "numbers for ids": (lambda rows: rows.with_columns(id=pl.lit(1)), "field 'id': not of the type String"),
    "messages with other keys": (lambda rows: rows.with_columns(prompt=pl.lit([{"a": "b"}])), "field 'prompt': not of"),
    "no id": (second("id", None), "row 2, field 'id': missing"),
    "no group": (second("group", None), "row 2, field 'group': missing"),
    "no messages": (second("prompt", []), "row 2, field 'prompt': missing"),
    "a null for messages": (second("completion", None), "row 2, field 'completion': missing"),
    "a message of nothing": (second("prompt", [{"role": "user", "content": None}]), "row 2, field 'prompt': missing"),
    "a message that is null": (second("prompt", [*TEXTS, None]), "row 2, field 'prompt': missing"),
}


@pytest.mark.parametrize("form", FRAMES)
def test_records_of_another_shape_are_one_error(tmp_path: Path, form: str) -> None:
    change, problem = FRAMES[form]
    change(ROWS).write_parquet(tmp_path / "x.parquet")
    readers = (read_records,) if "missing" in problem else (read_records, scan_records)  # lazily, only columns are seen
    for read in readers:
        with pytest.raises(HallmarkError, match=problem):
            read(tmp_path / "x.parquet")


@pytest.mark.parametrize("name", ["dedupe", "split"])
def test_a_damaged_page_is_one_error_though_columns_are_read_when_they_are_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = pl.concat([ROWS] * 50).with_columns(source=pl.lit("0"), part=pl.lit(None, pl.String), cluster=pl.lit("1"))
    for path in (MASKED, DEDUPED):
        path.parent.mkdir(exist_ok=True)
        rows.write_parquet(path, compression="zstd")
        whole = path.read_bytes()
        path.write_bytes(whole[:4] + bytes(40) + whole[44:])  # the first page: its header is read with its column
    params = load_params(ROOT / "params.yaml")
    with pytest.raises(HallmarkError, match="not Parquet"):
        {"dedupe": dedupe.run, "split": split.run}[name](params)


@pytest.mark.parametrize("tools", ["{", "5", '[{"a": 1, "a": 2}]'])
def test_tools_that_are_no_list_are_one_error(tmp_path: Path, tools: str) -> None:
    second("tools", tools)(ROWS).write_parquet(tmp_path / "x.parquet")
    with pytest.raises(HallmarkError, match="row 2, field 'tools': not a JSON list"):
        read_records(tmp_path / "x.parquet")


def test_whole_records_are_read_with_columns_of_later_stages(tmp_path: Path) -> None:
    rows = ROWS.with_columns(cluster=pl.lit("1"))
    rows.write_parquet(tmp_path / "x.parquet")
    assert read_records(tmp_path / "x.parquet").equals(rows)
    assert scan_records(tmp_path / "x.parquet").collect().equals(rows)


def test_the_recount_does_not_wait_for_a_fifo(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.parquet")
    with pytest.raises(HallmarkError, match="not a regular file"):
        read_part(tmp_path / "x.parquet")


LINE: dict[str, Any] = {
    "id": "1",
    "group": "g",
    "tags": ["a"],
    "input": "i",
    "context": None,
    "length": 1,
    "target": "{}",
    "prediction": "{}",
    "finish": "stop",
    "parses": True,
    "schema_valid": True,
    "exact_match": True,
    "outcome": "pass",
    "reason": None,
    "tokens": 1,
    "fields": [],
}
SURE = {"sum": -3, "mean": -1.5, "least": -2.0, "fields": {"a": 0.0}}
FIELD = {"path": "p", "target": 1, "prediction": 1, "result": "match"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("read", value) for value in (5, [], True)),
        *(("scores", value) for value in ([], None, {"a": "b"})),
        *(("constrained", value) for value in (5, [], "x")),
        *(("tokens", value) for value in ("x", -1, True, None)),
        *(("length", value) for value in (-1, True, 10**30)),
        *(("tags", value) for value in ([1], ["a", None])),
        *(("fields", value) for value in ([{}], [5], [FIELD | {"result": "x"}], [FIELD | {"result": {"a": [1]}}])),
        *(("confidence", value) for value in (5, {}, SURE | {"more": -1.0}, SURE | {"fields": [-1.0]})),
        *(("confidence", SURE | {"sum": value}) for value in (1.0, None, True, "x", -(10**400))),
        ("confidence", SURE | {"fields": {"a": 1e-5}}),
        *(("agreement", value) for value in (True, -0.1, 1.1, "x")),
        ("retrieved", "x"),
        ("outcome", "evil"),
    ],
)
def test_a_prediction_of_another_shape_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    file = predictions_of("tuned")
    file.parent.mkdir(parents=True)
    line = LINE | {"fields": [FIELD], "confidence": SURE, "agreement": 0}
    file.write_text(json.dumps(line) + "\n", encoding="utf-8")
    assert len(read_predictions("tuned")) == 1
    with file.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(LINE | {name: value}) + "\n")
    with pytest.raises(HallmarkError, match=f"predictions.jsonl, row 2, field '{name}'"):
        read_predictions("tuned")


def test_a_file_larger_than_memory_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(reading, "LARGEST", 2**10)
    file = predictions_of("tuned")
    file.parent.mkdir(parents=True)
    file.write_bytes(b"")
    os.truncate(file, 2**40)
    with pytest.raises(HallmarkError, match="row 1: not a JSON object"):
        read_predictions("tuned")
    with pytest.raises(HallmarkError, match="over 256 MiB"):
        reading.read_json(file)


@pytest.mark.parametrize(
    ("name", "value"), [("name", 5), ("revision", None), ("context", "8192"), ("context", True), ("context", -1)]
)
def test_training_names_a_damaged_report_of_the_base(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    REPORTS.mkdir()
    whole = {"name": "n", "revision": "r", "context": 5}
    (REPORTS / "base.json").write_text(json.dumps(whole), encoding="utf-8")
    assert base_report() == whole
    (REPORTS / "base.json").write_text(json.dumps(whole | {name: value}), encoding="utf-8")
    with pytest.raises(HallmarkError, match=f"base.json, field '{name}'"):
        base_report()


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("eval/tuned/predictions.jsonl", "[]\n", "row 1: not a JSON object"),
        ("eval/tuned/predictions.jsonl", "{\n", "row 1: not a JSON object"),
        ("eval/tuned/predictions.jsonl", "{}\n", "row 1, field 'prediction'"),
        ("comparison.html", '<script type="application/json">{</script>', "holds data that is not JSON"),
        ("curve.csv", "\udcff", "byte 1 is not UTF-8"),
    ],
)
def test_the_last_check_of_private_data_names_a_damaged_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    file = REPORTS / name
    file.parent.mkdir(parents=True)
    file.write_text(text, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(HallmarkError, match=problem):
        private_data([file], "error")
