"""A rule of the gate: what it asks for, and how what was measured, with its interval, decides it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hallmark.base.outcomes import in_words
from hallmark.base.stats import Interval
from hallmark.judge import rule_words as say
from hallmark.judge.params import Gate
from hallmark.judge.verdict import FAIL, NOT_APPLICABLE, PASS, UNSURE, Rule

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
            more_records=None,
            more_groups=None,
            waiver=None,
        )

    def not_applicable(self, why: str) -> Rule:
        """The rule if nothing could be measured for it."""
        return replace(self.rule(NOT_APPLICABLE, "nothing", None), note=f"{say.COULD_NOT}: {why}.")


def floor(name: str, words: str, least: float) -> Asked:
    """At least so much of a measure, which `words` names."""
    return Asked(f"floor.{name}", words, f"at least {say.percent(least)}", ">=", least, "share")


def ceiling(kind: str, most: float) -> Asked:
    """The most answers with a kind of failure."""
    return Asked(f"ceiling.{kind}", in_words(kind), f"at most {say.percent(most)} of the answers", "<=", most, "share")


class Judge:
    """Judges rules about that many records of that many groups, `where` they are in words."""

    def __init__(self, gate: Gate, records: int, groups: int, where: str = "in a holdout", sampled: str = "") -> None:
        """`where`: what the records are, after "the same". `sampled`: what to add to a rule if they are a part only."""
        self.sampled = sampled
        self.records, self.groups, self.where = records, groups, where
        self.enough = self.records >= gate.min_records and self.groups >= gate.min_groups
        self.least = gate.min_records, gate.min_groups

    def __call__(self, asked: Asked, found: Interval, measured: str, worst: Interval, at_worst: str) -> Rule:
        """The rule, judged by what was `found`, which `measured` has in words.

        Unless there are enough records and groups, a value on the wrong side is a failure only if its whole interval is
        there too. `worst`: what a tuned model would have been measured at that gets everything wrong that the rule is about.
        """
        ends = (found.low, found.high)
        lenient, strict = ends if asked.sign == "<=" else ends[::-1]
        rule = asked.rule(PASS, measured, found.value, found)
        if not asked.holds(found.value):
            if not asked.holds(lenient) or self.enough:
                return replace(rule, outcome=FAIL)
            return self.too_few(rule)
        if not asked.holds(strict):
            return self.open(rule, say.factor_needed(found.value, strict, asked.threshold))
        if asked.holds(worst.high if asked.sign == "<=" else worst.low):
            return replace(rule, outcome=NOT_APPLICABLE, note=f"{say.COULD_NOT}: at the worst, {at_worst}.")
        return rule

    def open(self, rule: Rule, factor: float | None, why: str = "") -> Rule:
        """The rule with too little data, and how many more records and groups like these would decide it."""
        records, groups = (say.more_needed(count, factor) for count in (self.records, self.groups))
        note = " ".join(filter(None, (why, say.decided_by(records, groups), self.sampled)))
        return replace(rule, outcome=UNSURE, note=note, more_records=records, more_groups=groups)

    def too_few(self, rule: Rule) -> Rule:
        """A rule that would fail, if the sample were large enough to say no."""
        records, groups = (
            max(0, least - count) for least, count in zip(self.least, (self.records, self.groups), strict=True)
        )
        note = f"It fails if it is the same {self.where} of the size that the gate asks for. {self.sampled}".strip()
        return replace(rule, outcome=UNSURE, note=note, more_records=records, more_groups=groups)


def exact(asked: Asked, value: float | None, measured: str, at_worst: float) -> Rule:
    """A rule about a number that is no sample; `at_worst`: the worst it can be. None (nothing was answered) fails."""
    rule = asked.rule(PASS if value is not None and asked.holds(value) else FAIL, measured, value)
    if rule.outcome == PASS and asked.holds(at_worst):
        return replace(rule, outcome=NOT_APPLICABLE, note=f"{say.COULD_NOT}: no number is past its threshold.")
    return rule
