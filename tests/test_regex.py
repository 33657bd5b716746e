"""Regular expressions from params.yaml: the matches of `re`, and an end."""

from __future__ import annotations

import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hallmark.base import patterns
from hallmark.base.errors import HallmarkError
from hallmark.base.patterns import Pattern

ENDLESS = {
    "nested": ("(a+)+$", "a" * 60 + "!"),
    "alternatives": ("(a|a)*b", "a" * 60),
    "look-ahead": ("^(?=(a|aa)+$)b", "a" * 60 + "!"),
    "a square": ("a+b", "a" * 50_000),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_a_search_that_takes_for_ever_is_an_error_of_the_param(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "SECONDS", 0.1)
    regex, text = ENDLESS[name]
    before = signal.getsignal(signal.SIGVTALRM)
    start = time.process_time()
    for search in (Pattern(regex, "eval.policy.x").search, Pattern(regex, "eval.policy.x").finditer):
        with pytest.raises(HallmarkError, match="takes more than") as caught:
            search(text)
        assert caught.value.field == "eval.policy.x"
        assert "aaa" not in str(caught.value)
    assert time.process_time() - start < 5
    assert signal.getsignal(signal.SIGVTALRM) == before
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)


@given(
    st.sampled_from([r"B-\d+", r"(a)|b", r"(?i)x\b", r"[[a]", r"a{e}", r"\w*"]), st.text("aAbB-1x{e} [é٣", max_size=20)
)
@pytest.mark.filterwarnings("ignore:Possible nested set")
def test_matches_are_those_of_re(regex: str, text: str) -> None:
    mine, plain = Pattern(regex, "x"), re.compile(regex)
    assert [match.span() for match in mine.finditer(text)] == [match.span() for match in plain.finditer(text)]
    assert bool(mine.search(text)) == bool(plain.search(text))
    assert mine.groups == plain.groups


def test_it_works_on_other_threads() -> None:
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(Pattern("a+", "x").search, "baa").result() is not None
