"""Records keep their bytes."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from hallmark.base.records import write_records


def test_many_records_are_the_same_bytes_however_they_came_together(tmp_path: Path) -> None:
    name = pl.int_range(150_000).cast(pl.String)
    turn = pl.concat_list(pl.struct(role=pl.lit("user"), content=name))
    whole = pl.select(id=name, group=name, prompt=turn, completion=turn)
    pieces = pl.concat([whole[start : start + 9973] for start in range(0, len(whole), 9973)], rechunk=False)
    write_records(tmp_path / "a.parquet", whole)
    write_records(tmp_path / "b.parquet", pieces)
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
