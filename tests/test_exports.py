"""What `python -m hallmark.commands.propose` makes of the files that tools write: the right kind and columns, and masking runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from hallmark.base.records import columns_of
from hallmark.commands import propose
from hallmark.propose.roles import Known
from tests import tool_exports as exports
from tests.test_propose import RULES, rules
from tests.workspace import make_workspace, stage


@dataclass(frozen=True)
class Truth:
    """What a person would set. Several columns in a set are equally right."""

    write: Callable[[Path], Path]
    kind: str
    target: str | set[str]
    inputs: set[str]  # all that belong into the input, and nothing else does
    group: str | set[str] = "row.id"
    refusal: str | None = None  # which a person names


FILES = [
    Truth(exports.zendesk, "classification", {"type"}, {"subject", "description"}, "organization_id"),
    Truth(exports.helpdesk, "classification", "category", {"subject", "description"}, "organisation"),
    Truth(exports.intercom, "classification", "custom_attributes.Issue type", {"source.body"},
          {"source.author.id", "contacts.contacts.0.id"}),
    Truth(exports.jira, "classification", "Issue Type", {"Summary", "Description"}, {"Reporter", "Creator"}),
    Truth(exports.label_studio, "classification", "annotations.by_choice.topic.0", {"data.text"}, "data.customer"),
    Truth(exports.openai_tools, "tool_call", "turns.target", {"turns.input"}, refusal=exports.CANNOT),
    Truth(exports.nested_parquet, "extraction", "answer", {"ticket.subject", "ticket.body"}, "customer.id"),
    Truth(exports.warehouse, "classification", "labels.act", {"payload.utterance"}, "conversation_id"),
]  # fmt: skip


@pytest.mark.parametrize("truth", FILES, ids=lambda truth: truth.write.__name__)
@pytest.mark.full
def test_the_file_of_a_tool(truth: Truth, tmp_path: Path) -> None:
    """The roles are right, and mask reads and masks every row of it."""
    proposal = propose.proposed(truth.write(tmp_path), rules(), Known(refusal=truth.refusal))
    roles = proposal.roles
    right = {
        "kind": proposal.kind == truth.kind,
        "target": roles.target in among(truth.target),
        "group": roles.group in among(truth.group),
        "input": set(columns_of(roles.input)) == truth.inputs,
    }
    assert all(right.values()), (right, proposal.edits)
    propose.try_out(proposal, rules())
    assert [warning for warning in proposal.warnings if warning.startswith("mask will stop")] == []


def among(right: str | set[str]) -> set[str]:
    return right if isinstance(right, set) else {right}


@pytest.mark.parametrize("write", [exports.intercom, exports.helpdesk])
def test_the_stage_masks_what_is_written(write: Callable[[Path], Path], tmp_path: Path) -> None:
    """Values inside others, and tags in one text, from params.yaml to the masked records."""
    import polars as pl

    workspace = make_workspace(tmp_path, RULES)
    known = ["--input", r"{subject}\n{description}"] if write is exports.helpdesk else []
    stage(workspace, "hallmark.commands.propose", str(write(workspace / "data")), *known, "--write")
    stage(workspace, "mask")
    masked = pl.read_parquet(workspace / "data/masked.parquet")
    labels = {completion[0]["content"] for completion in masked["completion"]}
    assert (len(masked), labels) == (exports.ROWS, set(exports.TOPICS))
    if write is exports.helpdesk:
        assert "\n" in masked["prompt"][0][-1]["content"]
        assert set(masked["tags"].explode()) == {"mobile", "vip", "web", "new"}
