"""What is written as CSV, TSV, Parquet, Arrow or JSON lines reads back to the same cells, each row with its place."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hallmark.records import answers, calls, fields_of_spans, fields_of_tags, json_lines, json_rows, plain_text, table
from hallmark.records.reading import Seen, reading

LETTERS = st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"))
CELL = st.text(LETTERS | st.sampled_from("\n\",;\t|'"), max_size=12)
ROWS = st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=8)


def back(name: str, content: bytes) -> pl.DataFrame:
    """A file of data/raw as `table` reads it."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "data/raw", name)
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        with reading(Seen(Path(folder))):
            return table(f"data/raw/{name}")


@given(rows=ROWS, separator=st.sampled_from(",;\t|"), encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
@settings(max_examples=60, deadline=None)
def test_tables_of_text_read_back(rows: list[tuple[str, ...]], separator: str, encoding: str) -> None:
    written = io.StringIO(newline="")
    writer = csv.writer(written, delimiter=separator, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(["a", "b", "c"])
    lines = []
    for row in rows:
        lines.append(written.getvalue().count("\n") + 1)
        writer.writerow(row)
    frame = back("x.tsv" if separator == "\t" else "x.csv", written.getvalue().encode(encoding))
    kept = [(line, row) for line, row in zip(lines, rows, strict=True) if any(row)]
    assert frame.select("a", "b", "c").rows() == [tuple(cell or None for cell in row) for _, row in kept]
    assert [source.rpartition(":")[2] for source in frame["source"]] == [str(line) for line, _ in kept]


@given(rows=ROWS)
@settings(max_examples=25, deadline=None)
def test_frames_read_back(rows: list[tuple[str, ...]]) -> None:
    frame = pl.DataFrame(rows, ["a", "b", "c"], orient="row")
    for name, write in (
        ("x.parquet", frame.write_parquet),
        ("x.arrow", frame.write_ipc),
        ("x.jsonl", frame.write_ndjson),
    ):
        write(buffer := io.BytesIO())
        found = back(name, buffer.getvalue())
        assert found.drop("source").rows() == rows
        assert found["source"].to_list() == [f"data/raw/{name}:{number}" for number in range(1, len(rows) + 1)]


@given(
    rows=st.lists(st.dictionaries(st.text("abc", min_size=1), st.none() | st.integers() | st.text(LETTERS)), max_size=6)
)
@settings(max_examples=40, deadline=None)
def test_json_reads_back(rows: list[dict[str, object]]) -> None:
    with TemporaryDirectory() as folder:
        raw = Path(folder, "data/raw")
        raw.mkdir(parents=True)
        (raw / "x.jsonl").write_text("\n\n".join(map(json.dumps, rows)), encoding="utf-8")
        (raw / "x.json").write_text(json.dumps(rows), encoding="utf-8")
        with reading(Seen(Path(folder))):
            lines, whole = list(json_lines("data/raw/x.jsonl")), list(json_rows("data/raw/x.json"))
    for found, step, name in ((lines, 2, "x.jsonl"), (whole, 1, "x.json")):
        sources = [f"data/raw/{name}:{1 + step * at}" for at in range(len(rows))]
        assert [dict(one) for one in found] == [row | {"source": of} for row, of in zip(rows, sources, strict=True)]


@pytest.mark.parametrize(
    ("name", "content", "cells"),
    [
        ("a.csv", "n;t\n1;ü\n".encode("cp1252"), [("1", "ü")]),
        ("a.csv", b"sep=;\nn;t\n1;x\n", [("1", "x")]),
        ("a.csv", b"n,t\n\n1,x\n\n,\n", [("1", "x")]),
        ("a.csv", b"n,t,u\n1,x\n", [("1", "x", None)]),
        ("a.tsv", b'n\tt\n1\ta "b" c\n2\t"open\n', [("1", 'a "b" c'), ("2", '"open')]),
        ("a.tsv", b"n\tt\n1\t\\N\n2\ta\\\nb\\tc\\\\\n", [("1", None), ("2", "a\nb\tc\\")]),
        ("a.csv", b'n,t\n1,\\N\n2,"say \\"x\\""\n', [("1", None), ("2", 'say "x"')]),
        ("a.csv", b"t,t\n1,x\n", [("1", "x")]),
    ],
)
def test_dialects(name: str, content: bytes, cells: list[tuple[str | None, ...]]) -> None:
    assert back(name, content).drop("source").rows() == cells


@given(parts=st.lists(st.tuples(st.text("ab ", min_size=1), st.sampled_from(["", "city", "name"])), max_size=6))
def test_spans_are_the_marked_texts(parts: list[tuple[str, str]]) -> None:
    text, spans, expected = "", [], dict[str, list[str]]()
    for part, label in parts:
        if label and part.strip() and part.strip() not in expected.setdefault(label, []):
            expected[label].append(part.strip())
        spans += [(len(text), len(text) + len(part), label)] if label else []
        text += part
    assert fields_of_spans(text, spans) == {label: texts for label, texts in expected.items() if texts}


@given(
    parts=st.lists(st.tuples(st.lists(st.sampled_from("xyz"), min_size=1), st.sampled_from(["", "city"])), max_size=6)
)
def test_tags_are_the_marked_tokens(parts: list[tuple[list[str], str]]) -> None:
    tokens = [token for words, _ in parts for token in words]
    bio = [f"{'BI'[at > 0]}-{label}" if label else "O" for words, label in parts for at in range(len(words))]
    expected = list(dict.fromkeys(" ".join(words) for words, label in parts if label))
    assert fields_of_tags(tokens, bio) == ({"city": expected} if expected else {})


ARGUMENTS = st.dictionaries(st.text("ab", min_size=1), st.integers() | st.text(LETTERS), max_size=3)


@given(made=st.lists(st.tuples(st.text("fg", min_size=1), ARGUMENTS), min_size=1, max_size=3))
def test_calls_of_all_forms_are_the_same(made: list[tuple[str, dict[str, object]]]) -> None:
    plain = [{"name": name, "arguments": arguments} for name, arguments in made]
    openai = [{"type": "function", "function": one | {"arguments": json.dumps(one["arguments"])}} for one in plain]
    hermes = "".join(f"<tool_call>\n{json.dumps(one)}\n</tool_call>" for one in plain)
    used = [{"type": "tool_use", "name": one["name"], "input": one["arguments"]} for one in plain]
    for form in (plain, openai, hermes, json.dumps(plain), {"role": "assistant", "tool_calls": openai}):
        assert calls(form) == plain
    assert calls({"role": "assistant", "content": used}) == plain
    user = {"role": "user", "content": "please"}
    assert [target for *_, target in answers([user, {"role": "assistant", "content": hermes}])] == [plain]


def test_answers_with_what_was_said_before() -> None:
    said = [
        {"from": "system", "value": "s"}, {"from": "human", "value": "q"}, {"from": "gpt", "value": "a"},
        {"from": "human", "value": "r"}, {"from": "gpt", "value": "bad", "weight": 0}, {"from": "gpt", "value": "b"},
    ]  # fmt: skip
    assert [(at, len(prompt), target) for at, prompt, target in answers(said, "all")] == [(2, 2, "a"), (5, 5, "b")]
    assert [target for *_, target in answers(said, "first")] == ["a"]
    assert [target for *_, target in answers(said)] == ["b"]
    assert (
        list(answers(said[:1]))
        == list(answers([{"role": "assistant", "content": "hi"}]))
        == list(answers(said, "calls"))
        == []
    )


def test_markup() -> None:
    assert plain_text("<p>a &amp; b</p><p>c</p>") == "a & b\nc"
    assert plain_text("<b>", "none") == "<b>"
