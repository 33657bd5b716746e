"""What logs of others have in common: where the customer stands, which score judges, how days are written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from hallmark.data.nested import value_at
from hallmark.service.traces.trace import Verdict

LARGEST = 1e11  # seconds; a larger number of a time is in milliseconds or nanoseconds


@dataclass(frozen=True)
class Scores:
    """How to read judgements and customers: `collect.score`, `collect.accepted_from` and `collect.customer`."""

    name: str | None
    accepted_from: float
    customer: str | None

    def verdict(self, value: Any) -> Verdict | None:
        """What a value of the score says; None if there is none, or if it is no number."""
        if isinstance(value, list):  # some exports list all values of a score
            value = value[-1] if value else None
        if isinstance(value, str):
            word = value.strip().casefold()
            value = {"true": 1.0, "false": 0.0}.get(word)
            with suppress(ValueError):
                value = float(word)
        if not isinstance(value, bool | int | float) or not math.isfinite(value):
            return None
        return "accepted" if value >= self.accepted_from else "rejected"


def named_customer(row: dict[str, Any], wanted: str | None, usual: Sequence[str]) -> str | None:
    """The customer of a row, at the path that params name or at the usual ones; None if there is none."""
    for path in [wanted] if wanted else usual:
        value = value_at(row, path)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if isinstance(value, str) and value.strip():
            return value.strip()
    return None


def day_of(value: Any) -> str:
    """The day of a time (seconds, milliseconds or nanoseconds since 1970, or ISO 8601) in UTC; "" if it is none."""
    with suppress(ValueError, OverflowError, OSError):
        if isinstance(value, str) and not value.isdigit():
            moment = datetime.fromisoformat(value.strip())
            return f"{moment.astimezone(UTC) if moment.tzinfo else moment:%Y-%m-%d}"
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            seconds = next(
                (float(value) / unit for unit in (1, 1e3, 1e6, 1e9) if abs(float(value)) / unit < LARGEST), None
            )
            return "" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"
    return ""
