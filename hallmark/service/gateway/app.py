"""What happens to a request, in eight steps: one `Trace` is made as it comes in, filled by each step, and written once.

    server → chat → mask → route → ask → judge → restore → write

`server.py` is the first; `Gateway` has the others, in this order. Each step's refusal is an error in OpenAI's form. Nothing
of a request or an answer is ever logged.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from hallmark.mask.restoring import Masked
from hallmark.params.loader import Params
from hallmark.serve import front
from hallmark.serve.chat_request import read_request, unsupported
from hallmark.service.gateway import responses
from hallmark.service.gateway.callers import Keys, check_sender, customer, marked
from hallmark.service.gateway.deployments import Deployments, Serving
from hallmark.service.gateway.fallback import Fallback
from hallmark.service.gateway.judging import Judge
from hallmark.service.gateway.limits import Limiter
from hallmark.service.gateway.masking import MaskPool, or_nowhere
from hallmark.service.gateway.releases import Side, customer_of, side_of
from hallmark.service.gateway.server import unless_gone
from hallmark.service.gateway.telemetry import Metrics
from hallmark.service.gateway.upstream import Problem, Reply, UpstreamError, body_of
from hallmark.service.traces.store import FeedbackJournal
from hallmark.service.traces.trace import Place, Trace, new_id
from hallmark.task.answers import compact_json
from hallmark.task.task import Task

LARGE = 2**16  # bytes of a body that is read in a thread: a megabyte of JSON would hold up all others
FORMS = ("tool_choice", "response_format")  # documents that go to the model with the request
GRACE = 1.0  # seconds after the deadline in which the steps may still say what happened themselves
SHADOWS = 16  # requests to the shadow at once; what comes while they are under way is not asked of it
QUIET_SECONDS = 60.0  # between two lines about the same problem
HOUR = 3600  # seconds
ASKED = ("request", "time", "group", "caller", "messages", "tools", "masking_s", "masked", "chat", "prompt")
Result = TypeVar("Result")
log = logging.getLogger("serve")


class Gateway:
    """The steps, and what they share. `keys`: those of the callers; without any, everyone may ask.

    `names_key` makes the pseudonyms of customers, as in training; None: they are kept as they come. `feedback` None: no
    judgements are taken. `shadows`: the canary is asked too, if `serve.routing.shadow` says so.
    """

    def __init__(
        self,
        params: Params,
        deployments: Deployments,
        masking: MaskPool | None,
        *,
        fallback: Fallback | None = None,
        places: Sequence[Place] = (),
        feedback: FeedbackJournal | None = None,
        metrics: Metrics | None = None,
        keys: Keys | None = None,
        names_key: bytes | None = None,
        shadows: bool = True,
    ) -> None:
        self.params, self.serve, self.task = params, params.serve, Task(params.task)
        self.deployments, self.masking, self.fallback = deployments, masking, fallback
        self.places, self.feedback, self.metrics = places, feedback, metrics or Metrics()
        self.keys, self.names_key = keys or Keys(), names_key
        under_way = partial(self.metrics.gauge, "hallmark_under_way")
        self.limiter = Limiter(self.serve.limits, keyed=bool(self.keys), noted=under_way)
        self.shadows: set[asyncio.Task[None]] | None = set() if shadows and self.serve.routing.shadow else None
        self._told: dict[tuple[str, str], float] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Masking and models, from before the first request until after the last one, and the places of the traces."""
        async with AsyncExitStack() as stack:
            for place in self.places:
                stack.callback(place.close)
            if self.masking is not None:
                stack.push_async_callback(self.masking.close)
                await self.masking.start()
            if self.fallback is not None:
                stack.push_async_callback(self.fallback.close)
            stack.push_async_callback(self.deployments.close)
            stack.push_async_callback(self._end_shadows)
            await self.deployments.start()
            yield

    def check_sender(self, request: Request) -> None:
        """A Refusal of a head that is too long, or of what a page in a browser could send."""
        self.limiter.check_head(request)
        check_sender(request, self.serve.host, keyed=bool(self.keys))

    def caller(self, request: Request) -> str:
        """Who sends a request; a Refusal if he may not."""
        self.check_sender(request)
        return self.keys.caller([value for name, value in request.headers.raw if name == b"authorization"])

    # chat: key, customer, slot, parse; and then all other steps

    async def chat(self, request: Request) -> Response:
        now, started = datetime.now(UTC), time.monotonic()
        trace = Trace(id="", request=new_id(now, "rq"), time=now, started=started)
        trace.deadline = started + self.serve.limits.seconds
        trace.caller = self.caller(request)
        trace.id = marked(new_id(now), trace.caller)
        trace.group = customer(request, self.serve.routing.group_header, self.names_key)
        with self.limiter.slot(trace.caller):
            body = await self.limiter.body(request)
            return await unless_gone(request.receive, self._steps(trace, body))

    async def _steps(self, trace: Trace, body: bytes) -> Response:
        large = len(body) > LARGE
        try:
            async with asyncio.timeout(trace.deadline - time.monotonic()):
                await self._parse(trace, body, large)
                await self.mask(trace, large)
        except TimeoutError:
            raise self.limiter.late() from None
        try:
            async with asyncio.timeout(trace.deadline + GRACE - time.monotonic()):
                await self.answer(trace)
            self.restore(trace)
        except TimeoutError:
            trace.reason = "refused"
        except asyncio.CancelledError:
            trace.outcome, trace.reason = "failed", "gone"
            raise
        except Exception:
            trace.outcome, trace.reason = "failed", "error"
            raise
        finally:
            self.write(trace)
        if trace.outcome != "failed":
            return responses.answer(trace)
        if time.monotonic() >= trace.deadline:
            raise self.limiter.late(responses.headers_of(trace))
        raise responses.failure(trace)

    async def _parse(self, trace: Trace, body: bytes, large: bool) -> None:
        chat = await aside(large, lambda: read_request(body, self.params.mask.markup))
        if chat.model not in self.deployments.names:
            raise front.unknown_model(self.deployments.names)
        if chat.logprobs:
            raise unsupported("logprobs", "log-probabilities would be those of the masked answer, not of yours")
        self.limiter.check_answer(chat)
        trace.chat = chat

    # mask

    async def mask(self, trace: Trace, large: bool = False) -> None:
        """Make the request what the model may see.

        `stop` is masked too, by which the model's answer, masked itself, would end. `tool_choice` and `response_format` are
        masked as one more of the tools, whose names and values they share.
        """
        chat, start = trace.chat, time.monotonic()
        messages, changes = await aside(large, chat.prompt), dict[str, Any](messages=[])
        trace.prompt = Masked(messages=messages, tools=chat.tools, values={})
        if self.masking is not None:
            forms = {name: value for name in FORMS if isinstance(value := getattr(chat, name), dict)}
            tools = [*(chat.tools or []), forms] if forms else chat.tools
            with or_nowhere():
                prompt, stop = await self.masking.mask(messages, tools, chat.stop or ())
            if forms:
                *tools, forms = prompt.tools or []
                prompt = replace(prompt, tools=tools or None)
            changes |= {"tools": prompt.tools, "stop": stop or None} | forms
            trace.prompt, trace.masked, trace.masking_s = prompt, True, time.monotonic() - start
        trace.chat = chat.model_copy(update=changes)  # the caller's own words go no further
        trace.messages = compact_json(trace.prompt.messages)
        trace.tools = None if trace.prompt.tools is None else compact_json(trace.prompt.tools)

    async def answer(self, trace: Trace) -> None:
        """Route, ask and judge. Where a release was replaced before it could answer, its successor is asked."""
        while True:
            serving = self.route(trace)
            reply, problem = await self.ask(trace, serving)
            _, now = self._routed(trace)
            if problem in (None, "refused", "late") or now is None or now.running is serving.running:
                break
        await self.judge(trace, serving, reply, self.fallback)
        if self.shadows is not None and trace.route == "prod":
            self._start_shadow(trace, self.shadows)

    # route

    def route(self, trace: Trace) -> Serving:
        """The release that answers this customer, always the same one as long as there is that canary."""
        side, serving = self._routed(trace)
        if serving is None:
            raise RuntimeError("asked before the start, or after the end")
        trace.route, trace.version, trace.digest = side, serving.wanted.version, serving.wanted.digest
        trace.model = serving.running.launched.name
        return serving

    def _routed(self, trace: Trace) -> tuple[Side, Serving | None]:
        canary = self.deployments.serving("canary")
        customer = customer_of(trace.group, trace.caller, trace.request)
        side = side_of(customer, canary.wanted.version if canary else None, self.serve.routing.canary)
        return side, self.deployments.answering(side)

    # ask the release

    async def ask(
        self, trace: Trace, serving: Serving, extra: Mapping[str, Any] | None = None
    ) -> tuple[Reply | None, Problem | None]:
        """What a release answers; or that it gave no answer, and why. `extra`: what a second question has."""
        running, launched, version = serving.running, serving.running.launched, trace.version
        logs = launched.judge.cascade is not None and launched.logs is not False
        usual = self.params.eval.max_new_tokens  # of what answers are evaluated with
        tokens = min(trace.chat.answer_tokens or usual, self.serve.limits.answer_tokens)
        body = body_of(trace, tokens, logs=logs, is_json=launched.judge.only_json, extra=extra)
        began, start = running.begin(), time.monotonic()
        try:
            reply = await launched.upstream.ask(body, trace.deadline - start)
        except UpstreamError as error:
            if extra is None:
                trace.reason, trace.refused = "upstream", (error.code, error.field)
                if error.problem == "refused":
                    trace.reason = "refused"
            if error.problem == "down":
                running.suspect.set()
            self.metrics.count("hallmark_upstream_errors_total", version=version, problem=error.problem)
            self._complain(f"the server of {version}", error)
            return None, error.problem
        finally:
            share = running.end(began)
            trace.model_s = (trace.model_s or 0.0) + time.monotonic() - start
            if (per_hour := self.params.benchmark.price_per_hour) is not None:
                trace.price = (trace.price or 0.0) + per_hour / HOUR * share
        self.metrics.count("hallmark_other_models_total", reply.another, server=version)
        if logs and launched.logs is None:
            launched.logs = reply.answer.logs is not None
            if not launched.logs:
                log.error(
                    "the server of %s gives no log-probabilities, so the cascade hands over every answer", version
                )
        return reply, None

    # judge: the answer goes out, or the fallback answers within its budget, or a person must look

    async def judge(self, trace: Trace, serving: Serving, reply: Reply | None, fallback: Fallback | None) -> None:
        launched = serving.running.launched
        judge = launched.judge
        if reply is not None:
            goes_out = judge.judge(reply.answer, trace, cut=self._cut(trace, reply))
            if trace.reason == "schema" and (extra := judge.second(launched.constrains)) is not None:
                self.metrics.count("hallmark_second_answers_total", version=trace.version)
                second, _ = await self.ask(trace, serving, extra)
                if second is not None:
                    reply, goes_out = second, judge.judge(second.answer, trace)
            trace.outcome = "answered" if goes_out else "handed_over"
            trace.answer, trace.finish = reply.answer.text, reply.finish
            trace.prompt_tokens, trace.answer_tokens = reply.prompt_tokens, reply.answer_tokens
            if goes_out:
                trace.text, trace.tool_calls = reply.text, reply.tool_calls
        if trace.outcome != "answered" and fallback is not None:
            await self._ask_fallback(trace, fallback, judge)

    def _cut(self, trace: Trace, reply: Reply) -> bool:
        """Whether an answer ends where its caller wanted it to, before the model would have been told to stop."""
        tokens = trace.chat.answer_tokens
        return reply.finish == "length" and tokens is not None and tokens < self.params.eval.max_new_tokens

    async def _ask_fallback(self, trace: Trace, fallback: Fallback, judge: Judge) -> None:
        limit = self.serve.limits.answer_tokens
        try:
            reply = await fallback.ask(body_of(trace, min(trace.chat.answer_tokens or limit, limit)), trace)
        except UpstreamError as error:
            self._complain("the fallback", error)
            self.metrics.count("hallmark_fallback_errors_total", problem=error.problem)
            return
        self.metrics.count("hallmark_other_models_total", reply.another, server="fallback")
        wrong = judge.wrong(reply.answer.text, trace.prompt, valid=self._cut(trace, reply) or None)
        if wrong is not None:
            self.metrics.count("hallmark_fallback_errors_total", problem=wrong)
            return
        trace.outcome, trace.fallback, trace.finish = "answered", reply.answer.text, reply.finish
        trace.text, trace.tool_calls = reply.text, reply.tool_calls

    # restore

    def restore(self, trace: Trace) -> None:
        """Put the caller's own values into what goes out."""
        restored = trace.prompt.restored
        trace.text = None if trace.text is None else restored(trace.text)
        trace.tool_calls = trace.tool_calls and [
            call | {"function": {name: restored(part) for name, part in call["function"].items()}}
            for call in trace.tool_calls
        ]

    # write

    def write(self, trace: Trace) -> None:
        """Keep the trace, and count it: however a request that was masked ends, it has one."""
        trace.total_s = time.monotonic() - trace.started
        for place in self.places:
            place.put(trace)
        self.metrics.trace(trace)

    # the shadow: the canary is asked what prod was, for a trace of its own

    def _start_shadow(self, trace: Trace, shadows: set[asyncio.Task[None]]) -> None:
        canary = self.deployments.serving("canary")
        if canary is None:
            return
        if len(shadows) >= SHADOWS:
            self.metrics.count("hallmark_shadow_left_out_total")
            return
        task = asyncio.create_task(self._shadow(trace, canary))
        shadows.add(task)
        task.add_done_callback(shadows.discard)

    async def _shadow(self, trace: Trace, canary: Serving) -> None:
        now = time.monotonic()
        shadow = Trace(
            id=marked(new_id(trace.time), trace.caller), route="shadow", version=canary.wanted.version,
            digest=canary.wanted.digest, model=canary.running.launched.name, started=now,
            deadline=now + self.serve.limits.seconds, **{name: getattr(trace, name) for name in ASKED},
        )  # fmt: skip
        try:
            reply, _ = await self.ask(shadow, canary)
            await self.judge(shadow, canary, reply, None)
            self.write(shadow)
        except Exception as error:
            log.error("the shadow failed (%s)", type(error).__name__)

    async def _end_shadows(self) -> None:
        for task in (tasks := [*(self.shadows or ())]):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _complain(self, who: str, error: UpstreamError) -> None:
        """One line about a problem, and not again for a while: /metrics counts them all."""
        now = time.monotonic()
        if now - self._told.get((who, error.problem), -QUIET_SECONDS) >= QUIET_SECONDS:
            self._told[who, error.problem] = now
            log.warning("%s gave no answer: %s, %s", who, error.problem, error)


async def aside(large: bool, work: Callable[[], Result]) -> Result:
    """What `work` gives; of a large request in a thread, where it holds up nobody: one may have 20,000 messages."""
    return await asyncio.to_thread(work) if large else work()
