"""The content of gate.json: the verdict of the gate and its rules, and what the terminal says of them.

A verdict and an outcome have one name, which is the same in JSON (`too_little_data`), in the terminal, on the page and in
the docs ("Too little data").
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from hallmark.base.errors import in_red, printable

PASS, FAIL, UNSURE = "pass", "fail", "too_little_data"
WAIVED = "pass_with_waivers"  # the verdict if every rule that doesn't hold has a waiver
NOT_APPLICABLE = "not_applicable"  # a rule that could not have failed: listed, not counted
OUTCOMES = {PASS: "Pass", FAIL: "Fail", UNSURE: "Too little data", NOT_APPLICABLE: "Not applicable"}
VERDICTS = OUTCOMES | {WAIVED: "Pass with waivers"}
SHIPS = (PASS, WAIVED)  # the verdicts with which an adapter may be released
Outcome = Annotated[str, Field(pattern=f"^({'|'.join(OUTCOMES)})$")]


@dataclass(frozen=True)
class Rule:
    """A rule and what came of it: what it is `about`, what was `needed` and what was `measured`, in words.

    `low` and `high`: the interval of `value`, if it is about a sample. `unit`: share (of 1), points (of 1), count, s
    (seconds) or requests/s. `note`: what else there is to know, in sentences, or empty.
    `waiver`: the reason that `gate.waive` gives for shipping without it.
    """

    name: str
    about: str
    needed: str
    measured: str
    value: float | None
    low: float | None
    high: float | None
    threshold: float
    unit: str
    outcome: Outcome
    note: str
    waiver: str | None

    def __post_init__(self) -> None:
        """Refuse a share above 1, and a value outside of its interval."""
        value = self.value or 0.0
        inside = self.low is None or self.high is None or self.low <= value <= self.high
        if not inside or (self.unit in ("share", "points") and abs(value) > 1):
            raise ValueError("a value that can't be")

    @property
    def words(self) -> str:
        """The rule in words: what it is about, needed and measured."""
        return f"{self.about}. Needed: {self.needed}. Measured: {self.measured}."

    @property
    def waived(self) -> bool:
        """Whether it does not hold, and its waiver says to ship all the same."""
        return self.waiver is not None and self.outcome in (FAIL, UNSURE)

    @property
    def unneeded(self) -> bool:
        """Whether it has a waiver that it does not need."""
        return self.waiver is not None and not self.waived


@dataclass(frozen=True)
class Verdict:
    """All of gate.json. `words`: what the verdict rests on, in a few sentences. `rules`: the most serious first."""

    verdict: str
    words: str
    rules: list[Rule]

    def __post_init__(self) -> None:
        """Refuse a verdict that its rules contradict, whoever wrote the file."""
        follows = overall((rule.outcome, rule.waiver is not None) for rule in self.rules)
        if self.verdict != follows:
            raise ValueError(f"its verdict is {self.verdict}, and its rules make it {follows}")

    @property
    def headline(self) -> str:
        """The verdict's name, and what it rests on."""
        return f"{VERDICTS[self.verdict].lower()}. {self.words}"

    @property
    def waived(self) -> list[Rule]:
        """The rules that do not hold, and are waived."""
        return [rule for rule in self.rules if rule.waived]


def overall(outcomes: Iterable[tuple[str, bool]]) -> str:
    """The verdict that follows from the outcomes of rules, each with whether the rule has a waiver.

    Fail for one failed rule without a waiver, too little data for one that is undecided, or if none applies.
    """
    seen = {(outcome, has_waiver and outcome in (FAIL, UNSURE)) for outcome, has_waiver in outcomes}
    blocking = {outcome for outcome, waived in seen if not waived}
    verdict = next((verdict for verdict in (FAIL, UNSURE, PASS) if verdict in blocking), UNSURE)
    return WAIVED if verdict == PASS and any(waived for _, waived in seen) else verdict


def words(verdict: str, rules: list[Rule]) -> str:
    """What the verdict rests on: how many of the rules that could have failed, and the most serious of them."""
    could = [rule for rule in rules if rule.outcome != NOT_APPLICABLE]
    number = len(rules) - len(could)
    idle = f"; {number} {'is' if number == 1 else 'are'} not applicable" if number else ""
    of = f"of {len(could)} rules that could have failed"
    waived = [rule for rule in could if rule.waived]
    unneeded = [rule.name for rule in rules if rule.unneeded]
    if verdict == PASS:
        text = f"All {of[3:]} hold{idle}."
    elif verdict == WAIVED:
        text = (
            f"{len(could) - len(waived)} {of} hold, {len(waived)} {'is' if len(waived) == 1 else 'are'} waived{idle}."
        )
        text += f" The most serious waived: {waived[0].words} Waived because: {waived[0].waiver}"
    elif undecided := [rule for rule in could if rule.outcome == verdict and not rule.waived]:
        many = len(undecided) > 1
        what = ("fail" if many else "fails") if verdict == FAIL else f"{'are' if many else 'is'} undecided"
        text = f"{len(undecided)} {of} {what}{idle}. {'The most serious: ' if many else ''}{undecided[0].words}"
        if verdict == UNSURE:
            text += f" {undecided[0].note}"
    else:
        text = "No rule could have failed and holds."
    if unneeded:
        text += f" Waived without need: {', '.join(unneeded)}."
    return text


def tell(result: Verdict, log: logging.Logger) -> None:
    """Log the rules that fail or are undecided, those that are waived in red, and the verdict."""
    for rule in result.rules:
        if rule.waived:
            waived = f"{VERDICTS[rule.outcome].lower()}, waived ({rule.waiver}): {rule.words}"
            log.warning("%s", in_red(printable(waived), sys.stderr))
        elif rule.outcome in (FAIL, UNSURE):
            log.info("%s: %s", VERDICTS[rule.outcome].lower(), printable(f"{rule.words} {rule.note}".strip()))
    log.info("%s", printable(result.headline))
