"""The gateway's HTTP side: who may ask, within which limits, and what goes back; an ASGI app without state but counters.

A request is let through (key, limits, body), read, masked, answered by `Served`, and gets the caller's own values back. Each
step's refusal is an error in OpenAI's form. Nothing of a request or an answer is ever logged.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hallmark.base.errors import HallmarkError
from hallmark.base.markup import Markup
from hallmark.base.refusal import Refusal
from hallmark.mask.restoring import Masked
from hallmark.params.service import Serve
from hallmark.serve import front
from hallmark.serve.chat_request import ChatRequest, Message, read_as, read_request, unsupported
from hallmark.service.gateway import responses
from hallmark.service.gateway.callers import check_sender, customer, read_keys
from hallmark.service.gateway.exchange import Answered, Asked, Traces
from hallmark.service.gateway.judging import FEEDBACK_BYTES, Judgement, Judgements, masked_target
from hallmark.service.gateway.masking import MaskPool
from hallmark.service.gateway.metrics import CONTENT_TYPE, Metrics
from hallmark.service.gateway.models import Served
from hallmark.service.gateway.responses import RETRY, endpoint, unless_gone
from hallmark.service.traces.store import FeedbackJournal
from hallmark.service.traces.trace import Feedback, Reason, new_id
from hallmark.task.task import Task

LARGE = 2**16  # bytes of a body that is read in a thread: a megabyte of JSON would hold up all others
FORMS = ("tool_choice", "response_format")  # documents that go to the model with the request
GRACE = 1.0  # seconds after the deadline in which `Served` may still say what happened itself
Result = TypeVar("Result")


def app(gateway: Gateway) -> Starlette:
    """The app, which starts the gateway before the first request and closes it after the last one."""
    methods: dict[str, tuple[str, str, Callable[[Request], Any]]] = {
        "chat": ("POST", "/v1/chat/completions", gateway.chat),
        "models": ("GET", "/v1/models", gateway.models_listed),
        "feedback": ("POST", "/v1/feedback", gateway.judged),
        "health": ("GET", "/health", gateway.health),
        "metrics": ("GET", "/metrics", gateway.metrics_shown),
    }
    allowed = {path: method for method, path, _ in methods.values()}

    async def elsewhere(request: Request) -> Response:
        gateway.check_sender(request)
        raise front.elsewhere(request.scope["path"], allowed)

    async def unrouted(request: Request, _: Exception) -> Response:
        return await endpoint("other", elsewhere, gateway.metrics)(request)

    routes = [
        Route(path, endpoint(name, handle, gateway.metrics), methods=[method])
        for name, (method, path, handle) in methods.items()
    ]
    made = Starlette(routes=routes, lifespan=gateway.running, exception_handlers={HTTPException: unrouted})
    made.router.redirect_slashes = False  # a redirect would go to whatever host the caller named
    return made


@dataclass(repr=False, eq=False)  # a repr would show the key
class Gateway:
    """What the endpoints share. A HallmarkError if API keys are needed and there are none.

    `names_key` makes the pseudonyms of customers, as in training; None: they are kept as they come.
    """

    serve: Serve
    masking: MaskPool | None
    models: Served
    traces: Traces
    feedback: FeedbackJournal | None
    metrics: Metrics
    task: Task
    names_key: bytes | None
    markup: Markup = "none"  # mask.markup
    failed: BaseException | None = field(default=None, init=False)  # why it could not be started

    def __post_init__(self) -> None:
        self.keys = read_keys(self.serve)
        limits = self.serve.limits
        each = limits.under_way_per_key if self.keys else None
        self.slots = front.Slots(limits.under_way, each, lambda count: self.metrics.gauge("hallmark_under_way", count))
        self.judgements = Judgements()

    @asynccontextmanager
    async def running(self, _: Starlette) -> AsyncIterator[None]:
        """Masking and models, from before the first request until after the last one."""
        try:
            try:
                if self.masking is not None:
                    await self.masking.start()
                await self.models.start()
            except BaseException as error:
                self.failed = error
                raise
            yield
        finally:
            await self.models.close()
            if self.masking is not None:
                await self.masking.close()

    def check_sender(self, request: Request) -> None:
        check_sender(request, self.serve.host, keyed=bool(self.keys))

    def caller(self, request: Request) -> str:
        self.check_sender(request)
        return self.keys.caller([value for name, value in request.headers.raw if name == b"authorization"])

    async def health(self, request: Request) -> Response:
        """Whether there is a model that answers, and what each server does. It needs no key."""
        self.check_sender(request)
        if not self.models.names:
            return front.json_response({"status": "no model answers yet"}, 503, RETRY)
        return front.json_response({"status": "ok", "servers": self.models.servers})

    async def metrics_shown(self, request: Request) -> Response:
        self.caller(request)
        return Response(self.metrics.text(), headers={"content-type": CONTENT_TYPE})

    async def models_listed(self, request: Request) -> Response:
        self.caller(request)
        return front.models_listed(self.models.names)

    async def chat(self, request: Request) -> Response:
        start, now, limits = time.monotonic(), datetime.now(UTC), self.serve.limits
        caller = self.caller(request)
        group = customer(request, self.serve.routing.group_header, self.names_key)
        with self.slots.taken(caller):
            body = await front.read_body(request, limits.body_bytes)
            exchange = self._exchange(body, caller, group, start, now)
            return await unless_gone(request.receive, exchange)

    async def _exchange(self, body: bytes, caller: str, group: str | None, start: float, now: datetime) -> Response:
        """What a body asks for, answered within the time there is."""
        deadline = start + self.serve.limits.seconds
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                large = len(body) > LARGE
                chat = await _aside(large, lambda: read_request(body, self.markup))
                self._check(chat)
                chat, masked, masking_s = await self._masked(chat, large)
        except TimeoutError:
            raise self._late() from None
        asked = Asked(
            request=new_id(now, "rq"), time=now, caller=caller, group=group, chat=chat, masked=masked, deadline=deadline
        )
        answered = await self._answered(asked, masking_s, start)
        if answered.outcome != "failed":
            return responses.answer(answered, masked, chat)
        headers = responses.headers_of(answered)
        if time.monotonic() >= deadline:
            raise self._late(headers)
        if answered.reason == "refused":
            raise responses.refused(answered, chat, headers)
        raise Refusal(502, "no_answer", "the model server gave no answer", headers=headers | RETRY)

    async def _answered(self, asked: Asked, masking_s: float | None, start: float) -> Answered:
        """What came of a request that was masked. However it ends, it has a trace."""
        answered: Answered | None = None
        reason: Reason = "error"
        try:
            async with asyncio.timeout(asked.deadline + GRACE - time.monotonic()):
                answered = await self.models.answer(asked)
        except TimeoutError:
            reason = "refused"
        except asyncio.CancelledError:
            reason = "gone"
            raise
        finally:
            if answered is None:  # it counts for the release that it was routed to
                route, version, digest = self.models.routed(asked)
                answered = Answered(
                    trace=new_id(), outcome="failed", reason=reason, route=route, version=version, digest=digest
                )
            answered = replace(answered, trace=self.keys.marked(answered.trace, asked.caller))
            self._keep(asked, answered, masking_s, time.monotonic() - start)
        return answered

    def _late(self, headers: dict[str, str] | None = None) -> Refusal:
        message = f"there was no answer within {self.serve.limits.seconds:g} s"
        return Refusal(504, "timeout", message, headers=(headers or {}) | RETRY)

    def _check(self, chat: ChatRequest) -> None:
        limit = self.serve.limits.answer_tokens
        if chat.model not in self.models.names:
            raise front.unknown_model(self.models.names)
        if chat.logprobs:
            raise unsupported("logprobs", "log-probabilities would be those of the masked answer, not of yours")
        if (chat.answer_tokens or 0) > limit:
            message = f"{chat.limit_field}: an answer has at most {limit} tokens here"
            raise Refusal(400, "invalid_value", message, chat.limit_field)

    async def _masked(self, chat: ChatRequest, large: bool) -> tuple[ChatRequest, Masked, float | None]:
        """The request as the model may see it, and how long masking took (None: nothing was looked for).

        `stop` is masked too, by which the model's answer, masked itself, would end. `tool_choice` and `response_format` are
        masked as one more of the tools, whose names and values they share.
        """
        messages = await _aside(large, chat.prompt)
        if self.masking is None:
            return chat, Masked(messages=messages, tools=chat.tools, values={}), None
        start = time.monotonic()
        forms = {name: value for name in FORMS if isinstance(value := getattr(chat, name), dict)}
        tools = [*(chat.tools or []), forms] if forms else chat.tools
        with _masking():
            masked, stop = await self.masking.mask(messages, tools, chat.stop or ())
            if forms:
                *tools, forms = masked.tools or []
                masked = replace(masked, tools=tools or None)
            copies = await _aside(large, lambda: [Message.model_validate(message) for message in masked.messages])
        changes = {"messages": copies, "tools": masked.tools, "stop": stop or None} | forms
        seconds = time.monotonic() - start
        self.metrics.observe("hallmark_masking_seconds", seconds)
        return chat.model_copy(update=changes), masked, seconds

    def _keep(self, asked: Asked, answered: Answered, masking_s: float | None, total_s: float) -> None:
        """The trace of a request, and what of it is counted."""
        self.traces.keep(asked, answered, masking_s, total_s)
        metrics, route = self.metrics, answered.route
        came = {name: getattr(answered, name) for name in ("route", "version", "outcome", "reason")}
        metrics.count("hallmark_answers_total", **came)
        for kind, tokens in (("prompt", answered.prompt_tokens), ("answer", answered.answer_tokens)):
            metrics.add("hallmark_tokens_total", max(0, tokens or 0), route=route, kind=kind)
        metrics.add("hallmark_price_total", max(0.0, answered.price or 0), route=route)
        for name, seconds in (("model", answered.model_s), ("fallback", answered.fallback_s)):
            if seconds is not None:
                metrics.observe(f"hallmark_{name}_seconds", seconds, route=route)
        if answered.outcome != "failed":
            others = (answered.model_s or 0) + (answered.fallback_s or 0)
            metrics.observe("hallmark_gateway_seconds", max(0.0, total_s - others))

    async def judged(self, request: Request) -> Response:
        """What a caller says of an answer. 202 once it is on disk."""
        caller = self.caller(request)
        if self.feedback is None:
            message = "no traces are kept here (serve.traces in params.yaml), so there is nothing to judge"
            raise Refusal(404, "traces_off", message)
        self.judgements.check(caller)
        with self.slots.taken(caller):
            judgement = read_as(Judgement, await front.read_body(request, FEEDBACK_BYTES))
            self.keys.check_own(judgement.trace_id, caller)
            with _masking():
                target = await masked_target(judgement, self.masking, self.task, self.markup)
            name, verdict = judgement.trace_id, judgement.verdict
            kept = Feedback(trace=name, time=datetime.now(UTC), caller=caller, verdict=verdict, target=target)
            try:
                await asyncio.to_thread(self.feedback.accept, kept)
            except (OSError, HallmarkError):
                problem = "this judgement could not be written; send it again"
                raise Refusal(503, "not_kept", problem, headers=RETRY) from None
        self.metrics.count("hallmark_feedback_total", verdict=verdict)
        accepted = {"object": "feedback", "trace_id": name, "verdict": verdict}
        return front.json_response(accepted, 202)


async def _aside(large: bool, work: Callable[[], Result]) -> Result:
    """What `work` gives; of a large request in a thread, where it holds up nobody: one may have 20,000 messages."""
    return await asyncio.to_thread(work) if large else work()


@contextmanager
def _masking() -> Iterator[None]:
    """If masking fails, nothing goes on: a text that is not masked must not reach a model."""
    try:
        yield
    except (Refusal, TimeoutError):
        raise
    except Exception as error:
        message = "this request could not be masked, so it went nowhere; try again"
        raise Refusal(503, "masking_failed", message, headers=RETRY) from error
