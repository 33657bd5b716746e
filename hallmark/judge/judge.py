"""A rule of the gate: what it asks for, and how what was measured, with its interval, decides it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from hallmark.base.figures import percent, points, rounded_up
from hallmark.base.outcomes import in_words
from hallmark.base.stats import Interval
from hallmark.judge.params import Gate
from hallmark.judge.verdict import FAIL, NOT_APPLICABLE, PASS, UNSURE, Rule

COULD_NOT = "It could not have failed"
MOST = 1_000_000  # records: beyond this, the number says only that it is out of reach
WORST = Interval(0.0, 0.0, 0.0)  # the worst a measure can be: nothing is right


@dataclass(frozen=True)
class Asked:
    """What a rule asks for: its value must be `sign` (`>`, `>=` or `<=`) the threshold."""

    name: str
    about: str
    needed: str
    sign: str
    threshold: float
    unit: str

    def holds(self, value: float) -> bool:
        """Whether a value is on the right side."""
        return {">": value > self.threshold, ">=": value >= self.threshold, "<=": value <= self.threshold}[self.sign]

    def rule(self, outcome: str, measured: str, value: float | None, interval: Interval | None = None) -> Rule:
        """The rule with what came of it; `interval`: that of its value, if it is about a sample."""
        return Rule(
            name=self.name,
            about=self.about,
            needed=self.needed,
            measured=measured,
            value=value,
            low=interval.low if interval else None,
            high=interval.high if interval else None,
            threshold=self.threshold,
            unit=self.unit,
            outcome=outcome,
            note="",
            waiver=None,
        )

    def not_applicable(self, why: str) -> Rule:
        """The rule if nothing could be measured for it."""
        return replace(self.rule(NOT_APPLICABLE, "nothing", None), note=f"{COULD_NOT}: {why}.")


def floor(name: str, words: str, least: float) -> Asked:
    """At least so much of a measure, which `words` names."""
    return Asked(f"floor.{name}", words, f"at least {percent(least)}", ">=", least, "share")


def ceiling(kind: str, most: float) -> Asked:
    """The most answers with a kind of failure."""
    return Asked(f"ceiling.{kind}", in_words(kind), f"at most {percent(most)} of the answers", "<=", most, "share")


def behind(margin: float, whom: str) -> str:
    """What is needed of something that may be behind by that margin."""
    return f"at most {points(margin)} behind {whom}" if margin else f"not behind {whom}"


class Judge:
    """Judges rules about that many records of that many groups, `where` they are in words."""

    def __init__(self, gate: Gate, records: int, groups: int, where: str = "in a holdout", sampled: str = "") -> None:
        """`where`: what the records are, after "the same". `sampled`: what to add to a rule if they are a part only."""
        self.sampled = sampled
        self.records, self.groups, self.where = records, groups, where
        self.enough = self.records >= gate.min_records and self.groups >= gate.min_groups

    def __call__(self, asked: Asked, found: Interval, worst: Interval, words: Callable[[Interval], str]) -> Rule:
        """The rule, judged by what was `found`, which `words` says.

        Unless there are enough records and groups, a value on the wrong side is a failure only if its whole interval is
        there too. `worst`: what a tuned model would have been measured at that gets everything wrong that the rule is about.
        """
        ends = (found.low, found.high)
        lenient, strict = ends if asked.sign == "<=" else ends[::-1]
        rule = asked.rule(PASS, words(found), found.value, found)
        if not asked.holds(found.value):
            if not asked.holds(lenient) or self.enough:
                return replace(rule, outcome=FAIL)
            return self.too_few(rule)
        if not asked.holds(strict):
            return self.open(rule, factor_needed(found.value, strict, asked.threshold))
        if asked.holds(worst.high if asked.sign == "<=" else worst.low):
            return replace(rule, outcome=NOT_APPLICABLE, note=f"{COULD_NOT}: at the worst, {words(worst)}.")
        return rule

    def open(self, rule: Rule, factor: float | None, why: str = "") -> Rule:
        """The rule with too little data, and how many more records and groups like these would decide it."""
        records, groups = (more_needed(count, factor) for count in (self.records, self.groups))
        note = " ".join(filter(None, (why, decided_by(records, groups), self.sampled)))
        return replace(rule, outcome=UNSURE, note=note)

    def too_few(self, rule: Rule) -> Rule:
        """A rule that would fail, if the sample were large enough to say no."""
        note = f"With the same value {self.where} as large as the gate asks for, it fails. {self.sampled}".strip()
        return replace(rule, outcome=UNSURE, note=note)


def exact(asked: Asked, value: float | None, measured: str, at_worst: float) -> Rule:
    """A rule about a number that is no sample; `at_worst`: the worst it can be. None (nothing was answered) fails."""
    rule = asked.rule(PASS if value is not None and asked.holds(value) else FAIL, measured, value)
    if rule.outcome == PASS and asked.holds(at_worst):
        return replace(rule, outcome=NOT_APPLICABLE, note=f"{COULD_NOT}: no number is past its threshold.")
    return rule


def factor_needed(value: float, bound: float, threshold: float) -> float | None:
    """How many times the records would move `bound`, an end of the interval of `value`, to the threshold.

    An interval's width falls with the square root of the records. None if the value is the threshold: no number would.
    """
    return None if value == threshold else max(1.0, ((bound - value) / (threshold - value)) ** 2)


def factor_of_test(lost: int, won: int, confidence: float) -> float | None:
    """How many times the records, changed in this proportion, make the McNemar test significant (by its normal form)."""
    from statistics import NormalDist

    if lost == won:
        return None
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    return max(1.0, z * z * (lost + won) / (lost - won) ** 2)


def more_needed(count: int, factor: float | None) -> int | None:
    """How many more records or groups than `count` that takes, at least one, rounded up to two digits."""
    if factor is None:
        return None
    return rounded_up(max(1, math.ceil(count * (factor - 1))))


def decided_by(records: int | None, groups: int | None) -> str:
    """What would decide a rule with too little data, in a sentence."""
    if records is None or groups is None:
        return "No number of records would decide it if the measured value stays the same."
    if records > MOST:
        return "Over a million more records would be needed to decide it, if the measured value stays the same."
    return (
        f"About {records:,} more record{'s' if records > 1 else ''} ({groups:,} more group{'s' if groups > 1 else ''}) "
        "like these would decide it, if the measured value stays the same."
    )
