"""Values of `gate` and `certify` that belong to other data or another kind of task, for `python -m hallmark.commands.propose`."""

from __future__ import annotations

from pathlib import Path

from hallmark.base.reading import read_text
from hallmark.commands.committed import SAMPLES
from hallmark.commands.proposal import Proposal
from hallmark.params.loader import Params
from hallmark.release.model_card import FILL_IN
from hallmark.task.kinds import KINDS

SAMPLE = "said so far of the sample; certify refuses it until you have"


def set_for_new_data(proposal: Proposal, params: Params) -> None:
    """Propose the gate of the kind, and words to fill in, unless params.yaml speaks of the user's own data already.

    It does so if `data.path` is no sample: then whoever wrote it may have set these too.
    """
    named = Path(params.data.path)
    leaves_sample = is_sample(named) and named.resolve() != proposal.file.resolve()
    if leaves_sample or proposal.kind != params.task.kind:
        set_gate(proposal, params)
    if leaves_sample:
        why = f"{SAMPLE} said what it is for"
        proposal.set("certify", "intended_use", FILL_IN, why)
        proposal.set("certify", "limits", [FILL_IN], f"{SAMPLE} named some limits")
        proposal.set("certify", "languages", [FILL_IN], f"{SAMPLE} named them")
        proposal.set("certify", "tags", [], "the sample's are gone; may stay empty")


def is_sample(file: Path) -> bool:
    """Whether a file of raw rows is listed as sample data, by its name."""
    listed = file.parent / SAMPLES
    return listed.is_file() and file.name in {line[66:] for line in read_text(listed).splitlines()}


def set_gate(proposal: Proposal, params: Params) -> None:
    """The gate that the kind starts with, against the opponents that there are."""
    opponents = ("base", "classical", *params.eval.comparators)
    for key, values in KINDS[proposal.kind].gate.items():
        if key == "superiority":
            values = {name: margin for name, margin in values.items() if name in opponents}
        reason = f"what {proposal.kind} starts with"
        if key == "floors" and KINDS[proposal.kind].free_text:
            reason += "; once eval.facts names the facts of a reply, add a floor for them"
        proposal.set("gate", key, dict(values), reason)
