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
from hallmark.params.loader import load_params
from hallmark.release.private_data import private_data
from hallmark.task.predictions import predictions_of, read_predictions
from stages import dedupe, split
from tests.workspace import ROOT

Change = Callable[[pl.DataFrame], pl.DataFrame]
TEXTS = [{"role": "user", "content": "Hello"}]
ROW: dict[str, Any] = dict.fromkeys(schema()) | {"group": "g", "prompt": TEXTS, "completion": TEXTS, "tags": ["a"]}
ROWS = pl.DataFrame([ROW | {"id": name} for name in ("1", "2")], schema=schema())


def second(name: str, value: Any) -> Change:
    """The second row with this value in a column."""
    kind = schema()[name]
    return lambda rows: rows.with_columns(pl.Series(name, [rows[name][0], value], dtype=kind))


FRAMES: dict[str, tuple[Change, int | None, str]] = {  # the change, and the row and field of the error
    "numbers for ids": (lambda rows: rows.with_columns(id=pl.lit(1)), None, "id"),
    "no group": (second("group", None), 2, "group"),
    "a message of nothing": (second("prompt", [{"role": "user", "content": None}]), 2, "prompt"),
    "tools that are no JSON": (second("tools", "{"), 2, "tools"),
}


@pytest.mark.parametrize("form", FRAMES)
def test_records_of_another_shape_are_one_error(tmp_path: Path, form: str) -> None:
    change, row, field = FRAMES[form]
    change(ROWS).write_parquet(tmp_path / "x.parquet")
    for read in (read_records,) if row else (read_records, scan_records):  # lazily, only columns are seen
        with pytest.raises(HallmarkError) as caught:
            read(tmp_path / "x.parquet")
        assert (caught.value.row, caught.value.field) == (row, field)


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


def test_a_prediction_that_lacks_a_key_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = predictions_of("tuned")
    file.parent.mkdir(parents=True)
    for line in ({"id": "1"}, {"id": "1", "fields": [{}]}, {"id": "1", "fields": 5}):
        file.write_text(json.dumps(line) + "\n", encoding="utf-8")
        with pytest.raises(HallmarkError) as caught:
            read_predictions("tuned")
        assert (str(caught.value.file), caught.value.row) == (str(file), 1)


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
    ("name", "text", "problem"),
    [
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
        private_data([file], "error", load_params(ROOT / "params.yaml").mask)
