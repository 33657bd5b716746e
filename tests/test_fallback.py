"""The fallback never costs more than its day's limit, however many ask at once, and its prices are exact."""

from __future__ import annotations

import asyncio
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.base.errors import HallmarkError
from hallmark.params.service import Fallback as Settings
from hallmark.service.gateway.deployments import Running
from hallmark.service.gateway.fallback import Fallback
from hallmark.service.gateway.limits import Budget
from hallmark.service.gateway.upstream import Reply, UpstreamError
from hallmark.service.traces.trace import Trace
from tests.gateway_toys import asked
from tests.stub_model import Stub, told

AMOUNTS = st.decimals(0, 100, places=6)
DAY = date(2026, 11, 27)


def settings(url: str, **changes: Any) -> Settings:
    given = {"url": url, "model": "broad", "key": None, "price_in": 1.0, "price_out": 2.0, "spend_per_day": 1.0}
    return Settings.model_validate(given | changes)


def question(**what: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": told(**what)}], "max_tokens": 100}


def buy(fallback: Fallback, *questions: dict[str, Any]) -> list[tuple[Reply | UpstreamError, Trace]]:
    async def one(question: dict[str, Any]) -> tuple[Reply | UpstreamError, Trace]:
        trace = asked(10)
        trace.price = 0.0
        try:
            return await fallback.ask(question, trace), trace
        except UpstreamError as error:
            return error, trace

    async def bought() -> list[tuple[Reply | UpstreamError, Trace]]:
        try:
            return await asyncio.gather(*map(one, questions))
        finally:
            await fallback.close()

    return asyncio.run(bought())


@given(AMOUNTS, st.lists(st.tuples(AMOUNTS, st.decimals(0, 1, places=3), st.booleans()), max_size=30))
def test_what_is_held_and_spent_stays_in_the_limit(limit: Decimal, steps: list[tuple[Decimal, Decimal, bool]]) -> None:
    budget, held, spent = Budget(limit, lambda: DAY), [], Decimal(0)
    for amount, share, settle in steps:
        if budget.hold(amount) == DAY:
            held.append((amount, amount * share))
        if settle and held:
            one, cost = held.pop(0)
            budget.settle(DAY, one, cost)
            spent += cost
        under_way = sum((one for one, _ in held), Decimal(0))
        assert spent + under_way <= limit
        assert budget.spent == spent + under_way


def test_a_new_day_has_a_new_limit_and_yesterdays_costs_are_yesterdays() -> None:
    today = [DAY]
    budget = Budget(Decimal(10), lambda: today[0])
    assert budget.hold(Decimal(8)) == DAY
    assert budget.hold(Decimal(3)) is None
    today[0] += timedelta(days=1)
    assert budget.hold(Decimal(10)) == today[0]
    budget.settle(DAY, Decimal(8), Decimal(9))
    assert budget.spent == 10
    today[0] = DAY  # a clock that is set back
    assert budget.hold(Decimal(1)) is None


def test_an_answer_costs_what_its_tokens_do(server: Stub) -> None:
    fallback = Fallback(settings(server.url))
    usage = {"prompt_tokens": 1000, "completion_tokens": 50}
    ((reply, trace),) = buy(fallback, question(text="so", usage=usage))
    assert isinstance(reply, Reply)
    assert (reply.text, trace.price) == ("so", pytest.approx(0.0011))
    assert fallback.budget.spent == Decimal("0.0011")
    assert trace.fallback_s is not None


@pytest.mark.parametrize(
    ("what", "problem", "costs"),
    [
        ({"status": 500}, "status", False),
        ({"status": 504}, "status", True),  # a proxy lost patience, the server may have answered it
        ({"raw": "{"}, "malformed", True),  # it may have been computed, and charged
        ({"text": "x", "cut": True}, "down", True),
        ({"text": "x", "usage": None}, None, True),
        ({"text": "x", "usage": {"prompt_tokens": -5, "completion_tokens": "many"}}, None, True),
    ],
)
def test_what_is_not_told_counts_as_most(server: Stub, what: dict[str, Any], problem: str | None, costs: bool) -> None:
    fallback = Fallback(settings(server.url))
    ((found, trace),) = buy(fallback, question(**what))
    assert getattr(found, "problem", None) == problem
    assert fallback.budget.spent == (fallback.cost(question(**what)) if costs else 0)
    assert trace.price == pytest.approx(float(fallback.budget.spent))


def test_a_schema_that_goes_with_the_question_is_part_of_the_most() -> None:
    fallback = Fallback(settings("http://127.0.0.1:9/v1"))
    schema = {"response_format": {"type": "json_schema", "json_schema": {"schema": {"enum": ["x" * 10_000]}}}}
    plain = question(text="x")
    assert fallback.cost(plain | schema) - fallback.cost(plain) > Decimal("0.01")


def test_many_at_once_stay_under_the_limit_and_the_rest_is_not_asked(server: Stub) -> None:
    one = question(text="x", sleep=0.2)
    most = Fallback(settings(server.url)).cost(one)
    before = server.counts()["asked"]
    found = buy(Fallback(settings(server.url, spend_per_day=float(most * 5))), *[one] * 20)
    assert sum(getattr(reply, "problem", None) == "budget" for reply, _ in found) == 15
    assert server.counts()["asked"] == before + 5


def test_a_key_that_is_not_there_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BROAD_KEY", raising=False)
    with pytest.raises(HallmarkError, match=r"serve.fallback.key.*no variable BROAD_KEY"):
        Fallback(settings("http://127.0.0.1:9", key="BROAD_KEY"))
    monkeypatch.setenv("BROAD_KEY", "secret")
    Fallback(settings("http://127.0.0.1:9", key="BROAD_KEY"))
    Fallback(settings("https://api.example.com/v1", key="BROAD_KEY"))
    with pytest.raises(HallmarkError, match=r"serve.fallback.url.*clear text") as caught:
        Fallback(settings("http://api.example.com/v1", key="BROAD_KEY"))
    assert "secret" not in str(caught.value)


@given(st.lists(st.tuples(st.floats(0, 10), st.booleans()), max_size=40))
def test_a_servers_time_is_shared_and_none_of_it_twice(steps: list[tuple[float, bool]]) -> None:
    now = [0.0]
    parts: Any = None, None, lambda: now[0]
    server, busy, shares = Running(*parts), 0.0, 0.0
    open_: list[float] = []
    for seconds, begins in steps:
        busy += seconds * bool(open_)
        now[0] += seconds
        if begins:
            open_.append(server.begin())
        elif open_:
            shares += server.end(open_.pop(0))
    shares += sum(server.end(one) for one in reversed(open_))
    assert shares == pytest.approx(busy, abs=1e-6)
