"""The broad model for what the release is not sure of: any OpenAI-compatible URL, at a price, up to a limit a day.

It gets the masked request, never a private value. The most that a request can cost is set aside before it is sent, so that
requests at once can't pass the limit together, and what it did cost is settled after. The limit is of this gateway, and
counts from its start.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from hallmark.model.tool_form import ToolForm
from hallmark.params.service import Fallback
from hallmark.params.service import Upstream as Settings
from hallmark.serve.several import Several
from hallmark.service.gateway.client import secret_of
from hallmark.service.gateway.price import BYTES_PER_MESSAGE, of_tokens
from hallmark.service.gateway.upstream import Question, Reply, Upstream, UpstreamError


class Budget:
    """A spending limit for each day (UTC), in exact decimals."""

    def __init__(self, limit: Decimal, today: Callable[[], date] = lambda: datetime.now(UTC).date()) -> None:
        self._limit, self._today = limit, today
        self._day, self._spent = today(), Decimal(0)  # what is set aside is part of it

    @property
    def left(self) -> Decimal:
        """What may still be spent today; never under 0."""
        self._turn()
        return max(self._limit - self._spent, Decimal(0))

    def hold(self, amount: Decimal) -> date | None:
        """Set an amount aside: the day that it counts against; None if that would pass the limit."""
        self._turn()
        if self._spent + amount > self._limit:
            return None
        self._spent += amount
        return self._day

    def settle(self, day: date, held: Decimal, spent: Decimal) -> None:
        """Say what was spent of an amount that was set aside on a day, or in excess of it."""
        self._turn()
        if day == self._day:
            self._spent += spent - held

    def _turn(self) -> None:
        today = self._today()
        if today > self._day:  # a clock that is set back opens no second budget
            self._day, self._spent = today, Decimal(0)


@dataclass(frozen=True, slots=True)
class Bought:
    """What asking the fallback brought: a reply, or None; and what it cost."""

    reply: Reply | None
    price: Decimal
    problem: str | None = None


class Broad:
    def __init__(self, settings: Fallback, form: ToolForm | None = None) -> None:
        self.settings, self.budget = settings, Budget(Decimal(repr(settings.spend_per_day)))
        key = key_of(settings, "serve.fallback")
        self._client = Upstream(settings.url, settings.model, key=key, paid=True, form=form)

    async def ask(self, question: Question, seconds: float) -> Bought:
        """Its answer, if the day's limit and the time allow one."""
        most = self.most(question)
        day = self.budget.hold(most)
        if day is None:
            return Bought(None, Decimal(0), "budget")
        spent = most  # also if the caller hangs up: it may have been computed
        try:
            reply = await self._client.ask(question, seconds)
            spent = self.cost(question, reply)
            return Bought(reply, spent)
        except UpstreamError as error:
            spent = most if error.charged else Decimal(0)
            return Bought(None, spent, error.problem)
        finally:
            self.budget.settle(day, most, spent)

    def most(self, question: Question) -> Decimal:
        """The most that a question can cost: a token is at least a byte."""
        return of_tokens(self.settings, _bytes(question), question.max_tokens)

    def cost(self, question: Question, reply: Reply) -> Decimal:
        """What a reply cost, by the tokens that the server counted; a count that it leaves out is taken to be the most."""
        prompt = _bytes(question) if reply.prompt_tokens is None else reply.prompt_tokens
        return of_tokens(
            self.settings, prompt, question.max_tokens if reply.answer_tokens is None else reply.answer_tokens
        )

    async def close(self) -> None:
        await self._client.close()


def _bytes(question: Question) -> int:
    parts: list[Any] = [question.messages, question.tools or [], dict(question.extra or {})]  # a schema is read, too
    size = len(json.dumps(parts, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    return size + BYTES_PER_MESSAGE * (1 + len(question.messages))


def key_of(settings: Settings | Fallback, param: str) -> str | None:
    """The API key of a server, which `param` names; None if it needs none. A HallmarkError if it can't be sent."""
    if settings.key is None:
        return None
    *_, key = (secret_of(settings.key, url, param, "key") for url in Several(settings.url).urls)
    return key
