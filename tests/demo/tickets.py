"""Tickets of made-up customers for the demo, by the reference's generator, in the form of raw rows."""

from __future__ import annotations

import random
import sys
from datetime import date, timedelta
from typing import Any

from tests.workspace import ROOT

LATER = {"billing", "delivery"}  # what nobody asked for before the first release
FIELDS = ("intent", "urgency")  # of the answer
# What a short training doesn't learn, or takes long over.
HARD = {"two_wishes", "near_refusal", "label_conflict", "refusal", "quoted_reply", "signature", "long"}
OLD = 0.15  # share of the calls that come from known customers
Row = dict[str, Any]


def make_world(seed: int, customers: int, rows: int, callers: int, calls: int) -> tuple[list[Row], list[Row]]:
    """`rows` of `customers` to learn from, and `calls` that come later, mostly of as many new customers."""
    sys.path.insert(0, str(ROOT / "data"))  # whose modules import each other by their bare names
    import generate as make

    rng = random.Random(seed)

    def tickets(count: int, days: int, who: list[Any]) -> list[Row]:
        start = date(2026, 1, 1) + timedelta(days=days)
        period = make.Period(
            seed=0, first_day=start, last_day=start + timedelta(days=100), rows=max(5 * count, 400),
            customers=len(who), products=3, skew=(0.3, 6.0),
        )  # fmt: skip
        return [
            {
                "id": f"D-{number:05d}",
                "customer": one.customer.code,
                **dict(zip(make.CONTACT, one.contact, strict=True)),
                "received": one.received.isoformat(),
                "subject": make.unmark(one.subject)[0],
                "body": make.unmark(one.body)[0],
                "target": {name: value for name, value in one.target().items() if name in FIELDS},
                "tags": sorted(one.tags),
            }
            for number, one in enumerate(make.make_tickets(rng, period, who))
            if HARD.isdisjoint(one.tags)
        ]

    known = make.make_customers(rng, customers, 3)
    others = make.make_customers(rng, callers, 3, known)
    first = [one for one in tickets(rows, 0, known) if one["target"]["intent"] not in LATER][:rows]
    asked = []
    for count, who in ((round(calls * (1 - OLD)), others), (round(calls * OLD), known)):
        once = {one["body"]: one for one in tickets(count, 120, who)}
        asked += rng.sample(list(once.values()), min(count, len(once)))
    rng.shuffle(asked)
    return first, asked
