"""In which records a failure can happen: never fewer than those in which the scoring finds one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.answer.measures import COMMON
from hallmark.answer.scoring import Scorer
from hallmark.base.outcomes import FAILURES
from hallmark.judge.failures import possible
from hallmark.task.task import Task
from tests.rows import task_of

CLOSED = {"type": "object", "additionalProperties": False, "properties": {"a": {"enum": ["x", "y"]}}}
OPEN = {"type": "object", "properties": {"a": {"type": "string"}}}
LABELS = {"enum": ["x", "y", "no"]}
SAID = [
    "",
    "x",
    "y",
    "z",
    "no",
    '{"a":"x"}',
    '{"a":"z"}',
    "{}",
    '{"b":[1]}',
    '{"a":"x@mail.com"}',
    "[",
    "call x",
    "nan",
]
TASKS: dict[str, tuple[str, dict[str, Any] | None, str | None, dict[str, str]]] = {
    "extraction": ("extraction", OPEN, "no", {}),
    "extraction of listed values": ("extraction", CLOSED, None, {}),
    "tool call": ("tool_call", {"type": "object"}, "no", {}),
    "classification": ("classification", LABELS, "no", {}),
    "classification, never refused": ("classification", LABELS, None, {}),
    "text": ("text", None, None, {}),
    "text of facts": ("text", None, "no", {"letter": r"\b[xyz]\b"}),
}


def always(task: Task) -> set[str]:
    """The measures that every answer to the task meets."""
    return {name for name, measure in COMMON.items() if measure.given(task)}


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Task]:
    return {name: task_of(tmp_path_factory.mktemp("task"), *given[:3]) for name, given in TASKS.items()}


@pytest.mark.parametrize("name", TASKS)
@given(target=st.sampled_from(SAID), prediction=st.sampled_from(SAID))
def test_what_happens_is_possible(tasks: dict[str, Task], name: str, target: str, prediction: str) -> None:
    task, facts = tasks[name], TASKS[name][3]
    if task.parse(target).kind == "invalid":  # `mask` lets no such target through
        return
    score = Scorer(task, facts=facts).score(input="call me", context=None, target=target, prediction=prediction)
    can = possible(task, [target], facts)
    assert score.outcome == "pass" or can[score.outcome] == [True]
    assert all(
        value
        for key, value in (("parses", score.parses), ("schema_validity", score.schema_valid))
        if key in always(task)
    )


@pytest.mark.parametrize(
    ("name", "never"),
    [
        ("extraction", set()),
        ("extraction of listed values", {"missed_refusal", "wrong_refusal", "hallucination"}),
        ("tool call", set()),
        ("classification", {"hallucination", "omission"}),
        ("classification, never refused", {"missed_refusal", "wrong_refusal", "hallucination", "omission"}),
        ("text", {"missed_refusal", "wrong_refusal", "wrong_format", "hallucination"}),
        ("text of facts", {"wrong_format"}),
    ],
)
def test_what_can_never_happen_is_known(tasks: dict[str, Task], name: str, never: set[str]) -> None:
    found = possible(tasks[name], ["no", "x", '{"a":"x"}'], TASKS[name][3])
    assert {key for key in FAILURES if not any(found[key])} == never
    assert always(tasks[name]) == (
        {"parses", "schema_validity"} if "text" in name else {"parses"} if "class" in name else set()
    )
