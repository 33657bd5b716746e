"""Whether a record's target is an answer of the task, in the spelling that the schema has."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from hallmark.base.reading import NotJsonError, strict_json
from hallmark.records.record import Record, error_at
from hallmark.task.values import as_listed

if TYPE_CHECKING:
    from hallmark.task.task import Task


def check_target(record: Record, task: Task) -> Record:
    """The record, a label in the schema's spelling; a HallmarkError if the target, or the rejected answer, is none of the task."""
    target = _answer(record, "target", record.target, task)
    problem = _problem(target, task)
    if problem is not None:
        where = task.schema_file or f"task.kind {task.kind}"
        raise error_at(record.source, f"breaks {where}: {problem}", "target", "fix the target, or the schema")
    if record.rejected is not None:
        _answer(record, "rejected", record.rejected, task)
    changed = target is not record.target
    return record.model_copy(update={"target": target}) if changed else record


def _answer(record: Record, field: str, value: Any, task: Task) -> Any:
    if task.is_json and isinstance(value, str):  # a cell of JSON; a refusal may be a plain text
        with suppress(NotJsonError):
            value = value if isinstance(found := strict_json(value), str) else found
    if task.kind.listed:
        value = as_listed(value, task.schema)
    if not task.is_json and not isinstance(value, str):
        problem = f"expected a text for task.kind {task.kind}, not {type(value).__name__}"
        raise error_at(record.source, problem, field, "write the text, or set another task.kind")
    return value


def _problem(target: Any, task: Task) -> str | None:
    try:
        return task.parse(task.render(target)).problem
    except (ValueError, TypeError, RecursionError):
        return "expected JSON"
