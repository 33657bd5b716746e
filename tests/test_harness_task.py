"""The holdout as a task of lm-evaluation-harness: its evaluator really runs it, and counts what `eval` counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.answer.scoring import Scorer
from hallmark.base.errors import HallmarkError
from hallmark.base.files import BASE, HOLDOUT
from hallmark.base.records import schema, write_records
from hallmark.commands.harness_scoring import exact_match
from hallmark.commands.harness_task import write
from hallmark.params.loader import Params, load_params
from hallmark.task.task import Task
from tests.rows import SYSTEM, record, with_changes
from tests.tiny import make_tiny_base
from tests.workspace import ROOT, change_params, make_workspace, run_here


def records(texts: list[str], tools: str | None = None) -> pl.DataFrame:
    answer = '{"intent":"refuse"}'
    rows = [record(f"T-{number}", text, answer, tools=tools) for number, text in enumerate(texts)]
    return pl.DataFrame(rows, schema=schema())


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    """Those of the repository, in a workspace with a tiny base and a holdout of three records."""
    make_workspace(tmp_path, {"eval.max_new_tokens": 8, "certify.name": "our tickets/1"})
    make_tiny_base(tmp_path / BASE)
    write_records(tmp_path / HOLDOUT, records(["my kettle {{ x }}\n", "it is broken", "<b>late</b> ü"]))
    monkeypatch.chdir(tmp_path)
    return load_params()


def evaluated(folder: Path, name: str, **options: Any) -> dict[str, Any]:
    """What the harness itself makes of the task, with its own engine over the base."""
    from lm_eval.evaluator import simple_evaluate
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(folder), include_defaults=False)
    assert name in manager.all_tasks
    arguments = f"pretrained={BASE.absolute()},dtype=float32"
    found: Any = simple_evaluate(
        "hf", model_args=arguments, tasks=[name], task_manager=manager, device="cpu", bootstrap_iters=0, **options
    )
    return dict(found)


@pytest.mark.parametrize("chat", [False, pytest.param(True, marks=pytest.mark.full)])
def test_the_harness_runs_the_task_and_asks_what_eval_asks(params: Params, tmp_path: Path, chat: bool) -> None:
    from hallmark.answer.answers import prompts_of
    from hallmark.answer.generation import LocalModel
    from hallmark.model.loading import load_base, load_tokenizer

    name = write(params, tmp_path / "out", chat)
    assert name == "our-tickets-1-holdout"
    moved = (tmp_path / "out").rename(tmp_path / "elsewhere")
    found = evaluated(moved, name, apply_chat_template=chat)
    assert found["results"][name]["exact_match,none"] == 0
    tokenizer = load_tokenizer(BASE)
    model = load_base(BASE, dtype="float32", attention="sdpa", device="cpu")
    local = LocalModel(model, tokenizer, batch_size=1, max_new_tokens=8)
    prompts = prompts_of(pl.read_parquet(HOLDOUT).rows(named=True))
    samples = found["samples"][name]
    assert [sample["arguments"][0][0] for sample in samples] == [local.text(prompt) for prompt in prompts]
    written = [tokenizer(answer.text).input_ids for answer in local.answer(prompts)]
    plain = [tokenizer.decode(tokens, skip_special_tokens=True) for tokens in written]
    assert [sample["resps"][0][0] for sample in samples] == plain
    # The same model is right where what it writes is the target.
    due = pl.Series([[{"role": "assistant", "content": f" {text}\n"}] for text in [*plain[:2], "another"]])
    write_records(HOLDOUT, pl.read_parquet(HOLDOUT).with_columns(completion=due))
    name = write(params, tmp_path / "second", chat)
    found = evaluated(tmp_path / "second", name, apply_chat_template=chat)
    assert found["results"][name]["exact_match,none"] == pytest.approx(2 / 3)


TASK = load_params(ROOT / "params.yaml").task
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.sampled_from([1.0, 0.5, 1e300])
    | st.sampled_from(["", "a", " a", "A", "é", "e\u0301", "1", "2026-01-02T03:04:05Z", "2026-01-02T04:04:05+01:00"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)
TEXTS = VALUES.map(lambda value: json.dumps(value, indent=1)) | st.sampled_from(["NaN", "{", "no", "refused", "[1] "])


@given(TEXTS, TEXTS)
def test_exact_match_of_json_is_that_of_the_scorer(target: str, prediction: str) -> None:
    task = Task(TASK.model_copy(update={"refusal": "refused"}))
    task.__dict__["schema"] = {}
    if task.parse(target).kind == "invalid":  # no target is
        return
    score = Scorer(task).score(input="", context=None, target=target, prediction=prediction)
    assert exact_match(target, prediction, is_json=True) == score.exact_match


@given(st.text("ab1. ", max_size=3), st.text("ab1. ", max_size=3))
def test_exact_match_of_text_is_that_of_the_scorer(target: str, prediction: str) -> None:
    task = Task(TASK.model_copy(update={"kind": "text", "schema_file": None, "refusal": None}))
    score = Scorer(task).score(input="", context=None, target=target, prediction=prediction)
    assert exact_match(target, prediction, is_json=False) == score.exact_match


def test_deep_nesting_is_no_match_and_no_crash() -> None:
    assert not exact_match("[" * 100_000, "[" * 100_000 + " ", is_json=True)


def test_what_can_not_be_written_is_an_error(params: Params, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(HallmarkError, match=r"there: already exists"):
        write(params, tmp_path / "there", chat=False)
    with pytest.raises(HallmarkError, match=r"task.tool_format': the task compares calls as JSON"):
        write(with_changes(params, task__tool_format="template"), tmp_path / "out", chat=False)
    write_records(HOLDOUT, records(["a", "b"], tools='[{"name": "weather"}]'))
    with pytest.raises(HallmarkError, match=r"holdout.parquet, row 1, field 'prompt': has tools or earlier turns"):
        write(params, tmp_path / "out", chat=True)
    assert not (tmp_path / "out").exists()


def test_the_command_says_what_it_writes(params: Params, tmp_path: Path) -> None:
    change_params(tmp_path, {"certify.name": "tickets"})
    done = run_here(tmp_path, "hallmark.commands.harness_task", "out", "--chat")
    assert done.stdout.startswith("lm_eval run --include_path out --tasks tickets-holdout --apply_chat_template ")
    assert "3 masked records of the holdout" in done.stderr
    lines = [json.loads(line) for line in (tmp_path / "out/holdout.jsonl").read_text(encoding="utf-8").splitlines()]
    assert lines[2] | {"target": None} == {
        "id": "T-2",
        "system": SYSTEM["content"],
        "user": "<b>late</b> ü",
        "target": None,
        "json": True,
    }
