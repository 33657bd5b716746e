"""Rules of the gate about the data: enough of it, nothing leaked, and a frozen holdout that has not changed."""

from __future__ import annotations

from dataclasses import replace

from hallmark.judge.judge import COULD_NOT, Asked, exact
from hallmark.judge.recount import Frozen, Leaks
from hallmark.judge.verdict import NOT_APPLICABLE, PASS, UNSURE, Rule


def enough(things: str, count: int, least: int) -> Rule:
    """Enough records, or groups (customers), for an interval to mean something."""
    asked = Asked(
        f"sample.{things}", f"{things.capitalize()} in the holdout", f"at least {least}", ">=", least, "count"
    )
    rule, lacking = asked.rule(PASS, str(count), count), least - count
    if least <= 1:
        return replace(rule, outcome=NOT_APPLICABLE, note=f"{COULD_NOT}: a comparison needs at least one.")
    if lacking > 0:
        return replace(rule, outcome=UNSURE, note=f"{lacking} more are needed.")
    return rule


def leaks_rule(leaks: Leaks, most: int) -> Rule:
    """No more held-out records than that share a group or their words with training."""
    about = "Held-out records that share a group or their words with training"
    asked = Asked("data.leaks", about, f"at most {most}" if most else "none", "<=", most, "count")
    rule = exact(asked, leaks.either, f"{leaks.either} of {leaks.held_out}", leaks.held_out)
    return replace(rule, note=f"{leaks.group} by group, {leaks.words} by words. {rule.note}".strip())


def holdout_rule(frozen: Frozen) -> Rule:
    asked = Asked("data.holdout_changed", "Changed records in the frozen holdout", "none", "<=", 0, "count")
    rule = exact(asked, frozen.differ, f"{frozen.differ} of {frozen.records}", frozen.records)
    counts = f"{frozen.changed} changed, {frozen.gone} gone, {frozen.added} added."
    return replace(rule, note=f"{counts} {rule.note}".strip())
