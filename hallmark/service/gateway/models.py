"""The releases that answer, and the fallback: which one a request goes to, and what becomes of its answer."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hallmark.service.gateway.cascading import Judged
from hallmark.service.gateway.deployments import Counting, Deployments, Serving, Silent
from hallmark.service.gateway.exchange import Answered, Asked
from hallmark.service.gateway.fallback import Bought, Broad
from hallmark.service.gateway.price import of_time
from hallmark.service.gateway.releases import Wanted
from hallmark.service.gateway.routing import Side, customer_of, side_of
from hallmark.service.gateway.upstream import Problem, Question, Reply, UpstreamError
from hallmark.service.traces.trace import Outcome, Reason, Route, new_id

if TYPE_CHECKING:
    from hallmark.params.gateway import Serve

SHADOWS = 16  # requests to the shadow at once; what comes while they are under way is not asked of it
QUIET_SECONDS = 60.0  # between two lines about the same problem
Emit = Callable[[Asked, Answered], None]
log = logging.getLogger("serve")


@dataclass(frozen=True, slots=True)
class Own:
    """What came of asking a release. `seconds` and `share`: in all, and of its server's time (see `price.py`)."""

    side: Side
    serving: Serving
    reply: Reply | None
    judged: Judged | None
    problem: Problem | None
    seconds: float
    share: float

    @property
    def reason(self) -> Reason:
        """What became of it."""
        if self.judged is not None:
            return self.judged.reason
        return "refused" if self.problem == "refused" else "upstream"


