"""Broken scripts, records and files: each is one error that says where and what to do, and quotes no value."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from hallmark.base.errors import HallmarkError
from hallmark.records.recipe import load
from hallmark.records.second_run import SecondRun
from tests.recipes import SECRET, recipe_in, run_of

SCRIPT = "stages/records.py"
CSV = "data/raw/a.csv"
GOOD = f"id,text,label,who\n1,one {SECRET},x,{SECRET}\n2,two,y,Bo\n3,three,x,Cy\n"
LINE = 6  # of a script's first line in `records`


def yields(**fields: str) -> str:
    """A script that gives a record for each row, with other expressions for some fields."""
    made = {"id": 'row["id"]', "group": 'row["id"]', "prompt": 'row["text"]', "target": 'row["label"]'}
    made |= {"source": 'row["source"]'} | fields
    inner = ", ".join(f"{name}={value}" for name, value in made.items() if value)
    return f'for row in table("{CSV}").iter_rows(named=True):\n    yield Record({inner})'


RECORDS: dict[str, tuple[dict[str, str], str]] = {  # fields, the field at fault
    "an id that is a number": ({"id": 'int(row["id"])'}, "id"),
    "no id": ({"id": "None"}, "id"),
    "an empty id": ({"id": '" "'}, "id"),
    "an id with a line break": ({"id": 'row["id"] + "\\n"'}, "id"),
    "an id that steers a terminal": ({"id": '"\\x1b[31m" + row["id"]'}, "id"),
    "an id with a zero-width space": ({"id": 'row["id"] + "\\u200b"'}, "id"),
    "an id that is not NFC": ({"id": '"e\\u0301" + row["id"]'}, "id"),
    "an id with a space after it": ({"id": 'row["id"] + " "'}, "id"),
    "an id of 201 characters": ({"id": '"a" * 201'}, "id"),
    "the same id twice": ({"id": '"a"'}, "id"),
    "no group": ({"group": ""}, "group"),
    "a group that is a list": ({"group": "[row['who']]"}, "group"),
    "no prompt": ({"prompt": "None"}, "prompt"),
    "a blank prompt": ({"prompt": '" \\n"'}, "prompt"),
    "no messages": ({"prompt": "[]"}, "prompt"),
    "a message without a role": ({"prompt": '[{"content": row["text"]}]'}, "prompt"),
    "a role that nobody knows": ({"prompt": '[{"role": "bot", "content": row["text"]}]'}, "prompt"),
    "a message with a key more": ({"prompt": '[{"role": "user", "content": row["text"], "at": 1}]'}, "prompt"),
    "a message without a text": ({"prompt": '[{"role": "user", "content": None}]'}, "prompt"),
    "a prompt of 10 MB": ({"prompt": 'row["text"] * 10**6'}, "prompt"),
    "half a surrogate pair": ({"prompt": 'row["text"] + "\\ud83d"'}, "prompt"),
    "a NUL": ({"prompt": 'row["text"] + "\\0"'}, "prompt"),
    "no target": ({"target": "None"}, "target"),
    "a target that is a number": ({"target": "3"}, "target"),
    "a target that is a set": ({"target": "{'a': {row['who']}}"}, "target"),
    "NaN in a target": ({"target": "{'a': float('nan')}"}, "target"),
    "infinity in a target": ({"target": "[1e999]"}, "target"),
    "a key that is a number": ({"target": "{1: row['label']}"}, "target"),
    "a date in a target": ({"target": "{'a': __import__('datetime').date(2024, 1, 1)}"}, "target"),
    "a target nested without end": ({"target": "(lambda a: a.append(a) or a)([])"}, "target"),
    "tools without a name": ({"tools": '[{"parameters": {}}]'}, "tools"),
    "tools as a text": ({"tools": '"[]"'}, "tools"),
    "tags as a text": ({"tags": 'row["who"]'}, "tags"),
    "a part that there is not": ({"part": '"test"'}, "part"),
    "private as a list": ({"private": '[row["who"]]'}, "private"),
    "private values as a text": ({"private": '{"PERSON": row["who"]}'}, "private"),
    "a private kind in lower case": ({"private": '{"person": [row["who"]]}'}, "private"),
    "a field that there is not": ({"input": 'row["text"]'}, "input"),
    "a context that is a list": ({"context": "[row['text']]"}, "context"),
}


@pytest.mark.parametrize(("fields", "field"), RECORDS.values(), ids=RECORDS)
def test_a_bad_record(tmp_path: Path, fields: dict[str, str], field: str) -> None:
    """The error names the row, the field and the script's line."""
    with pytest.raises(HallmarkError) as caught:
        list(run_of(tmp_path, yields(**fields), {"a.csv": GOOD}))
    error = caught.value
    assert (error.file, error.row, error.field) == (CSV, 3 if field == "id" and fields["id"] == '"a"' else 2, field)
    assert SECRET not in str(error)
    assert len(str(error).splitlines()) == 2 and error.remedy


