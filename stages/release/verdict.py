"""The content of gate.json: the verdict of the gate and its rules."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

PASS, FAIL, UNSURE = "pass", "fail", "too_little_data"
NOT_APPLICABLE = "not_applicable"  # a rule that could not have failed: listed, not counted
VERDICTS = {PASS: "Pass", FAIL: "Fail", UNSURE: "Too little data", NOT_APPLICABLE: "Does not apply"}


@dataclass(frozen=True)
class Rule:
    """A rule and what came of it. `low` and `high`: the interval of `value`, if it is about a sample.

    `unit`: share (of 1), points (of 1), count, s (seconds) or tokens/s.
    """

    name: str
    words: str
    value: float | None
    low: float | None
    high: float | None
    threshold: float
    unit: str
    outcome: str
    reason: str

    def __post_init__(self) -> None:
        """Refuse an outcome that nobody could show."""
        if self.outcome not in VERDICTS:
            raise ValueError("not a known outcome")


@dataclass(frozen=True)
class Verdict:
    """All of gate.json."""

    verdict: str
    words: str
    rules: list[Rule]

    def __post_init__(self) -> None:
        """Refuse a verdict that nobody could show."""
        if self.verdict not in VERDICTS:
            raise ValueError("not a known verdict")


def overall(outcomes: Iterable[str]) -> str:
    """The verdict that follows from the outcomes of rules: no for one no, open for one that is, or if none applies."""
    seen = {*outcomes}
    return next((verdict for verdict in (FAIL, UNSURE, PASS) if verdict in seen), UNSURE)
