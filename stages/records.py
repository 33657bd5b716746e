"""One record for each support ticket; docs/your-data.md says how to write this file for other data."""

from hallmark.records import Record, expect, json_lines

PRIVATE = {"PERSON": "contact_name", "EMAIL_ADDRESS": "contact_email", "PHONE_NUMBER": "contact_phone"}


def records(params):
    expect("unread: received", "the day is for the generator's periods; the model does not see it")
    for row in json_lines("data/raw/tickets.jsonl"):
        yield Record(
            id=row["id"],
            group=row["customer"],
            prompt=f"{row['subject']}\n{row['body']}".strip(),
            target=row["target"],
            tags=row["tags"],
            private={kind: [row[column]] for kind, column in PRIVATE.items()},
            source=row["source"],
        )
