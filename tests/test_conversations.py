"""Conversations in the layouts of other tools, and rows without a name, read as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from hallmark.base.errors import HallmarkError
from hallmark.base.rows import read_rows
from hallmark.data.raw import Raw, raw_rows
from hallmark.params.loader import load_params
from hallmark.task.task import Task
from tests.workspace import ROOT

CALL = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"city": "Rome"}'}}
OPENAI = {
    "messages": [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Where is my parcel?"},
        {"role": "assistant", "content": "Which one?"},
        {"role": "user", "content": [{"type": "text", "text": "The red"}, {"type": "text", "text": "one."}]},
        {"role": "assistant", "content": "On its way."},
        {"role": "user", "content": "Thanks, no answer needed."},
    ]
}
SHAREGPT = {
    "conversations": [{"from": "human", "value": "Ciao?"}, {"from": "gpt", "value": "Hello."}],
    "source": "export",
}
ALPACA = {"instruction": "Translate.", "input": "Ciao", "output": "Hello."}


def read(folder: Path, rows: list[dict[str, Any]], name: str = "rows.jsonl", **data: Any) -> list[Raw]:
    """The checked rows of a file, for a text task."""
    file = folder / name
    if file.suffix == ".json":
        file.write_text(json.dumps(rows), encoding="utf-8")
    else:
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    params = load_params(ROOT / "params.yaml")
    columns = {"id": "row.id", "group": "row.id", "input": "turns.input", "target": "turns.target", "tags": None}
    given = params.data.model_copy(update={"path": str(file), **columns, **data})
    task = Task(params.task.model_copy(update={"kind": "text", "schema_file": None, "refusal": None}))
    return list(raw_rows(given, params.mask.model_copy(update={"identity_columns": {}}), task))


def test_openai_chat(tmp_path: Path) -> None:
    (row,) = read(tmp_path, [OPENAI], context="{turns.system}\n{turns.earlier}")
    assert (row.input, row.target) == ("The red\none.", "On its way.")
    assert row.context == "Be kind.\nuser: Where is my parcel?\nassistant: Which one?"


def test_openai_tool_calls_and_results(tmp_path: Path) -> None:
    asked = [
        {"role": "user", "content": "Weather in Rome?"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
    ]
    result = [{"role": "tool", "tool_call_id": "c1", "content": "sunny"}, {"role": "assistant", "content": "Sunny."}]
    call, answer = read(tmp_path, [{"messages": asked}, {"messages": asked + result}])
    assert json.loads(call.target) == [{"name": "find", "arguments": {"city": "Rome"}}]
    assert answer.target == "Sunny."
    assert answer.input.endswith("tool: sunny")


def test_sharegpt_in_one_json_file(tmp_path: Path) -> None:
    (row,) = read(tmp_path, [SHAREGPT], "rows.json", context="turns.earlier")
    assert (row.input, row.target, row.context) == ("Ciao?", "Hello.", "")


def test_alpaca_is_columns(tmp_path: Path) -> None:
    (row,) = read(tmp_path, [ALPACA], input="{instruction}\n{input}", target="output")
    assert (row.input, row.target) == ("Translate.\nCiao", "Hello.")


def test_rows_without_a_name_have_one_that_stays(tmp_path: Path) -> None:
    first = [row.id for row in read(tmp_path, [OPENAI, SHAREGPT, OPENAI])]
    assert len(set(first)) == 3
    assert first[2] == f"{first[0]}-2"
    assert [row.id for row in read(tmp_path, [SHAREGPT, OPENAI])] == [first[1], first[0]]


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        ([], "no conversation"),
        ([{"role": "user", "content": "hi"}], "no answer"),
        ([{"role": "assistant", "content": "hi"}], "no message from the user"),
        ([{"role": "user", "content": "hi"}, {"role": "narrator", "content": "x"}], "unknown role"),
        ([{"role": "user", "content": "hi"}, {"content": "x"}], "has no 'role'"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}], "has no text"),
        ([{"role": "user", "content": "hi"}, {"role": "assistant", "tool_calls": "x"}], "has no text"),
        ([{"role": "user", "content": "hi"}, 7], "has no 'role'"),
    ],
)
def test_what_is_no_conversation_is_named(tmp_path: Path, messages: list[Any], problem: str) -> None:
    with pytest.raises(HallmarkError, match=problem) as caught:
        read(tmp_path, [OPENAI, {"messages": messages}])
    assert caught.value.row == 2
    assert caught.value.field == "messages"
    assert caught.value.remedy


def test_a_dataset_that_was_saved_to_disk_is_a_folder_of_rows(tmp_path: Path) -> None:
    from datasets import Dataset

    Dataset.from_list([SHAREGPT, SHAREGPT]).save_to_disk(str(tmp_path / "saved"))
    rows = [row for _, row in read_rows(tmp_path / "saved")]
    assert rows == [SHAREGPT, SHAREGPT]
    pl.DataFrame([ALPACA]).write_parquet(tmp_path / "saved/more.parquet")
    assert len(list(read_rows(tmp_path / "saved"))) == 3


@pytest.mark.parametrize(
    ("name", "text"), [("a.json", "{"), ("a.json", "{}"), ("a.json", "[1]"), ("a.arrow", "no"), ("a.json", "\xff")]
)
def test_what_is_no_json_or_arrow_is_named(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_bytes(text.encode("latin1"))
    with pytest.raises(HallmarkError) as caught:
        list(read_rows(tmp_path / name))
    assert caught.value.file == tmp_path / name
