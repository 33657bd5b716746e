"""What the page shows of live traffic: whether the holdout predicted later results, and whether requests have drifted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from hallmark.base.reports import Report
from hallmark.judge.drift import Drift
from hallmark.judge.online import Online

COLLECT = "run `nox -s collect`, which makes it; without traffic, `git checkout reports/collect.json`"
KINDS = {"label": "label of the answer", "length": "length", "word": "word"}


@dataclass(frozen=True)
class Collected:
    """What the page uses of collect.json: how many traces were read, and what came of the test for drift."""

    traces: Annotated[int, Field(ge=0)]
    drift: Drift | None


@dataclass(frozen=True)
class Live:
    """The section of the page. `kinds`: what a kind of slice is called."""

    traces: int
    online: Online | None
    drift: Drift | None
    kinds: dict[str, str]


def live(online: Online | None) -> Live | None:
    """What there is to show; None without online records and traces."""
    found = Report("collect", remedy=COLLECT).as_(Collected)
    if online is None and not found.traces:
        return None
    return Live(found.traces, online, found.drift, KINDS)
