"""What a verdict makes of a request: the answer to learn, and the wrong one that the model gave."""

from __future__ import annotations

from hallmark.service.collecting.logged import LeftOutError, Logged
from hallmark.task.answers import canonical
from hallmark.task.task import Task


def learned(logged: Logged, task: Task) -> tuple[str, str | None] | None:
    """The right answer, and the model's own if it is known to be wrong; None if a person must look first.

    An accepted answer is the one that the caller got, so the fallback's where that answered. Where the fallback's answer
    was corrected, the model's own is wrong if it is another, but of two texts in words both may be right.
    """
    if logged.verdict == "accepted":
        if logged.shown is None:
            raise LeftOutError("no_answer")
        return logged.shown, None
    if logged.verdict == "corrected" and logged.target is not None:
        wrong = logged.answer
        if wrong is None or not wrong.strip() or canonical(wrong) == canonical(logged.target):
            return logged.target, None
        if logged.fallback is not None and task.kind.free_text:
            return logged.target, None
        return logged.target, wrong
    return None
