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


def _jsonl(file: Path, rows: Sequence[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def _json(file: Path, value: Any) -> Path:
    file.write_text(json.dumps(value, indent=2), encoding="utf-8")
    return file


def _csv(file: Path, rows: Sequence[dict[str, Any]], encoding: str = "utf-8", **form: Any) -> Path:
    with file.open("w", encoding=encoding, newline="") as stream:
        writer = csv.writer(stream, **form)
        writer.writerow(rows[0].keys())
        writer.writerows(row.values() for row in rows)
    return file


def zendesk(folder: Path) -> Path:
    """Zendesk's JSON export: one ticket a line, in a file named .json; fields as in its Tickets API."""
    return _jsonl(folder / "zendesk-tickets.json", [
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


def github_issues(folder: Path) -> Path:
    """`gh issue list --json author,body,createdAt,labels,number,state,title,url`."""
    return _json(folder / "issues.json", [
        {
            "author": {"id": f"MDQ6{customer(n, 18)}", "is_bot": False, "login": f"coder{customer(n, 18)}", "name": ""}, "body": body(n), "createdAt": when(n),
            "labels": [{"id": f"LA_{TOPICS.index(topic(n))}", "name": ("bug", "enhancement", "question", "documentation")[TOPICS.index(topic(n))],
                        "description": "", "color": "d73a4a"}],
            "number": 3 + n, "state": ("OPEN", "CLOSED")[n % 2], "title": subject(n), "url": f"https://github.com/acme/shop/issues/{3 + n}",
        } for n in range(ROWS)
    ])  # fmt: skip


def salesforce(folder: Path) -> Path:
    """Salesforce's Data Loader: the standard fields of Case."""
    return _csv(folder / "Case.csv", [
        {
            "ID": f"5003x000{n:07}AAA", "ISDELETED": "false", "CASENUMBER": f"0000{1000 + n}", "CONTACTID": f"0033x00000{customer(n, 30):02}AAA",
            "ACCOUNTID": f"0013x00000{customer(n, 30) % 15:02}AAA", "SUPPLIEDNAME": f"Ann Person{customer(n, 30)}", "SUPPLIEDEMAIL": f"a{customer(n, 30)}@corp.example",
            "SUBJECT": subject(n), "DESCRIPTION": body(n), "REASON": ("Installation", "Performance", "Breakdown", "Feedback")[TOPICS.index(topic(n))],
            "STATUS": ("New", "Closed", "Escalated")[n % 3], "PRIORITY": ("High", "Medium", "Low")[n % 3], "ORIGIN": ("Web", "Phone", "Email")[n % 3],
            "ISCLOSED": ("false", "true")[n % 2], "CLOSEDDATE": when(n) if n % 2 else "", "OWNERID": f"0053x00000{n % 4:02}AAA", "CREATEDDATE": when(n),
        } for n in range(ROWS)
    ], quoting=csv.QUOTE_ALL)  # fmt: skip


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


def label_studio_csv(folder: Path) -> Path:
    """Label Studio's CSV."""
    return _csv(folder / "project-83-at-2025.csv", [
        {
            "annotation_id": 900 + n, "annotator": 1 + n % 2, "conversation": f"conv-{customer(n, 23)}", "created_at": when(n), "id": 500 + n,
            "lead_time": 4.288 + n, "sentiment": ("Positive", "Negative", "Neutral")[TOPICS.index(topic(n)) % 3], "text": body(n), "updated_at": when(n),
        } for n in range(ROWS)
    ])  # fmt: skip


def argilla(folder: Path) -> Path:
    """Argilla 2: `dataset.records.to_json(...)`."""
    return _json(folder / "records.json", [
        {
            "id": f"rec-{n}", "status": "completed", "_server_id": f"0000-{n:04}", "fields": {"text": body(n)}, "metadata": {"customer": f"c{customer(n)}"},
            "suggestions": {"label": {"value": TOPICS[n % 4], "score": 0.7, "agent": "model-a"}},
            "responses": {"label": [{"value": topic(n), "user_id": f"an-{n % 2}", "status": "submitted"}]}, "vectors": {},
        } for n in range(ROWS)
    ])  # fmt: skip


def prodigy(folder: Path) -> Path:
    """Prodigy's `db-out` of a choice interface."""
    return _jsonl(folder / "annotations.jsonl", [
        {
            "text": body(n), "meta": {"thread": f"t{customer(n)}"}, "_input_hash": -1530009927 + n * 7919, "_task_hash": 340967702 - n * 104729,
            "options": [{"id": name, "text": name.title()} for name in TOPICS], "_view_id": "choice", "config": {"choice_style": "single"},
            "accept": [topic(n)], "answer": "accept", "_timestamp": 1735689600 + n * 11, "_annotator_id": "day-1", "_session_id": "day-1",
        } for n in range(ROWS)
    ])  # fmt: skip


def doccano(folder: Path) -> Path:
    """doccano's JSONL of a text classification, with a column of metadata."""
    return _jsonl(folder / "all.jsonl", [
        {"id": 40 + n, "text": body(n), "label": [topic(n)], "customer_no": 7000 + customer(n), "Comments": []} for n in range(ROWS)
    ])  # fmt: skip


def _reply(number: int) -> str:
    return f"Thank you for writing. I have looked at {_THINGS[number * 3 % 8]} and opened case {number}; you hear from us in {number % 5 + 1} days."


def openai_chat(folder: Path) -> Path:
    """OpenAI's file for supervised fine-tuning."""
    system = {"role": "system", "content": "You are a helpful agent of a web shop."}
    return _jsonl(folder / "train.jsonl", [
        {"messages": [system, {"role": "user", "content": body(n)}, {"role": "assistant", "content": _reply(n)}]} for n in range(ROWS)
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

    return _jsonl(folder / "tools.jsonl", [
        {"messages": [{"role": "user", "content": body(n)}, answer(n)], "parallel_tool_calls": False, "tools": TOOLS} for n in range(ROWS)
    ])  # fmt: skip


def anthropic(folder: Path) -> Path:
    """Anthropic's messages: the system prompt by itself, content in blocks, several turns."""
    return _jsonl(folder / "claude.jsonl", [
        {"system": "You are a helpful agent of a web shop.", "messages": [
            {"role": "user", "content": [{"type": "text", "text": subject(n)}]}, {"role": "assistant", "content": [{"type": "text", "text": "Please tell me more."}]},
            {"role": "user", "content": [{"type": "text", "text": body(n)}]}, {"role": "assistant", "content": [{"type": "text", "text": _reply(n)}]},
        ]} for n in range(ROWS)
    ])  # fmt: skip


def sharegpt(folder: Path) -> Path:
    """ShareGPT's list of conversations."""
    return _json(folder / "sharegpt.json", [
        {"id": f"identity_{n}", "conversations": [{"from": "human", "value": body(n)}, {"from": "gpt", "value": _reply(n)}]} for n in range(ROWS)
    ])  # fmt: skip


def alpaca(folder: Path) -> Path:
    """Alpaca's list: the input is often empty."""
    return _json(folder / "alpaca_data.json", [
        {"instruction": subject(n) + ": write a polite answer.", "input": body(n) if n % 3 else "", "output": _reply(n)} for n in range(ROWS)
    ])  # fmt: skip


def hf_parquet(folder: Path) -> Path:
    """A Parquet of the Hugging Face hub, whose ClassLabel has its names in the schema's metadata."""
    from datasets import ClassLabel, Dataset, Features, Value

    features = Features({"text": Value("string"), "label": ClassLabel(names=list(TOPICS)), "user_id": Value("int64")})
    rows = [{"text": body(n), "label": TOPICS.index(topic(n)), "user_id": 100 + customer(n)} for n in range(ROWS)]
    file = folder / "train-00000-of-00001.parquet"
    Dataset.from_list(rows, features=features).to_parquet(file)
    return file


def hf_saved(folder: Path) -> Path:
    """A folder of `Dataset.save_to_disk`."""
    from datasets import ClassLabel, Dataset, Features, Value

    names = {"utterance": Value("string"), "intent": ClassLabel(names=list(TOPICS)), "dialogue_id": Value("string")}
    rows = [{"utterance": body(n), "intent": TOPICS.index(topic(n)), "dialogue_id": f"d-{n // 4}"} for n in range(ROWS)]
    Dataset.from_list(rows, features=Features(names)).save_to_disk(str(folder / "saved"))
    return folder / "saved"


def integer_labels(folder: Path) -> Path:
    """A Parquet of pandas with plain integers as labels."""
    import polars as pl

    rows = [{"idx": n, "sentence": body(n), "label": TOPICS.index(topic(n))} for n in range(ROWS)]
    pl.DataFrame(rows).write_parquet(folder / "glue.parquet")
    return folder / "glue.parquet"


def excel_semicolons(folder: Path) -> Path:
    """Excel's "CSV UTF-8" on a German system: a BOM, CRLF, semicolons, commas in numbers."""
    kinds = ("Rechnung", "Lieferung", "Konto", "Rückgabe")
    return _csv(folder / "Anfragen.csv", [
        {
            "Vorgangsnummer": 88000 + n, "Datum": f"{n % 28 + 1:02}.0{n % 9 + 1}.2025", "Kundennummer": f"K{customer(n):04}", "Betreff": f"Frage zu Auftrag {n}",
            "Nachricht": f"Guten Tag, mein Auftrag {n} über {n + 10},50 € ist nicht richtig; bitte prüfen Sie das und rufen mich zurück.",
            "Betrag": f"1.{200 + n},{n % 90 + 10}", "Bearbeiter": f"MA{n % 4}", "Kategorie": kinds[TOPICS.index(topic(n))], "Status": ("offen", "erledigt")[n % 2],
        } for n in range(ROWS)
    ], encoding="utf-8-sig", delimiter=";")  # fmt: skip


def excel_unicode_text(folder: Path) -> Path:
    """Excel's "Unicode Text": UTF-16 with tabs, named .txt."""
    rows = [
        {"No.": n + 1, "Client": f"Client {customer(n)}", "Comment": body(n), "Department": ("North", "South")[n % 2],
         "Request type": topic(n)}
        for n in range(ROWS)
    ]  # fmt: skip
    return _csv(folder / "Book1.txt", rows, encoding="utf-16", delimiter="\t")


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


def lines_as_txt(folder: Path) -> Path:
    """JSON lines under the name .txt, with objects as answers."""
    return _jsonl(folder / "export.txt", [
        {"doc": f"doc-{n // 3}", "page": n % 3, "content": body(n), "extracted": {"topic": topic(n), "case": n, "days": n * 5 % 28 + 1}} for n in range(ROWS)
    ])  # fmt: skip


def glue_tsv(folder: Path) -> Path:
    """A TSV of GLUE: a sentence and 0 or 1, without quoting."""
    lines = [
        f'{body(n)} "{_THINGS[n % 8]}\t{TOPICS.index(topic(n)) % 2}' for n in range(ROWS)
    ]  # a quote that is only a letter
    (folder / "train.tsv").write_text("\n".join(["sentence\tlabel", *lines]) + "\n", encoding="utf-8")
    return folder / "train.tsv"


def json_in_csv(folder: Path) -> Path:
    """A CSV with the answer as JSON in one cell, and the documents' names."""
    return _csv(folder / "extractions.csv", [
        {
            "document": f"contract_{n // 4:03}.pdf", "clause": n % 4 + 1, "clause_text": body(n),
            "annotation": json.dumps({"topic": topic(n), "case": n, "waiting": n % 2 == 0}), "reviewed_by": f"rv{n % 3}", "reviewed": "TRUE",
        } for n in range(ROWS)
    ])  # fmt: skip


# The rules of `propose` were never changed for those below: they tell how it does on new ones. If a rule is changed because of
# one of these, move that file above this line, and write another.


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
    parameters = {"order": {"description": "Its number", "type": "int"}}
    tools = [{"name": "find_order", "description": "Look up an order", "parameters": parameters}]
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
