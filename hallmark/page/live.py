"""What the page shows of live traffic: whether the holdout predicted later results, and whether requests have drifted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hallmark.base.reports import Report
from hallmark.judge.online import Online

COLLECT = "run `nox -s collect`, which makes it; without traffic, `git checkout reports/collect.json`"
KINDS = {"label": "label of the answer", "length": "length", "word": "word"}


@dataclass(frozen=True)
class Live:
    """The section of the page. `kinds`: what a kind of slice is called."""

    traces: int
    online: Online | None
    drift: dict[str, Any] | None  # as `collect` reports it
    kinds: dict[str, str]


def live(online: Online | None) -> Live | None:
    """What there is to show; None without online records and traces."""
    found = Report("collect", remedy=COLLECT)
    traces = found.at("traces")
    if online is None and not traces:
        return None
    return Live(traces, online, found.at("drift"), KINDS)
