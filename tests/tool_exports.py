"""Files in the forms that tools write, with made-up content: what `python -m hallmark.commands.propose` has to understand.

Each function writes one file into a folder, after the tool's documented format, and returns its path. Customers have
several rows, labels repeat, and columns that a person would not choose (status, agent, score of satisfaction) are there.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.rows import write_lines

ROWS = 60
TOPICS = ("billing", "delivery", "account", "returns")
_WORDS = {
    "billing": ("The invoice for {} shows the wrong total again", "Please tell me why {} was charged twice this month"),
    "delivery": ("The parcel with {} has not arrived after two weeks", "The carrier left {} at some other house"),
    "account": ("I can't log in since the change of {} and the link is dead", "Please close the profile for {} for me"),
    "returns": ("I want to send back {} because it does not fit", "How long does it take to get the money for {} back"),
}
_THINGS = (
    "a desk lamp",
    "the blue jacket",
    "two garden chairs",
    "a phone case",
    "the kettle",
    "our order",
    "a rug",
    "the tent",
)


def topic(number: int) -> str:
    """The topic of a row: all as frequent as one another, in no order that another column follows."""
    return TOPICS[(number * 7 + number // 5) % 4]


def subject(number: int) -> str:
    return f"Question about {_THINGS[number % 8]} no. {number}"


def body(number: int) -> str:
    text = _WORDS[topic(number)][number // 4 % 2].format(_THINGS[number * 3 % 8])
    return f"{text}. This is about case {number} and we have waited since day {number * 5 % 28 + 1}, so please help."


def customer(number: int, many: int = 20) -> int:
    return number * 11 % many


def when(number: int) -> str:
    return f"2025-0{number % 9 + 1}-{number % 28 + 1:02}T1{number % 10}:0{number % 6}:00Z"


def _json(file: Path, value: Any) -> Path:
    file.write_text(json.dumps(value, indent=2), encoding="utf-8")
    return file


def _csv(file: Path, rows: Sequence[dict[str, Any]]) -> Path:
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(rows[0].keys())
        writer.writerows(row.values() for row in rows)
    return file


def zendesk(folder: Path) -> Path:
    """Zendesk's JSON export: one ticket a line, in a file named .json; fields as in its Tickets API."""
    return write_lines(folder / "zendesk-tickets.json", [
        {
            "url": f"https://acme.zendesk.com/api/v2/tickets/{n}.json", "id": 35000 + n, "external_id": None,
            "created_at": when(n), "updated_at": when(n + 3), "type": ("question", "incident", "problem", "task")[TOPICS.index(topic(n))],
            "subject": subject(n), "raw_subject": subject(n), "description": body(n),
            "priority": ("low", "normal", "high")[n % 3], "status": ("open", "closed", "solved")[n % 3],
            "recipient": "support@acme.example", "requester_id": 20978000 + customer(n, 30), "submitter_id": 20978000 + customer(n, 30),
            "assignee_id": 235000 + n % 5, "organization_id": 509000 + customer(n, 30) % 15, "group_id": 98730 + n % 3,
            "tags": [("mobile", "vip", "web")[n % 3]], "via": {"channel": ("web", "email", "api")[n % 3]},
            "satisfaction_rating": {"score": ("good", "bad", "unoffered")[n % 3]}, "has_incidents": False,
        } for n in range(ROWS)
    ])  # fmt: skip


def helpdesk(folder: Path) -> Path:
    """A help desk's CSV: a team, an agent, a score of satisfaction, and tags in one text."""
    return _csv(folder / "tickets.csv", [
        {
            "ticket_id": 1000 + n, "created_at": when(n), "status": ("open", "closed")[n % 2], "subject": subject(n), "description": body(n),
            "organisation": f"Firm {customer(n, 21)} Ltd", "requester_email": f"person{n % 30}@firm{customer(n, 21)}.example",
            "team": ("Tier 1", "Tier 2", "Payments")[n % 3], "agent": f"agent{n % 6}", "category": topic(n),
            "tags": ("mobile vip", "web", "mobile", "web new")[n % 4], "satisfaction_score": n * 3 % 5 + 1,
        } for n in range(ROWS)
    ])  # fmt: skip


def intercom(folder: Path) -> Path:
    """Conversations of Intercom's API, as a page of its list."""
    return _json(folder / "intercom.json", {"type": "conversation.list", "total_count": ROWS, "pages": {"type": "pages", "page": 1}, "conversations": [
        {
            "type": "conversation", "id": f"2154{n:03}", "created_at": 1735689600 + n * 7001, "updated_at": 1735699600 + n * 7001,
            "title": None, "source": {
                "type": "conversation", "id": f"90{n}", "delivered_as": "customer_initiated", "subject": "", "body": f"<p>{body(n)}</p>",
                "author": {"type": "user", "id": f"6762f{customer(n):02}", "name": f"User {customer(n)}", "email": f"user{customer(n)}@home.example"},
            },
            "contacts": {"type": "contact.list", "contacts": [{"type": "contact", "id": f"6762f{customer(n):02}"}]},
            "admin_assignee_id": 991 + n % 4, "team_assignee_id": 5017 + n % 2, "open": n % 2 == 0, "state": ("open", "closed")[n % 2], "read": True,
            "priority": "not_priority", "custom_attributes": {"Issue type": topic(n)}, "conversation_rating": {"rating": n % 5 + 1, "remark": None},
            "tags": {"type": "tag.list", "tags": []}, "statistics": {"count_reopens": n % 3},
        } for n in range(ROWS)
    ]})  # fmt: skip


