"""The broad model for what the release is not sure of: any OpenAI-compatible URL, at a price, up to a limit a day.

It gets the masked request, never a private value. The most that a request can cost is set aside before it is sent, so that
requests at once can't pass the limit together; what it did cost is settled after. The limit is of this gateway, and counts
from its start.
"""

from __future__ import annotations

import json
import time
from decimal import Decimal
from typing import Any

from hallmark.model.tool_form import ToolForm
from hallmark.params.service import Fallback as Settings
from hallmark.service.gateway.limits import Budget
from hallmark.service.gateway.upstream import Reply, Upstream, UpstreamError, key_of
from hallmark.service.traces.trace import Trace

MILLION = 1_000_000  # tokens, of which a price is stated
BYTES_PER_MESSAGE = 64  # a chat template's own tokens around a message, generously
SPENT = "serve.fallback.spend_per_day is used up, so a person must look until midnight UTC"


class Fallback:
    def __init__(self, settings: Settings, form: ToolForm | None = None) -> None:
        self.settings, self.budget = settings, Budget(Decimal(repr(settings.spend_per_day)))
        key = key_of(settings, "serve.fallback")
        self._client = Upstream(settings.url, settings.model, key=key, paid=True, form=form)

    async def ask(self, body: dict[str, Any], trace: Trace) -> Reply:
        """Its answer, if the day's limit and the time allow one; else an UpstreamError. The trace gets time and price."""
        most = self.cost(body)
        day = self.budget.hold(most)
        if day is None:
            raise UpstreamError("budget", SPENT, charged=False)
        start, spent = time.monotonic(), most  # also if the caller hangs up: it may have been computed
        try:
            reply = await self._client.ask(body, trace.deadline - start)
            spent = self.cost(body, reply)
            return reply
        except UpstreamError as error:
            spent = most if error.charged else Decimal(0)
            raise
        finally:
            self.budget.settle(day, most, spent)
            trace.fallback_s = time.monotonic() - start
            trace.price = None if trace.price is None else trace.price + float(spent)

    def cost(self, body: dict[str, Any], reply: Reply | None = None) -> Decimal:
        """What a reply cost, by the tokens that the server counted. The most that it can cost, where there is no count: a
        token is at least a byte."""
        prompt, answer = (None, None) if reply is None else (reply.prompt_tokens, reply.answer_tokens)
        prompt = _bytes(body) if prompt is None else prompt
        answer = body["max_tokens"] if answer is None else answer
        price_in, price_out = Decimal(repr(self.settings.price_in)), Decimal(repr(self.settings.price_out))
        return (price_in * prompt + price_out * answer) / MILLION

    async def close(self) -> None:
        await self._client.close()


def _bytes(body: dict[str, Any]) -> int:
    size = len(
        json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
    )  # tools and a schema are read, too
    return size + BYTES_PER_MESSAGE * (1 + len(body["messages"]))