SCRIPTS: dict[str, tuple[str, str, int | None]] = {  # the whole script, where the error is
    "no Python": ("def records(p:\n    pass", SCRIPT, 1),
    "a NUL in the script": ("def records(p):\n    yield '\0'", SCRIPT, None),
    "no function": ("x = 1", SCRIPT, None),
    "no argument": ("def records():\n    yield 1", SCRIPT, None),
    "no function but a value": ("records = 3", SCRIPT, None),
    "an import that fails": ("import no_such_package\ndef records(p): yield 1", SCRIPT, 1),
    "an error when it is loaded": ("x = 1 / 0\ndef records(p): yield 1", SCRIPT, 1),
    "nothing": ("def records(p):\n    return None", SCRIPT, None),
    "a text": (f"def records(p):\n    return '{SECRET}'", SCRIPT, None),
    "one record": ("from hallmark.records import *\ndef records(p):\n    return Record(id='a', group='a', prompt='a', target='a', source='data/raw/a.csv:2')", SCRIPT, None),
    "dicts": (f"def records(p):\n    yield {{'id': '{SECRET}'}}", SCRIPT, None),
    "no record at all": ("def records(p):\n    yield from ()", SCRIPT, None),
    "an async generator": ("async def records(p):\n    yield 1", SCRIPT, None),
    "exit": ("def records(p):\n    exit(3)\n    yield", SCRIPT, 2),
    "a KeyError half way": (f"def records(p):\n    yield {{}}['{SECRET}']", SCRIPT, 2),
    "a param that is not set": ("def records(p):\n    yield p['status']", "params.yaml", None),
    "a frame without groups": ("import polars as pl\ndef records(p):\n    return pl.DataFrame({'id': ['a'], 'source': ['data/raw/a.csv:2']})", CSV, 2),
    "a lazy frame that fails": ("import polars as pl\ndef records(p):\n    return pl.LazyFrame({'id': ['a']}).select('b')", SCRIPT, None),
    "a column that the table has not": ("from hallmark.records import *\ndef records(p):\n    table('data/raw/a.csv').select('Label')\n    yield", SCRIPT, 3),
    "a source that names no file": ("from hallmark.records import *\ndef records(p):\n    yield Record(id='a', group='a', prompt='a', target='a', source='b.csv:2')", SCRIPT, None),
    "which answers": ("from hallmark.records import *\ndef records(p):\n    yield from answers([], 'best')", SCRIPT, 3),
    "skip without a reason": ("from hallmark.records import *\ndef records(p):\n    skip({}, '')\n    yield", SCRIPT, 3),
}  # fmt: skip


@pytest.mark.parametrize(("text", "file", "row"), SCRIPTS.values(), ids=SCRIPTS)
def test_a_bad_script(tmp_path: Path, text: str, file: str, row: int | None) -> None:
    """The error names the script's line, and an exception only by its type."""
    script = recipe_in(tmp_path, text, {"a.csv": GOOD}, whole=True)
    with pytest.raises(HallmarkError) as caught:
        list(load(script).run({}, tmp_path))
    error = caught.value
    assert str(error.file or script).endswith(file)
    assert (error.row or _line_in(error)) == row or (row is None and error.row is None)
    assert SECRET not in str(error)
    assert len(str(error).splitlines()) == 2


def _line_in(error: HallmarkError) -> int | None:
    """The script's line in the remedy of an error that is not about the script itself."""
    _, found, rest = error.remedy.rpartition(f"{SCRIPT}, line ")
    return int(rest.rstrip(")")) if found else None


