"""What `python -m hallmark.commands.propose` makes of the files that tools write: the right kind and columns, and masking runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hallmark.base.records import columns_of
from hallmark.commands import propose
from hallmark.commands.column_roles import Known
from tests import tool_exports as exports
from tests import unseen_exports as unseen
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
    missed: tuple[str, ...] = ()  # what is not right at once; the test fails too if one of these gets right


RIGHT_AT_ONCE = 25  # of FILES
UNSEEN_RIGHT = 5  # of UNSEEN


FILES = [
    Truth(exports.zendesk, "classification", {"type"}, {"subject", "description"}, "organization_id"),
    Truth(exports.helpdesk, "classification", "category", {"subject", "description"}, "organisation"),
    Truth(exports.intercom, "classification", "custom_attributes.Issue type", {"source.body"},
          {"source.author.id", "contacts.contacts.0.id"}),
    Truth(exports.jira, "classification", "Issue Type", {"Summary", "Description"}, {"Reporter", "Creator"}),
    Truth(exports.github_issues, "classification", "labels.0.name", {"title", "body"}, {"author.login", "author.id"}),
    Truth(exports.salesforce, "classification", "REASON", {"SUBJECT", "DESCRIPTION"}, "ACCOUNTID"),
    Truth(exports.label_studio, "classification", "annotations.0.result.0.value.choices.0", {"data.text"}, "data.customer"),
    Truth(exports.label_studio_csv, "classification", "sentiment", {"text"}, "conversation"),
    Truth(exports.argilla, "classification", "responses.label.0.value", {"fields.text"}, "metadata.customer"),
    Truth(exports.prodigy, "classification", "accept.0", {"text"}, "meta.thread"),
    Truth(exports.doccano, "classification", "label.0", {"text"}, "customer_no"),
    Truth(exports.openai_chat, "text", "turns.target", {"turns.input"}),
    Truth(exports.openai_tools, "tool_call", "turns.target", {"turns.input"}, refusal=exports.CANNOT),
    Truth(exports.anthropic, "text", "turns.target", {"turns.input"}),
    Truth(exports.sharegpt, "text", "turns.target", {"turns.input"}),
    Truth(exports.alpaca, "text", "output", {"instruction", "input"}),
    Truth(exports.hf_parquet, "classification", "label", {"text"}, "user_id"),
    Truth(exports.hf_saved, "classification", "intent", {"utterance"}, "dialogue_id"),
    Truth(exports.integer_labels, "classification", "label", {"sentence"}),
    Truth(exports.excel_semicolons, "classification", "Kategorie", {"Betreff", "Nachricht"}, "Kundennummer"),
    Truth(exports.excel_unicode_text, "classification", "Request type", {"Comment"}, "Client"),
    Truth(exports.nested_parquet, "extraction", "answer", {"ticket.subject", "ticket.body"}, "customer.id"),
    Truth(exports.lines_as_txt, "extraction", "extracted", {"content"}, "doc"),
    Truth(exports.glue_tsv, "classification", "label", {"sentence"}),
    Truth(exports.json_in_csv, "extraction", "annotation", {"clause_text"}, "document"),
]  # fmt: skip

UNSEEN = [
    Truth(unseen.freshdesk, "classification", "type", {"subject", "description_text"}, "company_id", missed=("input",)),
    Truth(unseen.hubspot, "classification", "Category", {"Ticket name", "Ticket description"}, "Associated Company"),
    Truth(unseen.servicenow, "classification", "category", {"short_description", "description"}, "caller_id"),
    Truth(unseen.langsmith, "text", "outputs.answer", {"inputs.question"}, "metadata.user"),
    Truth(unseen.squad, "text", "answers.text.0", {"question"}, "title", missed=("kind", "target", "group")),
    Truth(unseen.function_calls, "tool_call", "answers", {"query"}),
    Truth(unseen.french_reviews, "classification", "Catégorie du problème", {"Commentaire"}, "Client"),
    Truth(
        unseen.warehouse,
        "classification",
        "labels.act",
        {"payload.utterance"},
        "conversation_id",
        missed=("kind", "target"),
    ),
]


def among(right: str | set[str], name: Any) -> bool:
    return name in (right if isinstance(right, set) else {right})


@pytest.mark.parametrize("truth", FILES + UNSEEN, ids=lambda truth: truth.write.__name__)
def test_the_file_of_a_tool(truth: Truth, tmp_path: Path) -> None:
    """The roles are right, but for those that are listed as missed, and mask reads and masks every row of it."""
    proposal = propose.proposed(truth.write(tmp_path), rules(), Known(refusal=truth.refusal))
    data = proposal.edits["data"]
    right = {
        "kind": proposal.kind == truth.kind,
        "target": among(truth.target, data["target"]),
        "group": among(truth.group, data["group"]),
        "input": set(columns_of(data["input"])) == truth.inputs,
    }
    assert [role for role, so in right.items() if not so] == list(truth.missed), proposal.edits
    propose.try_out(proposal, rules())
    assert [warning for warning in proposal.warnings if warning.startswith("mask will stop")] == []


def test_most_files_are_right_at_once() -> None:
    assert len(FILES) == 25
    assert sum(not truth.missed for truth in FILES) == RIGHT_AT_ONCE
    assert sum(not truth.missed for truth in UNSEEN) == UNSEEN_RIGHT


@pytest.mark.parametrize(
    ("write", "role", "right"),
    [
        (unseen.squad, "group", "title"),
        (unseen.freshdesk, "input", "description_text"),
    ],
)
def test_what_is_missed_is_the_first_runner_up(
    write: Callable[[Path], Path], role: str, right: str, tmp_path: Path
) -> None:
    assert propose.proposed(write(tmp_path), rules()).roles.runners_up[role][0][0] == right


@pytest.mark.parametrize("write", [exports.intercom, exports.helpdesk])
def test_the_stage_masks_what_is_written(write: Callable[[Path], Path], tmp_path: Path) -> None:
    """Values inside others, and tags in one text, from params.yaml to the masked records."""
    import polars as pl

    workspace = make_workspace(tmp_path, RULES | {"mask.workers": 1})
    known = ["--input", r"{subject}\n{description}"] if write is exports.helpdesk else []
    stage(workspace, "hallmark.commands.propose", str(write(workspace / "data")), *known, "--write")
    stage(workspace, "mask")
    masked = pl.read_parquet(workspace / "data/masked.parquet")
    labels = {completion[0]["content"] for completion in masked["completion"]}
    assert (len(masked), labels) == (exports.ROWS, set(exports.TOPICS))
    if write is exports.helpdesk:
        assert "\n" in masked["prompt"][0][-1]["content"]
        assert set(masked["tags"].explode()) == {"mobile", "vip", "web", "new"}
