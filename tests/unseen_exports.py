"""More files in the forms that tools write. The rules of `propose` were never changed for them: they tell how it does on new ones.

If a rule is changed because of one of these, move that file to `tool_exports.py` and write another.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.tool_exports import _THINGS, ROWS, TOPICS, _csv, _json, _jsonl, _reply, body, customer, subject, topic, when


def freshdesk(folder: Path) -> Path:
    """Freshdesk's API: numbers for status, priority and source; the text as HTML and plain."""
    return _json(folder / "freshdesk.json", [
        {
            "cc_emails": [], "fwd_emails": [], "fr_escalated": False, "spam": False, "email_config_id": None, "group_id": 150 + n % 3, "priority": n % 4 + 1,
            "requester_id": 1300 + customer(n, 30), "responder_id": 77 + n % 4, "source": n % 3 + 1, "company_id": 430 + customer(n, 30) % 15, "status": n % 4 + 2,
            "subject": subject(n), "product_id": None, "id": 20 + n, "type": ("Question", "Incident", "Problem", "Feature Request")[TOPICS.index(topic(n))],
            "due_by": when(n), "is_escalated": False, "description": f"<div>{body(n)}</div>", "description_text": body(n), "created_at": when(n), "tags": [],
        } for n in range(ROWS)
    ])  # fmt: skip


def hubspot(folder: Path) -> Path:
    """HubSpot's CSV of tickets."""
    return _csv(folder / "hubspot-crm-exports-tickets.csv", [
        {
            "Ticket ID": 5500 + n, "Ticket name": subject(n), "Ticket description": body(n), "Pipeline": "Support Pipeline", "Ticket status": ("New", "Closed", "Waiting on us")[n % 3],
            "Create date": f"2025-0{n % 9 + 1}-1{n % 9} 10:2{n % 10}", "Priority": ("Low", "High", "")[n % 3], "Source": ("Email", "Chat", "Form")[n % 3],
            "Category": topic(n).upper(), "Ticket owner": f"Rep {n % 4}", "Associated Company": f"Company {customer(n, 17)}", "Associated Contact": f"Person {customer(n, 34)}",
        } for n in range(ROWS)
    ])  # fmt: skip


def servicenow(folder: Path) -> Path:
    """ServiceNow's CSV of the incident table."""
    return _csv(folder / "incident.csv", [
        {
            "number": f"INC00{10000 + n}", "opened_at": f"2025-0{n % 9 + 1}-1{n % 9} 08:1{n % 10}:00", "short_description": subject(n), "caller_id": f"Caller {customer(n)}",
            "priority": ("1 - Critical", "3 - Moderate", "4 - Low")[n % 3], "state": ("New", "Closed")[n % 2], "category": topic(n), "assignment_group": ("Service Desk", "Network")[n % 2],
            "assigned_to": f"Fixer {n % 5}", "contact_type": ("phone", "self-service")[n % 2], "description": body(n), "close_code": ("Solved", "")[n % 2],
            "close_notes": "Restarted it and told the caller that this was all." if n % 2 == 0 else "", "sys_updated_on": f"2025-0{n % 9 + 1}-1{n % 9} 09:00:00",
        } for n in range(ROWS)
    ])  # fmt: skip


def langsmith(folder: Path) -> Path:
    """A dataset of LangSmith: inputs and outputs as objects."""
    return _jsonl(folder / "dataset.jsonl", [
        {"id": f"0b{n:04}-77", "inputs": {"question": body(n)}, "outputs": {"answer": _reply(n)}, "metadata": {"user": f"u{customer(n)}", "dataset_split": ["base"]}, "created_at": when(n)}
        for n in range(ROWS)
    ])  # fmt: skip


def squad(folder: Path) -> Path:
    """SQuAD as Parquet: an answer is a struct of lists."""
    import polars as pl

    pl.DataFrame([
        {
            "id": f"57{n:04}", "title": f"Article_{n // 4}", "context": f"{body(n)} {body(n + 1)} {body(n + 2)}", "question": f"What is said about case {n} in the letter?",
            "answers": {"text": [f"since day {n * 5 % 28 + 1}"], "answer_start": [n]},
        } for n in range(ROWS)
    ]).write_parquet(folder / "squad.parquet")  # fmt: skip
    return folder / "squad.parquet"


def function_calls(folder: Path) -> Path:
    """Function calling as datasets on the hub have it: tools and calls as JSON in texts."""
    tools = [
        {
            "name": "find_order",
            "description": "Look up an order",
            "parameters": {"order": {"description": "Its number", "type": "int"}},
        }
    ]
    return _json(folder / "function_calling.json", [
        {"id": n, "query": body(n), "answers": json.dumps([{"name": "find_order", "arguments": {"order": n}}] * (n % 2 + 1)), "tools": json.dumps(tools)} for n in range(ROWS)
    ])  # fmt: skip


def french_reviews(folder: Path) -> Path:
    """A CSV of a French Excel."""
    kinds = ("Facturation", "Livraison", "Compte", "Retour")
    return _csv(folder / "avis.csv", [
        {
            "Référence": f"AV-{3000 + n}", "Date d'achat": f"{n % 28 + 1:02}/0{n % 9 + 1}/2025", "Client": f"CL{customer(n):04}", "Commentaire": f"J'ai acheté {_THINGS[n % 8]} pour {n + 10},90 € et {topic(n)} : rien ne va depuis le {n % 28 + 1}.",
            "Étoiles": n % 5 + 1, "Catégorie du problème": kinds[TOPICS.index(topic(n))], "Traité par": f"Agent {n % 3}",
        } for n in range(ROWS)
    ], encoding="utf-8-sig", delimiter=";")  # fmt: skip


def warehouse(folder: Path) -> Path:
    """Newline-delimited JSON of a data warehouse, with records in records."""
    return _jsonl(folder / "bq-results.ndjson", [
        {
            "conversation_id": f"cv-{n // 4:03}", "turn": n % 4, "speaker_role": ("caller", "clerk")[n % 2], "payload": {"utterance": body(n), "lang": ("en", "de")[n % 7 == 0]},
            "labels": {"act": topic(n), "rater": f"r{n % 2}"}, "ingest_ts": when(n),
        } for n in range(ROWS)
    ])  # fmt: skip
