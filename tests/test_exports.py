"""What `python -m stages.tools.propose` makes of the files that tools write: the right kind and columns, and masking runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from stages.core.records import columns_of
from stages.tools import propose
from tests import tool_exports as exports
from tests import unseen_exports as unseen
from tests.test_propose import rules


@dataclass(frozen=True)
class Truth:
    """What a person would set. Several columns in a set are equally right."""

    write: Callable[[Path], Path]
    kind: str
    target: str | set[str]
    inputs: set[str]  # all that belong into the input, and nothing else does
    group: str | set[str] = "row.id"
    outcome: str = "right"  # or "runner-up": the right column is the first among the runners-up


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
    Truth(exports.openai_tools, "tool_call", "turns.target", {"turns.input"}),
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
    Truth(unseen.freshdesk, "classification", "type", {"subject", "description_text"}, "company_id"),
    Truth(unseen.hubspot, "classification", "Category", {"Ticket name", "Ticket description"}, "Associated Company"),
    Truth(unseen.servicenow, "classification", "category", {"short_description", "description"}, "caller_id"),
    Truth(unseen.langsmith, "text", "outputs.answer", {"inputs.question"}, "metadata.user"),
    Truth(unseen.squad, "text", "answers.text.0", {"question"}, "title"),
    Truth(unseen.function_calls, "tool_call", "answers", {"query"}),
    Truth(unseen.french_reviews, "classification", "Catégorie du problème", {"Commentaire"}, "Client"),
    Truth(unseen.warehouse, "classification", "labels.act", {"payload.utterance"}, "conversation_id"),
]


def wrong_in(truth: Truth, folder: Path) -> list[str]:
    """What is wrong in the proposal for the file; "mask: ..." if masking it would stop."""
    proposal = propose.proposed(truth.write(folder), rules())
    data = proposal.edits["data"]
    wrong = [] if proposal.kind == truth.kind else [f"kind {proposal.kind}"]
    for role in ("target", "group"):
        right = getattr(truth, role)
        if data[role] not in (right if isinstance(right, set) else {right}):
            wrong.append(f"{role} {data[role]}")
    if set(columns_of(data["input"])) != truth.inputs:
        wrong.append(f"input {data['input']!r}")
    propose.try_out(proposal, rules())
    stops = [warning for warning in proposal.warnings if warning.startswith("mask will stop")]
    return wrong + stops


@pytest.mark.parametrize("truth", FILES + UNSEEN, ids=lambda truth: truth.write.__name__)
def test_the_file_of_a_tool(truth: Truth, tmp_path: Path) -> None:
    assert wrong_in(truth, tmp_path) == []
