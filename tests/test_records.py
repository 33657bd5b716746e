"""Reading raw rows in each format, with errors that name file and row; records keep their bytes."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from hallmark.base.records import fill, write_records
from hallmark.base.rows import read_rows


def test_the_three_formats_give_the_same_rows(tmp_path: Path) -> None:
    rows = [{"id": "1", "text": 'a "quoted", line\nbreak'}, {"id": "2", "text": "ü"}]
    frame = pl.DataFrame(rows)
    frame.write_ndjson(tmp_path / "a.jsonl")
    frame.write_csv(tmp_path / "a.csv")
    frame.write_parquet(tmp_path / "a.parquet")
    read = [[row for _, row in read_rows(tmp_path / f"a.{kind}")] for kind in ("jsonl", "csv", "parquet")]
    assert read == [rows, rows, rows]


def test_a_folder_is_read_by_name(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        (tmp_path / f"{name}.jsonl").write_text(f'{{"id":"{name}"}}\n', encoding="utf-8")
    (tmp_path / "README.md").write_text("no rows here", encoding="utf-8")
    assert [row["id"] for _, row in read_rows(tmp_path)] == ["a", "b", "c"]


@given(st.text(), st.text())
def test_only_the_template_is_filled_never_a_value(first: str, second: str) -> None:
    expected = f"{first} - {second}".strip()
    assert fill("{a} - {b}", {"a": first, "b": second}) == expected


def test_many_records_are_the_same_bytes_however_they_came_together(tmp_path: Path) -> None:
    name = pl.int_range(150_000).cast(pl.String)
    turn = pl.concat_list(pl.struct(role=pl.lit("user"), content=name))
    whole = pl.select(id=name, group=name, prompt=turn, completion=turn)
    pieces = pl.concat([whole[start : start + 9973] for start in range(0, len(whole), 9973)], rechunk=False)
    write_records(tmp_path / "a.parquet", whole)
    write_records(tmp_path / "b.parquet", pieces)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
