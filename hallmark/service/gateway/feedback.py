"""What a caller says of an answer: read strictly, its target masked as the request was, and checked against the schema."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field, StringConstraints, model_validator
from starlette.requests import Request
from starlette.responses import Response

from hallmark.base.errors import HallmarkError
from hallmark.base.markup import Markup
from hallmark.base.reading import NotJsonError, strict_json
from hallmark.base.refusal import Refusal
from hallmark.serve import front
from hallmark.serve.chat_request import Message, Strict, plain, read_as, without_markup
from hallmark.service.gateway.limits import RETRY
from hallmark.service.gateway.masking import MaskPool, or_nowhere
from hallmark.service.traces.trace import Feedback, Verdict
from hallmark.task.task import Task

if TYPE_CHECKING:
    from hallmark.service.gateway.app import Gateway

FEEDBACK_BYTES = 2**16  # largest body of a judgement
TraceId = Annotated[
    str,
    StringConstraints(pattern=r"^(tr|chatcmpl)-[0-9a-f]{32}$"),
    AfterValidator(lambda trace: trace.replace("chatcmpl-", "tr-", 1)),  # the id of a response names its trace, too
]


class Judgement(Strict):
    trace_id: TraceId
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


async def masked_target(judgement: Judgement, masking: MaskPool | None, task: Task, markup: Markup) -> str | None:
    """The target as training would have it, None if there is none. A Refusal if it is no answer of the task.

    With the request's messages, a value in both has the stand-in that it has in the trace.
    """
    value = judgement.target
    if value is None:
        return None
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
        _, (text,) = await masking.mask(messages, None, also=[text])
        parsed = task.parse(text)
    if parsed.kind == "invalid":  # what is wrong with it may quote it
        raise Refusal(400, "invalid_value", "target: not an answer of this task, once it is masked", "target")
    return text


async def judged(gateway: Gateway, request: Request) -> Response:
    """What a caller says of an answer. 202 once it is on disk."""
    caller = gateway.caller(request)
    if gateway.feedback is None:
        message = "no traces are kept here (serve.traces in params.yaml), so there is nothing to judge"
        raise Refusal(404, "traces_off", message)
    gateway.limiter.judgement(caller)
    with gateway.limiter.slot(caller):
        judgement = read_as(Judgement, await gateway.limiter.body(request, FEEDBACK_BYTES))
        gateway.keys.check_own(judgement.trace_id, caller)
        with or_nowhere():
            target = await masked_target(judgement, gateway.masking, gateway.task, gateway.params.mask.markup)
        name, verdict = judgement.trace_id, judgement.verdict
        kept = Feedback(trace=name, time=datetime.now(UTC), caller=caller, verdict=verdict, target=target)
        try:
            await asyncio.to_thread(gateway.feedback.accept, kept)
        except (OSError, HallmarkError):
            problem = "this judgement could not be written; send it again"
            raise Refusal(503, "not_kept", problem, headers=RETRY) from None
    gateway.metrics.count("hallmark_feedback_total", verdict=verdict)
    return front.json_response({"object": "feedback", "trace_id": name, "verdict": verdict}, 202)