READ: dict[str, tuple[str, dict[str, str | bytes], int | None]] = {  # what is read, the files, the row at fault
    "no such file": ('table("data/raw/b.csv")', {}, None),
    "no such column": ('[row["texts"] for row in json_lines("data/raw/a.jsonl")]', {"a.jsonl": '{"text": "a"}\n'}, 1),
    "a path out of data/raw": ('table("data/raw/../../x.csv")', {}, None),
    "an absolute path": ('table("/etc/passwd")', {}, None),
    "a path that is no text": ("table(3)", {}, None),
    "a path with a NUL": ('table("data/raw/\\0.csv")', {}, None),
    "a pattern of no file": ('table("data/raw/*.tsv")', {}, None),
    "a file of an unknown kind": ('table("data/raw/a.xlsx")', {"a.xlsx": b"PK"}, None),
    "a row with a cell more": ('table("data/raw/a.csv")', {"a.csv": f"a,b\n1,2\n3,{SECRET},5\n"}, 3),
    "a quote without end": ('table("data/raw/a.csv")', {"a.csv": f'a,b\n1,"{SECRET}\n'}, 2),
    "no text at all": ('table("data/raw/a.csv")', {"a.csv": b"a,b\n\x81\x8d,\x90\n"}, 1),
    "no Parquet": ('table("data/raw/a.parquet")', {"a.parquet": b"PAR1 no PAR1"}, None),
    "no Arrow": ('table("data/raw/a.arrow")', {"a.arrow": b"ARROW1 no"}, None),
    "no JSON": ('list(json_lines("data/raw/a.jsonl"))', {"a.jsonl": f'{{"a": 1}}\n{{"a": {SECRET}}}\n'}, 2),
    "a key twice": ('list(json_lines("data/raw/a.jsonl"))', {"a.jsonl": '{"a": 1, "a": 2}\n'}, 1),
    "NaN in JSON": ('list(json_lines("data/raw/a.jsonl"))', {"a.jsonl": '{"a": NaN}\n'}, 1),
    "a list in a line": ('list(json_lines("data/raw/a.jsonl"))', {"a.jsonl": "[1]\n"}, 1),
    "half a surrogate in UTF-8": ('list(json_lines("data/raw/a.jsonl"))', {"a.jsonl": b'{"a": "\xed\xa0\xbd"}\n'}, 1),
    "JSON nested deep": ('list(json_rows("data/raw/a.json"))', {"a.json": "[" * 10**5}, None),
    "two lists of rows": ('list(json_rows("data/raw/a.json"))', {"a.json": '{"a": [{}], "b": [{}]}'}, None),
    "texts for rows": ('list(json_rows("data/raw/a.json"))', {"a.json": '["a"]'}, 1),
    "several types in a column": ('table("data/raw/a.jsonl")', {"a.jsonl": f'{{"a": 1}}\n{{"a": "{SECRET}"}}\n'}, None),
    "a span out of the text": ('fields_of_spans("abc", [(1, 9, "x")])', {}, None),
    "more tags than tokens": ('fields_of_tags(["a"], ["O", "O"])', {}, None),
    "a tag that is none": ('fields_of_tags(["a"], ["3"])', {}, None),
    "a message of nobody": (f'list(answers([{{"content": "{SECRET}"}}]))', {}, None),
    "a picture": ('list(answers([{"role": "user", "content": [{"type": "image_url"}]}]))', {}, None),
    "a call without a name": ('calls([{"arguments": {}}])', {}, None),
    "arguments that are no JSON": (f'calls({{"name": "f", "arguments": "{SECRET}"}})', {}, None),
    "plain_text of None": ("plain_text(None)", {}, None),
}


@pytest.mark.parametrize(("call", "files", "row"), READ.values(), ids=READ)
def test_what_cannot_be_read(tmp_path: Path, call: str, files: dict[str, str | bytes], row: int | None) -> None:
    with pytest.raises(HallmarkError) as caught:
        list(run_of(tmp_path, f"{call}\nyield", files))
    error = caught.value
    assert error.row == row or (row is None and (_line_in(error) or error.row) in (1, LINE))
    assert _line_in(error) in (None, LINE)
    assert SECRET not in str(error)


@pytest.mark.parametrize("kind", ["link out", "link to a device", "device", "folder behind a link"])
def test_links_that_leave_data_raw_are_refused(tmp_path: Path, kind: str) -> None:
    recipe_in(tmp_path, "yield")
    outside, raw = tmp_path / "outside", tmp_path / "data/raw"
    outside.mkdir()
    (outside / "a.csv").write_text(f"a,b\n1,{SECRET}\n")
    path = "data/raw/a.csv"
    if kind == "folder behind a link":
        (raw / "in").symlink_to(outside)
        path = "data/raw/in/a.csv"
    elif kind == "device":
        os.mkfifo(raw / "a.csv")
    else:
        (raw / "a.csv").symlink_to(outside / "a.csv" if kind == "link out" else "/dev/zero")
    with pytest.raises(HallmarkError) as caught:
        list(run_of(tmp_path, f'table("{path}")\nyield'))
    assert str(caught.value.file).endswith("a.csv") and SECRET not in str(caught.value)


