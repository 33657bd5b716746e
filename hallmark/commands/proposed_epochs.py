"""How many passes over the training records a data set of its size wants, for `python -m hallmark.commands.propose`.

The rule is one of thumb, from the trainings in docs/training.md: what counts is how many records training sees in all, and for
if all answers are labels how many of each.
"""

from __future__ import annotations

from hallmark.commands.draw import Drawn
from hallmark.commands.dry_run_rows import Sample
from hallmark.commands.proposal import Proposal
from hallmark.task.kinds import KINDS

SEEN = 1_000  # records that a training should see in all, the same one again counted again
PER_LABEL = 300  # where every answer is a label, if that is more
MOST = 4.0  # passes: with more, a small set is learned by heart
LARGE = 20_000  # records above which one pass takes hours on a CPU, and part of one will do


def passes(records: int, labels: int = 0) -> float:
    """Passes over this number of training records; `labels`: if every answer is one. At least one, unless they are many."""
    wanted = max(SEEN, PER_LABEL * labels)
    if records > LARGE:
        return round(max(LARGE, min(wanted, records)) / records, 2)
    return round(min(MOST, max(1.0, wanted / records)), 1)


def set_passes(proposal: Proposal, split: Drawn, sample: Sample) -> None:
    """Propose `sft.epochs` for the training records that the dry run foresees."""
    if not split.rows.get("train"):
        return
    records = round(sample.of / sample.looked_at * split.rows["train"])
    labels = len(proposal.task.schema.get("enum", ())) if KINDS[proposal.kind].listed else 0
    number = passes(records, labels)
    of_labels = f" of {labels} labels" if labels else ""
    reason = f"about {records:,} training records{of_labels}: {round(number * records):,} seen in all; `nox -s tune` finds out more"
    proposal.set("sft", "epochs", number, reason)
