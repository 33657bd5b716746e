"""Records that are too long are refused by `split`, in tokens of the base, before anything is trained."""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from hallmark.base.errors import HallmarkError
from hallmark.base.files import BASE, DEDUPED, HOLDOUT_LOCK, REPORTS
from hallmark.model import lengths, limits
from hallmark.model.chat_template import tool_form
from hallmark.model.loading import load_tokenizer
from hallmark.task.params import Task
from stages import dedupe, split
from tests.families import make_family
from tests.rows import params_with, record, refused, write_masked
from tests.tiny import make_tiny_base

ROOM: dict[str, Any] = {"sft__max_length": 500, "eval__max_new_tokens": 100}
TEXTS = [f"ticket {number} {'lamp ' * number}" for number in range(12)]
ROWS = [record(f"r{number}", text, "yes " * (number % 4 + 1), f"g{number}") for number, text in enumerate(TEXTS)]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_base(tmp_path_factory.mktemp("tiny"))


def parts(**changes: Any) -> dict[str, list[dict[str, Any]]]:
    """The rows as a split, the last with changes."""
    rows = [*ROWS[:-1], ROWS[-1] | changes]
    return {
        "train": [*rows[:4], rows[-1]],
        "validation": rows[4:6],
        "calibration": [],
        "holdout": rows[6:-1],
        "online": [],
    }


def check(base: Path, found: dict[str, list[dict[str, Any]]], **changes: Any) -> tuple[dict[str, Any], set[str]]:
    return limits.Limits(base, DEDUPED, params_with(**ROOM | changes)).check(
        {part: [rows] for part, rows in found.items()}
    )


def test_calls_are_as_long_as_the_template_writes_them(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(make_family("qwen3-0.6b", tmp_path))
    tools = [{"name": "ring", "parameters": {"type": "object", "properties": {"times": {"type": "integer"}}}}]
    call = json.dumps([{"name": "ring", "arguments": {"times": 2}}])
    row = record("r", "Ring twice", call, tools=json.dumps([{"type": "function", "function": tools[0]}]))
    form = tool_form(Task.model_construct(tool_format="template"), tokenizer)
    assert form is not None
    written = form.write([{"name": "ring", "arguments": {"times": 2}}])
    (length,) = lengths.answer_lengths([row], tokenizer, form)
    assert length == len(tokenizer(written, add_special_tokens=False).input_ids) + 1
    (whole,) = lengths.record_lengths([row], tokenizer, form, DEDUPED)
    (prompt,) = lengths.prompt_lengths([row], tokenizer)
    (without,) = lengths.prompt_lengths([row | {"tools": None}], tokenizer)
    assert without < prompt < prompt + length <= whole


def test_all_that_is_too_long_is_said_at_once_with_what_fits(base: Path) -> None:
    counts, _ = check(base, parts())
    longest, answer = counts["train"]["records"]["longest"], counts["holdout"]["answers"]["longest"]
    with refused("split.too_long to drop", field="sft.max_length, eval.max_new_tokens") as caught:
        check(base, parts(), sft__max_length=longest - 1, eval__max_new_tokens=answer - 1)
    assert f"'r11' {longest}" in str(caught.value) and f"'r7' {answer}" in str(caught.value)
    assert f"set sft.max_length to {-(-longest // 64) * 64}" in caught.value.remedy
    assert check(base, parts(), sft__max_length=longest, eval__max_new_tokens=answer)[0]["train"]["records"] == {
        "measured": 5, "longest": longest, "limit": longest, "over": 0,
    }  # fmt: skip


@cache
def narrow() -> Path:
    """A tiny base that reads 200 tokens."""
    folder = make_tiny_base(Path(tempfile.mkdtemp()) / "narrow")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 200}), encoding="utf-8")
    return folder


def test_rejected_answers_count_if_they_are_trained_on(base: Path) -> None:
    rejected = [{"role": "assistant", "content": "no " * 100}]
    changes = {"dpo__max_length": 100, "dpo__enabled": False}
    assert "pairs" not in check(base, parts(rejected=rejected), **changes)[0]["train"]
    with refused(field="dpo.max_length"):
        check(base, parts(rejected=rejected), **changes | {"dpo__enabled": True})
    counted = check(base, parts(rejected=rejected), **changes | {"dpo__enabled": True, "split__too_long": "count"})
    assert (counted[0]["train"]["pairs"]["over"], counted[1]) == (1, set()), "the record is trained on, its pair is not"
    right = {"completion": rejected, "rejected": [{"role": "assistant", "content": "no"}]}
    counted = check(base, parts(**right), **changes | {"dpo__enabled": True, "split__too_long": "count"})
    assert counted[0]["train"]["pairs"]["over"] == 1, "the chosen answer may be the longer one"


