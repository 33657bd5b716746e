"""Labels that look wrong: found before training, shown without a text, left out by id."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from hallmark.base.errors import HallmarkError
from hallmark.base.files import HOLDOUT_LOCK, REPORTS, sha256_file, write_json
from hallmark.base.params import Split
from hallmark.judge.label_errors import label_errors
from hallmark.task.task import Task
from stages import dedupe, split
from tests.rows import params_with, record, write_masked

WORDS = {
    "refund": ["money", "back", "please", "return", "the", "amount", "paid", "sum", "owed", "charge", "twice", "card"],
    "delivery": ["parcel", "courier", "late", "tracking", "arrived", "address", "depot", "driver", "shipped", "van"],
    "fault": ["broken", "screen", "noise", "stopped", "switch", "heats", "leaks", "battery", "repair", "crack"],
}
LABELS = sorted(WORDS)
SWAPPED = {f"{number:03}" for number in range(7, 240, 30)}


def tickets() -> list[dict[str, Any]]:
    """240 tickets of 25 customers; eight have another label than their words."""
    draw = random.Random(3)
    rows = []
    for number in range(240):
        label, name = LABELS[number % 3], f"{number:03}"
        text = " ".join([*draw.choices(WORDS[label], k=6), str(draw.randrange(10**6))])
        given = LABELS[(number + 1) % 3] if name in SWAPPED else label
        rows.append(record(name, text, given, f"g{number % 25}"))
    return rows


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_json(Path("data/schema.json"), {"enum": LABELS})
    Path("data/gold").mkdir()


def splitted(**changes: Any) -> dict[str, Any]:
    write_masked(tickets())
    of_the_task = {"task__kind": "classification", "task__schema_file": "data/schema.json", "split__calibration": 0.0}
    params = params_with(**of_the_task | changes)
    dedupe.run(params)
    split.run(params)
    return json.loads((REPORTS / "split.json").read_text())


def ids(*sides: str) -> set[str]:
    return {name for side in sides for name in pl.read_parquet(split.FILES[side])["id"]}


def test_swapped_labels_are_found_outside_the_holdout_and_no_text_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        report = splitted()
    found = report["label_errors"]
    swapped = SWAPPED - ids("holdout")
    assert {one["id"] for one in found["worst"]} >= swapped
    assert len(swapped) <= found["found"] <= len(swapped) + 2
    assert found["judged"] == len(ids("train", "validation"))
    scores = [one["score"] for one in found["worst"]]
    assert scores == sorted(scores)
    right = {row["id"]: LABELS[int(row["id"]) % 3] for row in tickets()}
    for one in found["worst"][: len(swapped)]:
        assert one.keys() == {"id", "field", "given", "proposed", "score"}
        assert one["proposed"] == right[one["id"]] != one["given"]
    assert not [word for words in WORDS.values() for word in words if f'"{word}' in json.dumps(found)]
    assert f"{found['found']} labels of {found['judged']} records look wrong" in caplog.text


def test_the_same_records_give_the_same_bytes_whatever_the_threads() -> None:
    seen = set()
    for threads in (1, 2):
        splitted(compute__threads=threads)
        seen.add(sha256_file(REPORTS / "split.json"))
    assert len(seen) == 1


def test_confirmed_ones_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    worst = [one["id"] for one in splitted()["label_errors"]["worst"]]
    held = ids("holdout")
    Path("data/gold/wrong.txt").write_text("\n".join([*worst, "", "gone"]) + "\n")
    report = splitted(split__leave_out="data/gold/wrong.txt")
    assert report["left_out"] == {"records": len(worst), "unknown": 1, "too_long": 0}
    assert not ids(*split.FILES) & set(worst)
    assert ids("holdout") == held
    assert f"1 line(s) name no record of the data; the first is line {len(worst) + 2}" in caplog.text
    assert not {one["id"] for one in report["label_errors"]["worst"]} & set(worst)


@pytest.mark.parametrize("content", [None, b"\xff\n", b"a\x00b\n", "holdout"])
def test_a_bad_file_of_what_is_left_out_is_one_error(content: bytes | str | None) -> None:
    splitted()
    before = sha256_file(HOLDOUT_LOCK), sha256_file(REPORTS / "split.json")
    name = min(ids("holdout"))
    if content is not None:
        Path("data/gold/wrong.txt").write_bytes(f"\n{name}\n".encode() if isinstance(content, str) else content)
    with pytest.raises(HallmarkError, match=r"data/gold/wrong.txt.*\n  remedy: ") as caught:
        splitted(split__leave_out="data/gold/wrong.txt")
    if content == "holdout":
        assert "row 2: names 1 record(s) of the frozen holdout" in str(caught.value)
        assert name not in str(caught.value)
    assert (sha256_file(HOLDOUT_LOCK), sha256_file(REPORTS / "split.json")) == before


@pytest.mark.parametrize("place", ["wrong.txt", "data/wrong.txt", "/data/gold/wrong.txt", "data/gold/../raw/wrong.txt"])
def test_the_file_lies_where_dvc_looks(place: str) -> None:
    block = params_with().split.model_dump()
    with pytest.raises(ValidationError, match=r"split\.leave_out: put the file in data/gold"):
        Split.model_validate(block | {"leave_out": place})
    Split.model_validate(block | {"leave_out": "data/gold/wrong.txt"})


def test_a_label_that_no_schema_lists_is_not_shown() -> None:
    """The names of a record's own tools: who wrote them is not known."""
    rows = tickets()
    task = Task(params_with(task__kind="tool_call", task__refusal=None).task)
    columns = {
        "ids": [row["id"] for row in rows],
        "groups": [row["group"] for row in rows],
        "texts": [row["prompt"][1]["content"] for row in rows],
        "targets": [json.dumps({"name": f"call_{row['completion'][0]['content']}", "arguments": {}}) for row in rows],
    }
    judged, found = label_errors(task, params_with().classical, **columns)
    assert judged == 240
    assert {one["id"] for one in found} >= SWAPPED
    assert {(one["given"], one["proposed"]) for one in found} == {(None, None)}


@pytest.mark.parametrize("change", ["one group", "no words", "rare labels"])
def test_what_can_not_be_judged_is_left_alone(change: str) -> None:
    rows = tickets()
    columns = {
        "ids": [row["id"] for row in rows],
        "groups": ["g" if change == "one group" else row["group"] for row in rows],
        "texts": ["!" if change == "no words" else row["prompt"][1]["content"] for row in rows],
        "targets": [row["completion"][0]["content"] for row in rows],
    }
    if change == "rare labels":
        columns = {name: values[:12] for name, values in columns.items()}
    task = Task(params_with(task__kind="classification", task__schema_file="data/schema.json").task)
    assert label_errors(task, params_with().classical, **columns) == (0, [])
