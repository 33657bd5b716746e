"""Answers as values: what a completion was read as, and one spelling for equal JSON values."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from hallmark.base.document import changed
from hallmark.base.reading import DEPTH, STRICT, NotJsonError, depth_of


@dataclass(frozen=True)
class Parsed:
    """A completion that was read. `value` is the answer (None for a refusal, or if nothing parses)."""

    kind: Literal["answer", "refusal", "invalid"]
    value: Any = None
    parses: bool = True
    problem: str | None = None


def compact_json(value: Any) -> str:
    """JSON without spaces, keys in the order given: the fewest tokens."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def canonical(value: Any) -> str:
    """The same text for every spelling of a JSON value (a text that isn't JSON stays as it is, trimmed)."""
    if isinstance(value, str):
        try:
            value = strict_answer(value)
        except (ValueError, RecursionError):
            return value.strip()
    return json.dumps(changed(value, _plain_number), ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def strict_answer(text: str) -> Any:
    """The JSON value of a completion; ValueError if it isn't one, says two things, or is nested too deep to compare."""
    value = STRICT.decode(text)
    if text.count("[") + text.count("{") > DEPTH and depth_of(value) > DEPTH:
        raise NotJsonError(f"nested deeper than {DEPTH} levels")
    return value


def _plain_number(value: Any) -> Any:
    """12.0 and 12 are one JSON number."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value
