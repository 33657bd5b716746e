"""The verdict of the gate in words: what it rests on, and what the terminal says of the rules."""

from __future__ import annotations

import logging
import sys

from hallmark.base.errors import in_red, printable
from hallmark.judge.verdict import FAIL, NOT_APPLICABLE, PASS, UNSURE, VERDICTS, WAIVED, Rule, Verdict


def words(verdict: str, rules: list[Rule]) -> str:
    """What the verdict rests on: how many of the rules that could have failed, and the gravest of them."""
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
        text += f" The gravest waived: {waived[0].words} Waived because: {waived[0].waiver}"
    elif open_rules := [rule for rule in could if rule.outcome == verdict and not rule.waived]:
        many = len(open_rules) > 1
        what = ("fail" if many else "fails") if verdict == FAIL else f"{'are' if many else 'is'} undecided"
        text = f"{len(open_rules)} {of} {what}{idle}. {'The gravest: ' if many else ''}{open_rules[0].words}"
        if verdict == UNSURE:
            text += f" {open_rules[0].note}"
    else:
        text = "No rule could have failed and holds."
    if unneeded:
        text += f" Waived without need: {', '.join(unneeded)}."
    return text


def tell(result: Verdict, log: logging.Logger) -> None:
    """Log the rules that did not pass, those that are waived in red, and the verdict."""
    for rule in result.rules:
        if rule.waived:
            waived = f"{VERDICTS[rule.outcome].lower()}, waived ({rule.waiver}): {rule.words}"
            log.warning("%s", in_red(printable(waived), sys.stderr))
        elif rule.outcome != PASS:
            log.info("%s: %s", VERDICTS[rule.outcome].lower(), printable(f"{rule.words} {rule.note}".strip()))
    log.info("%s", printable(result.headline))