def jira(folder: Path) -> Path:
    """Jira's CSV export of all fields: a field with several values repeats its column."""
    file = folder / "Jira.csv"
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["Summary", "Issue key", "Issue id", "Issue Type", "Status", "Project key", "Project name", "Priority", "Resolution",
                         "Assignee", "Reporter", "Creator", "Created", "Updated", "Labels", "Labels", "Description", "Comment", "Comment"])  # fmt: skip
        for n in range(ROWS):
            kind = ("Bug", "Task", "Story", "Improvement")[TOPICS.index(topic(n))]
            writer.writerow([subject(n), f"SHOP-{n + 7}", 10400 + n, kind, ("To Do", "Done")[n % 2], "SHOP", "Web shop", ("High", "Medium", "Low")[n % 3],
                             "Done" if n % 2 else "", f"dev{n % 4}", f"reporter{customer(n, 15)}", f"reporter{customer(n, 15)}", f"0{n % 9 + 1}/Mar/25 10:15 AM",
                             f"1{n % 9}/Mar/25 3:40 PM", "frontend" if n % 3 else "backend", "" if n % 4 else "mobile", body(n), "looked at it" if n % 5 else "", ""])  # fmt: skip
    return file


def label_studio(folder: Path) -> Path:
    """Label Studio's JSON: a task's data, and annotations with results."""
    return _json(folder / "project-83.json", [
        {
            "id": 500 + n, "annotations": [{
                "id": 900 + n, "completed_by": 1 + n % 2, "result": [{
                    "value": {"choices": [topic(n)]}, "id": f"Dx_aB{n}", "from_name": "topic", "to_name": "text", "type": "choices", "origin": "manual"}],
                "was_cancelled": False, "ground_truth": False, "created_at": when(n), "updated_at": when(n), "draft_created_at": None,
                "lead_time": 4.288 + n, "prediction": {}, "result_count": 1, "unique_id": f"u-{n}", "task": 500 + n, "project": 83}],
            "file_upload": "1a2b-tickets.csv", "drafts": [], "predictions": [], "data": {"text": body(n), "customer": f"C-{customer(n):03}"},
            "meta": {}, "created_at": when(n), "updated_at": when(n), "inner_id": n + 1, "total_annotations": 1, "cancelled_annotations": 0,
            "total_predictions": 0, "comment_count": 0, "project": 83, "updated_by": 1, "comment_authors": [],
        } for n in range(ROWS)
    ])  # fmt: skip


TOOLS: list[dict[str, Any]] = [
    {"type": "function", "function": {"name": "find_order", "description": "Look up an order.", "parameters": {
        "type": "object", "properties": {"order": {"type": "integer", "description": "Its number."}, "carrier": {"type": "string", "enum": ["DHL", "UPS"]}},
        "required": ["order"], "additionalProperties": False}}},
    {"type": "function", "function": {"name": "open_ticket", "parameters": {
        "type": "object", "properties": {"topic": {"type": "string"}}, "required": ["topic"]}}},
]  # fmt: skip
CANNOT = "I'm sorry, I can only help with orders and tickets."


def openai_tools(folder: Path) -> Path:
    """OpenAI's file for fine-tuning with tools: some requests are refused in plain words."""

    def answer(n: int) -> dict[str, Any]:
        if n % 6 == 0:
            return {"role": "assistant", "content": CANNOT}
        name, arguments = ("find_order", {"order": n}) if n % 2 else ("open_ticket", {"topic": topic(n)})
        call = {"id": f"call_{n}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        return {"role": "assistant", "tool_calls": [call]}

    return write_lines(folder / "tools.jsonl", [
        {"messages": [{"role": "user", "content": body(n)}, answer(n)], "parallel_tool_calls": False, "tools": TOOLS} for n in range(ROWS)
    ])  # fmt: skip


def nested_parquet(folder: Path) -> Path:
    """A Parquet of a data lake: structs as columns."""
    import polars as pl

    pl.DataFrame([
        {
            "event_id": f"e{n:04}", "ticket": {"subject": subject(n), "body": body(n)}, "customer": {"id": f"c{customer(n)}", "tier": ("gold", "basic")[n % 2]},
            "answer": {"topic": topic(n), "case": n, "day": n * 5 % 28 + 1, "item": None if n % 4 == 0 else _THINGS[n * 3 % 8]}, "loaded_at": when(n),
        } for n in range(ROWS)
    ]).write_parquet(folder / "part-0001.parquet")  # fmt: skip
    return folder / "part-0001.parquet"


# The rules of `propose` were never changed for those below: they tell how it does on new ones. If a rule is changed because of
# one of these, move that file above this line, and write another.


def warehouse(folder: Path) -> Path:
    """Newline-delimited JSON of a data warehouse, with records in records."""
    return write_lines(folder / "bq-results.ndjson", [
        {
            "conversation_id": f"cv-{n // 4:03}", "turn": n % 4, "speaker_role": ("caller", "clerk")[n % 2], "payload": {"utterance": body(n), "lang": ("en", "de")[n % 7 == 0]},
            "labels": {"act": topic(n), "rater": f"r{n % 2}"}, "ingest_ts": when(n),
        } for n in range(ROWS)
    ])  # fmt: skip
