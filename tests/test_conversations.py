"""Conversations in the layouts of other tools, and rows without a name, read as they are."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.base.params import Chat
from hallmark.base.rows import read_rows
from hallmark.data.conversations import turns
from hallmark.data.raw import Raw
from hallmark.data.spans import joined
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


def test_of_a_system_message_what_the_prompt_says_goes_without_saying() -> None:
    says = [{"role": "system", "content": "Be kind. Ann has a cat.\nBe brief. Bo has a dog."}, *OPENAI["messages"][1:]]
    found = [
        turns({"messages": says}, Path("x"), 1, prompt)["turns.system"]
        for prompt in ("Be kind. Be brief.", "Be terse.")
    ]
    assert found == ["Ann has a cat.\nBo has a dog.", "Be kind. Ann has a cat.\nBe brief. Bo has a dog."]
    anthropic = {"system": [{"type": "text", "text": "Be brief. Today is Monday."}], "messages": OPENAI["messages"][1:]}
    assert turns(anthropic, Path("x"), 1, "Be brief.")["turns.system"] == "Today is Monday."


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


def test_calls_in_older_layouts_and_anthropics(tmp_path: Path) -> None:
    asked = {"role": "user", "content": "Weather in Rome?"}
    old = {"role": "assistant", "content": None, "function_call": CALL["function"]}
    used = {"type": "tool_use", "id": "c1", "name": "find", "input": {"city": "Rome"}}
    result = {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "sunny"}]}
    new = {"role": "assistant", "content": [{"type": "text", "text": "Let me look."}, used]}
    rows = [[asked, old], [asked, new], [asked, new, {"role": "user", "content": [result]}, {"role": "assistant", "content": "Sunny."}]]  # fmt: skip
    first, second, answer = read(tmp_path, [{"messages": row} for row in rows])
    assert json.loads(first.target) == json.loads(second.target) == [{"name": "find", "arguments": {"city": "Rome"}}]
    assert (answer.target, answer.input.startswith("Weather"), answer.input[-11:]) == ("Sunny.", True, "tool: sunny")


@given(st.lists(st.sampled_from([None, 0, 1, 1.0]), min_size=1, max_size=6))
def test_the_last_answer_that_is_trained_is_the_last_without_weight_0(weights: list[float | None]) -> None:
    turns = []
    for number, weight in enumerate(weights):
        answer = {"role": "assistant", "content": f"A{number}"} | ({} if weight is None else {"weight": weight})
        turns += [{"role": "user", "content": f"Q{number}", "weight": 0}, answer]
    last = max((number for number, weight in enumerate(weights) if weight != 0), default=None)
    with tempfile.TemporaryDirectory() as folder:
        if last is None:
            with refused(row=1, field="messages"):
                read(Path(folder), [{"messages": turns}])
            return
        (row,) = read(Path(folder), [{"messages": turns}], context="turns.earlier")
    assert (row.input, row.target) == (f"Q{last}", f"A{last}")
    assert (row.context or "").count("assistant: ") == last


def test_each_answer_of_a_conversation_is_a_record(tmp_path: Path) -> None:
    greeting = {"role": "assistant", "content": "Hello!"}
    system, question, answer, *rest = OPENAI["messages"]
    unlearned = [system, question, answer | {"weight": 0}, *rest]
    rows = [{"name": "a", "messages": [greeting, *OPENAI["messages"]]}, {"name": "b", "messages": unlearned}]
    read_as = {"id": "name", "group": "row.id", "context": "turns.earlier", "answers": "all"}
    earlier, last, only = read(tmp_path, rows, **read_as)
    assert [(row.id, row.input, row.target) for row in (earlier, last)] == [
        ("a-4", "Where is my parcel?", "Which one?"), ("a", "The red\none.", "On its way."),
    ]  # fmt: skip
    assert (earlier.context, earlier.group) == ("assistant: Hello!", last.group), "they stay on one side of the split"
    assert (only.id, only.target) == ("b", "On its way."), "an answer with weight 0 is none"


def test_sharegpt_and_alpaca(tmp_path: Path) -> None:
    (row,) = read(tmp_path, [SHAREGPT], context="turns.earlier")
    assert (row.input, row.target, row.context) == ("Ciao?", "Hello.", "")
    (row,) = read(tmp_path, [ALPACA], input="{instruction}\n{input}", target="output")
    assert (row.input, row.target) == ("Translate.\nCiao", "Hello.")


def test_a_chat_may_open_before_its_list_and_be_read_as_a_whole(tmp_path: Path) -> None:
    roles: Any = {"me": "user", "you": "assistant"}
    chat = Chat(turns="parts", role="who", text="say", roles=roles, answer=None, internal={}, opening="first")
    parts = [
        {"who": who, "say": say} for who, say in (("you", "Which?"), ("it", "joined"), ("me", "Red"), ("you", "Here."))
    ]
    for first in ("My key?", {"who": "me", "say": "My key?"}):
        rows = [{"parts": parts, "first": first, "note": "A red key."}]
        (row,) = read(tmp_path, rows, chat=chat, context="turns.earlier")
        assert (row.context, row.input, row.target) == ("user: My key?\nassistant: Which?", "Red", "Here.")
        (row,) = read(tmp_path, rows, chat=chat, input="turns.all", target="note")
        assert row.input == "user: My key?\nassistant: Which?\nuser: Red\nassistant: Here."


def test_rows_without_a_name_have_one_that_stays(tmp_path: Path) -> None:
    first = [row.id for row in read(tmp_path, [OPENAI, SHAREGPT, OPENAI])]
    assert len(set(first)) == 3
    assert first[2] == f"{first[0]}-2"
    assert [row.id for row in read(tmp_path, [SHAREGPT, OPENAI])] == [first[1], first[0]]


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"role": "user", "content": "hi"}, {"role": "narrator", "content": "x"}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}],
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


def labelled(words: list[str], labels: list[str | None]) -> dict[str, Any]:
    """A text of which some words are labelled, in each form that tools write, and the fields that all of them mean."""
    starts = [len(" ".join(words[:number])) + (number > 0) for number in range(len(words))]
    spans = [
        (start, start + len(word), word, label)
        for start, word, label in zip(starts, words, labels, strict=False)
        if label
    ]
    fields: dict[str, list[str]] = {}
    for *_, word, label in spans:
        fields[label] = list(dict.fromkeys([*fields.get(label, []), word]))
    results = [
        {"id": f"r{start}", "type": "labels", "value": {"start": start, "end": end, "text": word, "labels": [label]}}
        for start, end, word, label in spans
    ]
    cancelled = {"id": 1, "was_cancelled": True, "result": [{"value": {"start": 0, "end": 1, "labels": ["wrong"]}}]}
    return {
        "text": " ".join(words),
        "words": words,
        "fields": fields,
        "studio": [cancelled, {"id": 2, "created_at": "2024-05-01T10:00:00Z", "result": results}],
        "texts": [{"id": start, "text": word, "label": label} for start, _, word, label in spans],
        "bounds": [{"start_offset": start, "end_offset": end, "label": label} for start, end, _, label in spans],
        "triples": [[start, end, label] for start, end, _, label in spans],
        "written": json.dumps([[start, end, label] for start, end, _, label in spans]),
        "tags": [f"B-{label}" if label else "O" for label in labels[: len(words)]],
    }


def read_spans(folder: Path, row: dict[str, Any], target: str, source: str = "text", **data: Any) -> list[Raw]:
    """A row whose target is made of the spans in a column."""
    (folder / "schema.json").write_text('{"type": "object"}', encoding="utf-8")
    task = {"kind": "extraction", "schema_file": str(folder / "schema.json"), "refusal": None}
    columns = {"id": "row.id", "group": "row.id", "input": source, "target": f"{target}.by_label"}
    return list(checked_rows(write_lines(folder / "rows.jsonl", [row]), task=task, **columns | data))


@given(
    st.lists(
        st.tuples(st.text("abcü", min_size=1, max_size=4), st.sampled_from([None, "city", "x-y"])),
        min_size=1,
        max_size=8,
    )
)
def test_every_form_of_spans_has_the_same_fields(pairs: list[tuple[str, str | None]]) -> None:
    row = labelled(*map(list, zip(*pairs, strict=True)))
    with tempfile.TemporaryDirectory() as folder:
        for form in ("studio", "texts", "bounds", "triples", "written"):
            assert read_spans(Path(folder), row, form)[0].target == row["fields"], form
        (raw,) = read_spans(Path(folder), row, "tags", "words.joined")
    assert (raw.input, raw.target) == (row["text"], row["fields"])
    assert joined([*row["words"], None]) is None


@pytest.mark.parametrize(
    ("spans", "fields"),
    [
        (["B-a", "I-a", "I-a"], {"a": ["Anna to Rome"]}),
        (["S-a", "B-a", "E-a"], {"a": ["Anna", "to Rome"]}),  # IOBES
        ([[0, 4, "a"], [2, 7, "a"]], {"a": ["Anna", "na to"]}),
        (None, "target"),
        ([[0, 4, "a"], [7, 5, "b"]], "characters"),  # not one of two, silently
        (["B-a"], "TOKENS.joined"),
        ([{"offset": 3}], "label"),
    ],
)
def test_spans_of_a_text(tmp_path: Path, spans: Any, fields: Any) -> None:
    row = {"text": "Anna to Rome", "words": ["Anna", "to", "Rome"], "spans": spans}
    source = "words.joined" if spans and isinstance(spans, list) and isinstance(spans[0], str) else "text"
    if isinstance(fields, str):
        with refused(fields, row=1, field="spans.by_label"):
            read_spans(tmp_path, row, "spans", source)
    else:
        assert read_spans(tmp_path, row, "spans", source)[0].target == fields
