"""Tickets of made-up customers for the demo, by the reference's generator: raw rows, and what callers would send."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from tests.workspace import ROOT

FIRST = date(2026, 1, 1)


@dataclass(frozen=True)
class Call:
    """What a caller asks, for which customer, and what is right."""

    customer: str
    text: str
    target: dict[str, Any]


@dataclass(frozen=True)
class World:
    """The raw rows to start with, and the calls that come later, in order: of new customers, and some of old ones."""

    rows: list[dict[str, Any]]
    calls: list[Call]


@contextmanager
def generator() -> Iterator[Any]:
    """The module `data/generate.py`, which imports its neighbours by their bare names."""
    sys.path.insert(0, str(ROOT / "data"))
    try:
        import generate

        yield generate
    finally:
        sys.path.remove(str(ROOT / "data"))


def make_world(seed: int, customers: int, rows: int, new_customers: int, calls: int, old: float = 0.15) -> World:
    """`customers` with `rows` to learn from, then `calls` of as many new customers; a share of them is of the `old` ones."""
    with generator() as make:
        rng = random.Random(seed)
        known = make.make_customers(rng, customers, 3)
        start = period(make, rows, customers, 0)
        first = make.make_tickets(rng, start, known)
        raw = [row(make, f"D-{number:05d}", ticket) for number, ticket in enumerate(first[:rows], 1)]
        others = make.make_customers(rng, new_customers, 3, known)
        asked = []
        for share, who in ((1 - old, others), (old, known)):
            later = make.make_tickets(rng, period(make, round(calls * share), len(who), 120), who)
            once = {ticket.body: call(row(make, "", ticket)) for ticket in later}
            asked += rng.sample(sorted(once.values(), key=lambda one: one.text), min(round(calls * share), len(once)))
    rng.shuffle(asked)
    return World(raw, asked)


def period(make: Any, rows: int, customers: int, days: int) -> Any:
    """Months in which that many tickets come in; it needs some room for copies."""
    start = FIRST + timedelta(days=days)
    return make.Period(
        seed=0,
        first_day=start,
        last_day=start + timedelta(days=100),
        rows=max(rows, 400),
        customers=customers,
        products=3,
        skew=(0.3, 6.0),
    )


def row(make: Any, name: str, ticket: Any) -> dict[str, Any]:
    """A raw row, as the generator writes it."""
    subject, body = make.unmark(ticket.subject)[0], make.unmark(ticket.body)[0]
    contact = dict(zip(make.CONTACT, ticket.contact, strict=True))
    return {
        "id": name,
        "customer": ticket.customer.code,
        **contact,
        "received": ticket.received.isoformat(),
        "subject": subject,
        "body": body,
        "target": ticket.target(),
        "tags": sorted(ticket.tags),
    }


def call(raw: dict[str, Any]) -> Call:
    """What a caller sends of a row: the text alone."""
    return Call(raw["customer"], f"{raw['subject']}\n{raw['body']}".strip(), raw["target"])


def write_rows(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """One JSON object a line."""
    path.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in rows), encoding="utf-8", newline="\n")
