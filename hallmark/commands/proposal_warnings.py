"""What will go wrong with a proposal, or needs a look: the warnings of `python -m hallmark.commands.propose`."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from hallmark.base.records import fill
from hallmark.commands.profile import canonical_or_text
from hallmark.commands.proposal import Proposal
from hallmark.task.kinds import KINDS

if TYPE_CHECKING:
    from hallmark.params.loader import Params

MANY = 0.2  # share of the rows above which a group gets a warning


def warnings(proposal: Proposal, params: Params) -> list[str]:
    """Things that will go wrong or need a look, most serious first."""
    rows, columns, roles = proposal.rows, proposal.columns, proposal.roles
    targets = roles.target if isinstance(roles.target, list) else [roles.target]
    warned = [*change_of_kind(proposal, params), *proposal.task.doubts]
    warned += [
        f"column '{name}' is missing or empty in {columns[name].empty} of {len(rows)} rows: fill it in; data.missing: drop leaves them out"
        for name in dict.fromkeys([*targets, *([roles.group] if roles.group in columns else [])])
        if columns[name].empty
    ]
    warned += group_warnings(proposal)
    inputs = [fill(roles.input, row) for row in rows]
    warned += conflict_warnings(inputs, [canonical_or_text([row.get(name) for name in targets]) for row in rows])
    if KINDS[proposal.kind].listed:
        rare = sorted(label for label, count in columns[targets[0]].keys.items() if count < 10)
        if rare:
            warned.append(
                f"{len(rare)} labels have fewer than 10 rows each and can hardly be learned: {', '.join(rare)}"
            )
    return warned


def change_of_kind(proposal: Proposal, params: Params) -> list[str]:
    """Whether the repo was made for another kind of task."""
    before = params.task.kind
    if before == proposal.kind:
        return []
    return [
        f"task.kind changes from {before} to {proposal.kind} ({proposal.task.why}). If that is wrong, name the column of the "
        "answers with --target; if it is right, the rules in `gate:` that were written for the other kind change too"
    ]


def group_warnings(proposal: Proposal) -> list[str]:
    """Warnings about groups that would make the holdout less reliable."""
    group, columns, count = proposal.roles.group, proposal.columns, len(proposal.rows)
    if group == "row.id":
        return [
            "no column says which rows belong together (a customer, document, conversation): every row counts as its own "
            "group, and a split may put the same customer on both sides. Add such a column if you have one"
        ]
    groups = columns[group].keys
    largest = max(groups.values()) / count
    warned = []
    if len(groups) < 20:
        warned.append(
            f"only {len(groups)} groups in '{group}': the intervals will be wide, and the gate needs 8 in the holdout"
        )
    if largest > MANY:
        warned.append(
            f"the largest group of '{group}' has {100 * largest:.0f} % of the rows: all of it is held out, or none"
        )
    return warned


def conflict_warnings(inputs: list[str], targets: list[str]) -> list[str]:
    """Warnings about equal texts with different answers, and about repeated texts."""
    answers: dict[str, set[str]] = defaultdict(set)
    for text, target in zip(inputs, targets, strict=True):
        answers[" ".join(text.lower().split())].add(target)
    counts = Counter(" ".join(text.lower().split()) for text in inputs)
    conflicting = sum(counts[text] for text, different in answers.items() if len(different) > 1)
    repeats = len(inputs) - len(counts)
    warned = []
    if conflicting:
        warned.append(
            f"{conflicting} rows ({100 * conflicting / len(inputs):.1f} %) have the same text as another row but a different "
            "answer: set dedupe.conflicts (majority, drop or keep), or add to data.input whatever distinguishes them"
        )
    if repeats > 0.1 * len(inputs):
        warned.append(
            f"{repeats} rows ({100 * repeats / len(inputs):.0f} %) repeat a text: dedupe drops them before the split"
        )
    return warned