def test_split_stops_before_it_freezes_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    draw = {"split__holdout": 0.3, "split__validation": 0.2, "dedupe__threshold": 0.99}
    write_masked(ROWS)
    dedupe.run(params_with(**draw))
    split.run(params_with(**ROOM | draw))
    assert "lengths in tokens are not checked" in caplog.text
    assert json.loads((REPORTS / "split.json").read_text())["lengths"] is None
    HOLDOUT_LOCK.unlink()
    BASE.parent.mkdir()
    BASE.symlink_to(base)
    with refused(field="sft.max_length"):
        split.run(params_with(**ROOM | draw | {"sft__max_length": 20}))
    assert not HOLDOUT_LOCK.exists()
    split.run(params_with(**ROOM | draw))
    report = json.loads((REPORTS / "split.json").read_text())
    held, calibration = (len(pl.read_parquet(split.FILES[side])) for side in ("holdout", "calibration"))
    assert min(held, calibration) > 0
    measured = {part: of["answers"]["measured"] for part, of in report["lengths"].items() if "answers" in of}
    assert measured == {"calibration": calibration, "holdout": held, "online": 0}, "the tuned model answers these"
    assert report["lengths"]["train"]["records"]["over"] == 0


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the narrow base, and 60 records of 20 groups, some with long prompts or answers."""
    monkeypatch.chdir(tmp_path)
    BASE.parent.mkdir()
    BASE.symlink_to(narrow())
    texts = [f"ticket {number * 7919} {number} " + "lamp " * (30 if number % 7 == 0 else 3) for number in range(60)]
    write_masked(
        record(f"r{number:02}", text, "yes " * (20 if number % 11 == 0 else 1), f"g{number % 20}")
        for number, text in enumerate(texts)
    )
    return tmp_path


LIMITS: dict[str, Any] = {"sft__max_length": 120, "eval__max_new_tokens": 60, "dedupe__threshold": 0.99}
LIMITS |= {"split__holdout": 0.25, "split__validation": 0.15, "split__calibration": 0.2}


def splitted(**changes: Any) -> tuple[dict[str, Any], dict[str, set[str]]]:
    """Deduplicate and split; the report, and the ids of each part."""
    dedupe.run(params_with(**LIMITS | changes))
    split.run(params_with(**LIMITS | changes))
    return json.loads((REPORTS / "split.json").read_text()), {
        side: set(pl.read_parquet(file)["id"]) for side, file in split.FILES.items()
    }


def test_one_param_drops_or_counts_what_is_too_long_in_every_part(repo: Path) -> None:
    with refused("split.too_long"):
        splitted()
    assert not HOLDOUT_LOCK.exists()
    report, counted = splitted(split__too_long="count")
    HOLDOUT_LOCK.unlink()
    roomy, whole = splitted(sft__max_length=1000, eval__max_new_tokens=60, split__too_long="count")
    HOLDOUT_LOCK.unlink()
    for part in ("calibration", "holdout"):
        assert counted[part] == whole[part], "kept, and counted as wrong"
        assert sum(of["over"] for of in report["lengths"][part].values()) > 0
    over = {part: report["lengths"][part]["records"]["over"] for part in ("train", "validation")}
    assert {part: len(whole[part] - counted[part]) for part in over} == over
    assert report["left_out"]["too_long"] == sum(over.values()) > 0 == roomy["left_out"]["too_long"]
    assert report["rows"] == {part: len(ids) for part, ids in counted.items()}
    assert report["groups"]["train"] == pl.read_parquet(split.FILES["train"])["group"].n_unique()

    report, dropped = splitted(split__too_long="drop")
    left = set().union(*dropped.values())
    assert {int(name[1:]) for name in set().union(*whole.values()) - left} == {
        n for n in range(60) if not (n % 7 and n % 11)
    }
    assert report["left_out"]["too_long"] == 60 - len(left)
    assert {of["over"] for kinds in report["lengths"].values() for of in kinds.values()} == {0}
    again, same = splitted(split__too_long="drop")
    assert (same, again["rows"]) == (dropped, report["rows"]), "the lock moves nothing"
    with pytest.raises(HallmarkError, match="frozen holdout"):
        splitted(split__too_long="drop", eval__max_new_tokens=1)
    kept = splitted(split__too_long="count", eval__max_new_tokens=1)[1]
    assert kept["holdout"] == dropped["holdout"]