def test_a_link_within_data_raw_and_into_the_cache_is_read(tmp_path: Path) -> None:
    cache = tmp_path / ".dvc/cache/files/md5/aa"
    cache.mkdir(parents=True)
    (cache / "bb").write_text(GOOD)
    recipe_in(tmp_path, "yield")
    (tmp_path / CSV).symlink_to(cache / "bb")
    assert len(list(run_of(tmp_path, yields()))) == 3


def test_small_files_that_would_take_all_memory_are_refused(tmp_path: Path) -> None:
    """A page of zeros, and a dictionary of one long text that all rows share."""
    import pyarrow as pa
    from pyarrow import parquet

    recipe_in(tmp_path, "yield")
    page = pa.table({"t": ["\0" * 70_000_000]})
    parquet.write_table(page, tmp_path / "data/raw/zeros.parquet", compression="zstd", use_dictionary=False)
    shared = pa.DictionaryArray.from_arrays(pa.array([0] * 2_500, pa.int32()), pa.array(["x" * 1_000_000]))
    parquet.write_table(pa.table({"t": shared}), tmp_path / "data/raw/shared.parquet")
    for name in ("zeros", "shared"):
        with pytest.raises(HallmarkError) as caught:
            list(run_of(tmp_path, f'table("data/raw/{name}.parquet")\nyield'))
        assert caught.value.file == f"data/raw/{name}.parquet"


UNEQUAL: dict[str, str] = {
    "draws": 'prompt=row["text"] + str(__import__("random").random())',
    "asks the clock": 'prompt=row["text"] + str(__import__("time").time_ns())',
    "walks a set": 'prompt=" ".join({"one", "two", "three", "four", "five", "six"})',
}


@pytest.mark.parametrize("field", [*UNEQUAL.values(), None], ids=[*UNEQUAL, "the same"])
def test_two_runs_must_give_the_same_records(tmp_path: Path, field: str | None) -> None:
    body = yields(**dict([field.split("=", 1)])) if field else yields()
    script = recipe_in(tmp_path, body, {"a.csv": GOOD})
    with SecondRun(script, {}, tmp_path) as second:
        run = load(script).run({}, tmp_path)
        assert len(list(run)) == 3
        if field is None:
            second.compare(run)
        else:
            with pytest.raises(HallmarkError) as caught:
                second.compare(run)
            assert caught.value.file == script


def test_another_order_and_an_error_of_the_second_run_are_told(tmp_path: Path) -> None:
    other = 'import os\nrows = table("data/raw/a.csv")\n'
    for seed, words in (
        ("rows = rows.reverse()", "another order"),
        ("rows = rows.head(2)", "2 when"),
        ("1 / 0", "Zero"),
    ):
        first = "os.environ.get('PYTHONHASHSEED')"
        body = f'{other}if {first} in ("1", "2") and "FIRST" not in os.environ:\n    {seed}\nfor row in rows.iter_rows(named=True):\n'
        body += "".join(f"    {line}\n" for line in yields().splitlines()[1:])
        script = recipe_in(tmp_path, body.replace("        yield", "    yield"), {"a.csv": GOOD})
        with SecondRun(script, {}, tmp_path) as second, pytest.MonkeyPatch.context() as patch:
            patch.setenv("FIRST", "1")
            run = load(script).run({}, tmp_path)
            list(run)
            with pytest.raises(HallmarkError, match=words):
                second.compare(run)


def test_a_run_that_stops_half_way_has_given_what_was_good(tmp_path: Path) -> None:
    """So a stage that writes at the end writes nothing."""
    body = yields(target='row["label"] if row["id"] != "3" else 1 / 0')
    given: list[Any] = []
    with pytest.raises(HallmarkError) as caught:
        given.extend(record.id for record in run_of(tmp_path, body, {"a.csv": GOOD}))
    assert (caught.value.problem.split()[0], _row(caught.value)) == ("ZeroDivisionError", 7)


def _row(error: HallmarkError) -> int | None:
    return error.row


def test_polars_frames_are_records_too(tmp_path: Path) -> None:
    body = f"""
    return table("{CSV}").lazy().select(
        "id", group="who", prompt="text", target=pl.struct(label="label"), source="source", tags=pl.lit(None, pl.List(pl.String)),
        private=pl.struct(PERSON=pl.concat_list("who")),
    )
    """
    made = list(run_of(tmp_path, body, {"a.csv": GOOD}))
    assert [(one.id, one.target, one.private, one.source) for one in made][1:] == [
        ("2", {"label": "y"}, {"PERSON": ["Bo"]}, f"{CSV}:3"),
        ("3", {"label": "x"}, {"PERSON": ["Cy"]}, f"{CSV}:4"),
    ]
    assert isinstance(pl.DataFrame([dict(one) for one in made]), pl.DataFrame)
