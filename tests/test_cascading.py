"""What becomes of an answer: it goes out, is asked for once more, goes to the fallback, or to a person."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.answer.answers import Answer
from hallmark.base.errors import HallmarkError
from hallmark.judge.cascade import Shipped
from hallmark.mask.restoring import Masked
from hallmark.params.service import Fallback as Settings
from hallmark.service.gateway import responses
from hallmark.service.gateway.app import Gateway
from hallmark.service.gateway.fallback import Fallback
from hallmark.service.gateway.judging import read_cascade
from hallmark.service.gateway.telemetry import Metrics
from hallmark.service.traces.trace import Trace
from tests.gateway_toys import REFUSAL, TICKET, Stubs, Wants, ask, asked, judge, play, stubs
from tests.made_up_release import CASCADE
from tests.stub_model import Stub, stub
from tests.toy_gateway import SURE, UNSURE, cascade


@pytest.fixture(scope="module")
def broad_server() -> Iterator[Stub]:
    with stub("broad") as running:
        yield running


def broad(server: Stub, **changes: Any) -> Fallback:
    given = {"url": server.url, "model": "broad", "key": None, "price_in": 1.0, "price_out": 2.0, "spend_per_day": 1.0}
    return Fallback(Settings.model_validate(given | changes))


def answer(launcher: Stubs, fallback: Fallback | None = None, metrics: Metrics | None = None, **what: Any) -> Trace:
    async def script(gateway: Gateway) -> Trace:
        return await ask(gateway, **what)

    return play(Wants(prod="v1.0.0"), launcher, script, fallback=fallback, metrics=metrics)


def test_a_sure_answer_goes_out_and_an_unsure_one_does_not(server: Stub) -> None:
    with stubs(cascade(), shared=server) as launcher:
        found = answer(launcher, text=TICKET, log=SURE)
        assert (found.outcome, found.reason, found.text, found.answer) == ("answered", "sure", TICKET, TICKET)
        assert found.score == pytest.approx(-math.log(-SURE), abs=0.01)
        assert found.probability is not None
        found = answer(launcher, text=TICKET, log=UNSURE)
        assert (found.outcome, found.reason, found.text, found.answer) == ("handed_over", "unsure", None, TICKET)
        assert found.score == pytest.approx(-math.log(-UNSURE), abs=0.01)
        assert found.schema_valid is True
        assert (found.version, found.digest, found.route, found.finish) == (
            "v1.0.0", "v1.0.0-digest", "prod", "stop",
        )  # fmt: skip


def test_without_log_probabilities_every_answer_is_handed_over_and_one_line_says_so(
    server: Stub, caplog: pytest.LogCaptureFixture
) -> None:
    async def script(gateway: Gateway) -> list[Trace]:
        return [await ask(gateway, text=TICKET) for _ in range(3)]

    with stubs(cascade(), logs=None, shared=server) as launcher, caplog.at_level(logging.ERROR):
        found = play(Wants(prod="v1.0.0"), launcher, script)
    assert {(one.outcome, one.reason, one.score) for one in found} == {("handed_over", "no_score", None)}
    assert caplog.text.count("gives no log-probabilities") == 1


def test_an_answer_that_its_caller_cuts_is_no_broken_schema(server: Stub, broad_server: Stub) -> None:
    """One as long as those that were evaluated is."""
    for shipped, tokens, outcome, valid in (
        (None, 5, "answered", None), (cascade(), 5, "answered", None), (None, 64, "handed_over", False),
        (None, None, "handed_over", False),
    ):  # fmt: skip
        with stubs(shipped, check_schema=True, constrains=False, shared=server) as launcher:
            told = {"text": TICKET[:9], "log": SURE, "finish": "length", "max_tokens": tokens}
            found = answer(launcher, **told)
        assert (found.outcome, found.schema_valid, found.finish) == (outcome, valid, "length")
    with stubs(cascade(), check_schema=True, shared=server) as launcher:
        found = answer(launcher, broad(broad_server), text=TICKET[:9], log=UNSURE, finish="length", max_tokens=5)
    assert (found.outcome, found.fallback) == ("answered", TICKET[:9])


@pytest.mark.parametrize(
    ("what", "constrains", "outcome", "reason", "text", "asked_for"),
    [
        ({"text": REFUSAL}, True, "answered", "no_cascade", REFUSAL, 1),
        ({"text": "broken", "second": TICKET}, True, "answered", "no_cascade", TICKET, 2),
        ({"text": "broken", "second": "still broken"}, True, "handed_over", "schema", None, 2),
        ({"text": "broken", "second": TICKET}, False, "handed_over", "schema", None, 1),  # it would say the same
    ],
)
def test_an_answer_that_breaks_the_schema_is_asked_for_once_more(
    server: Stub, what: dict[str, Any], constrains: bool, outcome: str, reason: str, text: str | None, asked_for: int
) -> None:
    before = server.counts()["asked"]
    with stubs(check_schema=True, constrains=constrains, shared=server) as launcher:
        found = answer(launcher, **what)
    assert (found.outcome, found.reason, found.text) == (outcome, reason, text)
    assert server.counts()["asked"] - before == asked_for


@pytest.mark.parametrize(
    ("shipped", "product", "text"),
    [
        (None, "<PERSON_1>", '"Ann"'),  # what the request has comes back
        (cascade(), "<b>", '"<b>"'),
        (None, "<PERSON_2>", None),
        (cascade(), "<PERSON_1", None),
        (cascade(), "\\u003cPERSON_2\\u003e", None),
    ],
)
def test_an_answer_with_a_placeholder_that_stands_for_nothing_is_handed_over(
    server: Stub, broad_server: Stub, shipped: Shipped | None, product: str, text: str | None
) -> None:
    ticket = TICKET.replace('"product":null', f'"product":"{product}"')
    request = asked(text=ticket, log=SURE)
    told = [message | {"role": "system"} for message in request.prompt.messages]  # what a caller wrote is no leftover
    masked = Masked(messages=told, tools=None, values={"<PERSON_1>": "Ann"})
    request.prompt = masked
    before, metrics = server.counts()["asked"], Metrics()

    async def script(gateway: Gateway) -> Trace:
        return await ask(gateway, request)

    with stubs(shipped, shared=server) as launcher:
        found = play(Wants(prod="v1.0.0"), launcher, script, fallback=broad(broad_server), metrics=metrics)
    assert server.counts()["asked"] - before == 1
    assert found.schema_valid
    if text is not None:
        assert (found.outcome, found.reason) == ("answered", "sure" if shipped else "no_cascade")
        assert text in masked.restored(found.text or "")
        return
    # the fallback is asked, and says the same here
    assert (found.outcome, found.reason, found.text, found.answer) == ("handed_over", "placeholder", None, ticket)
    assert metrics.registry.get_sample_value("hallmark_fallback_errors_total", {"problem": "placeholder"}) == 1
    message = json.loads(bytes(responses.answer(found).body))["choices"][0]
    assert message["finish_reason"] == "handed_over"
    assert "placeholder" in message["message"]["refusal"]


def test_the_fallback_answers_what_the_release_is_not_sure_of(server: Stub, broad_server: Stub) -> None:
    fallback = broad(broad_server)
    with stubs(cascade(), check_schema=True, shared=server) as launcher:
        found = answer(launcher, fallback, text=TICKET, log=UNSURE)  # the stub that is the fallback says the same
    assert (found.outcome, found.reason, found.text, found.fallback) == ("answered", "unsure", TICKET, TICKET)
    body = broad_server.counts()["bodies"][-1]
    assert body["model"] == "broad"
    assert "logprobs" not in body
    spent = float(fallback.budget.spent)
    assert spent == pytest.approx((10 + 2 * len(TICKET)) / 1e6)
    assert found.price is not None
    assert found.price > spent  # and the model's own time
    assert found.fallback_s is not None


@pytest.mark.parametrize(
    ("what", "changes"),
    [
        ({"text": "broken", "second": "broken", "log": SURE}, {}),  # its answer breaks the schema as well
        ({"text": TICKET, "log": UNSURE}, {"url": "http://127.0.0.1:9"}),
        ({"text": TICKET, "log": UNSURE}, {"spend_per_day": 0.0}),
    ],
)
def test_a_fallback_that_has_no_answer_leaves_it_to_a_person(
    server: Stub, broad_server: Stub, caplog: pytest.LogCaptureFixture, what: dict[str, Any], changes: dict[str, Any]
) -> None:
    with stubs(cascade(), check_schema=True, shared=server) as launcher:
        found = answer(launcher, broad(broad_server, **changes), **what)
    assert (found.outcome, found.text, found.fallback) == ("handed_over", None, None)
    assert found.reason == ("unsure" if changes else "schema")
    assert (found.fallback_s is None) == ("spend_per_day" in changes) == ("spend_per_day is used up" in caplog.text)


def test_a_model_server_that_fails_is_told_or_the_fallback_answers(server: Stub, broad_server: Stub) -> None:
    metrics = Metrics()
    with stubs(cascade(), shared=server) as launcher:
        found = answer(launcher, status=500)
        assert (found.outcome, found.reason, found.text, found.answer) == ("failed", "upstream", None, None)
        found = answer(launcher, status=400)
        assert (found.outcome, found.reason) == ("failed", "refused")
        found = answer(launcher, broad(broad_server), metrics, status=500)
        assert (found.outcome, found.reason, found.text) == ("failed", "upstream", None)  # told the same, it fails too
    count = metrics.registry.get_sample_value
    assert count("hallmark_upstream_errors_total", {"problem": "status", "version": "v1.0.0"}) == 1
    assert count("hallmark_fallback_errors_total", {"problem": "status"}) == 1


def test_an_answer_is_as_long_as_it_was_evaluated_unless_the_caller_says(server: Stub, broad_server: Stub) -> None:
    """A small model that does not stop would hold up all others; the broad one may need room to think."""
    with stubs(cascade(), shared=server) as launcher:
        answer(launcher, broad(broad_server), text=TICKET, log=UNSURE)
    assert server.counts()["bodies"][-1]["max_tokens"] == 64
    assert broad_server.counts()["bodies"][-1]["max_tokens"] == 1024


@given(st.text(max_size=60) | st.integers(1, 200).map(lambda deep: "[" * deep), st.lists(st.floats(-50, 0), max_size=5))
def test_no_answer_can_break_the_judge(text: str, logs: list[float]) -> None:
    one = judge(cascade(), check_schema=True)
    found = asked()
    goes_out = one.judge(Answer(text, len(logs), "stop", tuple(logs) or None), found)
    assert (found.reason == "no_score") == (found.score is None)
    assert goes_out <= bool(found.schema_valid)


def test_a_cascade_is_read_as_if_a_stranger_had_written_it(tmp_path: Path) -> None:
    assert read_cascade(None) is None
    assert read_cascade(tmp_path) is None
    file = tmp_path / "cascade.json"
    file.write_text(json.dumps(CASCADE))
    found = read_cascade(tmp_path)
    assert found is not None
    assert found.threshold == 0.9
    for bad in ("{", "[]", json.dumps(CASCADE | {"threshold": "0"}), json.dumps(CASCADE | {"more": 1}), "x" * 2**21):
        file.write_text(bad)
        with pytest.raises(HallmarkError, match=r"cascade\.json"):
            read_cascade(tmp_path)
