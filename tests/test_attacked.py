"""Odd inputs that once got through, or ended in a traceback: each is one error that names the place and the fix."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from hallmark.base import errors, files
from hallmark.base.errors import HallmarkError
from hallmark.corpus.gold_clusters import compare_with_gold
from hallmark.mask.gold import gold_spans
from tests.rows import mask_with, refused, write_lines

SPAN = {"id": "r1", "start": 0, "end": 3, "kind": "PERSON"}


@pytest.mark.parametrize("change", [{}, {"start": "0"}, {"end": True}, {"start": -1}, {"end": 0}, {"id": []}])
def test_a_gold_span_is_taken_once_and_as_written_or_not_at_all(tmp_path: Path, change: dict[str, Any]) -> None:
    path = write_lines(tmp_path / "gold.jsonl", [SPAN, SPAN | change])
    with refused(file=path, row=2):
        gold_spans(path, mask_with())


def test_a_record_is_in_one_gold_cluster_and_gold_has_rows(tmp_path: Path) -> None:
    row = {"id": "secret", "cluster": "D-1", "kind": "near"}
    rows = pl.DataFrame({"id": ["a"], "cluster": ["a"], "cause": [None]})
    path = write_lines(tmp_path / "gold.jsonl", [row, row | {"cluster": "D-2"}])
    with refused(file=path, row=2) as caught:
        compare_with_gold(path, rows)
    assert "secret" not in str(caught.value)
    write_lines(path, [])
    for read in (lambda: compare_with_gold(path, rows), lambda: gold_spans(path, mask_with())):
        with pytest.raises(HallmarkError, match="has no rows"):
            read()


@pytest.mark.parametrize("word", [" ", "\u200b"])
def test_a_word_to_mask_shows(word: str) -> None:
    with pytest.raises(ValueError, match="nothing that shows"):
        mask_with(deny=[word])


def test_a_folder_where_a_file_goes(tmp_path: Path) -> None:
    (tmp_path / "x.json").mkdir()
    with pytest.raises(HallmarkError, match="a folder where a file"):
        files.write_text(tmp_path / "x.json", "")


def test_a_line_of_the_log_steers_no_terminal_and_may_be_red() -> None:
    record = logging.makeLogRecord({"msg": "%s %s", "args": ("\x1b]0;x\x07\u202e", "\x1b[31mwaived\x1b[0m")})
    assert errors._Shown("a: %(message)s").format(record) == "a: \\x1b]0;x\\x07\\u202e \x1b[31mwaived\x1b[0m"


@pytest.mark.parametrize("end", [":/", "://", "@", ":@", "?", "/"])
def test_an_address_says_no_secret_however_long_it_is(end: str) -> None:
    for before in ("https://user:secret@", "https:/user:secret@", "https://ann@acme.io:sec/ret@", "see s3://secret@"):
        assert "sec" not in str(HallmarkError("x", file=f"{before}host/{end * 100_000}?token=secret", remedy="y"))