class Served:
    """Implements `Models`. `emit` takes what the shadow answered; without it, nothing is asked of a shadow.

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
        metrics: Counting | None = None,
        emit: Emit | None = None,
    ) -> None:
        self.deployments, self.emit = deployments, emit
        self._serve, self._per_hour, self._broad, self._metrics = serve, per_hour, broad, metrics or Silent()
        self._usual_tokens = usual_tokens
        self._shadows: set[asyncio.Task[None]] = set()
        self._told: dict[tuple[str, str], tuple[float, int]] = {}

    @property
    def names(self) -> list[str]:
        """The certified names of the releases that answer."""
        return self.deployments.names

    def name(self, route: Route) -> str:
        """The certified name of the release that a route has now; "" if none answers."""
        side: Side = "canary" if route in ("canary", "shadow") else "prod"
        serving = self.deployments.serving(side) or self.deployments.serving("prod")
        return "" if serving is None else serving.running.launched.name

    async def start(self) -> None:
        """Start the servers; a HallmarkError if prod can't be started."""
        await self.deployments.start()

    async def close(self) -> None:
        """Finish what is under way, and stop the servers that were started."""
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
        serving = self.deployments.serving(side) or self.deployments.serving("prod")
        return ("none", "", "") if serving is None else (side, serving.wanted.version, serving.wanted.digest)

    def _side(self, asked: Asked) -> Side:
        canary = self.deployments.serving("canary")
        customer = customer_of(asked.group, asked.caller, asked.request)
        return side_of(customer, canary.wanted.version if canary else None, self._serve.routing.canary)

    async def _answer(self, asked: Asked, side: Side, broad: Broad | None, *, shadow: bool = False) -> Answered:
        own = await self._own(asked, side)
        route: Route = "shadow" if shadow else own.side
        if own.judged is not None and own.judged.goes_out:
            assert own.reply is not None
            return self._answered(asked, own, route, "answered", own.reply)
        if broad is None:
            return self._answered(asked, own, route, "failed" if own.reply is None else "handed_over", None)
        start = time.monotonic()
        bought = await broad.ask(self._question(asked, self._serve.limits.answer_tokens), asked.deadline - start)
        seconds = None if bought.problem == "budget" else time.monotonic() - start
        if bought.problem is not None:
            self._metrics.count("hallmark_fallback_errors_total", problem=bought.problem)
            self._complain("the fallback", bought.problem)
        answer = bought.reply
        if answer is not None:
            wrong = own.serving.running.launched.judge.wrong(answer.answer.text, asked.masked)
            if wrong is not None:
                self._metrics.count("hallmark_fallback_errors_total", problem=wrong)
                answer = None
        outcome: Outcome = "answered" if answer else "failed" if own.reply is None else "handed_over"
        return self._answered(asked, own, route, outcome, answer, bought, seconds)

    async def _own(self, asked: Asked, side: Side) -> Own:
        """What a release answers. If it was replaced while it did, and could not finish, the one that replaced it is asked."""
        while True:
            side = side if self.deployments.serving(side) is not None else "prod"  # a canary that is none any more
            serving = self.deployments.serving(side)
            if serving is None:
                raise RuntimeError("asked before the start, or after the end")
            own = await self._ask(asked, side, serving)
            now = self.deployments.serving(side) or self.deployments.serving("prod")
            if own.problem in (None, "refused", "late") or now is None or now.running is serving.running:
                return own

    async def _ask(self, asked: Asked, side: Side, serving: Serving) -> Own:
        running = serving.running
        launched, start = running.launched, time.monotonic()
        reply: Reply | None = None
        judged: Judged | None = None
        problem: Problem | None = None
        with running.taken():
            began = running.meter.begin()
            try:
                judge = launched.judge
                question = self._question(
                    asked, self._usual_tokens, logs=judge.needs_logs and launched.logs is not False
                )
                reply = await launched.upstream.ask(question, asked.deadline - time.monotonic())
                if question.logs and launched.logs is None:
                    launched.logs = reply.answer.logs is not None
                    if not launched.logs:
                        log.error(
                            "the server of %s gives no log-probabilities, so the cascade hands over every answer: have it give "
                            "them, or set serve.cascade to false",
                            serving.wanted.version,
                        )
                judged = judge.judge(reply.answer, asked.masked)
                if judged.reason == "schema" and (extra := judge.second(launched.constrains)) is not None:
                    self._metrics.count("hallmark_second_answers_total", version=serving.wanted.version)
                    again = replace(question, extra={**(question.extra or {}), **extra})
                    second = await launched.upstream.ask(again, asked.deadline - time.monotonic())
                    reply, judged = second, judge.judge(second.answer, asked.masked)
            except UpstreamError as error:
                if reply is None:
                    problem = error.problem
                    if problem == "down":
                        running.suspect.set()
                self._metrics.count(
                    "hallmark_upstream_errors_total", version=serving.wanted.version, problem=error.problem
                )
                self._complain(f"the server of {serving.wanted.version}", error.problem, str(error))
            finally:
                share = running.meter.end(began)
        return Own(side, serving, reply, judged, problem, time.monotonic() - start, share)

    def _question(self, asked: Asked, usual_tokens: int, *, logs: bool = False) -> Question:
        """What is asked: greedily, whatever temperature or seed a caller names; how an answer is to end and look is theirs."""
        tokens = min(asked.chat.answer_tokens or usual_tokens, self._serve.limits.answer_tokens)
        chat = asked.chat
        form = chat.response_format if (chat.response_format or {}).get("type") != "text" else None
        chosen = {"stop": chat.stop, "tool_choice": chat.tool_choice, "response_format": form}
        extra = {name: value for name, value in chosen.items() if value is not None}
        return Question(asked.masked.messages, asked.masked.tools, tokens, logs, extra)

    def _answered(
        self,
        asked: Asked,
        own: Own,
        route: Route,
        outcome: Outcome,
        out: Reply | None,
        bought: Bought | None = None,
        fallback_s: float | None = None,
    ) -> Answered:
        """All that is said of a request. `out`: what goes out, of the release or of the fallback."""
        wanted, launched, judged = own.serving.wanted, own.serving.running.launched, own.judged
        price = of_time(self._per_hour, own.share)
        if bought is not None and price is not None:
            price += float(bought.price)
        by_fallback = out is not None and bought is not None
        return Answered(
            trace=new_id(asked.time),
            outcome=outcome,
            reason=own.reason,
            route=route,
            version=wanted.version,
            digest=wanted.digest,
            model=launched.name,
            text=None if out is None else out.text,
            tool_calls=None if out is None else out.tool_calls,
            finish=out.finish if by_fallback and out else own.reply.finish if own.reply else None,
            answer=None if own.reply is None else own.reply.answer.text,
            fallback=out.answer.text if by_fallback and out else None,
            schema_valid=None if judged is None else judged.schema_valid,
            score=None if judged is None else judged.score,
            probability=None if judged is None else judged.probability,
            prompt_tokens=None if own.reply is None else own.reply.prompt_tokens,
            answer_tokens=None if own.reply is None else own.reply.answer_tokens,
            model_s=own.seconds,
            fallback_s=fallback_s,
            price=price,
        )

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
            answered = await self._answer(later, "canary", None, shadow=True)
            if self.emit is not None and (answered.version, answered.digest) == (canary.version, canary.digest):
                self.emit(later, answered)  # else it is none any more, and prod was asked
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
