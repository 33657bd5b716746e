"""What a caller says of an answer: read strictly, its target masked as the request was, and checked against the schema."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from hallmark.base.markup import Markup
from hallmark.base.reading import NotJsonError, strict_json
from hallmark.base.refusal import Refusal
from hallmark.serve.chat_request import Message, Strict, plain, without_markup
from hallmark.serve.front import too_many
from hallmark.service.gateway.masking import MaskPool
from hallmark.service.traces.trace import Verdict
from hallmark.task.task import Task

FEEDBACK_BYTES = 2**16  # largest body
JUDGED_A_SECOND, JUDGED_AT_ONCE = 10.0, 100.0  # judgements by one caller
Trace = Annotated[
    str,
    StringConstraints(pattern=r"^(tr|chatcmpl)-[0-9a-f]{32}$"),
    AfterValidator(lambda trace: trace.replace("chatcmpl-", "tr-", 1)),  # the id of a response names its trace, too
]


class Judgements:
    """How often a caller has judged lately. Counted by this process alone."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._left: dict[str, tuple[float, float]] = {}  # of each caller, and when that was; callers are few and known

    def check(self, caller: str) -> None:
        """Take one of those that a caller may make now; a Refusal if there is none left."""
        now = self._now()
        left, before = self._left.get(caller, (JUDGED_AT_ONCE, now))
        left = min(JUDGED_AT_ONCE, left + (now - before) * JUDGED_A_SECOND)
        if left < 1:
            self._left[caller] = (left, now)
            raise too_many(f"more than {JUDGED_A_SECOND:g} judgements a second by one caller")
        self._left[caller] = (left - 1, now)


class Judgement(Strict):
    trace_id: Trace
    verdict: Verdict
    target: Any = None
    messages: Annotated[list[Message], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _target_of_a_correction(self) -> Judgement:
        if self.verdict == "corrected" and self.target is None:
            raise ValueError("a corrected answer needs its target, the right answer")
        if self.verdict != "corrected" and (self.target is not None or self.messages is not None):
            raise ValueError("target and messages are only for the verdict corrected")
        return self


async def masked_target(
    judgement: Judgement, masking: MaskPool | None, task: Task, markup: Markup = "none"
) -> str | None:
    """The target as training would have it, None if there is none. A Refusal if it is no answer of the task.

    With the request's messages, a value in both has the stand-in that it has in the trace.
    """
    if judgement.target is None:
        return None
    value = judgement.target
    if task.is_json and isinstance(value, str):
        with suppress(NotJsonError):  # a refusal in plain words, or no answer
            value = strict_json(value)
    try:
        text = task.render(value)
    except NotJsonError:
        text = str(value)
    parsed = task.parse(text)
    # The task's words are nobody's data.
    public = parsed.kind == "refusal" or (parsed.kind == "answer" and task.kind.listed)
    if masking is not None and not public:
        # as a whole: a value is masked by its key too, and a key may be private
        messages = plain(without_markup(judgement.messages or [], markup))
        masked = (await masking.mask(messages, None, also=[text]))[1]
        text = masked[0]
        parsed = task.parse(text)
    if parsed.kind == "invalid":  # what is wrong with it may quote it
        raise Refusal(400, "invalid_value", "target: not an answer of this task, once it is masked", "target")
    return text
