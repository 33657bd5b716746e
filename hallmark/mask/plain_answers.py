"""Answers and known values as `mask.markup` leaves the prompt: what an answer copies is read as the prompt is.

Else a model would have to write `&amp;` where it reads `&`.
"""

from __future__ import annotations

from typing import Any

from hallmark.base.document import changed, objects, strings
from hallmark.base.markup import Markup, plain_text
from hallmark.base.reading import NotJsonError, strict_json
from hallmark.task.task import Task


def plain_answer(answer: Any, source: str, task: Task, markup: Markup) -> Any:
    """An answer to what stands in `source`, which still has its markup. What the schema lists stays as the schema has it."""
    if markup == "none" or (isinstance(answer, str) and not (task.kind.free_text or task.is_json)):
        return answer
    if isinstance(answer, str):
        if task.kind.free_text:
            return plain_text(answer, markup)
        try:
            answer = strict_json(answer)
        except NotJsonError:  # the refusal
            return answer
    plain, listed = plain_text(source, markup), set[str]()

    def plain_copy(item: Any) -> Any:
        copied = isinstance(item, str) and item in source and item not in plain and item not in listed
        return (plain_text(item, markup) or item) if copied else item

    def breaks(value: Any) -> bool:
        return task.parse(task.render(value)).kind == "invalid"

    read = changed(answer, plain_copy)
    if read != answer and breaks(read):
        listed |= {*strings([[part.get("enum"), part.get("const")] for part in objects(task.schema)])}
        read = changed(answer, plain_copy)
    return answer if read != answer and breaks(read) and not breaks(answer) else read
