"""Rows that `data.where` doesn't keep, and those that lack a group, an input or a target: left out and counted, or an error."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.base.errors import HallmarkError
from hallmark.data.missing import OR_DROP, Missing, is_kept
from hallmark.params.loader import load_params
from stages import mask
from tests.rows import checked_rows, refused, shipped, write_lines
from tests.workspace import change_params, make_workspace

ROW: dict[str, Any] = {"id": "1", "who": "A", "subject": "Lamp", "body": "It is broken.", "reply": "Sorry."}
CALL = {"name": "find", "arguments": {"city": "Rome"}}
TALK = {"messages": [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Hello."}]}
COLUMNS: dict[str, Any] = {"group": "who", "input": "About: {subject}\n{body}", "target": "reply", "tags": None}
TURNS = {"id": "row.id", "group": "row.id", "input": "turns.input", "target": "turns.target"}


def read(folder: Path, rows: list[dict[str, Any]], **data: Any) -> tuple[list[str], Missing]:
    """The ids of the rows that stay, and what was left out."""
    missing = Missing()
    found = checked_rows(write_lines(folder / "rows.jsonl", rows), missing, **COLUMNS | data)
    return [raw.id for raw in found], missing


def without(key: str) -> dict[str, Any]:
    return {name: value for name, value in ROW.items() if name != key}


@pytest.mark.parametrize(
    ("bad", "part"),
    [
        (ROW | {"who": None}, "group"),
        (without("who"), "group"),
        (ROW | {"subject": None, "body": "\n\u200b"}, "input"),  # the template's own words are no input
        (ROW | {"subject": " - ", "body": "..."}, "input"),
        (without("body"), "input"),
        (ROW | {"reply": " \n"}, "target"),
        (without("reply"), "target"),
    ],
)
def test_what_a_row_can_lack(tmp_path: Path, bad: dict[str, Any], part: str) -> None:
    rows = [ROW, bad | {"id": "2"}, ROW | {"id": "3", "subject": None}]
    with pytest.raises(HallmarkError, match="row 2"):
        read(tmp_path, rows, missing="error")
    stay, missing = read(tmp_path, rows, missing="drop")
    assert (stay, missing.rows) == (["1", "3"], 1)
    assert missing.report() == {"group": 0, "input": 0, "target": 0} | {part: 1}


def test_a_row_without_a_group_may_be_one_by_itself(tmp_path: Path) -> None:
    rows = [
        ROW,
        ROW | {"id": "2", "who": None},
        without("who") | {"id": "3"},
        ROW | {"id": "4", "who": " ", "reply": ""},
    ]
    missing = Missing()
    file = write_lines(tmp_path / "rows.jsonl", rows)
    found = list(checked_rows(file, missing, **COLUMNS | {"missing": "own_group"}))
    assert [(raw.id, raw.group) for raw in found] == [("1", "A"), ("2", "2"), ("3", "3")]
    assert (missing.alone, missing.report()) == (2, {"group": 0, "input": 0, "target": 1})
    with refused("data.group", field="who"):
        read(tmp_path, rows[1:], missing="own_group")


@pytest.mark.parametrize(("role", "part"), [("user", "target"), ("assistant", "input")])
def test_a_conversation_of_one_side(tmp_path: Path, role: str, part: str) -> None:
    rows = [TALK, {"messages": [{"role": role, "content": "Hello?"}]}]
    with pytest.raises(HallmarkError, match=OR_DROP):
        read(tmp_path, rows, missing="error", **TURNS)
    stay, missing = read(tmp_path, rows, missing="drop", **TURNS)
    assert (len(stay), dict(missing.counts)) == (1, {part: 1})


def test_a_call_that_was_cut_off_is_a_missing_answer(tmp_path: Path) -> None:
    """Wherever it stands: a log has such rows, and one may be all that is wrong with a file."""
    call = {"function": {"name": "find", "arguments": '{"city": "Ro'}}
    bad = {
        "messages": [
            TALK["messages"][0],
            {"role": "assistant", "content": None, "tool_calls": [call]},
            *TALK["messages"],
        ]
    }
    with pytest.raises(
        HallmarkError, match=r"row 2, .*: message 2 calls a tool without a name, or with arguments that are no JSON"
    ):
        read(tmp_path, [TALK, bad], missing="error", **TURNS)
    stay, missing = read(tmp_path, [TALK, bad], missing="drop", **TURNS)
    assert (len(stay), dict(missing.counts)) == (1, {"target": 1})


@pytest.mark.parametrize(
    ("answer", "no_call", "missing", "targets"),
    [
        ("I can't do that.", "missing", "drop", [[CALL]]),
        ("I can't do that.", "empty", "error", [[CALL], []]),
        ("I can't do that.", "missing", "error", None),
        ('[{"name": "find"', "empty", "drop", None),  # a call that was cut off is none in words
    ],
)
def test_an_answer_that_calls_no_tool(
    tmp_path: Path, answer: str, no_call: str, missing: str, targets: list[Any] | None
) -> None:
    (tmp_path / "schema.json").write_text('{"type": "array", "items": {"type": "object"}}', encoding="utf-8")
    task = {"kind": "tool_call", "schema_file": str(tmp_path / "schema.json"), "refusal": None}
    rows = [ROW | {"reply": json.dumps([CALL])}, ROW | {"id": "2", "reply": answer}]
    file, left = write_lines(tmp_path / "rows.jsonl", rows), Missing()
    found = checked_rows(file, left, task, **COLUMNS | {"no_call": no_call, "missing": missing})
    if targets is None:
        with refused("data.no_call" if no_call == "missing" else "", row=2, field="reply"):
            list(found)
        return
    assert [raw.target for raw in found] == targets
    assert left.report()["target"] == 2 - len(targets)


def test_what_no_row_has_is_an_error_whatever_the_param_says(tmp_path: Path) -> None:
    with pytest.raises(HallmarkError, match="row 1, field 'whose': no such column"):
        read(tmp_path, [ROW, ROW | {"id": "2"}], missing="drop", group="whose")


@pytest.mark.parametrize("bad", [ROW | {"id": None}, ROW | {"body": ["a list"]}, ROW | {"reply": 5}])
def test_other_bad_rows_stop_it_still(tmp_path: Path, bad: dict[str, Any]) -> None:
    with refused(row=2):
        read(tmp_path, [ROW, bad], missing="drop")


@given(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_characters="!"), max_size=5)
)
def test_a_row_is_kept_for_its_own_values(value: Any) -> None:
    """Also where a table or a list has them."""
    written = "" if value is None else str(value)
    for said in (value, [value, "other"], *([written] if not isinstance(value, float) else [])):
        assert is_kept({"a": {"b": said}, "c": 1}, {"a.b": ["another", value], "c": ["1"]})
        assert not is_kept({"a": {"b": said}}, {"a.b": [f"no {value}"]})
        assert not is_kept({"a": said}, {"a": [f"!{written}"]}) or isinstance(value, float)
        assert is_kept({"a": said}, {"a": [f"!no {value}"]})


@pytest.mark.parametrize(
    ("value", "stays"),
    [("vip spam", False), ("vip, Spam", False), ("Closed; spam", False), (["vip", "SPAM"], False), ("spam", False),
     ("Not spam", False), ("antispam", True), (None, True), ([], True)],
)  # fmt: skip
def test_a_row_is_left_out_for_a_part_of_a_text_or_list(value: Any, stays: bool) -> None:
    """Words are parts of tags with spaces between them alone."""
    assert is_kept({"tags": value}, {"tags": ["!spam"]}, "tags") == stays
    assert is_kept({"tags": value, "x": "a"}, {"tags": ["!spam"], "x": ["a", "!b"]}, "tags") == stays
    assert is_kept({"x": "vip spam"}, {"x": ["!spam"]}, "tags") and not is_kept({"x": "vip, spam"}, {"x": ["!spam"]})
    assert not is_kept({"x": None}, {"x": ["!"]}) and is_kept({"x": "a"}, {"x": ["!"]})


def test_rows_that_data_where_does_not_keep_are_left_out_and_counted(tmp_path: Path) -> None:
    states = ["Approved", "rejected", "approved ", None, "rejected"]
    rows: list[Any] = [ROW | {"id": f"{n}", "review": {"state": state}} for n, state in enumerate(states)]
    rows[1]["reply"] = None  # which would be an error
    stay, missing = read(tmp_path, rows, where={"review.state": ["approved"]})
    assert (stay, missing.unwanted, missing.rows) == (["0", "2"], 3, 0)
    assert read(tmp_path, rows, where={"review.state": ["approved", None]})[0] == ["0", "2", "3"]
    assert [*missing.lines(shipped().data.model_copy(update={"where": {"a": ["b"]}}))] == [
        "3 rows left out by data.where (a)"
    ]
    with refused("name other columns or values there", field="review.stat"):
        read(tmp_path, rows, where={"review.stat": ["approved"]})
    with refused("name another column in data.where", field="stat"):
        read(tmp_path, rows, where={"stat": [None]}, missing="drop")


def test_mask_counts_them_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    changes = {"data.missing": "drop", "mask.gold": None, "mask.ner.engine": "none", "mask.ner.model": None}
    monkeypatch.chdir(make_workspace(tmp_path / "repo", changes, rows=6))
    raw = Path("data/raw/tickets.jsonl")
    rows = [json.loads(line) for line in raw.read_text(encoding="utf-8").splitlines()]
    rows[1]["customer"], rows[3]["target"], rows[4]["target"] = None, None, ""
    write_lines(raw, [*rows, rows[0] | {"id": "again", "error": "timeout"}])
    change_params(Path(), {"data.where": {"error": [None]}})
    with caplog.at_level(logging.WARNING):
        mask.run(load_params(Path("params.yaml")))
    assert "3 rows left out (data.missing: drop): 1 without group (customer), 2 without target (target)" in caplog.text
    report = json.loads(Path("reports/mask.json").read_text(encoding="utf-8"))
    assert report["missing"] == {"group": 1, "input": 0, "target": 2}
    assert "1 rows left out by data.where (error)" in caplog.text and report["unwanted"] == 1
    assert report["rows"] == {"read": 7, "dropped": 0, "written": 3}
    assert pl.read_parquet("data/masked.parquet")["id"].to_list() == [rows[number]["id"] for number in (0, 2, 5)]
