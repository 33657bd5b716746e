"""Conversations in the layouts of other tools, and rows without a name, read as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from hallmark.base.rows import read_rows
from hallmark.data.raw import Raw
from tests.rows import checked_rows, refused, write_lines

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


def read(folder: Path, rows: list[dict[str, Any]], **data: Any) -> list[Raw]:
    """The checked rows of a file of conversations."""
    columns = {"id": "row.id", "group": "row.id", "input": "turns.input", "target": "turns.target"}
    return list(checked_rows(write_lines(folder / "rows.jsonl", rows), **columns | data))


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


def test_sharegpt(tmp_path: Path) -> None:
    (row,) = read(tmp_path, [SHAREGPT], context="turns.earlier")
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
    "messages",
    [
        [],
        [{"role": "user", "content": "hi"}],
        [{"role": "assistant", "content": "hi"}],
        [{"role": "user", "content": "hi"}, {"role": "narrator", "content": "x"}],
        [{"role": "user", "content": "hi"}, {"content": "x"}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}],
        [{"role": "user", "content": "hi"}, {"role": "assistant", "tool_calls": "x"}],
        [{"role": "user", "content": "hi"}, 7],
    ],
)
def test_what_is_no_conversation_is_named(tmp_path: Path, messages: list[Any]) -> None:
    with refused(row=2, field="messages"):
        read(tmp_path, [OPENAI, {"messages": messages}])


def test_a_dataset_that_was_saved_to_disk_is_a_folder_of_rows(tmp_path: Path) -> None:
    from datasets import Dataset

    Dataset.from_list([SHAREGPT, SHAREGPT]).save_to_disk(str(tmp_path / "saved"))
    rows = [row for _, row in read_rows(tmp_path / "saved")]
    assert rows == [SHAREGPT, SHAREGPT]
    pl.DataFrame([ALPACA]).write_parquet(tmp_path / "saved/more.parquet")
    assert len(list(read_rows(tmp_path / "saved"))) == 3
