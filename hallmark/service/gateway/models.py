"""The releases that answer, and the fallback: which one a request goes to, and what becomes of its answer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import replace

from hallmark.params.service import Serve
from hallmark.service.gateway.cascading import Judge, Judged
from hallmark.service.gateway.deployments import Deployments, Serving
from hallmark.service.gateway.exchange import Answered, Asked
from hallmark.service.gateway.fallback import Broad
from hallmark.service.gateway.metrics import Metrics
from hallmark.service.gateway.price import of_time
from hallmark.service.gateway.releases import Wanted
from hallmark.service.gateway.routing import Side, customer_of, side_of
from hallmark.service.gateway.upstream import Problem, Question, Reply, UpstreamError
from hallmark.service.traces.trace import Route, new_id

SHADOWS = 16  # requests to the shadow at once; what comes while they are under way is not asked of it
QUIET_SECONDS = 60.0  # between two lines about the same problem
SPENT = "serve.fallback.spend_per_day is used up, so a person must look until midnight UTC"
Emit = Callable[[Asked, Answered], None]
log = logging.getLogger("serve")


class Served:
    """What a gateway asks. `emit` takes what the shadow answered; without it, nothing is asked of a shadow.

    `per_hour`: the price of the machine that serves. `usual_tokens`: as long may a release's answer be if a caller names no
    limit: what answers are evaluated with.
    """

    def __init__(
        self,
        deployments: Deployments,
        serve: Serve,
        *,
        per_hour: float | None,
        usual_tokens: int,
        broad: Broad | None = None,
        metrics: Metrics | None = None,
        emit: Emit | None = None,
    ) -> None:
        self.deployments, self.emit = deployments, emit
        self._serve, self._per_hour, self._broad, self._metrics = serve, per_hour, broad, metrics or Metrics()
        self._usual_tokens = usual_tokens
        self._shadows: set[asyncio.Task[None]] = set()
        self._told: dict[tuple[str, str], tuple[float, int]] = {}

    @property
    def names(self) -> list[str]:
        return self.deployments.names

    @property
    def servers(self) -> list[dict[str, str | None]]:
        return self.deployments.servers

    def name(self, route: Route) -> str:
        """The certified name of the release that a route has now; "" if none answers."""
        side: Side = "canary" if route in ("canary", "shadow") else "prod"
        serving = self.deployments.answering(side)
        return "" if serving is None else serving.running.launched.name

    async def start(self) -> None:
        """Start the servers; a HallmarkError if prod can't be started."""
        await self.deployments.start()

    async def close(self) -> None:
        for task in list(self._shadows):
            task.cancel()
        await asyncio.gather(*self._shadows, return_exceptions=True)
        await self.deployments.close()
        if self._broad is not None:
            await self._broad.close()

    async def answer(self, asked: Asked) -> Answered:
        """The answer of the release that this caller's customer is routed to, or the fallback's. Never raises for what a
        server does."""
        side = self._side(asked)
        answered = await self._answer(asked, side, self._broad)
        if side == "prod" and self._serve.routing.shadow:
            self._ask_shadow(asked)
        return answered

    def routed(self, asked: Asked) -> tuple[Route, str, str]:
        """The side, and the release that answers there now: of a caller who hung up, who kept him waiting."""
        side = self._side(asked)
        serving = self.deployments.answering(side)
        return ("none", "", "") if serving is None else (side, serving.wanted.version, serving.wanted.digest)

    def _side(self, asked: Asked) -> Side:
        canary = self.deployments.serving("canary")
        customer = customer_of(asked.group, asked.caller, asked.request)
        return side_of(customer, canary.wanted.version if canary else None, self._serve.routing.canary)

    async def _answer(self, asked: Asked, side: Side, broad: Broad | None) -> Answered:
        own, judge = await self._own(asked, side)
        if own.outcome == "answered" or broad is None:
            return own
        start = time.monotonic()
        bought = await broad.ask(self._question(asked, self._serve.limits.answer_tokens), asked.deadline - start)
        price = None if own.price is None else own.price + float(bought.price)
        own = replace(own, price=price, fallback_s=None if bought.problem == "budget" else time.monotonic() - start)
        reply, wrong = bought.reply, bought.problem
        if reply is None:
            self._complain("the fallback", str(wrong), SPENT if wrong == "budget" else "")
        else:
            self._metrics.add("hallmark_other_models_total", reply.another, server="fallback")
            wrong = judge.wrong(reply.answer.text, asked.masked, valid=self._cut(asked, reply) or None)
            if wrong is None:
                return replace(
                    own, outcome="answered", text=reply.text, tool_calls=reply.tool_calls, finish=reply.finish,
                    fallback=reply.answer.text,
                )  # fmt: skip
        self._metrics.count("hallmark_fallback_errors_total", problem=wrong)
        return own

    async def _own(self, asked: Asked, side: Side) -> tuple[Answered, Judge]:
        """What a release answers, and what judged it. If it was replaced while it did, and could not finish, the one that
        replaced it is asked."""
        while True:
            side = side if self.deployments.serving(side) is not None else "prod"  # a canary that is none any more
            serving = self.deployments.serving(side)
            if serving is None:
                raise RuntimeError("asked before the start, or after the end")
            answered, problem = await self._ask(asked, side, serving)
            now = self.deployments.answering(side)
            if problem in (None, "refused", "late") or now is None or now.running is serving.running:
                return answered, serving.running.launched.judge

    async def _ask(self, asked: Asked, side: Side, serving: Serving) -> tuple[Answered, Problem | None]:
        """What a release answers; or that it gave no answer, and why."""
        running, wanted = serving.running, serving.wanted
        launched, start = running.launched, time.monotonic()
        reply: Reply | None = None
        judged: Judged | None = None
        problem: Problem | None = None
        refused: tuple[str | None, str | None] = (None, None)
        with running.taken():
            began = running.meter.begin()
            try:
                judge = launched.judge
                question = self._question(
                    asked, self._usual_tokens, logs=judge.needs_logs and launched.logs is not False,
                    is_json=judge.only_json,
                )  # fmt: skip
                reply = await launched.upstream.ask(question, asked.deadline - time.monotonic())
                self._metrics.add("hallmark_other_models_total", reply.another, server=wanted.version)
                if question.logs and launched.logs is None:
                    launched.logs = reply.answer.logs is not None
                    if not launched.logs:
                        log.error(
                            "the server of %s gives no log-probabilities, so the cascade hands over every answer: have it give "
                            "them, or set serve.cascade to false",
                            wanted.version,
                        )
                judged = judge.judge(reply.answer, asked.masked, cut=self._cut(asked, reply))
                if judged.reason == "schema" and (extra := judge.second(launched.constrains)) is not None:
                    self._metrics.count("hallmark_second_answers_total", version=wanted.version)
                    again = replace(question, extra={**(question.extra or {}), **extra})
                    second = await launched.upstream.ask(again, asked.deadline - time.monotonic())
                    reply, judged = second, judge.judge(second.answer, asked.masked)
            except UpstreamError as error:
                if reply is None:
                    problem, refused = error.problem, (error.code, error.field)
                    if problem == "down":
                        running.suspect.set()
                self._metrics.count("hallmark_upstream_errors_total", version=wanted.version, problem=error.problem)
                self._complain(f"the server of {wanted.version}", error.problem, str(error))
            finally:
                share = running.meter.end(began)
        failed = Answered(
            trace=new_id(asked.time), outcome="failed", reason="refused" if problem == "refused" else "upstream",
            route=side, version=wanted.version, digest=wanted.digest, model=launched.name,
            model_s=time.monotonic() - start, price=of_time(self._per_hour, share), refused=refused,
        )  # fmt: skip
        if reply is None or judged is None:
            return failed, problem
        answered = replace(
            failed, outcome="handed_over", reason=judged.reason, finish=reply.finish, answer=reply.answer.text,
            schema_valid=judged.schema_valid, score=judged.score, probability=judged.probability,
            prompt_tokens=reply.prompt_tokens, answer_tokens=reply.answer_tokens,
        )  # fmt: skip
        if judged.goes_out:
            answered = replace(answered, outcome="answered", text=reply.text, tool_calls=reply.tool_calls)
        return answered, None

    def _cut(self, asked: Asked, reply: Reply) -> bool:
        """Whether an answer ends where its caller wanted it to, before the model would have been told to stop."""
        tokens = asked.chat.answer_tokens
        return reply.finish == "length" and tokens is not None and tokens < self._usual_tokens

    def _question(self, asked: Asked, usual_tokens: int, *, logs: bool = False, is_json: bool = False) -> Question:
        """What is asked: greedily, whatever temperature or seed a caller names; how an answer is to end and look is theirs.

        `is_json`: all answers are, so that nobody need ask for it.
        """
        tokens = min(asked.chat.answer_tokens or usual_tokens, self._serve.limits.answer_tokens)
        chat = asked.chat
        usual = ("text", "json_object") if is_json else ("text",)
        form = chat.response_format if (chat.response_format or {}).get("type") not in usual else None
        choice = None if chat.tool_choice == "auto" else chat.tool_choice  # which is how it was trained
        chosen = {"stop": chat.stop, "tool_choice": choice, "response_format": form}
        extra = {name: value for name, value in chosen.items() if value is not None}
        return Question(asked.masked.messages, asked.masked.tools, tokens, logs, extra)

    def _ask_shadow(self, asked: Asked) -> None:
        """Have the canary answer too, for its trace only: prod's answer is out, so nobody waits for it."""
        canary = self.deployments.serving("canary")
        if self.emit is None or canary is None:
            return
        if len(self._shadows) >= SHADOWS:
            self._metrics.count("hallmark_shadow_left_out_total")
            return
        task = asyncio.create_task(self._shadow(asked, canary.wanted))
        self._shadows.add(task)
        task.add_done_callback(self._shadows.discard)

    async def _shadow(self, asked: Asked, canary: Wanted) -> None:
        try:
            later = replace(asked, deadline=time.monotonic() + self._serve.limits.seconds)
            answered = await self._answer(later, "canary", None)
            if self.emit is not None and (answered.version, answered.digest) == (canary.version, canary.digest):
                self.emit(later, replace(answered, route="shadow"))  # else it is none any more, and prod was asked
        except Exception as error:
            log.error("the shadow failed (%s)", type(error).__name__)

    def _complain(self, who: str, problem: str, words: str = "") -> None:
        """One line about a problem, and not again for a while: /metrics counts them all."""
        now = time.monotonic()
        last, since = self._told.get((who, problem), (-QUIET_SECONDS, 0))
        if now - last < QUIET_SECONDS:
            self._told[who, problem] = last, since + 1
            return
        more = f" (and {since} times since the last such line)" if since else ""
        log.warning("%s gave no answer: %s%s%s", who, problem, f", {words}" if words else "", more)
        self._told[who, problem] = now, 0
