"""The mask stage: the same stand-in throughout a record, known values first, idempotent, and bad rows named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.common.masking import Masker
from stages.common.params import load_params
from tests.workspace import ROOT, make_workspace, report, stage

TARGET = {
    "intent": "refund",
    "urgency": "normal",
    "product": "red kettle",
    "amount": 5,
    "date": "2026-03-01",
    "issues": [],
}
ROW: dict[str, Any] = {
    "id": "T-1",
    "customer": "C-1",
    "contact_name": "Marta Quill",
    "contact_email": "marta.quill@acme-tools.io",
    "contact_phone": "+1 202-555-0143",
    "received": "2026-03-02",
    "subject": "Refund for the red kettle",
    "body": "Please refund 5 EUR, MARTA QUILL here, mail marta.quill@acme-tools.io, bought 2026-03-01, order NL-20931.",
    "target": TARGET,
    "tags": ["short"],
}


@pytest.fixture(scope="module")
def masker() -> Masker:
    return Masker(load_params(ROOT / "params.yaml").mask)


def workspace(folder: Path, rows: list[Any], overrides: dict[str, Any] | None = None) -> Path:
    make_workspace(folder, {"mask.gold": None} | (overrides or {}))
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / "data/raw/tickets.jsonl").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return folder


def masked(folder: Path) -> list[dict[str, Any]]:
    stage(folder, "mask")
    return pl.read_parquet(folder / "data/masked.parquet").to_dicts()


def test_known_values_are_masked_in_any_case_and_the_tasks_own_fields_stay(tmp_path: Path) -> None:
    (record,) = masked(workspace(tmp_path, [ROW]))
    text = record["prompt"][-1]["content"]
    for private in ("quill", "marta", "acme-tools"):
        assert private not in text.lower()
    for kept in ("red kettle", "5 EUR", "2026-03-01", "NL-20931"):
        assert kept in text
    assert json.loads(record["completion"][0]["content"]) == TARGET


def test_a_value_in_prompt_and_completion_has_one_stand_in(tmp_path: Path) -> None:
    body = "The courier called +44 1632 960628 by mistake, my mail is ana@acme-tools.io."
    row = ROW | {"body": body, "target": TARGET | {"issues": ["courier called +44 1632 960628 by mistake"]}}
    (record,) = masked(workspace(tmp_path, [row]))
    issue = json.loads(record["completion"][0]["content"])["issues"][0]
    assert "960628" not in issue
    assert issue in record["prompt"][-1]["content"]


def test_the_report_counts_and_holds_no_private_value(tmp_path: Path) -> None:
    folder = workspace(tmp_path, [ROW])
    masked(folder)
    assert report(folder, "mask")["rows"] == {"read": 1, "written": 1, "dropped": 0}
    text = (folder / "reports/mask.json").read_text(encoding="utf-8").lower()
    assert "quill" not in text


@settings(max_examples=60)
@given(st.text(max_size=120))
def test_masking_is_idempotent(masker: Masker, text: str) -> None:
    once = masker(text).text
    assert masker(once).text == once


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"id": None}, "field 'id'"),
        ({"customer": None}, "field 'customer'"),
        ({"target": None}, "field 'target'"),
        ({"target": TARGET | {"intent": "praise"}}, "field 'target'"),
        ({"target": {"intent": "refund"}}, "field 'target'"),
        ({"received": "", "subject": " ", "body": "\n\t "}, "row 2"),
        ({"body": "a\u0000b"}, "row 2"),
    ],
)
def test_a_bad_row_is_one_error_that_names_it(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    folder = workspace(tmp_path, [ROW, ROW | {"id": "T-2"} | change])
    result = stage(folder, "mask", check=False)
    assert result.returncode == 1
    assert "row 2" in result.stderr
    assert words in result.stderr
    assert "remedy:" in result.stderr
    assert "Traceback" not in result.stderr
    assert "quill" not in result.stderr.lower()
    assert not (folder / "data/masked.parquet").exists()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "holds no rows"),
        ([ROW, ROW], "the id stands in row 1 too"),
        ([ROW, "{not json"], "row 2"),
        ([{key: value for key, value in ROW.items() if key != "body"}], "body"),
    ],
)
def test_a_bad_file_is_one_error(tmp_path: Path, rows: list[Any], words: str) -> None:
    result = stage(workspace(tmp_path, rows), "mask", check=False)
    assert result.returncode == 1
    assert words in result.stderr
    assert "tickets.jsonl" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_long_record_is_masked_past_any_window(tmp_path: Path) -> None:
    body = "the kettle is fine and red. " * 3000 + "Write to late.comer@acme-tools.io today. " + "so it is. " * 3000
    (record,) = masked(workspace(tmp_path, [ROW | {"body": body}], {"mask.ner.engine": "none", "mask.ner.model": None}))
    assert "late.comer" not in record["prompt"][-1]["content"]


def test_the_preview_prints_spans_of_the_input(tmp_path: Path) -> None:
    folder = make_workspace(tmp_path)
    text = "mail ana.maria@acme-tools.io now"
    (folder / "x.jsonl").write_text(json.dumps({"id": "a", "text": text}) + "\n", encoding="utf-8")
    line = json.loads(stage(folder, "mask", "--preview", "x.jsonl", "--field", "text").stdout)
    assert line["id"] == "a"
    assert "ana.maria" not in line["masked"]
    assert [text[span["start"] : span["end"]] for span in line["spans"]] == ["ana.maria@acme-tools.io"]
