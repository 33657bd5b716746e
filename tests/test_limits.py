"""Records that are too long are refused by `split`, in tokens of the base, before anything is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from stages import dedupe, split
from stages.core.errors import HallmarkError
from stages.core.files import BASE, DEDUPED, HOLDOUT_LOCK, REPORTS
from stages.models import lengths, limits
from stages.models.chat_template import tokenize, tool_form
from stages.models.loading import load_tokenizer
from stages.tasks.params import Task
from tests.families import make_family
from tests.rows import params_with, record, write_masked
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


def check(base: Path, found: dict[str, list[dict[str, Any]]], **changes: Any) -> dict[str, dict[str, int]]:
    return limits.check(found, base, DEDUPED, params_with(**ROOM | changes))


def test_lengths_are_those_that_training_and_evaluation_see(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lengths, "BATCH", 5)
    tokenizer = load_tokenizer(base)
    seen = [tokenize(tokenizer, row["prompt"], row["completion"]) for row in ROWS]
    assert lengths.record_lengths(ROWS, tokenizer, None, DEDUPED) == [len(ids) for ids, _ in seen]
    assert lengths.prompt_lengths(ROWS, tokenizer) == [start for _, start in seen]
    answers = [len(tokenizer(row["completion"][0]["content"]).input_ids) + 1 for row in ROWS]
    assert lengths.answer_lengths(ROWS, tokenizer, None) == answers
    assert lengths.record_lengths([], tokenizer, None, DEDUPED) == []


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
    found = check(base, parts())
    longest, answer = found["records"]["longest"], found["answers"]["longest"]
    with pytest.raises(HallmarkError) as caught:
        check(base, parts(), sft__max_length=longest - 1, eval__max_new_tokens=answer - 1)
    assert caught.value.field == "sft.max_length, eval.max_new_tokens"
    assert f"1 of 7 training records are longer than sft.max_length = {longest - 1} tokens" in str(caught.value)
    assert f"(the longest: {longest}, in record 'r11')" in str(caught.value)
    assert "of 5 expected answers in the holdout are longer than eval.max_new_tokens" in str(caught.value)
    fits = {"sft__max_length": -(-longest // 64) * 64, "eval__max_new_tokens": -(-answer // 8) * 8}
    for name, value in fits.items():
        assert f"set {name.replace('__', '.')} to {value} or more" in caught.value.remedy
    assert all(counts.get("over", 0) == 0 for counts in check(base, parts(), **fits).values())
    assert check(base, parts(), sft__max_length=longest, eval__max_new_tokens=answer)["records"]["limit"] == longest


def test_what_may_be_too_long_is_counted(base: Path) -> None:
    changes = {"sft__too_long": "drop", "eval__too_long": "count", "sft__max_length": 30, "eval__max_new_tokens": 2}
    found = check(base, parts(), **changes)
    assert found["records"]["over"] == 7
    assert found["answers"]["over"] == 5


def test_what_no_limit_can_fit_is_said(base: Path) -> None:
    """The tiny base reads 8,192 tokens."""
    long = record("r11", "word " * 9000)
    with pytest.raises(HallmarkError, match="drop, shorten them to the 8192 tokens that the base reads, or take"):
        check(base, parts(prompt=long["prompt"]), sft__max_length=8192)
    with pytest.raises(
        HallmarkError, match=r"5 of 5 prompts of the holdout leave no room for eval.max_new_tokens = 819\d"
    ):
        check(base, parts(), eval__max_new_tokens=8190)


def test_rejected_answers_count_if_they_are_trained_on(base: Path) -> None:
    rejected = [{"role": "assistant", "content": "no " * 100}]
    changes = {"dpo__max_length": 100, "dpo__enabled": False}
    assert "pairs" not in check(base, parts(rejected=rejected), **changes)
    with pytest.raises(HallmarkError, match="1 of 1 training records with their rejected answers are longer than dpo"):
        check(base, parts(rejected=rejected), **changes | {"dpo__enabled": True})


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
    with pytest.raises(HallmarkError, match=r"training records are longer than sft\.max_length = 20 tokens"):
        split.run(params_with(**ROOM | draw | {"sft__max_length": 20}))
    assert not HOLDOUT_LOCK.exists()
    split.run(params_with(**ROOM | draw))
    report = json.loads((REPORTS / "split.json").read_text())
    held, calibration = (len(pl.read_parquet(split.FILES[side])) for side in ("holdout", "calibration"))
    assert min(held, calibration) > 0
    assert report["lengths"]["answers"]["measured"] == held + calibration, "the tuned model answers both"
    assert report["lengths"]["records"]["over"] == 0
